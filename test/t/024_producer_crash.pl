
# A crash of the producer is not noticed by any session, its remains are always
# cleared away, and it never outlives its publisher; also where the postmaster
# is the process that inherits orphans.

use strict;
use warnings;

use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $kafka = shared_kafka();
my $node = new_node('producer_crash', conf => "restart_after_crash = on\n");
my $crash = qr/terminating any other active server processes/;
my $producer_name = 'outbox_producer';

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# The producer's process id, once there is one other than $not that is at work.
sub producer
{
	my ($not) = @_;

	return wait_until(
		sub {
			my $pid = status($node, "CASE connection WHEN 'connected' THEN producer_pid END");
			return $pid ne '' && $pid != ($not // 0) ? $pid : 0;
		},
		'there is a producer', 60);
}

# The children of a process, as "pid name state".
sub children
{
	my ($parent) = @_;
	my @found;

	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		open(my $in, '<', $file) or next;
		my ($pid, $name, $state, $ppid) = (<$in> // '') =~ /^(\d+) \((.*)\) (\S) (\d+)/ or next;
		push @found, "$pid $name $state" if $ppid == $parent;
	}
	return @found;
}

# Under load, each of these ends a producer; no session must notice.

my $topic = $kafka->create_topic('crash');
my $session = $node->background_psql('postgres');
my $backend = $session->query_safe('SELECT pg_backend_pid()');
my $load = start_load($node, topics => [$topic], clients => 4, seconds => 6);
my $publisher = status($node, 'pid');
my $last = producer();

is(process_name($last), $producer_name, 'the producer is a process of its own');
foreach my $signal (qw(SEGV ABRT KILL BUS SEGV KILL))
{
	my $pid = $last;

	kill($signal, $pid) or die "cannot signal $pid: $!";
	$last = producer($pid);
	is_deeply([ grep { /^$pid / } children($publisher) ], [], "after SIG$signal nothing is left of the producer");
}

# What the postmaster or a session sends to the whole process group is not
# meant for it.
kill($_, $last) foreach qw(INT TERM HUP USR1 USR2);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($publisher)");

my $outcome = $load->finish;
is($outcome->{lost_connections} // 0, 0, 'no session has noticed');
wait_published($node);
is(status($node, 'pid'), $publisher, 'the publisher is still the same');
is(producer(), $last, 'signals to the process group do not end the producer');
verify_load($node, $kafka, 'after crashes of the producer', topics => [$topic], duplicates => undef);
is(scalar children($publisher), 1, 'the publisher has one child');

# The producer ends with its publisher, whichever way that one goes.

$node->safe_psql('postgres', "SELECT pg_terminate_backend($publisher)");
wait_until(sub { return process_name($last) eq '' }, 'the producer ends with a publisher that is terminated');
$last = producer($last);
isnt(status($node, 'pid'), $publisher, 'the publisher is started again');
is($session->query_safe('SELECT pg_backend_pid()'), $backend, 'the session is still there');
$session->quit;
unlike(slurp_file($node->logfile), $crash, 'the server has met no crash');

kill('STOP', $last);
$publisher = status($node, 'pid');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($publisher)");
$last = do
{
	my $stopped = $last;
	wait_until(sub { return process_name($stopped) eq '' },
		'a producer that does not run ends with its publisher');
	producer($stopped);
};

$publisher = status($node, 'pid');
kill('KILL', $publisher);
wait_until(sub { return process_name($last) eq '' }, 'the producer ends with a publisher that is killed');
pass('the producer ends with a publisher that is killed');
$last = producer($last);

$node->stop('fast');
is(process_name($last), '', 'no producer is left after a fast shutdown');
$node->start;
$last = producer();
$node->stop('immediate');
wait_until(sub { return process_name($last) eq '' }, 'the producer is gone after an immediate shutdown');
pass('nor after an immediate one');
$node->start;
$last = producer();
$node->kill9;
wait_until(sub { return process_name($last) eq '' }, 'the producer is gone after its postmaster was killed');
pass('nor where the postmaster was killed');
start_again($node);
producer();
$node->stop('fast');

# The postmaster as process 1, as in a container: it inherits orphans, and
# would take the death of one for the crash of a backend.

SKIP:
{
	my @unshare = ('unshare', '--pid', '--fork', '--mount-proc', '--kill-child');

	# Ordinary users need a user namespace for it.
	push @unshare, ('--user', '--map-current-user') if $> != 0;
	skip 'the postmaster as process 1: pid namespaces cannot be made here', 9
	  if !IPC::Run::run([ @unshare, 'true' ], '<', \undef, '>&', \my $reason);

	my $log;
	my $file = $node->logfile;
	my $offset = -s $file;
	my $handle = IPC::Run::start(
		[ @unshare, 'postgres', '-D', $node->data_dir ],
		'<', \undef, '>>', $file, '2>>', $file);

	wait_until(sub { return $node->safe_psql('postgres', 'SELECT 1') }, 'the server is up', 60);
	is((split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0], 1, 'the postmaster is process 1');
	$session = $node->background_psql('postgres');
	$backend = $session->query_safe('SELECT pg_backend_pid()');

	# Numbers of processes are those inside, so that a session there signals.
	my $inside = sub {
		my ($command) = @_;
		return $node->psql('postgres', "COPY (SELECT) TO PROGRAM 'cat >/dev/null; $command'");
	};
	$last = producer();
	foreach my $name (qw(KILL SEGV))
	{
		my $pid = $last;
		is($inside->("kill -$name $pid"), 0, "a session sends SIG$name");
		$last = producer($pid);
	}
	pass('the producer was killed, and started again');

	foreach my $round (1 .. 2)
	{
		my $pid = $last;
		$publisher = status($node, 'pid');
		$node->safe_psql('postgres', "SELECT pg_terminate_backend($publisher)");
		$last = producer($pid);
		isnt(status($node, 'pid'), $publisher, 'the publisher was terminated, and started again');
	}

	# both at once: the producer is dead, and not reaped yet
	$publisher = status($node, 'pid');
	$inside->("kill -KILL $last; kill -TERM $publisher");
	$last = producer($last);

	$node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'from a container')");
	wait_published($node);
	is($session->query_safe('SELECT pg_backend_pid()'), $backend, 'the session is still there');
	$session->quit;
	$log = slurp_file($file, $offset);
	unlike($log, $crash, 'the server has met no crash');
	unlike($log, qr/untracked child process/, 'and no child that it does not know');

	# An orderly shutdown, from inside: process 1 of a namespace gets no signal
	# from there but those that it handles.
	$inside->('kill -INT 1');
	IPC::Run::finish($handle);
}

done_testing();
