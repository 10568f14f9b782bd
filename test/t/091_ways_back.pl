# 091_ways_back.pl
#	  What is published of a scope before it comes back is not published again.
#
# The first event of a held topic, where the stream is a row of marks; copies of
# parked events that came by a restore without the letter that they waited for.
#
# IDENTIFICATION
#	  test/t/091_ways_back.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main', conf => "outbox.spool_memory = 1MB\n");
my $from;

wait_for_publisher($node);

# The spool is full, and what is emitted then waits behind marks.
fake_command($node, 'hold');
$from = fake_position($node);
$node->safe_psql('postgres', "SELECT count(outbox_emit('u', repeat('x', 10000), 'k')) FROM generate_series(1, 120)");
wait_until(sub { scalar(fake_events($node, from => $from)) == 120 }, 'the spool is full');
foreach my $i (1 .. 3)
{
	$node->safe_psql('postgres', "SELECT count(outbox_emit('u', 'u$i', 'k')) FROM generate_series(1, 10100)");
}
fake_command($node, 'topic 3 t blocks');
wait_for_holds($node, 't/error');
emit($node, 't', 'k', 'a1');
fake_wait($node, 'a1', from => $from);
fake_command($node, 'ack payload=a1');
emit($node, 't', 'k', 'a2');
fake_command($node, 'cure');
fake_command($node, 'topic 0 t');
fake_command($node, 'auto');
wait_for_published($node);
wait_for_holds($node);
is_deeply([ grep { /^a/ } fake_payloads($node, from => $from) ], [qw(a1 a2)],
	'an event that was tried is not met again behind a mark');

# Copies without a letter.
$from = fake_position($node);
$node->safe_psql('postgres', "
	INSERT INTO outbox.dead_letter (uid, id, xid, origin, created, topic, key, payload, state, parks, attempts, first_refused, last_refused)
	SELECT gen_random_uuid(), i, '3', 0, now(), 't', 'z', ('b' || i)::bytea, 'parked', false, 0, NULL, NULL
	FROM generate_series(1, 3) i");
$node->safe_psql('postgres', 'SELECT outbox_adopt()');
emit($node, 't', 'z', 'b4');
fake_wait($node, 'b4', from => $from);
wait_for_holds($node);
is_deeply([ grep { /^b/ } fake_payloads($node, from => $from) ], [qw(b1 b2 b3 b4)],
	'restored copies whose letter was settled are published, in order');
is($node->safe_psql('postgres', 'SELECT count(*) FROM outbox.dead_letter'), '0', 'and none is left');

$node->stop;
done_testing();
