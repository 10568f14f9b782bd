# 102_topic_in_the_way.pl
#	  A topic in trouble, and a producer that takes nothing more because of it.
#
# A topic that takes no events is given outbox.topic_timeout, but not at the cost
# of the others: when the producer is full of its events, it is held (G7).  What
# one producer said of a topic is forgotten with it, and what is tried in vain is
# not written down each time.
#
# IDENTIFICATION
#	  test/t/102_topic_in_the_way.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# More than the socket holds, 2 MB in both directions at most.
my $events = 500;
my $bytes = 10000;

my $node = fake_node('main', conf => "outbox.topic_timeout = 1h\n");

# In trouble for an hour, were there not the others.
wait_for_publisher($node);
my $pid = publisher_pid($node);
fake_command($node, 'hold');
fake_command($node, 'stall 1');
$node->safe_psql('postgres', qq{
	BEGIN;
	SELECT count(outbox_emit('t', 't' || i || '.' || repeat('x', $bytes), 'k')) FROM generate_series(1, $events) i;
	SELECT outbox_emit('u', 'u1', 'k');
	COMMIT});
fake_wait($node, 't1');
fake_command($node, 'topic 3 t');
wait_for_holds($node, 't/error');
fake_command($node, 'auto');
fake_wait($node, 'u1');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ (grep { /^t/ } fake_acknowledged($node)) ], [ map { "t$_" } 1 .. $events ],
	'a topic that is in the way is held, comes back, and is published in order, once');
is(publisher_pid($node), $pid, 'by the same publisher');

# In trouble, and then the producer dies: the next one may find it well.  The time
# is shortened when it is dead: a trouble that was not forgotten is older than the
# other topic's, and its time would be over first.
fake_command($node, 'topic 3 t');
wait_until(sub { publisher_status($node, 'error') =~ /^topic "t"/ }, 'the publisher knows of the trouble');
my $offset = -s $node->logfile;
my $from = fake_position($node);
fake_command($node, 'crash');
wait_until(sub { fake_starts($node, from => $from) }, 'another producer starts');
wait_for_publisher($node);
$node->append_conf('postgresql.conf', "outbox.topic_timeout = 1s\n");
$node->reload;
# held for as long as its event is not acknowledged
fake_command($node, 'hold');
emit($node, 'u', 'k', 'u2');
fake_wait($node, 'u2');
fake_command($node, 'topic 3 u');
wait_for_holds($node, 'u/error');
unlike(slurp_file($node->logfile, $offset), qr/topic "t" is held/, 'what a dead producer said of a topic is forgotten');
fake_command($node, 'auto');
wait_for_holds($node);
wait_for_published($node);

# One that is tried again and again is not written down each time.  Its event is
# under way when it breaks: a topic of which nothing waits comes back by itself.
fake_command($node, 'hold');
emit($node, 't', 'k', 't0');
fake_wait($node, 't0');
$from = fake_position($node);
fake_command($node, 'poison topic=t 3 2');
fake_command($node, 'topic 3 t blocks');
wait_for_holds($node, 't/error');
my $tries = sub { my ($n) = @_; wait_until(sub { fake_events($node, from => $from, topic => 't') >= $n }, "it is tried $n times"); };
$tries->(2);
my $version = $node->safe_psql('postgres', q{SELECT xmin FROM outbox.cursor WHERE topic = 't'});
$tries->(4);
is($node->safe_psql('postgres', q{SELECT xmin FROM outbox.cursor WHERE topic = 't'}), $version,
	'a topic that is tried in vain is not written down each time');
fake_command($node, "cure\nauto");
wait_for_holds($node);
wait_for_published($node);

# The topic is well again, and its first event is not: that is judged as any other,
# and holds up its key only.
fake_command($node, 'hold');
emit($node, 't', 'k', 'b1');
emit($node, 't', 'l', 'b2');
fake_wait($node, 'b2');
$from = fake_position($node);
fake_command($node, 'poison topic=t 3 2');
fake_command($node, 'topic 3 t blocks');
wait_for_holds($node, 't/error');
$tries->(1);
# all of it before the next try
fake_command($node, "cure\npoison payload=b1\nauto");
wait_for_holds($node, 't/k/dead letter');
is(letters($node), 'b1 dead 1 parks', 'a first event that is refused for its content is a dead letter');
wait_until(sub { grep { $_ eq 'b2' } fake_acknowledged($node, from => $from) }, 'the topic is back');
is(scalar(grep { $_ eq 'b2' } fake_payloads($node, from => $from)), 1, 'and the topic is back');

$node->stop;
done_testing();
