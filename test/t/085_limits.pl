# 085_limits.pl
#	  A run of dead letters, and the largest number of held topics.
#
# A whole topic of poison is held instead of becoming dead letters one by one;
# and when too many topics are held, the main stream waits, says so, and goes
# on when there is room (G7).
#
# IDENTIFICATION
#	  test/t/085_limits.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $limit = 3;
my $node = fake_node('main',
	conf => "outbox.dead_letter_limit = $limit\noutbox.max_held_topics = 1");
my $from;

# A whole topic of poison: each event has a key of its own.
wait_for_publisher($node);
my $pid = publisher_pid($node);
fake_command($node, 'poison topic=p');
$from = fake_position($node);
emit($node, 'p', "k$_", "p$_") foreach 1 .. 8;
emit($node, 'good', 'k', 'g1');
wait_for_holds($node, 'p/refused', map { "p/k$_/dead letter" } 1 .. $limit);
is(letters($node), join("\n", map { "p$_ dead 1 parks" } 1 .. $limit), 'so many are dead letters, the oldest, and no more');
fake_wait($node, 'g1', from => $from);
emit($node, 'p', 'k9', 'p9');
emit($node, 'good', 'k', 'g2');
fake_wait($node, 'g2', from => $from);
wait_for_answer($node, q{SELECT count(*) FROM outbox.event
	WHERE topic = 'good' AND NOT outbox_is_published(xid, id, topic, key)}, '0', 'others are published');
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(g1 g2)], 'others flow');
is($node->safe_psql('postgres', 'SELECT topic, reason, error_class, error_code, waiting FROM outbox.held_topic'),
	'p|refused|record|10|6', 'the view says why, and how many wait');

# It is tried, and refused, and stays; a restart changes nothing.
my $tries = fake_position($node);
wait_until(sub { grep { $_->{payload} eq 'p4' && $_->{alone} } fake_events($node, from => $tries) }, 'it is tried');
kill_publisher($node);
$tries = fake_position($node);
wait_until(sub { grep { $_->{payload} eq 'p4' && $_->{alone} } fake_events($node, from => $tries) }, 'it is tried again');
emit($node, 'good', 'k', 'g3');
fake_wait($node, 'g3', from => $tries);
is_deeply([ grep { !/^(p4|g3)$/ } fake_payloads($node, from => $tries) ], [], 'with its first event, and nothing else');
is(letters($node), join("\n", map { "p$_ dead 1 parks" } 1 .. $limit), 'and makes no more dead letters');
is((split /\n/, holds($node))[-1], 'p/refused', 'the topic is held');

# Cured: all that waited comes in order; the letters are for people.
$from = fake_position($node);
fake_command($node, 'cure');
wait_for_holds($node, map { "p/k$_/dead letter" } 1 .. $limit);
is_deeply([ fake_acknowledged($node, from => $from) ], [ map { "p$_" } 4 .. 9 ], 'cured: all that waited, in order, once');
$from = fake_position($node);
is($node->safe_psql('postgres', q{SELECT outbox_retry('p')}), $limit, 'and the dead letters');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ sort(fake_acknowledged($node, from => $from)) ], [ map { "p$_" } 1 .. $limit ], 'are published');

# Dead letters with others between are no run.
$node->safe_psql('postgres', q{SELECT outbox_set_topic('q', 'skip')});
fake_command($node, 'hold');
$from = fake_position($node);
emit($node, 'q', 'k', map { "q$_" } 1 .. 10);
fake_wait($node, 'q10', from => $from);
fake_command($node, 'poison payload=q' . 2 * $_) foreach 1 .. 5;
fake_command($node, 'refusebatch topic=q');
fake_command($node, 'auto');
wait_for_letters($node, map { 'q' . 2 * $_ . ' dead 1' } 1 .. 5);
wait_for_published($node);
is(holds($node), '', 'dead letters with others between do not hold the topic');
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(q1 q3 q5 q7 q9)], 'and those between are published');
fake_command($node, 'cure');
$node->safe_psql('postgres', q{SELECT outbox_discard("all" => true)});

# One topic may be held, and a second one takes no events.
fake_command($node, 'poison topic=x 3 2');
fake_command($node, 'poison topic=y 3 2');
$from = fake_position($node);
emit($node, 'x', 'k', 'x1');
wait_for_holds($node, 'x/error');
emit($node, 'y', 'k', 'y1');
emit($node, 'good', 'k', 'g4');
wait_until(
	sub { publisher_status($node, 'error') =~ /^topic "y" takes no events, and 1 topics are held already: / },
	'the status says what is wrong');
like(publisher_status($node, 'error_hint'), qr/outbox\.max_held_topics/, 'and what to do');
is(holds($node), 'x/error', 'too many held topics: no more');
is_deeply([ fake_acknowledged($node, from => $from) ], [], 'too many held topics: the main stream waits');
$node->append_conf('postgresql.conf', 'outbox.max_held_topics = 2');
$node->reload;
wait_for_holds($node, 'x/error', 'y/error');
wait_until(sub { grep { $_ eq 'g4' } fake_acknowledged($node, from => $from) }, 'with room for more, the stream goes on');
$from = fake_position($node);
fake_command($node, 'cure');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ sort(fake_acknowledged($node, from => $from)) ], [qw(x1 y1)], 'cured: both are published');
wait_until(sub { publisher_status($node, 'error IS NULL') eq 't' }, 'the error is over');

# The same, and the cause is mended.
$node->append_conf('postgresql.conf', 'outbox.max_held_topics = 0');
$node->reload;
fake_command($node, 'poison topic=z 3 2');
$from = fake_position($node);
emit($node, 'z', 'k', 'z1');
emit($node, 'good', 'k', 'g5');
wait_until(sub { publisher_status($node, 'error') =~ /^topic "z" takes no events, and 0 topics/ }, 'the status says what is wrong');
is_deeply([ fake_acknowledged($node, from => $from) ], [], 'the main stream waits');
fake_command($node, 'cure');
wait_for_published($node);
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(z1 g5)], 'mended: it goes on by itself, in order');

# More parked keys than a topic may have: it is held instead.
my $most = 1000;
$node->append_conf('postgresql.conf', "outbox.max_held_topics = 10\noutbox.dead_letter_limit = 100000");
$node->reload;
fake_command($node, 'hold');
$node->safe_psql('postgres',
	"SELECT count(outbox_emit('m', 'm' || i, 'k' || i)) FROM generate_series(1, $most + 5) i");
fake_wait($node, 'm' . ($most + 5));
fake_command($node, 'poison topic=m');
fake_command($node, 'refusebatch topic=m');
wait_for_answer($node, q{SELECT reason FROM outbox.held_topic WHERE topic = 'm'}, 'refused', 'the topic is held', 120);
is($node->safe_psql('postgres', q{SELECT count(*) FROM outbox.parked_key WHERE topic = 'm'}), $most,
	'so many keys of a topic are parked, and no more');
is($node->safe_psql('postgres', q{SELECT waiting FROM outbox.held_topic WHERE topic = 'm'}), '5',
	'and the others wait with the topic');
$from = fake_position($node);
fake_command($node, 'auto');
fake_command($node, 'cure');
wait_for_answer($node, q{SELECT count(*) FROM outbox.held_topic}, '0', 'it is back');
is_deeply([ fake_acknowledged($node, from => $from, topic => 'm') ], [ map { "m$_" } $most + 1 .. $most + 5 ],
	'cured: they are published, in order, once');
$node->safe_psql('postgres', q{SELECT outbox_discard('m')});
wait_for_holds($node);
wait_for_published($node);
is(scalar(fake_acknowledged($node, from => $from, topic => 'm')), 5, 'given up: nothing more is sent');

$node->stop;
done_testing();
