# 083_dead_letters.pl
#	  Sending dead letters again, and giving them up.
#
# outbox_retry and outbox_discard only ask; the publisher does it, and the key
# comes back behind the letter, so that new events of the key wait without a
# race.
#
# IDENTIFICATION
#	  test/t/083_dead_letters.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main');
my $from;

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

# Has these events be dead letters, each with its payload as the key.
sub make_letters
{
	my ($topic, @payloads) = @_;
	my $letters = sql("SELECT count(*) FROM outbox.dead_letter WHERE state = 'dead'");

	fake_command($node, "poison payload=$_") foreach @payloads;
	emit($node, $topic, $_, $_, "$_-next") foreach @payloads;
	wait_for_answer($node, "SELECT count(*) FROM outbox.dead_letter WHERE state = 'dead'",
		$letters + @payloads, 'the letters are there');
	return;
}

# What is wrong to ask for.
wait_for_publisher($node);
foreach my $function ('outbox_retry', 'outbox_discard')
{
	my (undef, undef, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $function()");
	like($stderr, qr/22023: it is not said which dead letters are meant\nHINT:  Give topic/, "$function: none is named");
	foreach my $wrong (q{key => 'k'}, q{topic => 't', "all" => true}, q{uid => gen_random_uuid(), "all" => true})
	{
		(undef, undef, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $function($wrong)");
		like($stderr, qr/42883: function $function\(/, "$function: there is no form with $wrong");
	}
	foreach my $wrong ([topic => 'topic => NULL'], [topic => q{topic => NULL, key => 'k'}], [uid => 'uid => NULL'])
	{
		my ($argument, $call) = @$wrong;
		(undef, undef, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $function($call)");
		like($stderr, qr/22004: argument "$argument" must not be null\nHINT:/, "$function: $call");
	}
	(undef, undef, $stderr) = $node->psql('postgres', "SELECT $function(\"all\" => NULL)");
	like($stderr, qr/it is not said which/, "$function: all => NULL");
	is(sql("SELECT $function('nothing')"), '0', "$function: nothing is there");
	is(sql("SELECT $function(\"all\" => true)"), '0', "$function: nothing at all");
	is($node->safe_psql('postgres', "BEGIN; SELECT $function(\"all\" => true); ROLLBACK"), '0', "$function in a transaction that rolls back");
}
sql('CREATE ROLE nobody');
foreach my $call (q{outbox_retry("all" => true)}, q{outbox_discard("all" => true)},
	q{outbox_request()}, q{outbox_set_topic('t')})
{
	my (undef, undef, $stderr) = $node->psql('postgres', "SET ROLE nobody; SELECT $call");
	like($stderr, qr/permission denied/, "$call: not for everybody");
}

# Refused again: the letter stays, and counts.
make_letters('t', 'a1');
$from = fake_position($node);
is(sql(q{SELECT outbox_retry('t', 'a1')}), '1', 'a letter is sent again');
wait_for_letters($node, 'a1 dead 2 parks');
wait_for_answer($node, 'SELECT request IS NULL FROM outbox.dead_letter', 't', 'the request is done');
is_deeply([ map { "$_->{payload} $_->{alone}" } fake_events($node, from => $from) ], ['a1 alone'],
	'refused again: it was sent once, alone, and nothing else');
is(holds($node), 't/a1/dead letter', 'refused again: the key waits');

# New events of the key while the letter is under way, refused, and under way
# again, to be acknowledged at last.
fake_command($node, 'cure');
fake_command($node, 'hold');
$from = fake_position($node);
sql(q{SELECT outbox_retry('t', 'a1')});
fake_wait($node, 'a1', from => $from);
emit($node, 't', 'a1', 'a2');
emit($node, 't', 'o', 'o1');
fake_wait($node, 'o1', from => $from);
fake_command($node, 'refuse payload=a1');
wait_for_letters($node, 'a1 dead 3 parks');
sql(q{SELECT outbox_retry(uid => (SELECT uid FROM outbox.dead_letter))});
wait_until(sub { 2 == grep { $_ eq 'a1' } fake_payloads($node, from => $from) }, 'it is sent again');
emit($node, 't', 'a1', 'a3');
emit($node, 't', 'o', 'o2');
fake_wait($node, 'o2', from => $from);
is_deeply([ grep { /^a/ } fake_payloads($node, from => $from) ], [qw(a1 a1)], 'nothing of the key passes a letter under way');
fake_command($node, 'ack payload=a1');
fake_wait($node, 'a3', from => $from);
is(letters($node), '', 'acknowledged: the letter is gone');
emit($node, 't', 'a1', 'a4');
fake_wait($node, 'a4', from => $from);
fake_command($node, 'auto');
wait_for_published($node);
wait_for_holds($node);
is_deeply([ grep { /^a/ } fake_payloads($node, from => $from) ], [qw(a1 a1 a1-next a2 a3 a4)],
	'acknowledged: the key follows, old and new, in order, once');

# To be given up while it is under way: that is not known before the report.
make_letters('t', 'b1', 'b2', 'b3');
fake_command($node, 'cure');
fake_command($node, 'hold');
$from = fake_position($node);
foreach my $function ('outbox_retry', 'outbox_discard')
{
	is(sql("SELECT $function('t', NULL)"), '0', "$function: a key that is NULL means letters without a key, not the topic's");
}
is(sql(q{SELECT outbox_retry('t')}), '3', 'all letters of a topic');
fake_wait($node, $_, from => $from) foreach qw(b1 b2 b3);
is(sql(q{SELECT outbox_discard('t')}), '3', 'all letters of a topic are given up');
emit($node, 't', 'o', 'o3');
fake_wait($node, 'o3', from => $from);
is(letters($node), join("\n", map { "b$_ dead 1 parks" } 1 .. 3), 'given up while under way: nothing is done yet');
fake_command($node, 'ack payload=b1');
fake_wait($node, 'b1-next', from => $from);
is(letters($node), "b2 dead 1 parks\nb3 dead 1 parks", 'acknowledged after all: it is published');
fake_command($node, 'refuse payload=b2');
fake_wait($node, 'b2-next', from => $from);
is(letters($node), "b2 discarded 2 parks\nb3 dead 1 parks", 'refused after all: it is given up');

# The producer dies: nothing is under way any more, so the last one is given up.
fake_command($node, 'crash');
fake_command($node, 'auto');
wait_for_letters($node, 'b2 discarded 2 parks', 'b3 discarded 1 parks');
wait_for_holds($node);
wait_for_published($node);
is(scalar(grep { $_ eq 'b3' } fake_acknowledged($node, from => $from)), 0, 'given up: it is not published');
is((grep { /^b3/ } fake_acknowledged($node, from => $from))[0], 'b3-next', 'given up: its key goes on');

# A letter that kills the producer does not do so for ever.
make_letters('t', 'd1');
fake_command($node, 'cure');
fake_command($node, 'deadly payload=d1');
sql(q{SELECT outbox_retry('t')});
wait_until(sub { sql(q{SELECT request IS NULL AND error_class = 'client' FROM outbox.dead_letter WHERE state = 'dead'}) eq 't' },
	'killed the producer: it is a dead letter, and nothing is asked for');
fake_command($node, 'cure');
sql(q{SELECT outbox_retry('t')});
wait_for_holds($node);
wait_for_published($node);

# A publisher that dies while a letter is under way sends it again.
make_letters('t', 'c1');
fake_command($node, 'cure');
fake_command($node, 'hold');
$from = fake_position($node);
sql(q{SELECT outbox_retry("all" => true)});
fake_wait($node, 'c1', from => $from);
kill_publisher($node);
fake_command($node, 'auto');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { /^c/ } fake_acknowledged($node, from => $from) ], [qw(c1 c1-next)], 'killed: the letter is sent again, and its key');

# More at a time than are sent at a time, of several topics; others flow.
my @many = map { sprintf 'd%02d', $_ } 1 .. 40;
fake_command($node, 'hold');
$node->safe_psql('postgres', join('', "BEGIN;\n", map({
	my $topic = $_ % 2 ? 'even' : 'odd';
	my $p = $many[$_];
	"SELECT outbox_emit('$topic', '$p', '$p'), outbox_emit('$topic', '$p-next', '$p');\n" } 0 .. $#many), 'COMMIT'));
fake_wait($node, 'd40-next');
fake_command($node, "poison payload=$_") foreach @many;
fake_command($node, 'refusebatch all');
fake_command($node, 'auto');
wait_until(sub { publisher_status($node, 'dead_letters') eq '40' }, 'the letters are there');
is(publisher_status($node, 'dead_letters || $$ $$ || parked_keys'), '40 40', 'the status counts them');
fake_command($node, 'cure');
$from = fake_position($node);
is(sql(q{SELECT outbox_retry('odd')}), '20', 'one topic');
wait_for_answer($node, q{SELECT count(*) FROM outbox.dead_letter WHERE state = 'dead'}, '20', 'they are published');
is_deeply([ fake_events($node, from => $from, topic => 'even') ], [], 'letters of the other topic stay');
is(sql(q{SELECT outbox_retry("all" => true)}), '20', 'all that are left');
wait_for_holds($node);
wait_for_published($node);
my @got = grep { /^d/ } fake_acknowledged($node, from => $from);
my %place = map { $got[$_] => $_ } 0 .. $#got;
is_deeply([ sort @got ], [ sort map { ($_, "$_-next") } @many ], 'all letters, and what waited, once');
my @early = grep { $place{"$_-next"} < $place{$_} } @many;
is_deeply(\@early, [], 'each key behind its letter');
wait_until(sub { publisher_status($node, 'dead_letters || $$ $$ || parked_keys') eq '0 0' }, 'the status counts none');

# By the key's own letter only: the others stay.
make_letters('t', 'e1', 'e2');
fake_command($node, 'cure');
$from = fake_position($node);
is(sql(q{SELECT outbox_discard('t', 'e1')}), '1', 'one key');
wait_for_holds($node, 't/e2/dead letter');
is(sql(q{SELECT outbox_retry('t', 'e1')}), '0', 'what is given up is not sent again');
emit($node, 't', 'e1', 'e3');
fake_wait($node, 'e3');
is_deeply([ fake_payloads($node, from => $from) ], [qw(e1-next e3)], 'one key goes on, and nothing else is sent');

$node->stop;
done_testing();
