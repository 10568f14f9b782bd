
# The set form beside the single form: what arrives is complete and in order per
# key, from many sessions at once.

use strict;
use warnings;

use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = shared_kafka();
my $topic = $kafka->create_topic('many', partitions => 4);
my $node = new_node('many', kafka => $kafka);
my @records;

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# One transaction: a call of each form after the other, and a lot of rows.

my $plain = $kafka->create_topic('many_plain', partitions => 1);
my $uids = $node->safe_psql('postgres', <<SQL);
BEGIN;
SELECT outbox_emit('$plain', '1', 'k');
SELECT unnest(outbox_emit_many('$plain', '{2,NULL,4}', '{k,NULL,k}', '{NULL,"{\\"h\\": \\"v\\"}",NULL}'));
SELECT unnest(outbox_emit_rows('$plain', n::text, 'k' ORDER BY n)) FROM generate_series(5, 3000) AS n;
SELECT outbox_emit('$plain', '3001', 'k');
SELECT unnest(outbox_emit_many('$plain', ARRAY[outbox_schema_registry_frame(258, 'x')], '{frame}'));
COMMIT;
SQL
@records = $kafka->consume($plain, count => 3002);
is_deeply(
	[ map { $_->{value} } @records[ 0 .. 3000 ] ],
	[ 1, 2, undef, 4 .. 3001 ],
	'all forms in the order of the calls');
is_deeply([ map { $_->{headers}[0][1] } @records ], [ split /\n/, $uids ], 'with the uids that the calls returned');
is_deeply([ @{ $records[2]{headers} }[1], $records[2]{key} ], [ [ 'h', 'v' ], undef ], 'headers and keys are those of the element');
is(unpack('H*', $records[3001]{value}), '000000010278', 'a payload framed for a schema registry');

# Rows of one call are emitted when their turn comes, each after the lock of its
# row: what another session committed in between comes first.

my $numbers = $kafka->create_topic('many_numbers', partitions => 1);
$node->append_conf('postgresql.conf', 'outbox.enabled = off');
$node->reload;
wait_until(sub { return status($node, 'state') eq 'paused' }, 'the publisher is paused');
$node->safe_psql('postgres', <<SQL);
CREATE TABLE number (key text PRIMARY KEY, n int);
INSERT INTO number VALUES ('a', 0), ('b', 0);
CREATE FUNCTION next_number(text) RETURNS int LANGUAGE sql
	AS 'UPDATE number SET n = n + 1 WHERE key = \$1 RETURNING n';
SQL
my $first = $node->background_psql('postgres');
my $second = $node->background_psql('postgres');
$first->query_safe("BEGIN; SELECT next_number('b')");
my $pid = $second->query_safe('SELECT pg_backend_pid()');
$second->query_until(qr/started/, <<SQL);
\\echo started
SELECT outbox_emit_rows('$numbers', next_number(key)::text, key) FROM (VALUES ('a'), ('b')) AS v (key);
SQL
wait_until(
	sub {
		return $node->safe_psql('postgres',
			"SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid") eq 'Lock';
	},
	'the second row waits for a lock');
$first->query_safe("SELECT outbox_emit('$numbers', '1', 'b'); COMMIT");
$second->query_safe('SELECT 1');
$first->quit;
$second->quit;
$node->append_conf('postgresql.conf', 'outbox.enabled = on');
$node->reload;
@records = $kafka->consume($numbers, count => 3);
is_deeply([ map { $_->{value} } grep { $_->{key} eq 'b' } @records ],
	[ 1, 2 ], 'a row that waited comes after what it waited for');

# Under load: sessions of single events, and sessions that emit in turns by
# arrays, by the aggregate, one by one, and by the aggregate with a lock for each
# row; some of it is undone.  Keys are locked in one order.

my $load = start_load($node, topics => [$topic], clients => 3, transactions => 150, keys => 20, prepared => 0.1);
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM load.key}) or die 'the load does not start';
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION load.number_of(text) RETURNS int LANGUAGE sql IMMUTABLE
	AS $$ SELECT substring($1, '\d+')::int $$;
CREATE FUNCTION load.take(a_key text) RETURNS bigint LANGUAGE sql
	AS $$ UPDATE load.key SET n = n + 1 WHERE key = a_key RETURNING n $$;

-- Emits numbers of keys by one of the forms, and writes down what it was told.
CREATE FUNCTION load.emit_events(a_topic text, form int, keys text[], numbers bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	uids uuid[];
BEGIN
	IF form = 0 THEN
		SELECT outbox_emit_many(a_topic, array_agg(to_jsonb(e) ORDER BY place), keys, array_agg(jsonb_build_object('n', e.n) ORDER BY place))
		INTO uids FROM unnest(keys, numbers) WITH ORDINALITY AS e (key, n, place);
	ELSIF form = 1 THEN
		SELECT outbox_emit_rows(a_topic, to_jsonb(e), e.key, jsonb_build_object('n', e.n) ORDER BY place)
		INTO uids FROM unnest(keys, numbers) WITH ORDINALITY AS e (key, n, place);
	ELSE
		SELECT array_agg(outbox_emit(a_topic, to_jsonb(e), e.key, jsonb_build_object('n', e.n)) ORDER BY place)
		INTO uids FROM (SELECT * FROM unnest(keys, numbers) WITH ORDINALITY AS u (key, n, place) ORDER BY place) AS e;
	END IF;
	INSERT INTO load.truth SELECT a_topic, u.uid, u.key, u.n, extract(epoch FROM clock_timestamp())
	FROM unnest(uids, keys, numbers) AS u (uid, key, n);
END
$$;

CREATE PROCEDURE load.many(a_topic text, rounds int) LANGUAGE plpgsql AS $$
DECLARE
	chosen text[];
	keys text[];
	numbers bigint[];
	uids uuid[];
BEGIN
	FOR round IN 1..rounds LOOP
		SELECT array_agg(key ORDER BY load.number_of(key)) INTO chosen
		FROM (SELECT key FROM load.key ORDER BY random() LIMIT 3) AS k;
		IF round % 4 < 3 THEN
			PERFORM load.take(key) FROM unnest(chosen) AS c (key);
			UPDATE load.key SET n = n + 50 WHERE key = ANY (chosen);
			SELECT array_agg(k.key ORDER BY g.n, k.key), array_agg(g.n ORDER BY g.n, k.key) INTO keys, numbers
			FROM load.key k, generate_series(k.n - 49, k.n) AS g (n) WHERE k.key = ANY (chosen);
			BEGIN
				PERFORM load.emit_events(a_topic, (round + 1) % 4, keys, numbers);
				RAISE EXCEPTION 'undone';
			EXCEPTION WHEN raise_exception THEN
				NULL;
			END;
			PERFORM load.emit_events(a_topic, round % 4, keys, numbers);
		ELSE
			CREATE TEMP TABLE taken (place serial, key text, n bigint) ON COMMIT DROP;
			WITH t AS (INSERT INTO taken (key, n) SELECT key, load.take(key) FROM unnest(chosen) AS c (key) RETURNING *)
			SELECT outbox_emit_rows(a_topic, to_jsonb(t), t.key, jsonb_build_object('n', t.n) ORDER BY t.place) INTO uids FROM t;
			INSERT INTO load.truth SELECT a_topic, uids[place], key, n, extract(epoch FROM clock_timestamp()) FROM taken;
		END IF;
		IF round % 10 = 0 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
	END LOOP;
END
$$;
SQL
my @sessions = map {
	IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', "CALL load.many('$topic', 60)" ],
		'<', \undef)
} 1 .. 4;
is(scalar(grep { !$_->finish } @sessions), 0, 'the sessions of the set form end well');
$load->finish;
verify_load($node, $kafka, 'single form and set form from many sessions', topics => [$topic]);
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM load.truth'), '>', 4 * 54 * 75, 'most of it by the set form');

wait_published($node);
is(status($node, q{concat_ws(' ', error, foreign_rows, connection)}), '0 connected', 'no trouble was met');

$node->stop('fast');
done_testing();
