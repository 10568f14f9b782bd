# 080_held_topic.pl
#	  A topic that takes no events, its hold row, and the way back.
#
# The topic "bad" is held while batches are in flight.  Batches close without
# its events, those of "good" go on, and when it joins again its events come in
# order: those acknowledged before the hold not again, unless the publisher
# died meanwhile (G5, G7).
#
# IDENTIFICATION
#	  test/t/080_held_topic.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main');

# Emits events of both topics as one batch, which is in flight afterwards.
sub batch
{
	my (@payloads) = @_;

	$node->safe_psql('postgres', join('', "BEGIN;\n", map({
		my $topic = /^a/ ? 'good' : 'bad';
		my $key = /(.)$/ ? $1 : '';
		"SELECT outbox_emit('$topic', '$_', '$key');\n" } @payloads), 'COMMIT'));
	fake_wait($node, $payloads[-1]);
	return;
}

# Has the topic take no events: neither the stream's nor what is tried.
sub break_topic
{
	my ($topic) = @_;

	fake_command($node, "poison topic=$topic 3 2");
	fake_command($node, "topic 3 $topic blocks");
	return;
}

sub published
{
	my ($topic) = @_;

	return $node->safe_psql('postgres',
		"SELECT string_agg(convert_from(payload, 'UTF8'), ' ' ORDER BY id) FROM outbox.event
		WHERE topic = '$topic' AND outbox_is_published(xid, id, topic, key)");
}

# Three batches in flight, of which some is acknowledged.
wait_for_publisher($node);
my $pid = publisher_pid($node);
fake_command($node, 'hold');
batch('a1x', 'b1x', 'b1y');
batch('a2x', 'b2x', 'b2y');
batch('a3x', 'b3x', 'b3y');
my $count = publisher_status($node, 'published');
fake_command($node, 'ack payload=b1x');
fake_command($node, 'ack payload=b2x');
wait_until(sub { publisher_status($node, 'published') == $count + 2 }, 'two are acknowledged');
my $from = fake_position($node);
break_topic('bad');
wait_for_holds($node, 'bad/error');
fake_command($node, 'ack topic=good');
wait_for_answer($node,
	"SELECT bool_and(outbox_is_published(xid, id, topic, key)) FROM outbox.event WHERE topic = 'good'",
	't', 'batches close without the held topic');
is(published('bad'), '', 'what is held does not count as published');
is($node->safe_psql('postgres', 'SELECT topic, reason, error_class, error_code, waiting FROM outbox.held_topic'),
	'bad|error|topic|3|6', 'the view shows the topic');
fake_command($node, 'auto');
batch('a4x');
emit($node, 'bad', 'x', 'b4x');
fake_wait($node, 'b1y', from => $from);
is_deeply([ fake_payloads($node, from => $from, topic => 'good') ], ['a4x'],
	'the other topic goes on, and nothing of it is sent again');
is_deeply([ grep { $_->{payload} ne 'b1y' || !$_->{alone} } fake_events($node, from => $from, topic => 'bad') ],
	[], 'the held topic is tried with its first event that is not acknowledged, alone, and nothing else');
$from = fake_position($node);
fake_command($node, 'cure');
wait_for_published($node);
wait_for_holds($node);
is_deeply([ fake_payloads($node, from => $from) ], [qw(b1y b2y b3x b3y b4x)],
	'joined: in order, and not those that were acknowledged');
is(publisher_pid($node), $pid, 'by the same publisher');
$from = fake_position($node);
batch('b5x', 'a5x');
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from) ], [qw(b5x a5x)], 'the topic is in the stream again');

# The publisher is killed between the hold and the close.
fake_command($node, 'hold');
batch('a11x', 'b11x', 'b11y');
batch('a12x', 'b12x', 'b12y');
fake_command($node, 'ack payload=b11x');
break_topic('bad');
wait_for_holds($node, 'bad/error');
$from = fake_position($node);
kill_publisher($node);
is(holds($node), 'bad/error', 'killed after the hold: the row is there');
fake_command($node, 'auto');
fake_wait($node, 'a12x', from => $from);
wait_for_answer($node,
	"SELECT bool_and(outbox_is_published(xid, id, topic, key)) FROM outbox.event WHERE topic = 'good'",
	't', 'batches close without the held topic');
is_deeply([ grep { !$_->{alone} } fake_events($node, from => $from, topic => 'bad') ], [],
	'killed after the hold: nothing of the topic is in the stream');
$from = fake_position($node);
fake_command($node, 'cure');
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from) ], [qw(b11x b11y b12x b12y)],
	'killed after the hold: all of the topic, in order');

# It is killed, or ends, between the open and the close of the join batch.
foreach my $way ('killed', 'terminated')
{
	my $n = $way eq 'killed' ? 2 : 3;

	fake_command($node, 'hold');
	batch("a${n}1x", "b${n}1x", "b${n}2x");
	break_topic('bad');
	wait_for_holds($node, 'bad/error');
	fake_command($node, 'cure');
	$from = fake_position($node);
	fake_command($node, 'ack topic=good');
	fake_wait($node, "b${n}1x", from => $from);
	batch("a${n}2x");
	fake_command($node, "ack payload=b${n}1x");
	fake_wait($node, "b${n}2x", from => $from);
	batch("a${n}3x", "b${n}3x");
	fake_command($node, "ack payload=b${n}3x");
	# a batch closes that was in flight before
	fake_command($node, "ack payload=a${n}2x");
	wait_for_answer($node, qq{SELECT outbox_is_published(xid, id, topic, key) FROM outbox.event
		WHERE payload = 'a${n}2x'}, 't', 'the batch before is closed');
	is(holds($node), 'bad/error', "$way while it joins: the row is there before");
	$from = fake_position($node);
	$way eq 'killed' ? kill_publisher($node) : terminate_publisher($node);
	is(holds($node), 'bad/error', "$way while it joins: and afterwards");
	fake_command($node, 'auto');
	wait_for_published($node);
	wait_for_holds($node);
	is_deeply([ fake_payloads($node, from => $from, topic => 'bad') ], [ map { "b${n}${_}x" } 1 .. 3 ],
		"$way while it joins: all of the topic, in order");
	my @good = fake_payloads($node, from => $from, topic => 'good');
	is($good[-1], "a${n}3x", "$way while it joins: nothing is lost");
}

# One topic after another is held, while the batch that has both is in flight:
# what the first one left out is not acknowledged.
fake_command($node, 'hold');
$node->safe_psql('postgres', q{
	BEGIN;
	SELECT outbox_emit('good', 'g1', 'k'), outbox_emit('bad', 'b1', 'k'), outbox_emit('worse', 'w1', 'k'),
		outbox_emit('bad', 'b2', 'k'), outbox_emit('worse', 'w2', 'k');
	COMMIT});
fake_wait($node, 'w2');
$from = fake_position($node);
break_topic('bad');
wait_for_holds($node, 'bad/error');
fake_wait($node, 'w2', from => $from);
break_topic('worse');
wait_for_holds($node, 'bad/error', 'worse/error');
fake_command($node, 'auto');
wait_for_publisher($node);
fake_command($node, 'cure');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ fake_acknowledged($node, from => $from, topic => 'bad') ], [qw(b1 b2)],
	'two topics held: the first one is published');
is_deeply([ fake_acknowledged($node, from => $from, topic => 'worse') ], [qw(w1 w2)],
	'two topics held: so is the second');

# A late commit with a low id, of the topic and of another, while it is held.
$node->safe_psql('postgres',
	"BEGIN; SELECT outbox_emit('bad', 'late', 'k'), outbox_emit('good', 'late', 'k'); PREPARE TRANSACTION 'late'");
my $start = fake_position($node);
fake_command($node, 'hold');
emit($node, 'bad', 'k', 'early');
fake_wait($node, 'early');
break_topic('bad');
wait_for_holds($node, 'bad/error');
fake_command($node, 'auto');
emit($node, 'good', 'k', 'between');
fake_wait($node, 'between');
$from = fake_position($node);
$node->safe_psql('postgres', "COMMIT PREPARED 'late'");
fake_wait($node, 'late', from => $from, topic => 'good');
fake_command($node, 'cure');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ sort(fake_acknowledged($node, from => $start, topic => 'bad')) ], [qw(early late)],
	'a late commit of a held topic is published, once');

$node->stop;
done_testing();
