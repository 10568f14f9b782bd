# 033_backlog.pl
#	  A backlog that does not fit into memory, with commits that come late.
#
# While nothing is acknowledged the publisher remembers snapshots as marks, the
# ends of later batches.  Every event is sent once, and the events of each key
# in the order of their commits, when they are read at last (G1, G4).
#
# IDENTIFICATION
#	  test/t/033_backlog.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# More than the events after which a mark is taken.
my $events = 11_000;
my $rounds = 5;

my $node = fake_node('main', conf => 'outbox.spool_memory = 1MB');

wait_for_publisher($node);
fake_command($node, 'hold');
my @expected;
foreach my $round (1 .. $rounds)
{
	# these commit after others have passed them
	$node->safe_psql('postgres',
		"BEGIN; SELECT outbox_emit('t', 'late $round', 'late'); PREPARE TRANSACTION 'late $round'");
	$node->safe_psql('postgres', qq{
		SELECT count(outbox_emit('t', '$round ' || i || '.' || repeat('x', 30), 'k' || i % 7))
		FROM generate_series(1, $events) i});

	# each round is read, or has a mark of its own, before the next
	wait_until(
		sub { publisher_status($node, 'waiting_estimate') >= $round * $events },
		"round $round is counted");
	$node->safe_psql('postgres', "COMMIT PREPARED 'late " . ($round - 1) . "'") if $round > 1;
}
$node->safe_psql('postgres', "COMMIT PREPARED 'late $rounds'");
fake_command($node, 'auto');
wait_until(sub { grep { $_->{payload} eq "late $rounds" } fake_events($node) }, 'all is sent', 60);
wait_for_published($node);

my @sent = fake_events($node);
my %uids = map { $_->{uid} => 1 } @sent;
is(scalar(@sent), $rounds * ($events + 1), 'every event is sent once');
is(scalar(keys %uids), scalar(@sent), 'and none twice');

my (%last, @disorder);
foreach my $event (@sent)
{
	my ($round, $i) = $event->{payload} =~ /^(\d+) (\d+)/ or next;
	my $place = $round * $events + $i;
	push @disorder, $event->{payload} if $place < ($last{ $event->{key} } // 0);
	$last{ $event->{key} } = $place;
}
is_deeply(\@disorder, [], 'in order per key');
is_deeply([ map { $_->{payload} } grep { $_->{key} eq 'late' } @sent ],
	[ map { "late $_" } 1 .. $rounds ], 'late ones as well');

$node->stop;
done_testing();
