
# Rows of the fault matrix: what runs out, and comes back: workers, the
# producer's memory, the disk.

use strict;
use warnings;

use FaultMatrix;
use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

need_real_kafka();

my $kafka = shared_kafka();
my $folder = PostgreSQL::Test::Utils::tempdir();

# A producer that gets little memory while a file is there.
my $scarce = "$folder/scarce";
my $program = "$folder/producer";
my $real = (run_command([ 'pg_config', '--bindir' ]))[0] . '/outbox_producer';

append_to_file($program, <<"PROGRAM");
#!/bin/sh
[ ! -e '$scarce' ] || ulimit -v "\$(cat '$scarce')"
exec '$real' "\$@"
PROGRAM
chmod(0755, $program) or die "$program: $!";

# Workers: the launchers of PostgreSQL and outbox, a publisher, no other.
my $node = new_node('resources', conf => <<"CONF");
max_worker_processes = 3
outbox.producer_program = '$program'
CONF

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

my $matrix = FaultMatrix->new($node, $kafka);

# A query in a parallel worker takes the publisher's place while it is away.
# The launcher tries again after 1, 2, 4 ... seconds, a minute at most.
my $parallel = $node->safe_psql('postgres',
	"SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')");
my $seconds = fault_seconds(3, 30);
$matrix->row("no free worker for $seconds s",
	sub {
		my $publisher = status($node, 'pid');
		my $session = $node->background_psql('postgres');

		$session->query_safe("SET $parallel = on");
		$node->safe_psql('postgres', "SELECT pg_terminate_backend($publisher)");
		wait_until(sub { return status($node, 'pid') eq '' }, 'the publisher is gone');
		my $query = IPC::Run::start(
			[ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', "SET $parallel = on", '-c', 'SELECT pg_sleep(3600)' ],
			'<', \undef, '>', \my $out, '2>', \my $err);
		my $worker = wait_until(
			sub {
				return $node->safe_psql('postgres',
					"SELECT leader_pid FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
			},
			'a worker takes its place');
		wait_until(sub { return status($node, 'error') =~ /no free background worker/ },
			'outbox.status says so', 30);
		sleep $seconds;
		$node->safe_psql('postgres', "SELECT pg_cancel_backend($worker)");
		$query->finish;
		$session->quit;
	},
	# the next attempt is as far away as the outage was long, and a minute at most
	resumes => 2 * $seconds + 15);

# Memory.  The limits are such that it cannot start, and that it starts but
# cannot hold what comes: a burst of events of 100 kB, 30 MB in all.
my $burst = <<'SQL';
INSERT INTO load.key VALUES ('key-burst') ON CONFLICT DO NOTHING;
SELECT count(load.emit('%s', 'key-burst', repeat('x', 100000), extract(epoch FROM clock_timestamp())))
  FROM generate_series(1, 300)
SQL

my $start = wait_until(
	sub {
		my ($size) = slurp_file('/proc/' . status($node, 'producer_pid') . '/status') =~ /^VmSize:\s+(\d+) kB/m;
		return $size;
	},
	'the producer is there');
foreach my $part (10, 25)
{
	my $limit = int($start * $part / 100);
	my $said = '';

	$matrix->row("producer with $part % of its memory for $seconds s",
		sub {
			my $pid = wait_until(sub { return status($node, 'producer_pid') }, 'there is a producer');

			append_to_file($scarce, "$limit\n");
			kill('KILL', $pid) or die "cannot kill $pid: $!";
			$node->safe_psql('postgres', sprintf($burst, ($matrix->topics)[0]));
			my $until = time + $seconds;
			while (time < $until)
			{
				my $error = status($node, 'error');
				$said = $error if $error ne '';
				sleep 0.05;
			}
			unlink($scarce);
			$matrix->over;
		},
		repeats => [ ON_ITS_WAY->[0], 'on its way when a producer died' ],
		# the back-off doubles up to 10 s
		resumes => 30);
	diag("with $part % ($limit kB): $said");
}

$node->stop('fast');
done_testing();
