# 100_join_after_marks.pl
#	  A topic that comes back while there are marks.
#
# The event with which a held topic was tried can be newer than the marks that
# were taken meanwhile.  The batch in which the topic joins sees it all the same,
# so that it is not sent again by a later one, which knows nothing of the try.
#
# IDENTIFICATION
#	  test/t/100_join_after_marks.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# More than half of outbox.spool_memory (16 MB): nothing else is read, and marks
# are taken instead, after so many events each.
my $events = 1000;
my $bytes = 10000;
my $per_mark = 10000;

my $node = fake_node('main');

wait_for_publisher($node);
my $pid = publisher_pid($node);
fake_command($node, 'hold');
$node->safe_psql('postgres',
	"SELECT count(outbox_emit('u', 'u' || i || '.' || repeat('x', $bytes), 'k')) FROM generate_series(1, $events) i");
fake_wait($node, "u$events");

# The publisher looks for events all the time now; of two looks that end after
# the commit, the second one began after it, too.
$node->safe_psql('postgres', "SELECT count(outbox_emit('u', 'v' || i, 'k')) FROM generate_series(1, $per_mark) i");
my $since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
foreach my $look (1 .. 2)
{
	$since = wait_until(
		sub {
			$node->safe_psql('postgres',
				"SELECT state_change FROM pg_stat_activity WHERE pid = $pid AND state = 'idle' AND state_change > '$since'");
		},
		'the publisher has looked');
}
emit($node, 't', 'k', 't1');
fake_command($node, 'topic 3 t blocks');
wait_for_holds($node, 't/error');
fake_wait($node, 't1');
is_deeply([ map { $_->{alone} } fake_events($node, topic => 't') ], ['alone'], 'the topic is tried');
is(scalar(grep { /^v/ } fake_payloads($node)), 0, 'and nothing else was read meanwhile');
my $published = publisher_status($node, 'published');
fake_command($node, 'ack topic=t');
wait_until(sub { publisher_status($node, 'published') == $published + 1 }, 'it is acknowledged');
fake_command($node, 'auto');
wait_for_published($node);
wait_for_holds($node);
emit($node, 't', 'k', 't2');
wait_for_published($node);
is_deeply([ fake_payloads($node, topic => 't') ], [qw(t1 t2)], 'what was tried is not sent again');
is(scalar(grep { /^[uv]/ } fake_payloads($node)), $events + $per_mark, 'and all else is sent, once');
is(publisher_pid($node), $pid, 'by the same publisher');

$node->stop;
done_testing();
