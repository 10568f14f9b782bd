
# Permission to write, taken back and granted again: for one topic, while the
# others flow, and for all.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

my $kafka = own_kafka(listeners => ['SASL_PLAINTEXT'], authorize => 1);
my $node = new_node('permissions', bootstrap => $kafka->listener('SASL_PLAINTEXT'), start => 0);
my $matrix = FaultMatrix->new($node, $kafka);

append_to_file($node->data_dir . '/kafka.conf',
	'security.protocol=sasl_plaintext sasl.mechanisms=PLAIN sasl.username=outbox sasl.password='
	  . $kafka->password . "\n");
$node->append_conf('postgresql.conf', "outbox.kafka_options_file = 'kafka.conf'\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

sub wait_for
{
	my ($condition, $limit) = @_;

	return wait_until(sub { return status($node, $condition) eq 't' }, $condition, $limit // 60);
}

# Return when the topic is held, or no longer.
sub wait_held
{
	my ($topic, $held) = @_;

	return wait_until(
		sub {
			return $node->safe_psql('postgres',
				"SELECT count(*) FROM outbox.held_topic WHERE topic = '$topic'") == $held;
		},
		"$topic is " . ($held ? '' : 'not ') . 'held', 30);
}

my $forbidden = fault_seconds(3, 60);

# A client that may write nowhere is not even let in as a producer: that ends
# it, and others are started, after pauses that grow up to half a minute.
my @topics = map { $matrix->topic("all$_") } 1 .. 2;
$kafka->grant('*');
wait_for("error IS NULL AND connection = 'connected'");
$matrix->row(
	'no write permission anywhere, then granted',
	sub {
		$kafka->revoke('*');
		wait_for("error LIKE '%uthoriz%'");
		$node->safe_psql('postgres',
			'SELECT pg_terminate_backend(pid) FROM outbox.status WHERE pid IS NOT NULL');
		wait_for("error LIKE '%uthoriz%'");
		sleep $forbidden;
		isnt(status($node, 'error_hint'), '', 'it shows what to do');
		$kafka->grant('*');
	},
	load => { topics => [@topics] },
	repeats => ON_ITS_WAY,
	resumes => 40);
wait_for('error IS NULL');

@topics = map { $matrix->topic("one$_") } 1 .. 3;
$kafka->grant($_) foreach @topics;
$kafka->revoke('*');
$matrix->row(
	'write permission on one topic revoked, granted again',
	sub {
		my ($self) = @_;

		$kafka->revoke($topics[2]);
		wait_held($topics[2], 1);
		like(
			$node->safe_psql('postgres',
				"SELECT error_class || error FROM outbox.held_topic WHERE topic = '$topics[2]'"),
			qr/authoriz/i,
			'it shows why the topic is held');
		foreach my $topic (@topics[ 0, 1 ])
		{
			my $before = $kafka->record_count($topic);

			wait_until(sub { return $kafka->record_count($topic) > $before + 20 },
				"$topic flows", 60);
		}
		sleep $forbidden;
		$kafka->grant($topics[2]);
		$self->over;
		wait_held($topics[2], 0);
	},
	load => { topics => \@topics },
	repeats => ON_ITS_WAY,
	resumes => 15);

$node->stop('fast');
done_testing();
