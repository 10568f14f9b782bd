# 093_unsent.pl
#	  A topic that comes back before what was read of it earlier is sent.
#
# Events that are in a batch from before the topic was held, and that the producer
# has not taken yet, are sent with the batch in which the topic joins: not with
# both of them, and not in the wrong order.
#
# IDENTIFICATION
#	  test/t/093_unsent.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# More than the socket holds (2 MB in both directions at most), and less than
# half of outbox.spool_memory (16 MB), above which no other batch is read.
my $events = 500;
my $bytes = 10000;

my $node = fake_node('main');

wait_for_publisher($node);
my $pid = publisher_pid($node);
fake_command($node, 'hold');
fake_command($node, 'stall 1');
$node->safe_psql('postgres', qq{
	BEGIN;
	SELECT count(outbox_emit('u', 'u' || i || '.' || repeat('x', $bytes), 'k')) FROM generate_series(1, $events) i;
	SELECT outbox_emit('t', 't1', 'k'), outbox_emit('t', 't2', 'k');
	COMMIT});
fake_wait($node, 'u1');
$node->safe_psql('postgres', "SELECT outbox_set_topic('t', paused => true)");
wait_for_holds($node, 't/paused');
is(publisher_status($node, 'waiting_estimate'), $events + 2, 'one batch is read');
emit($node, 't', 'k', 't3');
$node->safe_psql('postgres', "SELECT outbox_set_topic('t', paused => false)");
wait_until(sub { publisher_status($node, 'waiting_estimate') == $events + 2 + 3 }, 'the batch in which it joins is read');
is_deeply([ fake_payloads($node, topic => 't') ], [], 'nothing of the topic was sent so far');
is(holds($node), 't/paused', 'and the row is there');
fake_command($node, 'auto');
fake_command($node, 'resume');
wait_for_published($node);
wait_for_holds($node);
is_deeply([ fake_payloads($node, topic => 't') ], [qw(t1 t2 t3)], 'the topic is sent once, in order');
is(scalar(fake_payloads($node, topic => 'u')), $events, 'and so is what was before it');
is(publisher_pid($node), $pid, 'no publisher died of it');
is(fake_starts($node), 1, 'and no producer');

$node->stop;
done_testing();
