# 098_turn_memory.pl
#	  A publisher's memory does not grow with what it does.
#
# What one turn allocates is gone at the next one, also what it allocates behind a
# transaction of its own.  Paused topics with long names make each request for
# something cost a quarter of a megabyte.
#
# IDENTIFICATION
#	  test/t/098_turn_memory.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $topics = 1000;
my $length = 240;		# and the number: nearly the longest
my $requests = 40;

# In megabytes: half of what would be left behind.
my $allowed = $requests * $topics * $length / 2 / 1e6;

my $node = fake_node('main');
wait_for_publisher($node);
my $pid = publisher_pid($node);

# Has the publisher look at all that was asked for; returns when it has.
sub request
{
	my ($n) = @_;

	$node->safe_psql('postgres', "SELECT outbox_set_topic('z$n', paused => true)");
	wait_for_answer($node, "SELECT count(*) FROM outbox.cursor WHERE topic = 'z$n'", '1', 'it is done');
	return;
}

$node->safe_psql('postgres',
	"SELECT count(outbox_set_topic(repeat('t', $length) || i, paused => true)) FROM generate_series(1, $topics) i");
wait_for_answer($node, 'SELECT count(*) FROM outbox.cursor WHERE topic IS NOT NULL', $topics, 'all are paused', 60);
request($_) foreach 1 .. 5;
my $before = private_memory($pid);
request($_) foreach 6 .. 5 + $requests;
my $after = private_memory($pid);
is(publisher_pid($node), $pid, 'it is the same publisher');
cmp_ok($before, '>', 0, 'its memory is known');
cmp_ok($after - $before, '<', $allowed, "its memory has grown by less than $allowed MB");
note(sprintf('%.1f MB, then %.1f MB', $before, $after));

$node->stop;
done_testing();
