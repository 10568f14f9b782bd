
# outbox_forward on a real Kafka: tables that are taken over while clients insert,
# a switch from logical decoding, a dump, and logical replication. Each row that
# was committed is one event, in order per key; what was rolled back is none.

use strict;
use warnings;

use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = shared_kafka();
my $node = new_node('forward', init => [ allows_streaming => 'logical' ]);
my %topic = map { $_ => $kafka->create_topic($_) } qw(kept removed shaped);
my $clients = 6;

# Three outbox tables: one that keeps its rows, one that is emptied as rows come,
# and one of the other shape. Each transaction locks a key, and inserts a row of
# this key into each; or two, one of them in a savepoint that may be rolled back.

$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION outbox;
CREATE TABLE kept (n bigserial, id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text NOT NULL, type text NOT NULL, payload jsonb);
CREATE TABLE removed (LIKE kept INCLUDING ALL);
CREATE TABLE shaped (event_id uuid PRIMARY KEY, created_at timestamptz NOT NULL, event_type text NOT NULL, aggregate_type text NOT NULL,
	aggregate_id jsonb, metadata jsonb, payload jsonb) PARTITION BY HASH (event_id);
CREATE TABLE shaped_0 PARTITION OF shaped FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shaped_1 PARTITION OF shaped FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE counter (key text PRIMARY KEY, n bigint NOT NULL);
INSERT INTO counter SELECT 'key ' || i, 0 FROM generate_series(0, 29) i;
CREATE TABLE truth (topic text, uid uuid, key text, n bigint);
CREATE FUNCTION insert_rows(of text) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE
	number bigint;
	a uuid := gen_random_uuid();
	b uuid := gen_random_uuid();
	c uuid := gen_random_uuid();
BEGIN
	UPDATE counter SET n = n + 1 WHERE key = of RETURNING n INTO number;
	INSERT INTO kept (id, aggregatetype, aggregateid, type, payload) VALUES (a, 'Order', of, 'e', jsonb_build_object('n', number));
	INSERT INTO removed (id, aggregatetype, aggregateid, type, payload) VALUES (b, 'Order', of, 'e', jsonb_build_object('n', number));
	INSERT INTO shaped VALUES (c, clock_timestamp(), 'e', 'Order', to_jsonb(of), '{}', jsonb_build_object('n', number));
	INSERT INTO truth VALUES ('$topic{kept}', a, of, number), ('$topic{removed}', b, of, number), ('$topic{shaped}', c, of, number);
END
\$\$;
CREATE FUNCTION insert_and_undo(of text, end_badly boolean) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM insert_rows(of);
	IF end_badly THEN
		RAISE division_by_zero;
	END IF;
EXCEPTION WHEN division_by_zero THEN
	NULL;
END
\$\$;
SQL

my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
append_to_file($script, <<'SQL');
\set key random(0, 29)
\set die random(1, 10)
BEGIN;
SELECT insert_rows('key ' || :key);
SELECT insert_and_undo('key ' || :key, :die < 5);
\if :die = 1
ROLLBACK;
\else
COMMIT;
\endif
SQL

# For at least 15 seconds, and as long as it takes.
my $seconds = 15;
my $start = time;
my ($out, $err) = ('', '');
my $load = IPC::Run::start(
	[ 'pgbench', '-n', '-c', $clients, '-T', 600, '-f', $script, $node->connstr('postgres') ],
	'<', \undef, '>', \$out, '2>', \$err);
wait_until(sub { return $node->safe_psql('postgres', 'SELECT count(*) > 600 FROM truth') eq 't' }, 'rows are there', 120);

# Taken over in the midst of it.

my %taken;
$taken{kept} = $node->safe_psql('postgres',
	"SELECT outbox_forward('kept', topic => '$topic{kept}', take_over => true, take_over_order => '{n}')");
$taken{removed} = $node->safe_psql('postgres',
	"SELECT outbox_forward('removed', topic => '$topic{removed}', take_over => true, take_over_order => '{n}', keep => false)");
$taken{shaped} = $node->safe_psql('postgres',
	"SELECT outbox_forward('shaped', topic => '$topic{shaped}', take_over => true)");
my $committed = $node->safe_psql('postgres', 'SELECT count(*) FROM truth');
wait_until(
	sub {
		return time - $start > $seconds
		  && $node->safe_psql('postgres', "SELECT count(*) > $committed + 300 FROM truth") eq 't';
	},
	'more rows come', 120);
pass('and more came');
# its sessions end when they have done what they are at
$load->signal('TERM');
eval { $load->finish };
wait_until(
	sub {
		return $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") eq '0';
	},
	'the clients are gone');
cmp_ok($taken{$_}, '>', 200, "$_: $taken{$_} rows were there") foreach sort keys %taken;
unlike($err, qr/ERROR|aborted/, 'no client met an error');

sub verify
{
	my ($name) = @_;
	my $counts = $kafka->verify($node->connstr('postgres'), 'SELECT topic, uid, key, n FROM truth',
		topics => [ values %topic ], timeout => 180);

	note("$name: $counts->{committed} committed, $counts->{received} received");
	is($counts->{$_}, 0, "$name: $_: 0") foreach qw(lost phantom out_of_order damaged split_keys duplicates);
	diag(explain($counts->{samples})) if %{ $counts->{samples} };
	return;
}

verify('taken over under load');
is($node->safe_psql('postgres', 'SELECT count(*) FROM removed'), '0', 'removed rows are gone');
is($node->safe_psql('postgres', "SELECT count(*) FROM kept"),
	$node->safe_psql('postgres', "SELECT count(*) FROM truth WHERE topic = '$topic{kept}'"), 'kept rows are there');

# The take-over waits for whoever has inserted and not ended, and whoever comes
# meanwhile waits for it; a prepared transaction counts, too.

my $late = $kafka->create_topic('late', partitions => 1);
$node->safe_psql('postgres',
	'CREATE TABLE late (id serial, aggregatetype text, aggregateid text, type text, payload text)');
my $session = $node->background_psql('postgres');
my $taker = $node->background_psql('postgres');
my $waiting = q{SELECT count(*) FROM pg_locks WHERE relation = 'late'::regclass AND NOT granted};
$session->query_safe("BEGIN; INSERT INTO late (aggregatetype, aggregateid, type, payload) VALUES ('Order', 'k', 'e', 'first')");
$taker->query_until(qr/taking/, "\\echo taking\nSELECT outbox_forward('late', topic => '$late', take_over => true);\n");
wait_until(sub { return $node->safe_psql('postgres', $waiting) eq '1' }, 'the take-over waits', 30);
my $inserter = $node->background_psql('postgres');
$inserter->query_until(qr/inserting/,
	"\\echo inserting\nINSERT INTO late (aggregatetype, aggregateid, type, payload) VALUES ('Order', 'k', 'e', 'second');\n");
wait_until(sub { return $node->safe_psql('postgres', $waiting) eq '2' }, 'and an insert waits for it', 30);
$session->query_safe("PREPARE TRANSACTION 'late'");
is($node->safe_psql('postgres', $waiting), '2', 'a prepared transaction is waited for');
$node->safe_psql('postgres', "COMMIT PREPARED 'late'");
$_->quit foreach ($taker, $inserter, $session);
is_deeply([ map { $_->{value} } $kafka->consume($late, count => 2) ], [ 'first', 'second' ],
	'each is one event, in order');

# From logical decoding: rows up to the transaction that switches are in the
# publication, later ones are events, and none is both.

my $switch = $kafka->create_topic('switch', partitions => 1);
$node->safe_psql('postgres', <<SQL);
CREATE TABLE outboxevent (id uuid DEFAULT gen_random_uuid(), aggregatetype text, aggregateid text, type text, payload text);
ALTER TABLE outboxevent REPLICA IDENTITY FULL;
CREATE PUBLICATION dbz_publication FOR TABLE outboxevent, late;
SELECT FROM pg_create_logical_replication_slot('dbz', 'pgoutput');
CREATE FUNCTION insert_many(which text) RETURNS void LANGUAGE sql AS
\$\$ INSERT INTO outboxevent (aggregatetype, aggregateid, type, payload) SELECT 'Order', 'k', 'e', which || ' ' || i FROM generate_series(1, 3) i \$\$;
SELECT insert_many('before');
BEGIN;
SELECT outbox_forward('outboxevent', topic => '$switch');
ALTER PUBLICATION dbz_publication DROP TABLE outboxevent;
COMMIT;
SELECT insert_many('after');
BEGIN;
SELECT outbox_unforward('outboxevent');
ALTER PUBLICATION dbz_publication ADD TABLE outboxevent;
COMMIT;
SELECT insert_many('back');
SQL
my $decoded = $node->safe_psql('postgres', <<'SQL');
SELECT string_agg(substring(encode(data, 'escape') FROM '(before \d|after \d|back \d)'), ',')
FROM pg_logical_slot_get_binary_changes('dbz', NULL, NULL, 'proto_version', '1', 'publication_names', 'dbz_publication')
WHERE get_byte(data, 0) = ascii('I');
SQL
is($decoded, 'before 1,before 2,before 3,back 1,back 2,back 3', 'what the connector sees of a switch, and the way back');
is(join(',', map { $_->{value} } $kafka->consume($switch, count => 3)), 'after 1,after 2,after 3',
	'what outbox publishes of it');
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('dbz')});

# A dump has the triggers, and restoring it emits nothing again.

wait_published($node);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->safe_psql('postgres', "ALTER TABLE kept RENAME payload TO \"Pay load\"");
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->safe_psql('postgres', 'ALTER DATABASE restored SET outbox.enabled = off');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'is restored');
is($node->safe_psql('restored', 'SELECT count(*) FROM kept'), $node->safe_psql('postgres', 'SELECT count(*) FROM kept'),
	'with its rows');
is($node->safe_psql('restored', 'SELECT count(*) FROM outbox.event'), '0', 'which are no events');
my $forwards = 'SELECT f.* FROM outbox.forward f ORDER BY f."table"::text';
is($node->safe_psql('restored', $forwards), $node->safe_psql('postgres', $forwards), 'and is forwarded as it was');
$node->safe_psql('restored',
	"INSERT INTO kept (id, aggregatetype, aggregateid, type, \"Pay load\") VALUES (gen_random_uuid(), 'Order', 'k', 'e', '{\"restored\": 1}')");
is($node->safe_psql('restored', q{SELECT convert_from(payload, 'UTF8') FROM outbox.event}), '{"restored": 1}', 'a row emits');
$node->safe_psql('postgres', 'DROP DATABASE restored');

# What logical replication brings is not emitted, unless that was asked for.

my $replica = new_node('forward_replica');
# No trigger can write where apply is read only.
$replica->safe_psql('postgres', 'ALTER DATABASE postgres SET default_transaction_read_only = off');
my $from = $node->connstr('postgres');
$from .= " options='-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0'";
my %replicated = map { $_ => $kafka->create_topic($_, partitions => 1) } qw(plain always);
my $tables = join '', map {
	"CREATE TABLE replicated_$_ (id int PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload text);\n"
} sort keys %replicated;
$node->safe_psql('postgres', "$tables CREATE PUBLICATION replicated FOR TABLE replicated_plain, replicated_always");
$replica->safe_psql('postgres', <<SQL);
CREATE EXTENSION outbox;
$tables
SELECT outbox_forward('replicated_plain', topic => '$replicated{plain}');
SELECT outbox_forward('replicated_always', topic => '$replicated{always}', "always" => true, keep => false);
SQL
$from =~ s/'/''/g;
$replica->safe_psql('postgres', "CREATE SUBSCRIPTION replicated CONNECTION '$from' PUBLICATION replicated");
$node->safe_psql('postgres', <<SQL);
INSERT INTO replicated_plain VALUES (1, 'Order', 'k', 'e', 'not here');
INSERT INTO replicated_always VALUES (1, 'Order', 'k', 'e', 'one'), (2, 'Order', 'k', 'e', 'two');
INSERT INTO replicated_plain VALUES (2, 'Order', 'k', 'e', 'nor this');
SQL
wait_until(sub { return $replica->safe_psql('postgres', 'SELECT count(*) FROM replicated_plain') eq '2' }, 'replication comes', 60);
is_deeply([ map { $_->{value} } $kafka->consume($replicated{always}, count => 2) ], [ 'one', 'two' ], 'always: emitted');
wait_published($replica);
is($kafka->record_count($replicated{plain}), 0, 'not emitted otherwise');
is($replica->safe_psql('postgres', 'SELECT count(*) FROM replicated_always'), '0', 'and removed');
$replica->safe_psql('postgres', 'DROP SUBSCRIPTION replicated');

# Many rows are taken over in memory that does not grow with them.

my $many = 200_000;
$node->safe_psql('postgres', <<SQL);
ALTER DATABASE postgres SET outbox.enabled = off;
CREATE TABLE many AS SELECT i AS id, 'Order'::text AS aggregatetype, i::text AS aggregateid, 'e'::text AS type, repeat('x', 100) AS payload
FROM generate_series(1, $many) i;
SQL
$session = $node->background_psql('postgres');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe("CREATE TEMP TABLE warm (LIKE many); SELECT count(*) FROM many");
my $before = private_memory($pid);
is($session->query_safe(q{SET work_mem = '1MB'; SELECT outbox_forward('many', topic => 'nowhere', take_over => true)}), $many, "$many rows are taken over");
my $grown = private_memory($pid) - $before;
cmp_ok($grown, '<', 16, sprintf('in %.1f MB', $grown));
$session->quit;
is($node->safe_psql('postgres', q{SELECT count(*), bool_and(right_order) FROM (SELECT convert_from(key, 'UTF8')::int > lag(convert_from(key, 'UTF8')::int, 1, 0) OVER (ORDER BY id) AS right_order FROM outbox.event WHERE topic = 'nowhere') o}),
	"$many|t", 'in order');

$replica->stop('fast');
$node->stop('fast');
done_testing();
