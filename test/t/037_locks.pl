# 037_locks.pl
#	  The publisher and those who hold locks on the segments.
#
# Nobody who locks the segments, for however long, keeps the publisher from
# ending, outbox.status from answering, or events from being published once the
# lock is gone.  Prepared transactions hold the locks: they outlive sessions.
#
# IDENTIFICATION
#	  test/t/037_locks.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $segments = join(', ', map { "outbox.event_$_" } 0 .. 3);
my $node = fake_node('main');
my $pid;

# How outbox.status must answer while others hold locks: soon.
sub status_soon
{
	my ($expression) = @_;

	# far less than the lock lasts, and enough for the first call of a session
	return $node->safe_psql('postgres', "SET statement_timeout = '4s';"
		  . "SELECT $expression FROM outbox.status WHERE database = current_database()");
}

# Whether a publisher has waited for a lock until its own lock_timeout, 5 s, was
# over, since the log was so long: that is said there.
sub waited_it_out
{
	my ($pid, $offset) = @_;

	return slurp_file($node->logfile, $offset) =~ /\[$pid\] .*lock timeout/;
}

# Returns, when a publisher waits for a lock on a segment, its pid; with a
# condition, when that holds as well, which may be what is done to it at once.
sub wait_for_lock_wait
{
	my ($condition) = @_;

	$condition //= 'true';
	# it reads the segments only when a transaction has ended
	$node->safe_psql('postgres', 'SELECT pg_current_xact_id()');
	return wait_until(
		sub {
			$node->safe_psql('postgres', qq{
				WITH waiting AS MATERIALIZED (
					SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
					WHERE NOT granted AND locktype = 'relation' AND backend_type = 'outbox publisher')
				SELECT pid FROM waiting WHERE $condition});
		},
		'the publisher waits for a lock');
}

# A lock that keeps out everybody, while an event waits.
wait_for_publisher($node);
my $lock = "BEGIN; LOCK TABLE $segments IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'exclusive'";
fake_command($node, 'hold');
$node->safe_psql('postgres', "SELECT outbox_emit('t', 'waiting', 'k')");
fake_wait($node, 'waiting');
is(status_soon('oldest_waiting IS NULL'), 'f', 'an event waits');
$node->safe_psql('postgres', $lock);
my $offset = -s $node->logfile;
$pid = wait_for_lock_wait('pg_terminate_backend(pid)');
is(status_soon('oldest_waiting IS NULL'), 't', 'outbox.status does not wait for the lock');
wait_until(sub { status_soon("pid IS DISTINCT FROM $pid") eq 't' }, 'the publisher has ended', 60);
ok(!waited_it_out($pid, $offset), 'pg_terminate_backend ends the publisher that waits for a lock');

# What others may not cancel, lock_timeout does, and the view says why.
$offset = -s $node->logfile;
$pid = wait_for_lock_wait('pg_cancel_backend(pid)');
wait_until(sub { status_soon(q{error_class = 'server' AND error LIKE '%lock timeout%'}) eq 't' },
	'outbox.status shows the error');
unlike(slurp_file($node->logfile), qr/due to user request/,
	'lock_timeout ends the wait, as outbox.status says; pg_cancel_backend does not');
wait_until(sub { waited_it_out($pid, $offset) }, 'the log says so');
pass('and the log says so');

my $from = fake_position($node);
$node->safe_psql('postgres', "ROLLBACK PREPARED 'exclusive'");
$node->safe_psql('postgres', "SELECT outbox_emit('t', 'after', 'k')");
fake_wait($node, 'after', from => $from);
wait_until(sub { status_soon('error IS NULL') eq 't' }, 'the error is over');
is_deeply([ fake_payloads($node, from => $from) ], [ 'waiting', 'after' ],
	'publishing goes on when the lock is gone');

# The same lock at a shutdown; it outlives the server.
$node->safe_psql('postgres', $lock);
$offset = -s $node->logfile;
$pid = wait_for_lock_wait();
$node->stop('fast');
ok(!waited_it_out($pid, $offset), 'a fast shutdown does not wait for the lock');
$node->start;
wait_for_lock_wait();
$from = fake_position($node);
$node->safe_psql('postgres', "ROLLBACK PREPARED 'exclusive'");
fake_command($node, 'auto');
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from) ], [ 'waiting', 'after' ],
	'and is no trouble once it is gone');

$node->stop;
done_testing();
