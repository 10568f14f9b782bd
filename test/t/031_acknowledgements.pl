# 031_acknowledgements.pl
#	  Acknowledgements in any order across partitions, and then a death.
#
# What is published is a low-water mark: acknowledgements of one partition that
# come before those of another must neither close a batch nor move the
# position over events that are not acknowledged (G1), and what is sent again
# is in order per key (G4).
#
# IDENTIFICATION
#	  test/t/031_acknowledgements.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Enough for several chunks of the spool, so that a position could be stored.
my $events = 40;
my $filler = 3000;

my $node = fake_node('main');
my $number = 0;

# Two batches in flight, their events in partitions 1 and 2 in turn, of which
# all of partition 2 is acknowledged; everything that the publisher stores for
# that is on disk.  Returns the names of the events of both batches, in order.
sub half_acknowledged
{
	my @names;

	wait_for_publisher($node);
	fake_command($node, 'hold');
	my $published = publisher_status($node, 'published');
	my $pid = publisher_pid($node);
	foreach (1 .. 2)
	{
		my $name = 'b' . ++$number;

		$node->safe_psql('postgres', qq{
			SELECT count(outbox_emit('t', '$name ' || i || '.' || repeat('x', $filler),
									 'k' || i % 2, partition => 1 + i % 2))
			FROM generate_series(1, $events) i});
		fake_wait($node, "$name $events");
		push @names, map { "$name $_" } 1 .. $events;
	}
	fake_command($node, 'ack partition=2');
	wait_until(sub { publisher_status($node, 'published') - $published == $events },
		'the acknowledgements are taken');

	# when the second is sent, the turn that has read the first is over, and
	# whatever was due then is stored
	foreach (1 .. 2)
	{
		my $name = 'turn ' . ++$number;

		$node->safe_psql('postgres', "SELECT outbox_emit('t', '$name', 'turn', partition => 3)");
		fake_wait($node, $name);
		push @names, $name;
	}
	$node->safe_psql('postgres', 'CHECKPOINT');
	return ($pid, @names);
}

sub partition_1 { return grep { /^turn/ || /[02468]$/ } @_; }

# Every event of partition 1 is sent from here on, in order; with $only,
# nothing else.
sub check
{
	my ($what, $from, $only, @names) = @_;

	fake_command($node, 'auto');
	fake_wait($node, $names[-1], from => $from);
	wait_for_published($node);
	my @sent = fake_payloads($node, from => $from);
	is_deeply([ $only ? @sent : partition_1(@sent) ], [ partition_1(@names) ],
		"$what: what was not acknowledged is sent again, in order");
	return;
}

# The producer dies: the publisher remembers what is acknowledged.
my ($pid, @names) = half_acknowledged();
my $from = fake_position($node);
fake_command($node, 'crash');
check('producer crashed', $from, 1, @names);
is(publisher_pid($node), $pid, 'producer crashed: the publisher lives on');

# The publisher ends as it is asked to, storing all it may.
($pid, @names) = half_acknowledged();
$from = fake_position($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for_publisher($node, not => $pid);
check('terminated', $from, 0, @names);

# It is killed, and all sessions with it.
($pid, @names) = half_acknowledged();
$from = fake_position($node);
kill('KILL', $pid);
wait_for_publisher($node, not => $pid);
check('killed', $from, 0, @names);

# The whole server crashes.
($pid, @names) = half_acknowledged();
$from = fake_position($node);
$node->stop('immediate');
$node->start;
check('server crashed', $from, 0, @names);

# The first of two batches is closed, the second is not acknowledged at all.
wait_for_publisher($node);
fake_command($node, 'hold');
foreach my $name ('closed', 'open')
{
	$node->safe_psql('postgres', "SELECT outbox_emit('t', '$name', 'k')");
	fake_wait($node, $name);
}
fake_command($node, 'ack payload=closed');
wait_until(
	sub {
		$node->safe_psql('postgres',
			"SELECT outbox_is_published(xid, id, topic, key) FROM outbox.event WHERE payload = 'closed'") eq 't';
	},
	'the first batch is closed');
$pid = publisher_pid($node);
$from = fake_position($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for_publisher($node, not => $pid);
fake_command($node, 'auto');
fake_wait($node, 'open', from => $from);
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from) ], ['open'], 'only the open batch is sent again');

# The last event first, one by one.
fake_command($node, 'hold');
$node->safe_psql('postgres',
	"SELECT count(outbox_emit('t', 'reverse ' || i, 'k' || i)) FROM generate_series(1, 100) i");
fake_wait($node, 'reverse 100');
fake_command($node, 'reverse all');
wait_for_published($node);
is(publisher_status($node, 'waiting_estimate'), '0', 'acknowledged in reverse, all is published');

# What was acknowledged before the end is not sent again by an orderly one.
fake_command($node, 'auto');
$from = fake_position($node);
$node->restart;
$node->safe_psql('postgres', "SELECT outbox_emit('t', 'last', 'k')");
fake_wait($node, 'last', from => $from);
is_deeply([ fake_payloads($node, from => $from) ], ['last'], 'nothing is sent twice after a restart');

$node->stop;
done_testing();
