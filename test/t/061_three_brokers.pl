
# Three brokers, each record on all of them, acknowledged by two at least: one
# is killed, leaders move, two are killed.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

my $kafka = own_kafka(brokers => 3);
my $node = new_node('three_brokers', kafka => $kafka);
my $matrix = FaultMatrix->new($node, $kafka);

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# Return when all replicas are back, so that the next fault meets a whole cluster.
sub wait_in_sync
{
	my (@topics) = @_;

	foreach my $topic (@topics)
	{
		wait_until(sub { return !grep { $_ < 3 } $kafka->in_sync($topic); },
			"all replicas of $topic are in sync", 90);
	}
	return;
}

my @topics;

sub new_topics
{
	@topics = map { $matrix->topic("replicated$_") } 1 .. 2;
	return \@topics;
}

# Publishing goes on without the third broker, when the cluster has noticed
# (broker.session.timeout.ms, 1.5 s here) and the client asks for new leaders.
my $alone = fault_seconds(5, 30);
$matrix->row(
	'one broker of three killed, and back',
	sub {
		my ($self) = @_;

		$kafka->kill9(2);
		$self->over;
		sleep $alone;
		$kafka->restart;
	},
	load => { topics => new_topics() },
	resumes => 15);
wait_in_sync(@topics);

# Nobody is away: a request to the old leader is refused, and repeated.
$matrix->row(
	'leaders moved',
	sub {
		foreach my $broker (full_faults() ? (1, 2, 3, 1) : 2)
		{
			$kafka->lead($broker, @topics);
			foreach my $topic (@topics)
			{
				wait_until(sub { return !grep { $_ != $broker } $kafka->leaders($topic); },
					"broker $broker leads $topic", 30);
			}
		}
	},
	load => { topics => new_topics() },
	resumes => 15);
wait_in_sync(@topics);

# Where the test's own client finds out that the cluster takes records again.
my $own = $kafka->create_topic('own');

# Without a majority there is neither a leader nor an election.
my $few = fault_seconds(5, 30);
$matrix->row(
	'two brokers of three killed, and back',
	sub {
		$kafka->kill9($_) foreach 1 .. 2;
		sleep $few;
		$kafka->restart;
		# the one that lived on still names all three, whatever they can do
		$kafka->wait_writable($own);
	},
	load => { topics => new_topics() },
	resumes => 15);
wait_in_sync(@topics);

$node->stop('fast');
done_testing();
