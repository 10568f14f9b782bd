# 090_hold_races.pl
#	  What comes at the wrong moment while scopes are held or come back.
#
# A refusal, and an acknowledgement of what was tried, of a topic that is paused
# meanwhile; a topic that is held again in the middle of a long way back; a
# session that has asked for something and does not commit; a letter of another
# installation while a batch is half published; more topics in trouble than may
# be held.
#
# IDENTIFICATION
#	  test/t/090_hold_races.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = fake_node('main', conf => "outbox.topic_timeout = 100ms\n");
my $large = 'x' x 10000;		# more than a chunk of the spool each
my ($from, $pid, $session);

sub emitted
{
	my ($topic, $key, @payloads) = @_;

	$node->safe_psql('postgres', join(';', map { "SELECT outbox_emit('$topic', '$_', '$key')" } @payloads));
	return;
}

sub pause
{
	my ($topic, $paused) = @_;

	$node->safe_psql('postgres', "SELECT outbox_set_topic('$topic', paused => $paused)");
	return;
}

sub wait_for_rows
{
	my ($expected) = @_;

	wait_until(
		sub {
			$node->safe_psql('postgres',
				"SELECT coalesce(string_agg(topic || coalesce('/' || convert_from(key, 'UTF8'), '') || ' ' || reason, ', ' ORDER BY topic, key NULLS FIRST), '')
				 FROM outbox.cursor WHERE topic IS NOT NULL") eq $expected;
		},
		"the hold rows are \"$expected\"");
	return;
}

# How often each event was sent, as "payload payload ...", in order.
sub sent
{
	my ($pattern, $position) = @_;

	return join(' ', grep { /^$pattern/ } fake_payloads($node, from => $position));
}

wait_for_publisher($node);
$pid = publisher_pid($node);

# The topic comes back with events of one key that were committed while it was
# paused; the first is refused when the topic is paused again.  An event of
# another topic keeps the batch open.  The publisher gives its producer two
# seconds then: where they are over before that is seen, all of it again.
my $state;
$session = $node->background_psql('postgres');
foreach my $round (1 .. 5)
{
	$from = fake_position($node);
	pause('t', 'true');
	wait_for_rows('t paused');
	emitted('t', 'k', 'a1');
	emitted('t', 'k', 'a2');
	emitted('u', 'k', 'u1');
	fake_wait($node, 'u1', from => $from);
	fake_command($node, 'hold');
	$from = fake_position($node);
	$node->safe_psql('postgres',
		"BEGIN; SELECT outbox_emit('u', 'ux', 'k'); SELECT outbox_set_topic('t', paused => false); COMMIT");
	fake_wait($node, 'ux', from => $from);
	fake_command($node, 'refusebatch payload=a1', wait => 0);
	wait_until(
		sub { grep { $_->{payload} eq 'a1' && $_->{alone} } fake_events($node, from => $from) },
		'the first is sent alone');
	my $producer = publisher_status($node, 'producer_pid');
	pause('t', 'true');
	$state = wait_until(
		sub {
			$session->query_safe("SELECT CASE WHEN state = 'stopping' THEN state
				WHEN producer_pid IS DISTINCT FROM $producer THEN 'over' END
				FROM outbox.status WHERE database = current_database()");
		},
		'the producer is to be replaced');
	fake_command($node, 'refuse payload=a1') if $state eq 'stopping';
	wait_for_rows('t paused');
	fake_command($node, 'auto');
	wait_for_publisher($node);
	$from = fake_position($node);
	pause('t', 'false');
	wait_for_rows('');
	last if $state eq 'stopping';
}
$session->quit;
is($state, 'stopping', 'an event was refused while its producer was to be replaced');
is(sent('a', $from), 'a1 a2', 'a refusal that comes after the hold: nothing is lost');
is($node->safe_psql('postgres', 'SELECT count(*) FROM outbox.dead_letter'), '0', 'and there is no dead letter');

# A topic is paused while its first event is under way.  That was in the stream
# when the topic broke: a topic of which nothing waits comes back by itself.
fake_command($node, 'hold');
emitted('t', 'k', 'b1');
fake_wait($node, 'b1');
$from = fake_position($node);
fake_command($node, 'topic 3 t blocks');
wait_for_rows('t error');
wait_until(
	sub { grep { $_->{payload} eq 'b1' && $_->{alone} } fake_events($node, from => $from) },
	'the first is tried');
pause('t', 'true');
wait_for_rows('t paused');
fake_command($node, 'ack payload=b1');
fake_command($node, 'auto');
wait_for_publisher($node);
emitted('t', 'k', 'b2');
emitted('u', 'k', 'u2');
fake_wait($node, 'u2', from => $from);
wait_for_rows('t paused');
is(sent('b2', $from), '', 'a topic stays paused when what was tried is acknowledged');
pause('t', 'false');
wait_for_rows('');
is(sent('b', $from), 'b1 b2', 'and what was acknowledged is not sent again');

# A topic is paused again in the middle of its way back; then the publisher
# ends there.
pause('t', 'true');
wait_for_rows('t paused');
emitted('t', 'k', map { "c$_.$large" } 10 .. 39);
fake_command($node, 'hold');
$from = fake_position($node);
pause('t', 'false');
fake_wait($node, 'c39', from => $from);
my @numbers = map { $_->{number} } grep { $_->{payload} =~ /^c/ } fake_events($node, from => $from);
my $published = publisher_status($node, 'published');
fake_command($node, "ack $numbers[0]-$numbers[9]");
wait_until(sub { publisher_status($node, 'published') == $published + 10 }, 'ten are acknowledged');
pause('t', 'true');
wait_for_rows('t paused');
wait_for_publisher($node);
fake_command($node, 'auto');
fake_command($node, 'hold');
$from = fake_position($node);
pause('t', 'false');
fake_wait($node, 'c39', from => $from);
is(sent('c1', $from), '', 'held again in the middle: what was acknowledged is not sent again');
@numbers = map { $_->{number} } grep { $_->{payload} =~ /^c/ } fake_events($node, from => $from);
$published = publisher_status($node, 'published');
fake_command($node, "ack $numbers[0]-$numbers[9]");
wait_until(sub { publisher_status($node, 'published') == $published + 10 }, 'ten more are acknowledged');
$from = fake_position($node);
kill 'TERM', $pid;
wait_for_publisher($node, not => $pid);
$pid = publisher_pid($node);
fake_command($node, 'auto');
fake_wait($node, 'c39', from => $from);
wait_for_rows('');

# by chunks of the spool: half of the ten are surely in those that were done with
is(sent('c2[0-3]', $from), '', 'and so it is when the publisher ends there');
is(scalar(grep { /^c3/ } fake_payloads($node, from => $from)), 10, 'and the others are sent');

# A session has asked to discard a letter that is under way, and does not commit.
fake_command($node, 'poison payload=d1');
emitted('t', 'k', 'd1', 'd2');
wait_for_rows('t/k dead letter');
fake_command($node, 'cure');
fake_command($node, 'hold');
$from = fake_position($node);
$node->safe_psql('postgres', 'SELECT outbox_retry("all" => true)');
fake_wait($node, 'd1', from => $from);
$session = $node->background_psql('postgres');
$session->query_safe('BEGIN; SELECT outbox_discard("all" => true)');
fake_command($node, 'auto');
emitted('u', 'k', 'u3');
fake_wait($node, 'u3', from => $from, timeout => 30);
wait_for_published_of_u();
is(publisher_pid($node), $pid, 'an idle transaction that has locked a letter stops nobody');
is(sent('d', $from), 'd1', 'and the letter is sent once');
$session->query_safe('ROLLBACK');
wait_for_rows('');
is(sent('d', $from), 'd1 d2', 'and its key goes on when the lock is gone');

# The same with a letter that is refused again and is to be discarded then, and
# the lock is one that asks for nothing.
fake_command($node, 'poison payload=e1');
emitted('t', 'k', 'e1', 'e2');
wait_for_rows('t/k dead letter');
fake_command($node, 'cure');
fake_command($node, 'hold');
$from = fake_position($node);
$node->safe_psql('postgres', 'SELECT outbox_retry("all" => true)');
fake_wait($node, 'e1', from => $from);
$node->safe_psql('postgres', 'SELECT outbox_discard("all" => true)');
$session->query_safe('BEGIN; SELECT FROM outbox.dead_letter FOR SHARE');
fake_command($node, 'refuse payload=e1');
fake_command($node, 'auto');
emitted('u', 'k', 'u4');
fake_wait($node, 'u4', from => $from, timeout => 30);
$session->query_safe('ROLLBACK');
wait_for_rows('');
is(publisher_pid($node), $pid, 'nor does one that has locked a letter that is to be discarded');
is(sent('e', $from), 'e1 e2', 'and its key goes on');
$session->quit;

# A letter that came by a restore is adopted while a batch is half published.
fake_command($node, 'hold');
$from = fake_position($node);
$node->safe_psql('postgres',
	"INSERT INTO outbox.dead_letter (uid, id, xid, origin, created, topic, key, payload, parks, error_class, error_code, error)
	 VALUES (gen_random_uuid(), 1000000, '3', 0, now(), 't', 'z', 'f0', true, 'record', 10, 'too large')");
$node->safe_psql('postgres', join(';', 'BEGIN',
	(map { "SELECT outbox_emit('t', 'f$_.$large', '" . ($_ == 39 ? 'z' : 'k') . "')" } 10 .. 39), 'COMMIT'));
fake_wait($node, 'f39', from => $from);
@numbers = map { $_->{number} } grep { $_->{payload} =~ /^f/ } fake_events($node, from => $from);
fake_command($node, "ack $numbers[0]-$numbers[9]");
wait_until(
	sub { $node->safe_psql('postgres', 'SELECT open IS NOT NULL FROM outbox.cursor WHERE topic IS NULL') eq 't' },
	'a position is stored');
is($node->safe_psql('postgres', 'SELECT outbox_adopt()'), '0', 'a letter is adopted, and no events');
wait_for_publisher($node, not => $pid);
$pid = publisher_pid($node);
wait_for_rows('t/z dead letter');
$from = fake_position($node);
fake_command($node, 'auto');
$node->safe_psql('postgres', 'SELECT outbox_discard("all" => true)');
wait_for_rows('');
is(sent('f39', $from), 'f39', 'an event behind a restored letter is not lost');

# More topics are in trouble than may be held.
$node->append_conf('postgresql.conf', 'outbox.max_held_topics = 0');
$node->reload;
fake_command($node, 'topic 3 v');
wait_until(sub { publisher_status($node, 'error') =~ /held already/ }, 'the status says so');

sub cpu_ticks
{
	my ($utime, $stime) = (split ' ', slurp_file("/proc/$pid/stat") =~ s/.*\)//r)[ 11, 12 ];

	return $utime + $stime;
}

# A second of wall time is what is measured; one that spins uses all it gets.
my $before = cpu_ticks();
sleep 2;
cmp_ok(cpu_ticks() - $before, '<', 20, 'the publisher does not spin meanwhile');

$node->stop;
done_testing();

sub wait_for_published_of_u
{
	wait_until(
		sub {
			$node->safe_psql('postgres',
				"SELECT count(*) FROM outbox.event WHERE topic = 'u' AND NOT outbox_is_published(xid, id, topic, key)") eq '0';
		},
		'what another topic has is published');
	return;
}
