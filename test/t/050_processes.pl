
# Rows of the fault matrix: processes that die or stop, under load.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

# A producer that does not start before a file is gone: connecting for as long
# as the test likes.
my $folder = PostgreSQL::Test::Utils::tempdir();
my $gate = "$folder/gate";
my $program = "$folder/producer";
my $real = (run_command([ 'pg_config', '--bindir' ]))[0] . '/outbox_producer';

append_to_file($program, <<"PROGRAM");
#!$^X
select(undef, undef, undef, 0.01) while -e '$gate';
exec {'$real'} \@ARGV ? ('outbox_producer', \@ARGV) : 'outbox_producer';
PROGRAM
chmod(0755, $program) or die "$program: $!";

my $node = new_node('processes', conf => <<"CONF");
restart_after_crash = on
outbox.producer_program = '$program'
CONF

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

my $matrix = FaultMatrix->new($node, shared_kafka());

# The children of a process.
sub children
{
	my ($parent) = @_;
	my @found;

	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		open(my $in, '<', $file) or next;
		my ($pid, $state, $ppid) = (<$in> // '') =~ /^(\d+) \(.*\) (\S) (\d+)/ or next;
		push @found, $pid if $ppid == $parent && $state ne 'Z';
	}
	return @found;
}

# One value of outbox.status, waited for.
sub wait_for_status
{
	my ($column) = @_;

	return wait_until(sub { return status($node, $column) }, "there is a $column", 60);
}

# Return when the state is this.
sub wait_for_state
{
	my ($state) = @_;

	return wait_until(sub { return status($node, 'state') eq $state }, "the publisher is $state", 60);
}

# Return when the producer has something to do: its pid.
sub wait_for_publishing
{
	return wait_until(
		sub { return status($node, "CASE state WHEN 'publishing' THEN producer_pid END") },
		'it publishes', 60);
}

# What a crash restart or a new postmaster changes.
sub life
{
	return $node->safe_psql('postgres', <<'SQL');
SELECT pg_postmaster_start_time(), pid, backend_start
  FROM pg_stat_activity WHERE backend_type = 'outbox launcher'
SQL
}

# A row whose fault no session may notice.
sub unnoticed
{
	my ($name, $fault, %opt) = @_;
	my $session = $node->background_psql('postgres');
	my $backend = $session->query_safe('SELECT pg_backend_pid()');
	my $life = life();
	my $counts = $matrix->row($name, $fault, %opt);

	is($counts->{load}{lost_connections} // 0, 0, "$name: no session is lost");
	is($session->query_safe('SELECT pg_backend_pid()'), $backend, "$name: nor one that is idle");
	is(life(), $life, "$name: the server has met no crash");
	$session->quit;
	return;
}

$matrix->row('no fault', sub { });

# The postmaster restarts everything.

my $launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'outbox launcher'";
$matrix->row('kill -9 of the launcher',
	sub {
		kill('KILL', $node->safe_psql('postgres', $launcher)) or die "cannot kill: $!";
	},
	repeats => CRASH);

my $emitter = <<'SQL';
SELECT pid FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND state = 'active' AND query ~ 'load\.emit' LIMIT 1
SQL
$matrix->row('kill -9 of a backend that emits',
	sub {
		my $pid = wait_until(sub { return $node->safe_psql('postgres', $emitter) }, 'one emits');
		kill('KILL', $pid) or die "cannot kill: $!";
	},
	repeats => CRASH);

# A publisher that is terminated has a planned end, and comes back after 5 s.
unnoticed('publisher terminated',
	sub { $node->safe_psql('postgres', 'SELECT pg_terminate_backend(pid) FROM outbox.status'); });

# The producer, in each state of its publisher.  A stopped process takes a
# signal when it goes on.

unnoticed('SIGSEGV of the producer, connecting',
	sub {
		my $publisher = wait_for_status('pid');

		my $last = wait_for_status('producer_pid');

		append_to_file($gate, '');
		kill('KILL', $last);
		foreach my $round (1 .. 3)
		{
			# the one before may not be gone yet
			my $pid = wait_until(
				sub { return (grep { $_ != $last } children($publisher))[0] },
				'a producer starts', 60);
			wait_for_state('connecting');
			kill('SEGV', $pid);
			wait_until(sub { return process_name($pid) eq '' }, 'it is gone');
			$last = $pid;
		}
		unlink($gate);
	},
	repeats => ON_ITS_WAY);

unnoticed('SIGSEGV of the producer, idle',
	sub {
		$matrix->pause_load;
		wait_for_state('idle');
		my $pid = wait_for_status('producer_pid');
		kill('SEGV', $pid) or die "cannot signal $pid: $!";
		wait_until(sub { return process_name($pid) eq '' }, 'it is gone');
		$matrix->resume_load;
	},
	repeats => ON_ITS_WAY);

unnoticed('SIGSEGV of the producer, publishing',
	sub {
		my $pid = wait_for_publishing();
		kill('SEGV', $pid) or die "cannot signal $pid: $!";
	},
	repeats => ON_ITS_WAY);

unnoticed('SIGSEGV of the producer, stopping',
	sub {
		my $session = $node->background_psql('postgres');
		my $stopping;

		# The state lasts for two seconds, and less if nothing is on its way.
		foreach my $linger (1 .. 10)
		{
			my $pid = wait_for_publishing();
			my $look = "SELECT CASE WHEN producer_pid IS DISTINCT FROM $pid THEN 'over'
				WHEN state = 'stopping' THEN state END FROM outbox.status WHERE database = current_database()";

			kill('STOP', $pid) or die "cannot signal $pid: $!";
			sleep 0.2;
			$node->safe_psql('postgres', "ALTER SYSTEM SET outbox.kafka_options = 'linger.ms=$linger'");
			$node->reload;
			wait_until(sub { return $session->query_safe($look) }, 'the publisher is stopping', 60);

			# it is over when the publisher has killed the producer
			kill('SEGV', $pid);
			$stopping = $session->query_safe($look) eq 'stopping';
			kill('CONT', $pid);
			last if $stopping;
		}
		$session->quit;
		die "the publisher was never seen stopping\n" unless $stopping;
	},
	repeats => ON_ITS_WAY);

# Stopped for a while, as on a machine that stalls.

my $seconds = fault_seconds(4, 30);
foreach my $what ([ 'producer', 'producer_pid' ], [ 'publisher', 'pid' ])
{
	my ($name, $column) = @$what;

	unnoticed("SIGSTOP of the $name for $seconds s",
		sub {
			my $pid = wait_for_status($column);

			if ($name eq 'publisher')
			{
				stop_asleep($node, $pid);
			}
			else
			{
				kill('STOP', $pid) or die "cannot signal $pid: $!";
			}
			sleep $seconds;
			kill('CONT', $pid) or die "cannot signal $pid: $!";
		});
}

$node->stop('fast');
done_testing();
