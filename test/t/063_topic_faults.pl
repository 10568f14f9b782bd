
# A topic that is missing, deleted, or grows, while the others flow.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

need_real_kafka();

# From the moment at which a topic is there: it is tried each second.
my $resumes = 15;

my $kafka = own_kafka(config => { 'auto.create.topics.enable' => 'false' });
# Partitions that were added are seen when the client asks for metadata again,
# each five minutes by default.
my $node = new_node('topic_faults', kafka => $kafka,
	conf => "outbox.kafka_options = 'topic.metadata.refresh.interval.ms=1000'\n");
my $matrix = FaultMatrix->new($node, $kafka);

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

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

# What is held, and why, as the view has it.
sub held_because
{
	my ($topic) = @_;

	return $node->safe_psql('postgres',
		"SELECT reason, error_class, error FROM outbox.held_topic WHERE topic = '$topic'");
}

# More records come to all of the topics within some seconds.
sub wait_flowing
{
	my (@topics) = @_;

	foreach my $topic (@topics)
	{
		my $before = $kafka->record_count($topic);

		wait_until(sub { return $kafka->record_count($topic) > $before + 20 },
			"$topic flows", 60);
	}
	return;
}

sub create_again
{
	my ($topic) = @_;

	$kafka->create_topic($topic, exact => 1,
		config => { 'message.timestamp.type' => 'LogAppendTime' });
	return;
}

my $away = fault_seconds(3, 60);

my @others = map { $matrix->topic("others$_") } 1 .. 2;
my $missing = $kafka->topic_name('missing');
$matrix->row(
	'topic missing, created later',
	sub {
		my ($self) = @_;

		wait_held($missing, 1);
		like(held_because($missing), qr/topic/i, 'it shows why the topic is held');
		wait_flowing(@others);
		sleep $away;
		wait_flowing(@others);
		create_again($missing);
		$self->over;
		wait_until(sub { return $kafka->record_count($missing) > 0 }, 'the topic flows', 60);
		wait_held($missing, 0);
	},
	load => { topics => [ @others, $missing ] },
	resumes => $resumes);

# What was in the topic is gone with it: what a consumer had read by then
# counts, and what it had no time to read may be missing.
my $other = $matrix->topic('other');
my $doomed = $matrix->topic('doomed');
my ($watch, $read, @gone);
$matrix->row(
	'topic deleted, recreated later',
	sub {
		my ($self) = @_;

		$kafka->delete_topic($doomed);
		@gone = (time - 2, time);
		wait_held($doomed, 1);
		# a consumer that goes on would read the new topic as well
		$read = $kafka->stop_watch($watch);
		wait_flowing($other);
		sleep $away;
		wait_flowing($other);
		create_again($doomed);
		$self->over;
		wait_until(sub { return $kafka->record_count($doomed) > 0 }, 'the topic flows', 60);
		wait_held($doomed, 0);
	},
	before => sub { $watch = $kafka->watch($doomed); },
	verify => sub { return (earlier => $read, gone => [ $doomed, @gone ]); },
	load => { topics => [ $other, $doomed ] },
	repeats => ON_ITS_WAY,
	resumes => $resumes);

# A key moves to another partition, whose records overtake those before: no
# order is promised between the two, but in each of them.
my $steady = $matrix->topic('steady');
my $grown = $matrix->topic('grown');
$matrix->row(
	'partitions added',
	sub {
		$kafka->add_partitions($grown, 8);
		wait_until(
			sub {
				return scalar grep { $_->{partition} >= 4 && $_->{high} > 0 }
				  $kafka->client('ends', $grown);
			},
			'a new partition has records', 30);
	},
	load => { topics => [ $steady, $grown ] },
	moves => 1);

$node->stop('fast');
done_testing();
