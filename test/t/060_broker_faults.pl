
# A broker that dies, is restarted, is away for long, or stands still. The
# producer lives on, and an idempotent one repeats nothing.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

# From the moment at which the broker answers: the client tries again each
# second (reconnect.backoff.max.ms), and asks for leaders once it is connected.
my $resumes = 10;

my $kafka = own_kafka();
my $node = new_node('broker_faults', kafka => $kafka, conf => "max_wal_size = 4GB\n");
my $matrix = FaultMatrix->new($node, $kafka);

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

$matrix->row(
	'kill -9 of the broker, and restart',
	sub {
		$kafka->kill9;
		$kafka->restart;
	},
	resumes => $resumes);

$matrix->row(
	'broker restarted',
	sub {
		$kafka->stop;
		$kafka->restart;
	},
	resumes => $resumes);

my $away = fault_seconds(10, 180);
$matrix->row(
	"broker down for $away s, with a backlog",
	sub {
		$kafka->stop;
		sleep $away;
		isnt(status($node, 'connection'), 'connected', 'it shows that the broker is away');
		$kafka->restart;
	},
	resumes => $resumes,
	limit => 300);

my $still = fault_seconds(5, 30);
$matrix->row(
	"SIGSTOP of the broker for $still s",
	sub {
		$kafka->pause;
		my $published = $matrix->published_at_rest;
		sleep $still - 2;
		is(status($node, 'published'), $published, 'nothing is acknowledged');
		$kafka->resume;
	},
	resumes => $resumes);

$node->stop('fast');
done_testing();
