
# At least once and in order per key, counted at a consumer, while sessions
# emit and server, workers and broker fail in turn.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

# Its own broker, because it is broken below.
my $kafka = own_kafka();
# Servers of TAP tests stay down after a crash by default.
my $node = new_node('load_faults', kafka => $kafka, conf => "restart_after_crash = on\n");
my $keys = 40;

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# Published and at rest before every fault: whatever is repeated later, these
# events are not.
my $rest = $kafka->create_topic('rest');
my $resting = 200;

# A crash may repeat what was under way, and what was acknowledged in the moments
# before it: a second of the load, and more where the machine is slow.
my $crash = 0.5;
$node->safe_psql('postgres',
	"SELECT outbox_emit('$rest', i::text, i % 7) FROM generate_series(1, $resting) i");
wait_published($node);

# Load, with something that happens in the middle of it.
#	seconds		how long the load lasts (default 3)
#	repeats		the share of its events that the fault may repeat (default 0)
#	before		runs before the load starts
#	after		runs when the load is over
sub under_load
{
	my ($name, $fault, %opt) = @_;
	my @topics = map { $kafka->create_topic("load$_") } 1 .. 2;

	$opt{before}->() if $opt{before};
	my $load = start_load($node, topics => \@topics, clients => 6, keys => $keys,
		seconds => $opt{seconds} // 3, seed => $name);
	wait_until(sub { return $node->safe_psql('postgres', 'SELECT count(*) > 50 FROM load.truth') eq 't' },
		'the load is under way', 60);
	$fault->();
	my $outcome = $load->finish;
	$opt{after}->() if $opt{after};

	# events may still come after the last one that is missed: phantoms
	wait_published($node, undef, 120);
	my $counts = verify_load($node, $kafka, $name, topics => \@topics, duplicates => undef);
	cmp_ok($counts->{duplicates}, '<=', ($opt{repeats} // 0) * $counts->{committed},
		"$name: no more is repeated than was under way");
	diag(sprintf('%s: committed %d, undone %d, lost connections %d, duplicates %d', $name,
		$counts->{committed}, $outcome->{events_undone}, $outcome->{lost_connections} // 0,
		$counts->{duplicates}));
	is($kafka->record_count($rest), $resting, "$name: what was at rest is not repeated");
	$node->safe_psql('postgres', 'TRUNCATE load.truth');
	return $outcome;
}

# A server that is back, and takes commands.
sub wait_for_server
{
	return wait_until(sub { return $node->safe_psql('postgres', 'SELECT 1') },
		'the server is back', 60);
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
	wait_until(
		sub {
			my $now = status($node, 'producer_pid');
			return $now ne '' && $now != $pid && status($node, 'connection') eq 'connected';
		},
		'there is another producer', 60);
	return;
}

my $outcome = under_load('no fault', sub { });
is($outcome->{lost_connections} // 0, 0, 'no connection was lost where nothing was wrong');

# A planned restart lets acknowledgements on their way come in.
$outcome = under_load('restart, fast', sub { $node->restart('fast') foreach 1 .. 2; });
cmp_ok($outcome->{lost_connections}, '>', 0, 'the load survives a restart');

under_load(
	'kill -9 of the publisher',
	sub {
		kill('KILL', wait_for_status('pid'));
		wait_for_server();
	},
	repeats => $crash);

under_load('kill -9 of the producer', sub { kill_producer('KILL') foreach 1 .. 3; },
	repeats => $crash);

under_load(
	'kill -9 of the postmaster',
	sub {
		$node->kill9;
		start_again($node);
	},
	repeats => $crash);

under_load(
	'immediate shutdown',
	sub {
		$node->stop('immediate');
		$node->start;
	},
	repeats => $crash);

# The broker.  What it has not acknowledged is sent again by the same idempotent
# producer, so that mostly nothing is doubled, but that is not promised.

under_load(
	'broker down at start',
	sub { },
	seconds => 2,
	before => sub {
		# The client of the load's topics needs a broker; the server does not.
		$kafka->stop;
		$node->restart('fast');
	},
	after => sub {
		isnt(status($node, 'state'), 'idle', 'events wait for the broker');
		$kafka->restart;
	});

under_load(
	'broker stopped and back',
	sub {
		$kafka->stop;
		sleep 1;
		$kafka->restart;
	},
	repeats => $crash,
	seconds => 5);

under_load(
	'kill -9 of the broker',
	sub {
		$kafka->kill9;
		$kafka->restart;
	},
	repeats => $crash,
	seconds => 5);

under_load('no fault, after all of them', sub { }, seconds => 2);

$node->stop('fast');
done_testing();
