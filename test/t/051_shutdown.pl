
# Rows of the fault matrix: shutdown with a backlog that nobody takes, settings
# that are wrong for a while, and crashes of a server whose emitters do not wait
# for their commits.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

need_real_kafka();

# Its own broker, because it is stopped below.
my $kafka = own_kafka();
my $node = new_node('shutdown', kafka => $kafka, conf => "restart_after_crash = on\n");

# What waits when the server is asked to end.
my $backlog = fault_seconds(20_000, 300_000);

# How long a shutdown may take, in seconds: an orderly one waits 2 s for the last
# acknowledgements, and writes a checkpoint, for which a busy disk takes long.
my $prompt = 60;

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

my $matrix = FaultMatrix->new($node, $kafka);

# A smart shutdown waits for sessions, and lets no new one in: one that ends all
# others, and itself, is what a pool does that is being drained.
my $end_sessions = <<'SQL';
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE backend_type = 'client backend' ORDER BY pid = pg_backend_pid()
SQL

sub ask_to_end
{
	my ($mode) = @_;
	my $pid = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];

	if ($mode eq 'smart')
	{
		my $session = $node->background_psql('postgres', on_error_stop => 0);

		kill('TERM', $pid) or die "cannot signal $pid: $!";
		wait_until(
			sub { return $node->psql('postgres', 'SELECT 1') != 0; },
			'nobody is let in');
		my $start = time;
		eval { $session->query($end_sessions) };
		eval { $session->quit };
		wait_until(sub { return process_name($pid) eq '' }, 'the server is down', 120);
		$node->_update_pid(0);
		return time - $start;
	}
	my $start = time;
	$node->stop($mode);
	return time - $start;
}

foreach my $mode (qw(fast immediate smart))
{
	my $took;

	$matrix->row("$mode shutdown under a backlog",
		sub {
			my ($topic) = $matrix->topics;

			$kafka->pause;
			$node->safe_psql('postgres', <<"SQL");
DO \$\$
BEGIN
	INSERT INTO load.key VALUES ('key-backlog') ON CONFLICT DO NOTHING;
	FOR i IN 1 .. $backlog LOOP
		PERFORM load.emit('$topic', 'key-backlog', 'x', extract(epoch FROM clock_timestamp()));
		IF i % 100 = 0 THEN COMMIT; END IF;
	END LOOP;
END \$\$
SQL
			$took = ask_to_end($mode);
			$kafka->resume;
			$node->start;
		},
		repeats => $mode eq 'immediate' ? CRASH
		: [ ON_ITS_WAY->[0], 'on its way when a planned stop found the broker silent' ]);
	note(sprintf('%s shutdown: %.1f s', $mode, $took));
	cmp_ok($took, '<', $prompt, "$mode shutdown under a backlog: it is prompt");
}

# Settings.  Wrong ones that the producer refuses leave the one before at work;
# a broker that is not there cannot be told from one that is away.

sub set
{
	my ($setting) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM $setting");
	$node->reload;
	return;
}

sub wait_for_status
{
	my ($column) = @_;

	return wait_until(sub { return status($node, $column) eq 't' }, $column, 60);
}

$matrix->row('reload with a setting that is refused, then a good one',
	sub {
		my $before = status($node, 'published');

		set("SET outbox.kafka_options = 'linger.ms=never'");
		wait_for_status("error_class = 'configuration' AND connection = 'connected' AND published > $before");
		sleep fault_seconds(1, 10);
		set("SET outbox.kafka_options = 'linger.ms=1'");
		wait_for_status('error IS NULL');
	});
$matrix->row('reload with a broker that is not there, then a good one',
	sub {
		# nobody listens on port 1
		set("SET outbox.bootstrap_servers = '127.0.0.1:1'");
		wait_for_status("error_class = 'connection' AND waiting_estimate > 100");
		sleep fault_seconds(1, 30);
		set('RESET outbox.bootstrap_servers');
		$matrix->over;
		wait_for_status("connection = 'connected'");
	});

# Commits that nobody waited for: a crash takes them away, and Kafka must have
# none of them.

$node->append_conf('postgresql.conf', <<'CONF');
wal_writer_delay = 10s
wal_writer_flush_after = 1GB
CONF
$node->reload;
my $in_memory = 'SELECT pg_current_wal_insert_lsn() - pg_current_wal_lsn() > 65536';
my $rounds = fault_seconds(2, 10);
my $undone = 0;
for (my $round = 1; $round <= $rounds || ($undone <= 0 && $round <= 10); $round++)
{
	my $counts = $matrix->row("crash with asynchronous emitters ($round)",
		sub {
			# What is committed now is in memory only: the publisher flushes what it
			# reads, and the WAL writer writes pages that are full.  Something else
			# may still write it all before the crash; then another round must do.
			stop_asleep($node, $_)
			  foreach status($node, 'pid'),
			  $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'});
			wait_until(sub { return $node->safe_psql('postgres', $in_memory) eq 't' },
				'commits are in memory only', 60);
			$node->stop('immediate');
			$matrix->over;
			$node->start;
		},
		# progress is durable after 3 times wal_writer_delay, or with the next flush
		repeats => [ 30, 'acknowledged in the last 30 s before a crash' ],
		load => { asynchronous => 1, prepared => 0 });
	last unless $counts;
	$undone += $counts->{load}{events_committed} - $counts->{committed};
}
diag("events of commits that crashes took away: $undone");
cmp_ok($undone, '>', 0, 'crashes took commits away');

$node->stop('fast');
done_testing();
