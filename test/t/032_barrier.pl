# 032_barrier.pl
#	  Nothing is sent that a crash or a failover could still undo (G3).
#
# IDENTIFICATION
#	  test/t/032_barrier.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main', init => [ allows_streaming => 1 ], conf => 'autovacuum = off');

# A commit that is not flushed.  The only other process that would flush it is
# stopped, and then killed, which crashes the server.
foreach my $round (1 .. 3)
{
	wait_for_publisher($node);
	my $walwriter = $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");

	stop_asleep($node, $walwriter);
	$node->safe_psql('postgres',
		"SET synchronous_commit = off; SELECT outbox_emit('t', 'async $round', 'k')");
	fake_wait($node, "async $round");
	kill('KILL', $walwriter);
	wait_until(
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walwriter' AND pid <> $walwriter") eq '1';
		},
		'the server is back');
	is($node->safe_psql('postgres',
			"SELECT count(*) FROM outbox.event WHERE payload = 'async $round'"),
		'1', "round $round: what was sent survives a crash");
}

# A commit that no standby has: the emitter does not wait for one, the
# publisher does, and a wait that is cut short sends nothing.
$node->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
$node->reload;
wait_until(sub { $node->safe_psql('postgres', 'SHOW synchronous_standby_names') eq 'nobody' },
	'the setting is there');
# it is the checkpointer that makes it known, before it does anything else
$node->safe_psql('postgres', 'CHECKPOINT');
$node->safe_psql('postgres',
	"SET synchronous_commit = local; SELECT outbox_emit('t', 'replicated', 'k')");

sub wait_for_wait
{
	wait_until(
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'outbox publisher' AND wait_event = 'SyncRep'") eq '1';
		},
		'the publisher waits for a standby');
}

wait_for_wait();
my $pid = publisher_pid($node);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_until(sub { publisher_status($node, "pid <> $pid") eq 't' }, 'there is another publisher');
wait_for_wait();
is(scalar(grep { $_ eq 'replicated' } fake_payloads($node)),
	0, 'nothing is sent while no standby has it');

$node->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names');
$node->reload;
fake_wait($node, 'replicated');
wait_for_published($node);
is(scalar(grep { $_ eq 'replicated' } fake_payloads($node)), 1, 'and once afterwards');

$node->stop;
done_testing();
