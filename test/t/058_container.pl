
# Rows of the fault matrix: the postmaster as process 1, as in a container.  It
# inherits orphans, and would take the end of one for the crash of a backend.

use strict;
use warnings;

use FaultMatrix;
use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

my @rows = map { "postmaster as process 1: $_" } ('publisher terminated', 'kill -9 of the producer',
	'both at once');
my @unshare = ('unshare', '--pid', '--fork', '--mount-proc', '--kill-child');

# Ordinary users need a user namespace for it.
push @unshare, ('--user', '--map-current-user') if $> != 0;
if (!IPC::Run::run([ @unshare, 'true' ], '<', \undef, '>&', \my $reason))
{
	note($reason);
	FaultMatrix->not_run($_, 'pid namespaces cannot be made here') foreach @rows;
	done_testing();
	exit 0;
}

my $node = new_node('container', start => 0, conf => "restart_after_crash = on\n");
my $file = $node->logfile;
my $server = IPC::Run::start([ @unshare, 'postgres', '-D', $node->data_dir ],
	'<', \undef, '>>', $file, '2>>', $file);

wait_until(sub { return $node->safe_psql('postgres', 'SELECT 1') }, 'the server is up', 60);
is((split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0], 1, 'the postmaster is process 1');
$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

my $matrix = FaultMatrix->new($node, shared_kafka());

# Numbers of processes are those inside, so that a session there signals.
sub inside
{
	my ($command) = @_;

	return $node->psql('postgres', "COPY (SELECT) TO PROGRAM 'cat >/dev/null; $command'");
}

# Both numbers, once there are both.
sub processes
{
	return split /\|/, wait_until(
		sub { return status($node, "pid || '|' || producer_pid") }, 'publisher and producer are there', 60);
}

my $start = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $session = $node->background_psql('postgres');
my $backend = $session->query_safe('SELECT pg_backend_pid()');

$matrix->row($rows[0],
	sub {
		my ($publisher) = processes();
		$node->safe_psql('postgres', "SELECT pg_terminate_backend($publisher)");
	});
$matrix->row($rows[1],
	sub {
		my (undef, $producer) = processes();
		is(inside("kill -KILL $producer"), 0, 'the producer is killed');
	},
	repeats => ON_ITS_WAY);
$matrix->row($rows[2],
	sub {
		my ($publisher, $producer) = processes();
		is(inside("kill -KILL $producer; kill -TERM $publisher"), 0, 'the producer is killed, and not reaped yet');
	},
	repeats => ON_ITS_WAY);

is($session->query_safe('SELECT pg_backend_pid()'), $backend, 'no session has noticed');
$session->quit;
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $start, 'the postmaster is the same');
unlike(slurp_file($file), qr/terminating any other active server processes|untracked child process/,
	'and has met no crash, and no child that it does not know');

# An orderly shutdown, from inside: process 1 of a namespace gets no signal from
# there but those that it handles.
inside('kill -INT 1');
$server->finish;

done_testing();
