# 082_join.pl
#	  Scopes that are held while others come back, and refusals that come late.
#
# A key whose topic is held while it comes back, a key that is refused again in
# the batch in which it comes back, one that is refused in the batch in which
# its topic does, and refusals of events whose topic was held meanwhile:
# nothing is lost, nothing is sent twice, and all is in order.
#
# IDENTIFICATION
#	  test/t/082_join.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main');
my $from;

# Has an event be a dead letter, and "more" wait behind it; all else is done.
sub park
{
	my ($key, $poison, @more) = @_;

	fake_command($node, 'auto');
	fake_command($node, "poison payload=$poison");
	emit($node, 't', $key, $poison, @more);
	wait_for_answer($node, "SELECT count(*) FROM outbox.dead_letter WHERE payload = '$poison' AND state = 'dead' AND parks",
		'1', 'it is a dead letter');
	emit($node, 't', 'other', "after-$poison");
	fake_wait($node, "after-$poison");
	wait_for_answer($node, "SELECT count(*) FROM outbox.event WHERE NOT outbox_is_published(xid, id, topic, key)
		AND convert_from(key, 'UTF8') <> '$key'", '0', 'all else is published');
	return;
}

# Has the topic take no events, neither the stream's nor what is tried.
sub break_topic
{
	fake_command($node, "poison topic=t 3 2");
	fake_command($node, "topic 3 t blocks");
	return;
}

sub all_in_order
{
	my ($what, $position, @expected) = @_;

	wait_for_published($node);
	wait_for_holds($node);
	is_deeply([ fake_acknowledged($node, from => $position) ], \@expected, $what);
	return;
}

wait_for_publisher($node);
my $pid = publisher_pid($node);

# The topic is held while a key of it comes back.
park('k', 'a1', 'a2', 'a3', 'a4');
fake_command($node, 'cure');
fake_command($node, 'hold');
$from = fake_position($node);
$node->safe_psql('postgres', 'SELECT outbox_retry("all" => true)');
fake_wait($node, 'a1', from => $from);
fake_command($node, 'ack payload=a1');
fake_wait($node, 'a4', from => $from);
my $published = publisher_status($node, 'published');
fake_command($node, 'ack payload=a2');
wait_until(sub { publisher_status($node, 'published') == $published + 1 }, 'it is acknowledged');
is(holds($node), 't/k/dead letter', 'the row of the key is there while it comes back');
break_topic();
wait_for_holds($node, 't/error', 't/k/dead letter');
emit($node, 't', 'k', 'a5');
emit($node, 't', 'l', 'a6');
emit($node, 'u', 'k', 'u1');
fake_command($node, 'auto');
fake_wait($node, 'u1', from => $from);
is(holds($node), "t/error\nt/k/dead letter", 'topic held while its key comes back: both rows are there');
fake_command($node, 'cure');
wait_for_published($node);
wait_for_holds($node);
is_deeply([ grep { /^a[1-5]/ } fake_acknowledged($node, from => $from) ], [qw(a1 a2 a3 a4 a5)],
	'topic held while its key comes back: all of the key, once, in order');
is(scalar(grep { $_ eq 'a6' } fake_acknowledged($node, from => $from)), 1, 'and the rest of the topic');

# The same, and the publisher is killed: the rows are true.
park('k', 'b1', 'b2', 'b3', 'b4');
fake_command($node, 'cure');
fake_command($node, 'hold');
$from = fake_position($node);
$node->safe_psql('postgres', 'SELECT outbox_discard("all" => true)');
fake_wait($node, 'b4', from => $from);
break_topic();
wait_for_holds($node, 't/error', 't/k/dead letter');
kill_publisher($node);
$pid = publisher_pid($node);
fake_command($node, 'auto');
$from = fake_position($node);
fake_command($node, 'cure');
all_in_order('and killed: all of the key, in order', $from, qw(b2 b3 b4));

# A key is refused again in the batch in which it comes back, and so is a third
# event, and a fourth one in a later batch.
park('k', 'c1', 'c2', 'c3', 'c4', 'c5');
fake_command($node, 'cure');
fake_command($node, 'poison payload=c3');
$from = fake_position($node);
$node->safe_psql('postgres', 'SELECT outbox_retry("all" => true)');
wait_for_letters($node, 'b1 discarded 1 parks', 'c3 dead 1 parks');
emit($node, 't', 'k', 'c6');
emit($node, 't', 'other', 'c7');
fake_wait($node, 'c7');
is(holds($node), 't/k/dead letter', 'refused again while it comes back: the row is there');
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(c1 c2 c7)], 'and what was before it is published, once');
fake_command($node, 'cure');
fake_command($node, 'poison payload=c5');
$node->safe_psql('postgres', "SELECT outbox_discard('t', 'k')");
wait_for_letters($node, 'b1 discarded 1 parks', 'c3 discarded 1 parks', 'c5 dead 1 parks');
fake_command($node, 'cure');
kill_publisher($node);
$node->safe_psql('postgres', 'SELECT outbox_retry(topic => \'t\')');
all_in_order('refused three times, and killed: all in order, once', $from, qw(c1 c2 c7 c4 c5 c6));
$pid = publisher_pid($node);

# Keys are refused in the batch in which their topic comes back.
fake_command($node, 'hold');
emit($node, 't', 'first', 'd0');
foreach my $n (1 .. 3)
{
	emit($node, 't', 'k', "d${n}k");
	emit($node, 't', 'l', "d${n}l");
}
fake_wait($node, 'd3l');
$from = fake_position($node);
break_topic();
wait_for_holds($node, 't/error');
wait_until(sub { fake_starts($node, from => $from) > 0 }, 'nothing is under way');
fake_command($node, 'cure');
fake_command($node, 'poison payload=d1k');
fake_command($node, 'poison payload=d2l');
fake_command($node, 'auto');
wait_for_letters($node, 'b1 discarded 1 parks', 'c3 discarded 1 parks', 'd1k dead 1 parks', 'd2l dead 1 parks');
wait_for_holds($node, 't/k/dead letter', 't/l/dead letter');
is_deeply([ grep { /^d/ } fake_acknowledged($node) ], [qw(d0 d1l)],
	'refused while its topic comes back: what was before is published, once');
fake_command($node, 'cure');
$from = fake_position($node);
emit($node, 't', 'k', 'd4k');
$node->safe_psql('postgres', 'SELECT outbox_discard(topic => \'t\', key => \'k\')');
wait_for_holds($node, 't/l/dead letter');
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(d2k d3k d4k)],
	'refused while its topic comes back: the first key follows, in order');
kill_publisher($node);
$pid = publisher_pid($node);
$from = fake_position($node);
$node->safe_psql('postgres', 'SELECT outbox_retry(topic => \'t\', key => \'l\')');
all_in_order('refused while its topic comes back: the second key as well, by another publisher', $from, qw(d2l d3l));

# The refusal of an event comes when its topic is held already: the event is
# met again, and judged then, or it is a dead letter now.  Either way it is
# refused for what it is, once, and nothing of its key passes it.
fake_command($node, 'hold');
$from = fake_position($node);
$node->safe_psql('postgres', q{
	BEGIN;
	SELECT outbox_emit('u', 'e0', 'k'), outbox_emit('t', 'e1', 'k'), outbox_emit('t', 'e2', 'k'), outbox_emit('t', 'e3', 'l');
	COMMIT});
fake_wait($node, 'e3', from => $from);
fake_command($node, 'refusebatch payload=e1');
wait_until(sub { 2 == grep { $_ eq 'e0' } fake_payloads($node, from => $from) }, 'the stream is sent again');
fake_command($node, 'ack payload=e0');
wait_until(sub { grep { $_->{payload} eq 'e1' && $_->{alone} } fake_events($node, from => $from) }, 'it is sent alone');
break_topic();
wait_for_holds($node, 't/error');
fake_command($node, 'refuse payload=e1');
fake_command($node, 'cure');
fake_command($node, 'poison payload=e1');
fake_command($node, 'auto');
wait_for_letters($node, 'b1 discarded 1 parks', 'c3 discarded 1 parks', 'd1k discarded 1 parks', 'e1 dead 1 parks');
wait_for_holds($node, 't/k/dead letter');
is_deeply([ sort(fake_acknowledged($node, from => $from)) ], [qw(e0 e3)], 'refused after the hold: nothing of the key passes');
fake_command($node, 'cure');
$node->safe_psql('postgres', 'SELECT outbox_retry("all" => true)');
wait_for_published($node);
wait_for_holds($node);
is_deeply([ grep { /^e[12]/ } fake_acknowledged($node, from => $from) ], [qw(e1 e2)], 'refused after the hold: nothing is lost');
is(publisher_pid($node), $pid, 'no publisher died of it');

$node->stop;
done_testing();
