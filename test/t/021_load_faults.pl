
# At least once and in order per key, counted at a consumer, while sessions
# emit and server, workers and broker fail in turn.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

# Its own broker, because it is broken below.
my $kafka = own_kafka();
# Servers of TAP tests stay down after a crash by default.
my $node = new_node('load_faults', kafka => $kafka, conf => "restart_after_crash = on\n");

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# Published and at rest before every fault: whatever is repeated later, these
# events are not.
my $rest = $kafka->create_topic('rest');
my $resting = 200;

$node->safe_psql('postgres',
	"SELECT outbox_emit('$rest', i::text, i % 7) FROM generate_series(1, $resting) i");
wait_published($node);

my $matrix = FaultMatrix->new($node, $kafka);

sub row
{
	my ($name, @rest) = @_;
	my $counts = $matrix->row($name, @rest);

	is($kafka->record_count($rest), $resting, "$name: what was at rest is not repeated");
	return $counts;
}

# One value of outbox.status, waited for.
sub wait_for_status
{
	my ($column) = @_;

	return wait_until(sub { return status($node, $column) }, "there is a $column", 60);
}

sub kill_producer
{
	my ($signal) = @_;
	my $pid = wait_for_status('producer_pid');

	kill($signal, $pid) or die "cannot kill $pid: $!";
	$matrix->over;
	wait_until(
		sub {
			my $now = status($node, 'producer_pid');
			return $now ne '' && $now != $pid && status($node, 'connection') eq 'connected';
		},
		'there is another producer', 60);
	return;
}

my $counts = row('no fault', sub { });
is($counts->{load}{lost_connections} // 0, 0, 'no connection was lost where nothing was wrong');

# A planned restart lets acknowledgements on their way come in.
$counts = row('restart of the server, fast, twice', sub { $node->restart foreach 1 .. 2; });
cmp_ok($counts->{load}{lost_connections}, '>', 0, 'the load survives a restart');

row('kill -9 of the publisher', sub { kill('KILL', wait_for_status('pid')); }, repeats => CRASH);

row('kill -9 of the producer, three times', sub { kill_producer('KILL') foreach 1 .. 3; },
	repeats => ON_ITS_WAY, times => 3);

row('kill -9 of the postmaster',
	sub {
		$node->kill9;
		$matrix->over;
		start_again($node);
	},
	repeats => CRASH);

row('immediate shutdown',
	sub {
		$node->stop('immediate');
		$node->start;
	},
	repeats => CRASH);

# The broker.  What it has not acknowledged is sent again by the same idempotent
# producer, so that mostly nothing is doubled, but that is not promised.

row('broker down when the server starts',
	sub {
		$kafka->stop;
		$node->restart;
		$matrix->wait_for_server;
		isnt(status($node, 'state'), 'idle', 'events wait for the broker');
		$kafka->restart;
	},
	repeats => [ ON_ITS_WAY->[0], 'on its way when a planned stop found the broker silent' ]);

row('broker stopped and back',
	sub {
		$kafka->stop;
		sleep fault_seconds(1, 60);
		$kafka->restart;
	},
	repeats => ON_ITS_WAY);

row('kill -9 of the broker, and back',
	sub {
		$kafka->kill9;
		$kafka->restart;
	},
	repeats => ON_ITS_WAY);

row('no fault, after all of them', sub { });

$node->stop('fast');
done_testing();
