# 100_copies.pl
#	  Events behind a dead letter whose segment is emptied.
#
# They are copied to outbox.dead_letter, and are sent from there one by one, in
# order, before the key comes back with what was not copied.  The segment stays
# while somebody reads who cannot see the copies.
#
# IDENTIFICATION
#	  test/t/100_copies.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main', conf => "outbox.retention = 0\n");
my $from;

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

# Has an event be a dead letter, and others wait behind it as copies.
sub copy
{
	my ($poison, @others) = @_;

	fake_command($node, "poison payload=$poison");
	emit($node, 't', 'k', $poison, @others);
	wait_for_holds($node, 't/k/dead letter');
	# behind it the main row is, and the segment is known to have events
	emit($node, 'u', 'k', "after-$poison");
	wait_for_answer($node,
		q{SELECT coalesce(string_agg(convert_from(payload, 'UTF8'), ' ' ORDER BY id), '') FROM outbox.dead_letter WHERE state = 'parked'},
		"@others", 'they are copied', 60);
	fake_command($node, 'cure');
	return;
}

sub waiting
{
	my ($payload) = @_;

	return "SELECT count(*) FROM outbox.event WHERE payload = '$payload'";
}

# A session reads all the time, and has to find the events where they were.
wait_for_publisher($node);
my $pid = publisher_pid($node);
emit($node, 't', 'k', 'a0');
wait_for_published($node);
fake_command($node, 'poison payload=a1');
emit($node, 't', 'k', qw(a1 a2 a3));
wait_for_holds($node, 't/k/dead letter');
my $session = $node->background_psql('postgres');
my $seen = q{SELECT count(*) FROM (SELECT uid FROM outbox.event WHERE payload IN ('a2', 'a3')
	UNION SELECT uid FROM outbox.dead_letter WHERE payload IN ('a2', 'a3')) e};
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
emit($node, 'u', 'k', 'u1');
wait_for_answer($node, q{SELECT count(*) FROM outbox.dead_letter WHERE state = 'parked'}, '2', 'they are copied', 60);
wait_until(sub { publisher_status($node, 'rotation_delayed_by') =~ /older than the newest dead letter/ }, 'the status says who delays it');
is($session->query_safe($seen), '2', 'who cannot see the copies still finds the events');
$session->query_safe('COMMIT');
$session->quit;
wait_for_answer($node, waiting('a2'), '0', 'then the segment is emptied', 60);
is(sql($seen), '2', 'and others find the copies');
is(sql('SELECT parked FROM outbox.parked_key'), '2', 'the view counts them');

# One after the other, and what was not copied behind them.
fake_command($node, 'cure');
emit($node, 't', 'k', 'a4');
fake_command($node, 'hold');
$from = fake_position($node);
sql(q{SELECT outbox_discard('t', 'k')});
foreach my $n (2, 3)
{
	fake_wait($node, "a$n", from => $from);
	# whatever is looked for now is looked for with one under way
	sql('SELECT outbox_request()');
	emit($node, 'u', 'k', "u$n");
	fake_wait($node, "u$n", from => $from);
	is_deeply([ grep { /^a/ } fake_payloads($node, from => $from) ], [ map { "a$_" } 2 .. $n ], "one at a time: a$n");
	fake_command($node, "ack payload=a$n");
}
fake_wait($node, 'a4', from => $from);
fake_command($node, 'auto');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { /^a/ } fake_payloads($node, from => $from) ], [qw(a2 a3 a4)], 'all of the key is published, in order, once');

# A copy is refused: it is a dead letter, and what is behind it waits.
copy('b1', qw(b2 b3));
fake_command($node, 'poison payload=b2');
$from = fake_position($node);
sql(q{SELECT outbox_discard('t', 'k')});
wait_for_answer($node,
	q{SELECT string_agg(convert_from(payload, 'UTF8') || ' ' || state, ' ' ORDER BY id) FROM outbox.dead_letter WHERE state <> 'discarded'},
	'b2 dead b3 parked', 'it is refused');
emit($node, 'u', 'k', 'u4');
fake_wait($node, 'u4', from => $from);
is_deeply([ grep { /^b/ } fake_payloads($node, from => $from) ], ['b2'], 'a copy is refused: nothing passes it');
fake_command($node, 'cure');
sql(q{SELECT outbox_retry('t', 'k')});
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { /^b/ } fake_acknowledged($node, from => $from) ], [qw(b2 b3)], 'and they are published afterwards, in order');

# A paused topic's copies wait as well.
copy('c1', qw(c2));
sql(q{SELECT outbox_set_topic('t', paused => true)});
wait_for_holds($node, 't/k/dead letter', 't/paused');
$from = fake_position($node);
sql(q{SELECT outbox_discard('t', 'k')});
wait_for_answer($node, q{SELECT count(*) FROM outbox.dead_letter WHERE state = 'dead'}, '0', 'it is discarded');
emit($node, 'u', 'k', 'u5');
fake_wait($node, 'u5', from => $from);
is_deeply([ fake_payloads($node, from => $from, topic => 't') ], [], 'a paused topic: its copies wait');
sql(q{SELECT outbox_set_topic('t', paused => false)});
wait_for_holds($node);
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from, topic => 't') ], ['c2'], 'and are sent when it is not paused any more');

# By a publisher that was killed meanwhile.
copy('d1', qw(d2 d3));
emit($node, 't', 'k', 'd4');
$pid = publisher_pid($node);
kill_publisher($node);
$from = fake_position($node);
sql(q{SELECT outbox_retry('t', 'k')});
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { /^d/ } fake_payloads($node, from => $from) ], [qw(d1 d2 d3 d4)], 'killed: all of it, in order, once');
is(sql(q{SELECT count(*) FROM outbox.dead_letter WHERE state <> 'discarded'}), '0', 'and no copy is left');

# What is coming back is not copied: its segment stays until it has.
$node->append_conf('postgresql.conf', 'outbox.retention = 1h');
$node->reload;
fake_command($node, 'poison payload=e1');
emit($node, 't', 'k', qw(e1 e2 e3));
wait_for_holds($node, 't/k/dead letter');
emit($node, 'u', 'k', 'after-e1');
wait_for_answer($node, q{SELECT count(*) FROM outbox.event WHERE topic = 'u' AND NOT outbox_is_published(xid, id, topic, key)},
	'0', 'the main row is behind them');
fake_command($node, 'cure');
fake_command($node, 'hold');
$from = fake_position($node);
sql(q{SELECT outbox_discard('t', 'k')});
fake_wait($node, 'e3', from => $from);
$node->append_conf('postgresql.conf', 'outbox.retention = 0');
$node->reload;
wait_until(sub { publisher_status($node, 'rotation_delayed_by') =~ /that is coming back/ }, 'the status says what delays it');
is(sql(q{SELECT count(*) FROM outbox.dead_letter WHERE state = 'parked'}), '0', 'what is coming back is not copied');
fake_command($node, 'auto');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { /^e/ } fake_payloads($node, from => $from) ], [qw(e2 e3)], 'and is published in order, once');
wait_for_answer($node, waiting('e3'), '0', 'then the segment is emptied', 60);

$node->stop;
done_testing();
