
# Rows of the fault matrix: a physical standby that is promoted, with events in
# flight.  The clients go to whichever server takes writes.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

need_real_kafka();

# A pair of servers, and a row about them; the fault ends the first.  Options:
#	synchronous		commits wait for the standby
# and those of FaultMatrix::row.
sub failover
{
	my ($number, $name, $fault, %opt) = @_;
	my $synchronous = delete $opt{synchronous};
	my $primary = new_node("primary$number", init => [ allows_streaming => 1 ]);
	my $standby = PostgreSQL::Test::Cluster->new("standby$number");

	$primary->safe_psql('postgres', 'CREATE EXTENSION outbox');
	$primary->backup('backup');
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	$standby->start;
	if ($synchronous)
	{
		$primary->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = '*'");
		$primary->reload;
		wait_until(
			sub { return $primary->safe_psql('postgres', "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") },
			'the standby is synchronous');
	}

	my $connect = sprintf('host=%s,%s port=%d,%d dbname=postgres target_session_attrs=read-write',
		$primary->host, $standby->host, $primary->port, $standby->port);
	my $matrix = FaultMatrix->new($primary, shared_kafka());
	my $counts = $matrix->row($name,
		sub {
			$fault->($primary, $standby, $matrix);
			$matrix->over;
			$standby->promote;
			$matrix->use_node($standby);
		},
		load => { connstr => $connect },
		# a standby that is being promoted takes no writes yet
		errors => '40,25006',
		%opt);

	$standby->stop('fast');
	return $counts;
}

# An orderly stop sends everything to the standby before it ends, what was
# published included.
failover(1, 'switchover to a standby',
	sub { $_[0]->stop('fast'); });

# Commits wait for the standby, but nobody waits for the cursor: it is as after
# a crash.
failover(2, 'failover to a synchronous standby',
	sub { $_[0]->stop('immediate'); },
	synchronous => 1,
	repeats => CRASH);

# What the standby did not have is gone, and Kafka may have it: PostgreSQL says
# that these commits were never made.
my $counts = failover(3, 'failover to an asynchronous standby that lags',
	sub {
		my ($primary, $standby, $matrix) = @_;
		my ($topic) = $matrix->topics;
		my $pid = $primary->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');

		# what is not sent is not in any buffer either; the server kills it when it
		# ends, and so it never goes on
		$primary->safe_psql('postgres', "INSERT INTO load.key VALUES ('key-gone')");
		kill('STOP', $pid) or die "cannot signal $pid: $!";
		$primary->safe_psql('postgres',
			"SELECT load.emit('$topic', 'key-gone', 'x', extract(epoch FROM clock_timestamp()))");
		wait_until(
			sub {
				return $primary->safe_psql('postgres',
					"SELECT outbox_is_published(xid, id, topic, key) FROM outbox.event WHERE key = 'key-gone'") eq 't';
			},
			'Kafka has an event that the standby has not');
		$primary->stop('immediate');
	},
	repeats => [ CRASH->[0], 'since the cursor that the standby has' ],
	promised_not => [ 'phantom', 'phantoms: commits that the failover took away' ]);

# They are those that clients were told of: each of them was once committed.
diag(sprintf('asynchronous failover: %d events were committed that are gone, of which Kafka has %d',
	$counts->{load}{events_committed} - $counts->{committed}, $counts->{phantom}));
cmp_ok($counts->{phantom}, '>', 0, 'the asynchronous standby was behind');

done_testing();
