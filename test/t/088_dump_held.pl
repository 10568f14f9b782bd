# 088_dump_held.pl
#	  Dump and restore with a held topic and a parked key.
#
# The dump holds what is not published, by all hold rows, and each dead letter
# once; its event not a second time.
#
# IDENTIFICATION
#	  test/t/088_dump_held.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main');
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';

wait_for_publisher($node);
fake_command($node, 'poison payload=p1');
fake_command($node, 'poison topic=h 3 2');
$node->safe_psql('postgres', "SELECT outbox_set_topic('s', 'skip', true)");
emit($node, 't', 'k', 'p1', 'p2');
emit($node, 't', 'l', 'g1');
emit($node, 'h', 'k', 'h1');
wait_for_letters($node, 'p1 dead 1 parks');
wait_for_holds($node, 'h/error', 's/paused', 't/k/dead letter');
emit($node, 't', 'k', 'p3');
emit($node, 'h', 'k', 'h2');
emit($node, 's', 'k', 's1');
emit($node, 't', 'l', 'g2');
wait_until(sub { grep { $_ eq 'g2' } fake_acknowledged($node) }, 'the others are published');
wait_for_answer($node, q{SELECT count(*) FROM outbox.event WHERE key = 'l' AND NOT outbox_is_published(xid, id, topic, key)},
	'0', 'and known to be');

$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-Fc', '-f', $file ], 'it is dumped');
$node->command_fails_like([ 'pg_dump', '-d', $node->connstr('postgres'), '--inserts' ],
	qr/events cannot be dumped as INSERT commands/, '--inserts is refused');

# Another database of the same server; its producer is no other one's.
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'it is restored');
is($node->safe_psql('restored', q{SELECT string_agg(convert_from(payload, 'UTF8'), ' ' ORDER BY id) FROM outbox.event}),
	'p2 h1 p3 h2 s1', 'events: what waits, in order, and no dead letter');
is($node->safe_psql('restored', q{SELECT convert_from(payload, 'UTF8'), state, parks FROM outbox.dead_letter}),
	'p1|dead|t', 'the dead letter, once');
is($node->safe_psql('restored', q{SELECT topic, on_refusal, paused FROM outbox.topic}), 's|skip|t', 'what is set for topics');
is($node->safe_psql('restored', q{SELECT count(*) FROM outbox.cursor WHERE topic IS NOT NULL AND reason <> 'paused'}), '0', 'no hold row');
is($node->safe_psql('restored', q{SELECT d.uid = o.uid FROM outbox.dead_letter d, (VALUES ('}
	  . $node->safe_psql('postgres', 'SELECT uid FROM outbox.dead_letter') . q{'::uuid)) o (uid)}), 't', 'of the same uid');

# It is foreign there: not sent, not tried, whatever is asked for.
is($node->safe_psql('restored', q{SELECT outbox_retry("all" => true)}), '0', 'nobody can ask for it to be sent again');
$node->safe_psql('restored', q{UPDATE outbox.dead_letter SET request = 'retry'; SELECT outbox_request()});
$node->safe_psql('restored', q{SELECT outbox_emit('t', 'own', 'k')});
fake_wait($node, 'own', dbname => 'restored');
is_deeply([ fake_payloads($node, dbname => 'restored') ], ['own'], 'nothing foreign is sent');
is($node->safe_psql('restored', q{SELECT state FROM outbox.dead_letter}), 'dead', 'the letter stays');

# The original goes on as before.
my $from = fake_position($node);
fake_command($node, 'cure');
$node->safe_psql('postgres', q{SELECT outbox_retry("all" => true)});
$node->safe_psql('postgres', q{SELECT outbox_set_topic('s', paused => false)});
wait_for_holds($node);
wait_for_published($node);
is_deeply([ sort(fake_acknowledged($node, from => $from)) ], [qw(h1 h2 p1 p2 p3 s1)], 'the original publishes all of it, once');

$node->stop;
done_testing();
