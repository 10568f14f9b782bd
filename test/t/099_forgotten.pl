# 099_forgotten.pl
#	  Discarded dead letters are forgotten after the retention, not too early.
#
# While the cursor does not say that the event of a discarded letter is published,
# the letter is all that keeps it from being sent: a publisher that starts then
# reads the event again.
#
# IDENTIFICATION
#	  test/t/099_forgotten.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main', conf => "outbox.retention = 0\n");
my $from;

# Has the second of three events be refused, alone, and not park the others; the
# first is acknowledged, and the last is under way, as is one of topic u.
sub refuse_second
{
	my ($name) = @_;

	fake_command($node, 'hold');
	$from = fake_position($node);
	$node->safe_psql('postgres',
		'BEGIN;' . join(';', map { "SELECT outbox_emit('t', '$name$_', 'k$_')" } 1 .. 3) . "; SELECT outbox_emit('u', '${name}u', 'k'); COMMIT");
	fake_wait($node, "${name}u", from => $from);
	fake_command($node, "poison payload=${name}2");
	fake_command($node, 'refusebatch topic=t');
	wait_for_letters($node, "${name}2 dead 1");
	wait_until(sub { grep { $_->{payload} eq "${name}3" && $_->{alone} } fake_events($node, from => $from) }, 'the last is sent alone');
	fake_command($node, "ack payload=${name}1");
	fake_command($node, 'cure');
	return;
}

# Gives the letters up; returns when that is done, and those are forgotten of which
# it is time.
sub discard
{
	$node->safe_psql('postgres', 'SELECT outbox_discard("all" => true)');
	wait_until(sub { publisher_status($node, 'dead_letters') eq '0' }, 'it is discarded, and the letters are counted');
	return;
}

wait_for_publisher($node);
$node->safe_psql('postgres', q{SELECT outbox_set_topic('t', 'skip')});

# Its batch is open.
refuse_second('a');
discard();
$from = fake_position($node);
kill_publisher($node);
fake_command($node, 'auto');
wait_for_published($node);
is_deeply([ grep { $_ eq 'a2' } fake_payloads($node, from => $from) ], [], 'killed while the batch is open: it is not sent');
is_deeply([ (sort { $a cmp $b } fake_acknowledged($node, from => $from))[ -2, -1 ] ], [qw(a3 au)], 'and the others are');

# Its batch is closed, but its topic is held from before it.
refuse_second('b');
fake_command($node, 'poison topic=t 3 2');
fake_command($node, 'topic 3 t blocks');
wait_for_holds($node, 't/error');
discard();
fake_command($node, 'auto');
emit($node, 'u', 'k', 'b4');
fake_wait($node, 'b4', from => $from);
wait_for_answer($node, q{SELECT count(*) FROM outbox.event WHERE topic = 'u' AND NOT outbox_is_published(xid, id, topic, key)},
	'0', 'the rest is published');
$from = fake_position($node);
kill_publisher($node);
fake_command($node, 'cure');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { $_ eq 'b2' } fake_payloads($node, from => $from) ], [], 'killed while the topic is held: it is not sent');
is((fake_acknowledged($node, from => $from))[-1], 'b3', 'and the others are');

# Now nothing needs them any more.
fake_command($node, 'poison payload=c1');
emit($node, 't', 'k', 'c1');
wait_for_answer($node, q{SELECT count(*) FROM outbox.dead_letter WHERE state = 'dead'}, '1', 'there is one more');
wait_for_published($node);
$node->safe_psql('postgres', 'SELECT outbox_discard("all" => true)');
wait_for_answer($node, 'SELECT count(*) FROM outbox.dead_letter', '0', 'they are forgotten');
pass('when all is published, they are forgotten');

$node->stop;
done_testing();
