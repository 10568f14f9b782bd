# 036_spool_file.pl
#	  A spool whose file is written again after a part of it was read.
#
# The events of a large batch are fetched in windows of 512.  Here a window is
# larger than outbox.spool_memory, so most of it goes to the spool's file.  The
# producer stalls while the file is being read, what was sent before is
# acknowledged, and so the next window is written behind what is not read yet.
#
# IDENTIFICATION
#	  test/t/036_spool_file.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Two windows, of 8 MB each.  The memory holds 64 of these events and
# the socket 130 at most, so at the stall the sender is in the middle of the
# first window's part on file.
my $events = 1024;
my $filler = 16_000;
my $stall = 150;

my $node = fake_node('main', conf => 'outbox.spool_memory = 1MB');

# Sizes of the spool's files.
sub file_size
{
	my $size = 0;

	$size += -s $_ // 0 foreach glob($node->data_dir . '/base/pgsql_tmp/*');
	return $size;
}

# The first batch after a start is read as a large one.
wait_for_publisher($node);
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET outbox.enabled = off');
wait_until(sub { publisher_status($node, "state = 'paused'") eq 't' }, 'the publisher is paused');
$node->safe_psql('postgres', qq{
	SELECT count(outbox_emit('t', i || '.' || repeat('x', $filler), 'k' || i % 7))
	FROM generate_series(1, $events) i});
fake_command($node, $_, wait => 0) foreach ('hold', "stall $stall");
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET outbox.enabled');

fake_wait($node, $stall);
my $size = file_size();
cmp_ok($size, '>', 4_000_000, 'most of the first window is on file');
cmp_ok(scalar(fake_payloads($node)), '<', 512 - 150, 'and not all of it is sent');
fake_command($node, "ack 1-$stall");
wait_until(sub { file_size() > $size }, 'the next window is on file, too');

fake_command($node, 'resume');
fake_command($node, 'auto');
wait_for_published($node);
my @sent = fake_events($node);
is_deeply([ map { $_->{payload} =~ s/\..*//r } @sent ], [ 1 .. $events ],
	'every event is sent once, in order');
is(scalar(grep { $_->{payload} !~ /^\d+\.x{$filler}$/ } @sent), 0, 'and whole');

$node->stop;
done_testing();
