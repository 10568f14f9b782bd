# 084_topic_policy.pl
#	  What is set for single topics: skip, stop, paused.
#
# IDENTIFICATION
#	  test/t/084_topic_policy.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = fake_node('main');
my $from;

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

sub complaint
{
	my ($query) = @_;
	my (undef, undef, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$query");

	return $stderr;
}

like(complaint(q{SELECT outbox_set_topic(NULL)}), qr/22004: argument "topic" must not be null/, 'no topic');
like(complaint(q{SELECT outbox_set_topic('t', 'drop')}), qr/22023: argument "on_refusal" must be park, skip or stop/, 'no policy');
like(complaint(q{SELECT outbox_set_topic('no topic')}), qr/22023: invalid topic/, 'no name');

# skip: a dead letter, and its key goes on
wait_for_publisher($node);
my $pid = publisher_pid($node);
sql(q{SELECT outbox_set_topic('t', 'skip')});
fake_command($node, 'poison payload=a2');
$from = fake_position($node);
emit($node, 't', 'k', qw(a1 a2 a3));
wait_for_published($node);
is(letters($node), 'a2 dead 1', 'skip: a dead letter that parks nothing');
is(holds($node), '', 'skip: no row');
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(a1 a3)], 'skip: the key goes on, in order');
fake_command($node, 'cure');
$from = fake_position($node);
sql(q{SELECT outbox_retry('t')});
wait_for_letters($node);
is_deeply([ fake_payloads($node, from => $from) ], ['a2'], 'skip: it can be sent again');

# skip, and the publisher is killed before the batch is closed
fake_command($node, 'poison payload=a5');
fake_command($node, 'hold');
$from = fake_position($node);
emit($node, 't', 'k', qw(a4 a5 a6));
wait_until(sub { grep { $_->{payload} eq 'a4' && $_->{alone} } fake_events($node, from => $from) }, 'it is sent alone');
fake_command($node, 'ack payload=a4');
wait_for_letters($node, 'a5 dead 1');
$from = fake_position($node);
fake_command($node, 'cure');
kill_publisher($node);
fake_command($node, 'auto');
wait_for_published($node);
is((grep { $_ eq 'a5' } fake_payloads($node, from => $from)) + 0, 0, 'skip, and killed: the letter is not sent with the stream');
is((fake_acknowledged($node, from => $from))[-1], 'a6', 'skip, and killed: nothing is lost');
sql(q{SELECT outbox_discard("all" => true)});
wait_for_letters($node, 'a5 discarded 1');

# stop: the whole stream waits until somebody says what to do
sql(q{SELECT outbox_set_topic('t', 'stop')});
fake_command($node, 'poison payload=b2');
$from = fake_position($node);
emit($node, 't', 'k', qw(b1 b2 b3));
emit($node, 'u', 'k', 'u1');
wait_until(sub { publisher_status($node, 'error') =~ /^an event of topic "t" was refused, and the topic is set to stop then/ },
	'the status says that it stops');
is(letters($node), 'a5 discarded 1', 'stop: no dead letter');
is(holds($node), '', 'stop: no row');
my $refused = scalar(grep { $_ eq 'b2' } fake_payloads($node, from => $from));
wait_until(sub { $refused < grep { $_ eq 'b2' } fake_payloads($node, from => $from) }, 'it is tried again');
is_deeply([ fake_acknowledged($node, from => $from) ], ['b1'], 'stop: nothing passes it');

# What is wrong with one topic does not hide what stops all of them.
fake_command($node, 'hold');
fake_command($node, 'topic 3 w');
my %shown;
foreach (1 .. 10)
{
	$shown{ publisher_status($node, 'error') =~ /set to stop/ ? 'why it stops' : 'something else' }++;
	usleep(100_000);
}
is_deeply([ keys %shown ], ['why it stops'], 'stop: the status says so whatever else happens');
fake_command($node, 'topic 0 w');
fake_command($node, 'auto');
sql(q{SELECT outbox_set_topic('t', 'park')});
wait_for_letters($node, 'a5 discarded 1', 'b2 dead 1 parks');
wait_until(sub { grep { $_ eq 'u1' } fake_acknowledged($node, from => $from) }, 'the stream goes on');
wait_until(sub { publisher_status($node, 'error IS NULL') eq 't' }, 'the error is over');
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(b1 u1)], 'stop, then park: the key waits, others go on');
fake_command($node, 'cure');
sql(q{SELECT outbox_retry("all" => true)});
wait_for_holds($node);
wait_for_published($node);
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(b1 u1 b2 b3)], 'and all is published, in order');

# stop, and the cause is mended
sql(q{SELECT outbox_set_topic('t', 'stop')});
fake_command($node, 'poison payload=b5');
$from = fake_position($node);
emit($node, 't', 'k', qw(b4 b5 b6));
wait_until(sub { publisher_status($node, 'error') =~ /set to stop/ }, 'it stops');
fake_command($node, 'cure');
wait_for_published($node);
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(b4 b5 b6)], 'stop, then mended: it goes on by itself, in order');
wait_until(sub { publisher_status($node, 'error IS NULL') eq 't' }, 'the error is over');

# paused before the first event
sql(q{SELECT outbox_set_topic('p', paused => true)});
wait_for_holds($node, 'p/paused');
$from = fake_position($node);
emit($node, 'p', 'k', qw(p1 p2));
emit($node, 't', 'k', 't1');
fake_wait($node, 't1', from => $from);
terminate_publisher($node);
emit($node, 'p', 'k', 'p3');
emit($node, 't', 'k', 't2');
fake_wait($node, 't2', from => $from);
is_deeply([ fake_payloads($node, from => $from) ], [qw(t1 t2)], 'paused: nothing of the topic is sent, nor tried');
is(sql('SELECT topic, reason, waiting FROM outbox.held_topic'), 'p|paused|3', 'paused: the view shows it');
$from = fake_position($node);
sql(q{SELECT outbox_set_topic('p', paused => false)});
wait_for_holds($node);
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from) ], [qw(p1 p2 p3)], 'resumed: all of it, in order, once');
is(sql(q{SELECT on_refusal, paused FROM outbox.topic WHERE topic = 'p'}), 'park|f', 'what is not named stays');

# paused with events under way: what is acknowledged then is not sent again
$pid = publisher_pid($node);
fake_command($node, 'hold');
$from = fake_position($node);
emit($node, 'p', 'k', 'q1');
fake_wait($node, 'q1', from => $from);
emit($node, 'p', 'k', qw(q2 q3));
emit($node, 't', 'k', 't3');
fake_wait($node, 't3', from => $from);
my $published = publisher_status($node, 'published');
fake_command($node, 'ack payload=q1');
wait_until(sub { publisher_status($node, 'published') == $published + 1 }, 'one is acknowledged');
fake_command($node, 'ack topic=t');
sql(q{SELECT outbox_set_topic('p', paused => true)});
wait_for_holds($node, 'p/paused');
fake_command($node, 'auto');
emit($node, 'p', 'k', 'q4');
emit($node, 't', 'k', 't4');
fake_wait($node, 't4', from => $from);
sql(q{SELECT outbox_set_topic('p', paused => false)});
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { /^q/ } fake_payloads($node, from => $from) ], [qw(q1 q2 q3 q4)],
	'paused with events under way: in order, none twice');
is(publisher_pid($node), $pid, 'paused with events under way: by the same publisher');

# paused while it comes back, and held for another reason while it is paused
fake_command($node, 'hold');
$from = fake_position($node);
sql(q{SELECT outbox_set_topic('p', paused => true)});
wait_for_holds($node, 'p/paused');
emit($node, 'p', 'k', qw(r1 r2));
sql(q{SELECT outbox_set_topic('p', paused => false)});
fake_wait($node, 'r2', from => $from);
sql(q{SELECT outbox_set_topic('p', paused => true)});
emit($node, 't', 'k', 't5');
emit($node, 'p', 'k', 'r3');
fake_command($node, 'auto');
fake_wait($node, 't5', from => $from);
is(holds($node), 'p/paused', 'paused while it comes back: the row is there');
sql(q{SELECT outbox_set_topic('p', paused => false)});
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { /^r/ } fake_acknowledged($node, from => $from) ], [qw(r1 r2 r3)], 'paused while it comes back: in order, none twice');

# held, and then paused: it says so, and is not tried
fake_command($node, 'hold');
$from = fake_position($node);
emit($node, 'p', 'k', 's1');
fake_wait($node, 's1', from => $from);
fake_command($node, 'poison topic=p 3 2');
fake_command($node, 'topic 3 p blocks');
wait_for_holds($node, 'p/error');
sql(q{SELECT outbox_set_topic('p', paused => true)});
wait_for_holds($node, 'p/paused');
fake_command($node, 'cure');
fake_command($node, 'auto');
sql(q{SELECT outbox_set_topic('p', paused => false)});
wait_for_holds($node);
wait_for_published($node);
is((fake_acknowledged($node, from => $from))[-1], 's1', 'held, paused, resumed: it is published');

$node->stop;
done_testing();
