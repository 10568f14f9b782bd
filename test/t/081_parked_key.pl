# 081_parked_key.pl
#	  A refused event among others: dead letter and parked key.
#
# The broker refuses a whole producer batch; sent again one by one, only the
# event at fault becomes a dead letter, only its key waits behind it, and the
# others lose and repeat nothing (G7).  A restart finds all of it in the tables.
#
# IDENTIFICATION
#	  test/t/081_parked_key.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Several hundred events under way, of many keys.
my $events = 400;
my $keys = 20;

my $node = fake_node('main');

# Emits a window of events and returns when all but those of the keys that are
# parked are published.  Checks the others.
sub window
{
	my ($name, @parked) = @_;
	my $from = fake_position($node);
	my %is_parked = map { $_ => 1 } @parked;
	my (@wrong, %times);

	$node->safe_psql('postgres',
		"SELECT count(outbox_emit('t', '$name' || i, 'k' || i % $keys)) FROM generate_series(1, $events) i");
	wait_for_answer($node,
		"SELECT count(*) FROM outbox.event WHERE NOT outbox_is_published(xid, id, topic, key)
		AND convert_from(key, 'UTF8') <> ALL ('{" . join(',', map { "k$_" } @parked) . "}')",
		'0', 'all but the parked keys is published');
	my @acknowledged = fake_acknowledged($node, from => $from);
	foreach my $key (grep { !$is_parked{$_} } 0 .. $keys - 1)
	{
		my @got = grep { /^$name(\d+)$/ && $1 % $keys == $key } @acknowledged;
		my @expected = map { "$name$_" } grep { $_ % $keys == $key } 1 .. $events;
		push @wrong, $key if "@got" ne "@expected";
	}
	is_deeply(\@wrong, [], "$name: each other key is complete, once and in order");
	$times{ $_->{payload} }++ foreach grep { !$is_parked{ $_->{key} =~ s/k//r } } fake_events($node, from => $from);
	is_deeply([ grep { $times{$_} > 2 } keys %times ], [], "$name: no other event is sent more than twice");
	return map { my $k = $_; [ grep { /^$name(\d+)$/ && $1 % $keys == $k } @acknowledged ] } @parked;
}

sub of_key
{
	my ($name, $key, $first, $last) = @_;

	return map { "$name$_" } grep { $_ % $keys == $key } $first .. $last;
}

# One event in the middle.
wait_for_publisher($node);
my $pid = publisher_pid($node);
fake_command($node, 'poison payload=w190');
my ($key10) = window('w', 10);
is(letters($node), 'w190 dead 1 parks', 'the poison is the one dead letter');
is(holds($node), 't/k10/dead letter', 'its key is the one that is parked');
is_deeply($key10, [ of_key('w', 10, 1, 189) ], 'nothing of the key passes it');
is($node->safe_psql('postgres', "SELECT convert_from(key, 'UTF8'), parked,
		dead_letter = (SELECT uid FROM outbox.dead_letter) FROM outbox.parked_key"),
	'k10|10|t', 'the view shows the key and what waits');
is($node->safe_psql('postgres', 'SELECT error_class, error_code, error FROM outbox.dead_letter'),
	'record|10|Broker: Message size too large', 'the letter says why');

# Later events of the key wait as well, those of others do not.
emit($node, 't', 'k10', 'x1');
emit($node, 't', 'k11', 'x2');
fake_wait($node, 'x2');
is(scalar(grep { $_ eq 'x1' } fake_payloads($node)), 0, 'a later event of the key waits');
is(publisher_pid($node), $pid, 'by the same publisher');

# A topic is held as well, and the publisher is killed.
fake_command($node, 'poison topic=h 3 2');
fake_command($node, 'hold');
emit($node, 'h', 'k', 'h1');
fake_wait($node, 'h1');
wait_for_holds($node, 'h/error', 't/k10/dead letter');
fake_command($node, 'auto');
emit($node, 'h', 'k', 'h2');
my $from = fake_position($node);
kill_publisher($node);
emit($node, 't', 'k10', 'x3');
emit($node, 't', 'k11', 'x4');
fake_wait($node, 'x4', from => $from);
is(holds($node), "h/error\nt/k10/dead letter", 'killed: the rows are there');
is_deeply([ grep { !/^h1$/ } fake_payloads($node, from => $from) ], ['x4'],
	'killed: neither topic nor key is in the stream');

# The way back of both.
fake_command($node, 'cure');
wait_for_holds($node, 't/k10/dead letter');
is_deeply([ fake_acknowledged($node, from => $from, topic => 'h') ], [qw(h1 h2)], 'the topic is back, in order');
$from = fake_position($node);
is($node->safe_psql('postgres', "SELECT outbox_retry('t', 'k10')"), '1', 'one letter is sent again');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from) ], [ 'w190', of_key('w', 10, 191, $events), 'x1', 'x3' ],
	'the key is back: the letter first, all others in order, once');
is(letters($node), '', 'and the letter is gone');

# Two in one window, one of them the last, of a publisher that has done so before.
fake_command($node, "poison payload=v$_") foreach (77, $events);
my ($key17, $key0) = window('v', 17, 0);
is_deeply([ sort(split /\n/, letters($node)) ], [ 'v400 dead 1 parks', 'v77 dead 1 parks' ],
	'two poisons are two dead letters') or diag(letters($node));
is_deeply($key17, [ of_key('v', 17, 1, 76) ], 'the key of the first stops there');
is_deeply($key0, [ of_key('v', 0, 1, $events - 1) ], 'that of the last as well');
$from = fake_position($node);
fake_command($node, 'cure');
$node->safe_psql('postgres', 'SELECT outbox_discard("all" => true)');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from) ], [ of_key('v', 17, 78, $events) ],
	'discarded: what waited comes in order, the letters do not');

# Several events of the key are in the producer batch that is refused, and all of
# them are sent alone: one after the other, and none behind the poison.
fake_command($node, 'hold');
emit($node, 't', 'same', map { "s$_" } 1 .. 5);
fake_wait($node, 's5');
fake_command($node, 'poison payload=s3');
$from = fake_position($node);
fake_command($node, 'refusebatch key=same');
fake_command($node, 'auto');
wait_for_holds($node, 't/same/dead letter');
emit($node, 't', 'other', 's6');
fake_wait($node, 's6');
is_deeply([ fake_payloads($node, from => $from) ], [qw(s1 s2 s3 s6)], 'alone, an event waits for those of its key');
fake_command($node, 'cure');
$node->safe_psql('postgres', "SELECT outbox_retry('t', 'same')");
wait_for_holds($node);
wait_for_published($node);
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(s1 s2 s6 s3 s4 s5)], 'and the key follows, in order');

# Without a key nothing waits.
fake_command($node, 'poison payload=n3');
$from = fake_position($node);
emit($node, 't', undef, map { "n$_" } 1 .. 5);
wait_for_published($node);
is((split /\n/, letters($node))[-1], 'n3 dead 1', 'without key: a dead letter that parks nothing');
is(holds($node), '', 'without key: no row');
is_deeply([ fake_acknowledged($node, from => $from) ], [qw(n1 n2 n4 n5)], 'without key: all others are published, once');

# A dead letter whose key has no row, as a restore leaves it: who starts parks
# the key.
fake_command($node, 'poison payload=r1');
emit($node, 't', 'restored', 'r1');
wait_for_holds($node, 't/restored/dead letter');
$node->safe_psql('postgres', 'DELETE FROM outbox.cursor WHERE key IS NOT NULL');
terminate_publisher($node);
wait_for_holds($node, 't/restored/dead letter');
$from = fake_position($node);
emit($node, 't', 'restored', 'r2', 'r3');
emit($node, 't', 'other', 'o1');
fake_wait($node, 'o1', from => $from);
is_deeply([ fake_payloads($node, from => $from) ], ['o1'], 'a letter without a row: its key waits');
fake_command($node, 'cure');
$node->safe_psql('postgres', "SELECT outbox_retry('t', 'restored')");
wait_for_holds($node);
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from) ], [qw(o1 r1 r2 r3)], 'a letter without a row: its key follows it');

$node->stop;
done_testing();
