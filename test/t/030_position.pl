# 030_position.pl
#	  The position inside a batch, and going on from it.
#
# The first of two batches in flight is acknowledged in part, its position is
# stored, and the publisher ends.  The next one must end that batch where it
# ended then: the second holds an event with a lower id, committed late, which
# "all that is visible now, with a higher id" would lose (G1), and one with a
# higher id, which would be in both.
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

sub commit_late
{
	my ($late) = @_;

	$node->safe_psql('postgres', "COMMIT PREPARED '$_'") foreach @$late;
	return;
}

# Leaves a batch in flight, its events up to $acknowledged acknowledged and the
# position stored, and two prepared transactions that are older than its end,
# with an event of lower and one of higher id.  Returns the names of these two
# and of the events of the batch.  With in_flight, the two are committed and in
# flight, in batches of their own, before anything is acknowledged.
sub open_batch
{
	my ($acknowledged, %opt) = @_;
	my $late;
	my $name = 'b' . ++$number;

	wait_for_publisher($node);
	fake_command($node, 'hold');
	$node->safe_psql('postgres',
		"BEGIN; SELECT outbox_emit('t', '$name low', 'late'); PREPARE TRANSACTION '$name low'");
	$node->safe_psql('postgres', qq{
		BEGIN;
		SELECT count(outbox_emit('t', '$name ' || i || '.' || repeat('x', $filler), 'k' || i % 5))
		FROM generate_series(1, $events) i;
		PREPARE TRANSACTION '$name'});
	$node->safe_psql('postgres',
		"BEGIN; SELECT outbox_emit('t', '$name high', 'late'); PREPARE TRANSACTION '$name high'");
	# makes it one that runs in the eyes of the snapshot, not a future one
	$node->safe_psql('postgres', 'SELECT pg_current_xact_id()');
	$node->safe_psql('postgres', "COMMIT PREPARED '$name'");
	fake_wait($node, "$name $events");
	$late = [ "$name low", "$name high" ];
	if ($opt{in_flight})
	{
		commit_late($late);
		fake_wait($node, $late->[1]);
	}
	my ($first) = grep { $_->{payload} =~ /^$name 1\./ } fake_events($node);
	fake_command($node, "ack $first->{number}-" . ($first->{number} + $acknowledged - 1));
	wait_until(
		sub { $node->safe_psql('postgres', 'SELECT position IS NOT NULL FROM outbox.cursor') eq 't'; },
		'the position is stored');
	return ($late, map { "$name $_" } 1 .. $events);
}

# What is sent from here on is the rest of the batch, in order, and then the
# late events.
sub check_rest
{
	my ($what, $from, $acknowledged, $late, @names) = @_;

	fake_command($node, 'auto');
	fake_wait($node, $late->[1], from => $from);
	wait_for_published($node);
	my @sent = fake_payloads($node, from => $from);
	my $skipped = $events - (@sent - 2);
	is_deeply(\@sent, [ @names[ $skipped .. $#names ], @$late ],
		"$what: the rest in order, then the late ones");
	cmp_ok($skipped, '>', 0, "$what: not from the beginning");
	cmp_ok($skipped, '<=', $acknowledged, "$what: nothing is left out");
	return;
}

# They are in flight, too, when the position is stored.
my ($late, @names) = open_batch(30, in_flight => 1);
my $pid = publisher_pid($node);
my $from = fake_position($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for_publisher($node, not => $pid);
check_rest('terminated', $from, 30, $late, @names);

# They commit while there is no publisher that reads.
($late, @names) = open_batch(20);
$pid = publisher_pid($node);
$from = fake_position($node);
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET outbox.enabled = off');
wait_until(sub { publisher_status($node, "pid <> $pid AND state = 'paused'") eq 't' },
	'the publisher is paused');
commit_late($late);
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET outbox.enabled');
wait_for_publisher($node);
check_rest('paused', $from, 20, $late, @names);

# They are in flight when the whole server crashes, once the position is on disk.
($late, @names) = open_batch(25);
commit_late($late);
fake_wait($node, $late->[1]);
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
