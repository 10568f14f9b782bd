
# The network between producer and broker loses every packet for a while, and
# tells nobody: no reset, no error, connections that look open at both ends.

use strict;
use warnings;

BEGIN { require OutboxNetwork; OutboxNetwork->enter; }

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

need_real_kafka();

my $network = OutboxNetwork->new;
my $kafka = own_kafka($network->place);
my $node = new_node('network_cut', kafka => $kafka);
my $matrix = FaultMatrix->new($node, $kafka);

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# TCP repeats what was lost after waits that double, so that the connection
# comes back after as long again as the cut at most. After a minute the client
# gives the connection up (socket.timeout.ms) and makes others, each of which
# may take half a minute (socket.connection.setup.timeout.ms).
foreach my $cut (fault_seconds(5, 30), full_faults() ? 100 : ())
{
	my $seconds;

	$matrix->row(
		"network cut without a reset for $cut s",
		sub {
			my $begin = time;

			$network->cut;
			my $published = $matrix->published_at_rest;
			sleep $cut - 2;
			is(status($node, 'published'), $published, 'nothing gets through');
			$network->mend;
			$seconds = time - $begin;
		},
		resumes => sub { return 5 + ($seconds < 35 ? $seconds : 35) },
		limit => 240);
}

$node->stop('fast');
done_testing();
