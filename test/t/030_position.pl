# 030_position.pl
#	  The position inside a batch, and going on from it.
#
# The first of two batches in flight is acknowledged in part, its position is
# stored, and the publisher ends.  The next one must end that batch where it
# ended then: the second holds an event with a lower id, committed late, which
# "all that is visible now, with a higher id" would lose (G1).
#
# IDENTIFICATION
#	  test/t/030_position.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Events in a batch, large enough for several chunks of the spool: positions
# are at the ends of chunks.
my $events = 40;
my $filler = 3000;

my $node = fake_node('main');
my $number = 0;

# Leaves a batch in flight, its events up to $acknowledged acknowledged and the
# position stored, and a prepared transaction with an event of lower id.
# Returns the names of the events of the batch, and of the late one.
sub open_batch
{
	my ($acknowledged) = @_;
	my $name = 'b' . ++$number;

	wait_for_publisher($node);
	fake_command($node, 'hold');
	$node->safe_psql('postgres',
		"BEGIN; SELECT outbox_emit('t', '$name late', 'late'); PREPARE TRANSACTION '$name'");
	$node->safe_psql('postgres', qq{
		SELECT count(outbox_emit('t', '$name ' || i || '.' || repeat('x', $filler), 'k' || i % 5))
		FROM generate_series(1, $events) i});
	fake_wait($node, "$name $events");
	my ($first) = grep { $_->{payload} =~ /^$name 1\./ } fake_events($node);
	fake_command($node, "ack $first->{number}-" . ($first->{number} + $acknowledged - 1));
	wait_until(
		sub { $node->safe_psql('postgres', 'SELECT position IS NOT NULL FROM outbox.cursor') eq 't'; },
		'the position is stored');
	return ("$name late", map { "$name $_" } 1 .. $events);
}

# What is sent from here on is the rest of the batch, in order, and then the
# late event; returns how many of the batch were sent again.
sub check_rest
{
	my ($what, $from, $acknowledged, $late, @names) = @_;

	fake_command($node, 'auto');
	fake_wait($node, $late, from => $from);
	wait_for_published($node);
	my @sent = fake_payloads($node, from => $from);
	my $skipped = $events - (@sent - 1);
	is_deeply(\@sent, [ @names[ $skipped .. $#names ], $late ],
		"$what: the rest in order, then the late one");
	cmp_ok($skipped, '>', 0, "$what: not from the beginning");
	cmp_ok($skipped, '<=', $acknowledged, "$what: nothing is left out");
	return;
}

# The late one is in flight, in a batch of its own, when the publisher ends.
my ($late, @names) = open_batch(30);
$node->safe_psql('postgres', "COMMIT PREPARED 'b1'");
fake_wait($node, $late);
my $pid = publisher_pid($node);
my $from = fake_position($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for_publisher($node, not => $pid);
check_rest('terminated', $from, 30, $late, @names);

# It commits while there is no publisher that reads.
($late, @names) = open_batch(20);
$pid = publisher_pid($node);
$from = fake_position($node);
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET outbox.enabled = off');
wait_until(sub { publisher_status($node, "pid <> $pid AND state = 'paused'") eq 't' },
	'the publisher is paused');
$node->safe_psql('postgres', "COMMIT PREPARED 'b2'");
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET outbox.enabled');
wait_for_publisher($node);
check_rest('paused', $from, 20, $late, @names);

# A crash of the whole server, once the position is on disk.
($late, @names) = open_batch(25);
$node->safe_psql('postgres', "COMMIT PREPARED 'b3'");
fake_wait($node, $late);
$node->safe_psql('postgres', 'CHECKPOINT');
$from = fake_position($node);
$node->stop('immediate');
$node->start;
check_rest('crashed', $from, 25, $late, @names);

# Nothing is in flight any more: no position, and nothing is sent again.
is($node->safe_psql('postgres', 'SELECT open IS NULL AND position IS NULL FROM outbox.cursor'),
	't', 'no position is left');
$from = fake_position($node);
$node->restart;
$node->safe_psql('postgres', "SELECT outbox_emit('t', 'last', 'k')");
fake_wait($node, 'last', from => $from);
is_deeply([ fake_payloads($node, from => $from) ], ['last'], 'an idle restart sends nothing again');

$node->stop;
done_testing();
