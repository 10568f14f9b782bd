# 101_barrier_of_holds.pl
#	  What is held is not published before its commit is durable either (G3).
#
# The events of a held scope are in no batch, so that no barrier is passed for
# them while they wait: the first event of a topic that is tried, and a copy that
# was parked, pass one of their own.
#
# IDENTIFICATION
#	  test/t/101_barrier_of_holds.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main', init => [ allows_streaming => 1 ], conf => "outbox.retention = 0\n");

# Who waits for a standby is the publisher; our own sessions do not.
sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', "SET synchronous_commit = local; $query");
}

# Have commits wait for a standby that does not exist, or not.
sub ask_for_standby
{
	my ($name) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = '$name'");
	$node->reload;
	wait_until(sub { $node->safe_psql('postgres', 'SHOW synchronous_standby_names') eq $name }, 'the setting is there');
	# it is the checkpointer that makes it known, before it does anything else
	$node->safe_psql('postgres', 'CHECKPOINT');
	return;
}

sub wait_for_wait
{
	wait_until(
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'outbox publisher' AND wait_event = 'SyncRep'") eq '1';
		},
		'the publisher waits for a standby');
	return;
}

# The first event of a topic that is held.  A topic of which nothing waits is held
# for a second only; the publisher is stopped in it, while one is emitted.  Where
# that came too late, or the hold was not even seen, the topic is tried no more,
# and the next round is.
wait_for_publisher($node);
my $alone;
my $session = $node->background_psql('postgres');
foreach my $round (1 .. 40)
{
	ask_for_standby('nobody');
	my $pid = publisher_pid($node);
	fake_command($node, 'topic 3 t blocks', wait => 0);
	eval {
		wait_until(sub { $session->query_safe(q{SELECT count(*) FROM outbox.cursor WHERE topic = 't'}) eq '1' },
			'the topic is held', 10);
	} or next;
	stop_asleep($node, $pid);
	sql(qq{SELECT outbox_emit('t', 'a$round', 'k')});
	kill('CONT', $pid) or die "cannot signal $pid: $!";
	wait_for_wait();
	is(scalar(grep { $_ eq "a$round" } fake_payloads($node)), 0, 'a first event is not sent while no standby has it');
	ask_for_standby('');
	wait_for_published($node);
	wait_for_holds($node);
	my @sent = grep { $_->{payload} eq "a$round" } fake_events($node);
	is(scalar(@sent), 1, 'and once afterwards');
	$alone = $sent[0]{alone};
	last if $alone;
}
$session->quit;
is($alone, 'alone', 'it was the topic that was tried');

# A copy of an event that waits behind a dead letter.  It is made when the main
# row has passed the event, which it does where another scope joins without any
# event, and when a publisher that starts finds that its segment is old enough.
fake_command($node, 'poison payload=b1');
emit($node, 't', 'k', 'b1');
wait_for_holds($node, 't/k/dead letter');
sql(q{SELECT outbox_set_topic('z', paused => true)});
wait_for_holds($node, 't/k/dead letter', 'z/paused');
ask_for_standby('nobody');
sql(q{SELECT outbox_emit('t', 'b2', 'k')});
sql(q{SELECT outbox_set_topic('z', paused => false)});
wait_for_holds($node, 't/k/dead letter');
terminate_publisher($node);
wait_for_answer($node, q{SELECT convert_from(payload, 'UTF8') FROM outbox.dead_letter WHERE state = 'parked'}, 'b2', 'it is copied');
sql(q{SELECT outbox_discard('t', 'k')});
wait_for_wait();
is(scalar(grep { $_ eq 'b2' } fake_payloads($node)), 0, 'nor is a copy');
ask_for_standby('');
wait_for_holds($node);
wait_for_published($node);
is(scalar(grep { $_ eq 'b2' } fake_payloads($node)), 1, 'and once afterwards');

$node->stop;
done_testing();
