# 086_deaths.pl
#	  Events that kill producers, and producers that die of something else.
#
# An event is a dead letter only if it, alone, kills three producers, and
# another one is acknowledged between: a producer that dies whatever it is sent
# makes none (G6), and one event stops only its key (G7).
#
# IDENTIFICATION
#	  test/t/086_deaths.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main');

# Deaths enough that an event would be guilty if nobody cared for others.
my $many = 6;

# One event of many kills.
wait_for_publisher($node);
my $pid = publisher_pid($node);
fake_command($node, 'deadly payload=d5');
my $from = fake_position($node);
$node->safe_psql('postgres',
	"SELECT count(outbox_emit('t', 'd' || i, 'k' || i % 4)) FROM generate_series(1, 12) i");
wait_for_letters($node, 'd5 dead 1 parks');
is($node->safe_psql('postgres', 'SELECT error_class FROM outbox.dead_letter'), 'client',
	'the letter says that it is no refusal');
wait_for_answer($node, "SELECT count(*) FROM outbox.event WHERE NOT outbox_is_published(xid, id, topic, key)
	AND convert_from(key, 'UTF8') <> 'k1'", '0', 'the other keys are published');
is(holds($node), 't/k1/dead letter', 'its key waits, and no other');
my %of_key;
push @{ $of_key{ /d(\d+)/ && $1 % 4 } }, $_ foreach fake_acknowledged($node, from => $from);
is_deeply(\%of_key,
	{ 0 => [qw(d4 d8 d12)], 1 => ['d1'], 2 => [qw(d2 d6 d10)], 3 => [qw(d3 d7 d11)] },
	'the others are acknowledged once, in order, and nothing passes the one');
is(publisher_pid($node), $pid, 'no publisher died');
my $deaths = fake_starts($node, from => $from);
cmp_ok($deaths, '>=', 4, 'it took three deaths, and more');
cmp_ok($deaths, '<=', 8, 'and not many more');
emit($node, 't', 'k2', 'd13');
fake_wait($node, 'd13');
fake_command($node, 'cure');
$node->safe_psql('postgres', 'SELECT outbox_retry("all" => true)');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { /^d(5|9)$/ } fake_acknowledged($node, from => $from) ], [qw(d5 d9)],
	'cured: it is published, and then its key');

# Whatever is sent kills.
$from = fake_position($node);
fake_command($node, 'deadly topic=t');
$node->safe_psql('postgres',
	"SELECT count(outbox_emit('t', 'e' || i, 'k' || i % 4)) FROM generate_series(1, 12) i");
wait_until(sub { fake_starts($node, from => $from) > $many || letters($node) ne '' },
	'many producers have died', 120);
is(letters($node), '', 'whatever is sent kills: no dead letter');
is(holds($node), '', 'whatever is sent kills: nothing is held');
fake_command($node, 'cure');
wait_until(sub { publisher_status($node, 'waiting_estimate') eq '0' }, 'all is published', 60);
is_deeply([ grep { /[48]$|12/ } fake_acknowledged($node, from => $from) ], [qw(e4 e8 e12)],
	'cured: published, in order');
is(scalar(fake_acknowledged($node, from => $from)), 12, 'cured: all of it, once');

# There is one event, and it kills.
$from = fake_position($node);
fake_command($node, 'deadly payload=f1');
emit($node, 't', 'k1', 'f1');
wait_until(sub { fake_starts($node, from => $from) > $many || letters($node) ne '' },
	'many producers have died', 120);
is(letters($node), '', 'a single event that kills waits');
emit($node, 't', 'k1', 'f2');
emit($node, 't', 'k2', map { "f$_" } 3 .. 7);
wait_for_answer($node, 'SELECT count(*) FROM outbox.dead_letter', '1', 'there is a dead letter', 120);
is(letters($node), 'f1 dead 1 parks', 'it is a dead letter when others are acknowledged between');
wait_until(sub { grep { $_ eq 'f7' } fake_acknowledged($node, from => $from) }, 'the others are published');
is_deeply([ fake_acknowledged($node, from => $from) ], [ map { "f$_" } 3 .. 7 ], 'the others are published, in order');
fake_command($node, 'cure');
$node->safe_psql('postgres', 'SELECT outbox_retry("all" => true)');
wait_for_holds($node);
wait_for_published($node);
is_deeply([ fake_acknowledged($node, from => $from) ], [ map { "f$_" } 3 .. 7, 1, 2 ], 'cured: it is published, and then its key');

# There is one event, it kills, and then it does no more.
$from = fake_position($node);
fake_command($node, 'deadly payload=g1');
emit($node, 't', 'k1', 'g1');
wait_until(sub { fake_starts($node, from => $from) >= 5 }, 'producers have died', 60);
fake_command($node, 'cure');
wait_until(sub { grep { $_ eq 'g1' } fake_acknowledged($node, from => $from) }, 'it is published', 60);
is(letters($node), '', 'a single event that kills no more is published');

$node->stop;
done_testing();
