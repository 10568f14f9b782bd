--
-- outbox_emit_many and outbox_emit_rows: many events in one call
--
-- what the server has as its defaults must not matter here
SET client_min_messages = error;
SET default_transaction_read_only = off;
SET session_replication_role = origin;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET search_path = public;
SET extra_float_digits = 1;
CREATE EXTENSION IF NOT EXISTS outbox;
SET client_min_messages = notice;

CREATE TEMP VIEW got AS
	SELECT id, topic, convert_from(key, 'UTF8') AS key, convert_from(payload, 'UTF8') AS payload,
		encode(headers, 'escape') AS headers, partition, created, xid, uid, origin
	FROM outbox.event WHERE topic LIKE 'many.%';
-- what a call returned for a topic, against what is stored: by id
CREATE FUNCTION many_same(uids uuid[], of_topic text) RETURNS boolean LANGUAGE sql AS $$
	SELECT uids = array(SELECT uid FROM outbox.event WHERE topic = of_topic ORDER BY id)
		AND uids = array(SELECT u FROM unnest(uids) u ORDER BY u)
$$;

-- arrays: literals, parameters, every type of payload, named arguments
SELECT outbox_emit_many('many.args', '{one,"two words",NULL,""}', '{k,NULL,3,""}', '{"{\"h\": \"v\"}",NULL,"{}","{\"n\": 1.50}"}',
	'{0,NULL,2,3}', '{2001-02-03 04:05:06.789Z,NULL,1970-01-01 00:00:00Z,NULL}') AS uids \gset
SELECT many_same(:'uids', 'many.args');
SELECT payload, key, headers, partition, CASE WHEN partition IN (0, 2) THEN created AT TIME ZONE 'UTC' END AS created,
	xid = max(xid) OVER () AS one_transaction, origin <> 0 AS has_origin
FROM got WHERE topic = 'many.args' ORDER BY id;
SELECT cardinality(outbox_emit_many('many.types', ARRAY['a', 'b']));
SELECT cardinality(outbox_emit_many('many.types', ARRAY['c']::varchar[], ARRAY[1.50]));
SELECT cardinality(outbox_emit_many('many.types', ARRAY['{"a" :  1}']::json[], ARRAY['2001-02-03 04:05:06Z'::timestamptz]));
SELECT cardinality(outbox_emit_many('many.types', ARRAY['{"a" :  1}', 'null', NULL]::jsonb[], keys => '{x,y,z}'));
SELECT cardinality(outbox_emit_many('many.types', ARRAY['\x62'::bytea], ARRAY['\x63'::bytea]));
SELECT cardinality(outbox_emit_many('many.types', ARRAY[row(1, 'r')], ARRAY[true]));
SELECT cardinality(outbox_emit_many('many.types', array_agg(c), array_agg(c.n)))
	FROM (SELECT n, 'composite' AS word FROM generate_series(1, 2) AS n) AS c;
CREATE DOMAIN many_texts AS text[];
SELECT cardinality(outbox_emit_many(topic => 'many.types', payloads => '{domain}'::many_texts, keys => NULL));
DROP DOMAIN many_texts;
-- another lower bound
SELECT cardinality(outbox_emit_many('many.types', '[5:6]={five,six}', '[0:1]={5,6}'));
SELECT payload, key FROM got WHERE topic = 'many.types' ORDER BY id;
PREPARE many AS SELECT many_same(outbox_emit_many($1, $2, $3, $4), $1);
EXECUTE many('many.prepared', '{a,b}', '{1,2}', NULL);
PREPARE many_typed AS SELECT cardinality(outbox_emit_many('many.prepared', $1::jsonb[], $2::bigint[]));
EXECUTE many_typed('{"{\"a\":1}",NULL}', '{1,NULL}');
SELECT payload, key FROM got WHERE topic = 'many.prepared' ORDER BY id;
DEALLOCATE many;
DEALLOCATE many_typed;

-- none, one, and so many that rows are stored in several goes, by number and by size
SELECT outbox_emit_many('many.none', '{}') AS none, outbox_emit_many('many.none', ARRAY[]::jsonb[], '{}') AS with_keys;
SELECT many_same(outbox_emit_many('many.one', '{1}'), 'many.one');
CREATE FUNCTION many_numbers(of_topic text, count int, filler text DEFAULT '') RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	uids uuid[];
BEGIN
	uids := outbox_emit_many(of_topic, array_agg(n || filler ORDER BY n), array_agg(n % 10 ORDER BY n)) FROM generate_series(1, count) AS n;
	RETURN cardinality(uids) = count AND many_same(uids, of_topic);
END
$$;
BEGIN;
SELECT many_numbers('many.999', 999), many_numbers('many.1000', 1000), many_numbers('many.1001', 1001),
	many_numbers('many.100000', 100000), many_numbers('many.bytes', 300, repeat('x', 1000)),
	many_numbers('many.wide', 50, repeat('abcdefgh', 20000));
SELECT topic, count(*), count(DISTINCT id) AS ids, count(DISTINCT xid) AS xids,
	bool_and(id > coalesce(before, 0) AND number = coalesce(before_number, 0) + 1) AS in_order
FROM (SELECT topic, id, xid, substring(payload, '^\d+')::int AS number, lag(id) OVER w AS before,
	lag(substring(payload, '^\d+')::int) OVER w AS before_number FROM got
	WHERE topic ~ '^many\.(\d+|bytes|wide)$' WINDOW w AS (PARTITION BY topic ORDER BY id)) AS g
GROUP BY topic ORDER BY count(*);
-- each can be found by its indexes
SET LOCAL enable_seqscan = off;
SELECT count(*) FROM outbox.event WHERE xid = (SELECT xid FROM outbox.event WHERE topic = 'many.wide' LIMIT 1);
SELECT sum(brin_summarize_new_values(oid)) IS NOT NULL AS summarized FROM pg_class
	WHERE relname ~ '^event_\d_uid_idx$' AND relnamespace = 'outbox'::regnamespace;
SELECT outbox_emit_many('many.summarized', array_agg(n::text)) AS uids FROM generate_series(1, 3000) AS n \gset
SELECT count(*) FROM unnest(:'uids'::uuid[]) WITH ORDINALITY AS u (uid, place), LATERAL (SELECT FROM outbox.event e WHERE e.uid = u.uid OFFSET 0) AS e
WHERE place % 100 = 0;
ROLLBACK;

-- values that come compressed and out of line from a table, also one that is gone meanwhile
CREATE TEMP TABLE many_large (n int, payload text);
INSERT INTO many_large SELECT n, repeat('compressible ', 12000 + n) FROM generate_series(1, 3) AS n;
INSERT INTO many_large SELECT 4, string_agg(encode(sha256(n::text::bytea), 'hex'), '') FROM generate_series(1, 2000) AS n;
CREATE TEMP TABLE many_copy AS SELECT * FROM many_large;
SELECT many_same(outbox_emit_rows('many.large', payload, n ORDER BY n), 'many.large') FROM many_large;
WITH d AS (DELETE FROM many_large RETURNING *)
SELECT cardinality(outbox_emit_rows('many.deleted', payload, n)) FROM d;
SELECT topic, n, g.payload = c.payload AS same FROM got g JOIN many_copy c ON g.key = n::text
WHERE topic IN ('many.large', 'many.deleted') ORDER BY topic, n;
DROP TABLE many_large, many_copy;

-- the aggregate: order, all arguments, rows of a data-modifying statement
SELECT outbox_emit_rows('many.rows', n::text, n, jsonb_build_object('n', n), n, '2001-02-03 04:05:06Z' ORDER BY n DESC) AS uids
FROM generate_series(1, 3) AS n \gset
SELECT many_same(:'uids', 'many.rows');
SELECT payload, key, headers, partition, created AT TIME ZONE 'UTC' AS created FROM got WHERE topic = 'many.rows' ORDER BY id;
CREATE TEMP TABLE many_order (id int, state text);
WITH o AS (INSERT INTO many_order SELECT n, 'new' FROM generate_series(1, 3) AS n RETURNING *)
SELECT cardinality(outbox_emit_rows('many.insert', to_jsonb(o), o.id)) FROM o;
WITH o AS (UPDATE many_order SET state = 'paid' WHERE id > 1 RETURNING *)
SELECT cardinality(outbox_emit_rows('many.insert', o, o.id, '{"type": "paid"}' ORDER BY o.id)) FROM o;
SELECT payload, key, headers FROM got WHERE topic = 'many.insert' ORDER BY id;
SELECT cardinality(outbox_emit_rows('many.two', 'literal')), cardinality(outbox_emit_rows('many.two', NULL, 'key')),
	cardinality(outbox_emit_rows('many.two', 'payload', NULL, NULL));
SELECT payload, key FROM got WHERE topic = 'many.two' ORDER BY id;
SELECT outbox_emit_rows('many.none', n::text) AS no_row FROM generate_series(1, 0) AS n;
SELECT cardinality(outbox_emit_rows('many.none', n::text) FILTER (WHERE n < 0)) AS none_by_filter FROM generate_series(1, 3) AS n;
SELECT count(*) FROM got WHERE topic = 'many.none';
SELECT cardinality(outbox_emit_rows(DISTINCT 'many.distinct', (n % 2)::text)) FROM generate_series(1, 10) AS n;
SELECT cardinality(outbox_emit_rows('many.filter', n::text ORDER BY n) FILTER (WHERE n % 2 = 0)) FROM generate_series(1, 10) AS n;
SELECT topic, string_agg(payload, ' ' ORDER BY id) FROM got WHERE topic IN ('many.distinct', 'many.filter') GROUP BY topic ORDER BY topic;

-- groups, by sorting, by hashing and both; uids go to the group of their row
SET enable_hashagg = off;
SELECT n % 3 AS rest, cardinality(outbox_emit_rows('many.sorted', n::text, n % 3 ORDER BY n)) FROM generate_series(1, 5000) AS n GROUP BY 1 ORDER BY 1;
RESET enable_hashagg;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT n % 3 AS rest, outbox_emit_rows('many.hashed', n::text, n % 3) FROM generate_series(1, 5000) AS n GROUP BY 1;
CREATE TEMP TABLE many_hashed AS SELECT n % 3 AS rest, outbox_emit_rows('many.hashed', n::text, n % 3) AS uids FROM generate_series(1, 5000) AS n GROUP BY 1;
RESET enable_sort;
SELECT rest, count(*), bool_and(g.key = rest::text) AS own, array_agg(g.uid ORDER BY g.id) = array_agg(uid ORDER BY place) AS in_order
FROM many_hashed, unnest(uids) WITH ORDINALITY AS u (uid, place) JOIN got g USING (uid) GROUP BY rest ORDER BY rest;
SELECT a, b, cardinality(outbox_emit_rows('many.sets', n::text)) FROM (SELECT n, n % 2 AS a, n % 3 AS b FROM generate_series(1, 12) AS n) AS s
GROUP BY GROUPING SETS ((a, b), (a), (b), ()) HAVING count(*) > 2 ORDER BY a, b;
SELECT topic, count(*) FROM got WHERE topic IN ('many.sorted', 'many.hashed', 'many.sets') GROUP BY topic ORDER BY topic;

-- all that was aggregated is stored, however little of the result is fetched
SET enable_sort = off;
CREATE FUNCTION many_first(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	c refcursor;
	r record;
BEGIN
	OPEN c FOR EXECUTE query;
	FETCH c INTO r;
	CLOSE c;
	RETURN (SELECT count(*) FROM got WHERE topic = 'many.fetch');
END
$$;
BEGIN;
SELECT many_first($$ SELECT n % 3, outbox_emit_rows('many.fetch', n::text) FROM generate_series(1, 9) AS n GROUP BY 1 $$);
ROLLBACK;
SELECT rest, many_first(format($$ SELECT n %% 3, outbox_emit_rows('many.fetch', n::text) FILTER (WHERE n %% 3 = %s)
	FROM generate_series(1, 9) AS n GROUP BY 1 $$, rest)) AS so_far
FROM generate_series(0, 2) AS rest;
SELECT payload FROM got WHERE topic = 'many.fetch' ORDER BY id;
-- a savepoint between two groups takes back the cursor, not what was aggregated before it
BEGIN;
DECLARE c CURSOR FOR SELECT n % 3 AS rest, outbox_emit_rows('many.cursor', n::text) IS NOT NULL AS emitted FROM generate_series(1, 9) AS n GROUP BY 1;
MOVE 1 FROM c;
SAVEPOINT a;
MOVE 1 FROM c;
ROLLBACK TO a;
COMMIT;
SELECT count(*) FROM got WHERE topic = 'many.cursor';
RESET enable_sort;
DROP FUNCTION many_first;
DROP TABLE many_hashed;

-- events have ids in the order of the calls, also where another function emits between the rows
CREATE FUNCTION many_between(n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM outbox_emit('many.calls', 'between ' || n, 'k');
	BEGIN
		PERFORM outbox_emit_many('many.calls', ARRAY['undone']);
		PERFORM outbox_emit_rows('many.calls', 'undone', 'k') FROM generate_series(1, 3);
		RAISE EXCEPTION 'undo this one';
	EXCEPTION WHEN raise_exception THEN
		RETURN 'row ' || n;
	END;
END
$$;
SELECT cardinality(outbox_emit_rows('many.calls', many_between(n), 'k')) FROM generate_series(1, 3) AS n;
SELECT payload FROM got WHERE topic = 'many.calls' ORDER BY id;
SELECT string_agg(payload, ', ' ORDER BY id) = string_agg(payload, ', ' ORDER BY uid) AS by_uid FROM got
	WHERE topic = 'many.calls' AND payload LIKE 'row%';
DROP FUNCTION many_between;

-- transactions, savepoints, exceptions, and an error in the middle: nothing of the call is stored
BEGIN;
SELECT cardinality(outbox_emit_many('many.rollback', '{never}'));
ROLLBACK;
BEGIN;
SELECT cardinality(outbox_emit_many('many.savepoint', '{before}'));
SAVEPOINT a;
SELECT cardinality(outbox_emit_many('many.savepoint', '{"rolled back"}'));
SELECT cardinality(outbox_emit_rows('many.savepoint', n::text)) FROM generate_series(1, 3000) AS n;
ROLLBACK TO a;
SAVEPOINT b;
SELECT cardinality(outbox_emit_many('many.savepoint', '{kept,"kept, too"}'));
RELEASE b;
SELECT payload, xid = pg_current_xact_id() AS top_level FROM got WHERE topic = 'many.savepoint' ORDER BY id;
COMMIT;
SELECT topic, array_agg(payload ORDER BY id) FROM got WHERE topic IN ('many.rollback', 'many.savepoint') GROUP BY topic;
DO $$
BEGIN
	PERFORM outbox_emit_many('many.error', array_agg(CASE WHEN n <> 2500 THEN 'p' END), array_agg(n::text),
		array_agg(CASE WHEN n = 2500 THEN '[]' ELSE '{}' END::jsonb)) FROM generate_series(1, 3000) AS n;
EXCEPTION WHEN invalid_parameter_value THEN
	RAISE NOTICE '%', sqlerrm;
END
$$;
DO $$
BEGIN
	PERFORM outbox_emit_rows(CASE WHEN n = 2500 THEN 'no topic' ELSE 'many.error' END, n::text) FROM generate_series(1, 3000) AS n;
EXCEPTION WHEN invalid_parameter_value THEN
	RAISE NOTICE '%', sqlerrm;
END
$$;
SELECT count(*) FROM got WHERE topic = 'many.error';

-- a trigger for each statement, with all its rows
CREATE FUNCTION many_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM outbox_emit_rows('many.trigger', to_jsonb(c), c.id ORDER BY c.id) FROM changed c;
	RETURN NULL;
END
$$;
CREATE TRIGGER many_changed AFTER INSERT ON many_order REFERENCING NEW TABLE AS changed
	FOR EACH STATEMENT EXECUTE FUNCTION many_changed();
INSERT INTO many_order SELECT n, 'by trigger' FROM generate_series(7, 5, -1) AS n;
INSERT INTO many_order SELECT 1, 'none' WHERE false;
SELECT key, payload FROM got WHERE topic = 'many.trigger' ORDER BY id;
DROP TABLE many_order;
DROP FUNCTION many_changed;

-- indexes that somebody added are kept, also such with an expression; a unique one refuses
BEGIN;
DO $$
BEGIN
	FOR n IN 0..3 LOOP
		EXECUTE format('CREATE INDEX ON outbox.event_%s (lower(topic)) WHERE key IS NOT NULL', n);
	END LOOP;
END
$$;
SELECT cardinality(outbox_emit_many('many.INDEX', array_agg(n::text), array_agg(CASE WHEN n % 2 = 0 THEN 'k' END))) FROM generate_series(1, 2000) AS n;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT count(*), min(payload::int), max(payload::int) FROM (SELECT convert_from(payload, 'UTF8') AS payload
	FROM outbox.event WHERE lower(topic) = 'many.index' AND key IS NOT NULL) AS e;
ROLLBACK;
BEGIN;
DO $$
BEGIN
	FOR n IN 0..3 LOOP
		EXECUTE format('CREATE UNIQUE INDEX unique_%s ON outbox.event_%s (key) WHERE topic = ''many.unique''', n, n);
	END LOOP;
END
$$;
SELECT cardinality(outbox_emit_many('many.unique', '{a,b}', '{1,2}'));
\set VERBOSITY sqlstate
SELECT outbox_emit_many('many.unique', '{a,b}', '{3,3}');
\set VERBOSITY default
ROLLBACK;

-- every wrong argument
SELECT outbox_emit_many(NULL, '{p}');
SELECT outbox_emit_many('no topic', '{}');
SELECT outbox_emit_many(repeat('t', 250), '{p}');
SELECT outbox_emit_many('many.error', NULL);
SELECT outbox_emit_many('many.error', 42);
SELECT outbox_emit_many('many.error', '{}'::jsonb);
SELECT outbox_emit_many('many.error', ARRAY[1]);
SELECT outbox_emit_many('many.error', ARRAY[]::int[]);
SELECT outbox_emit_many('many.error', '{{a},{b}}');
SELECT outbox_emit_many('many.error', ARRAY[['a'::bytea]]);
SELECT outbox_emit_many('many.error', '{a}', 42);
SELECT outbox_emit_many('many.error', '{a}', ARRAY['{}'::jsonb]);
SELECT outbox_emit_many('many.error', '{}', ARRAY[]::interval[]);
SELECT outbox_emit_many('many.error', '{a,b}', '{{k},{l}}');
SELECT outbox_emit_many('many.error', '{a,b}', '{k}');
SELECT outbox_emit_many('many.error', '{}', '{k}');
SELECT outbox_emit_many('many.error', '{a}', ARRAY[]::int[]);
SELECT outbox_emit_many('many.error', '{a,b}', headers => '{"{}"}');
SELECT outbox_emit_many('many.error', '{a}', headers => '{{"{}"}}');
SELECT outbox_emit_many('many.error', '{a,b}', headers => '{"{}","{\"id\": 1}"}');
SELECT outbox_emit_many('many.error', '{a,b}', partitions => '{1}');
SELECT outbox_emit_many('many.error', '{a,b}', partitions => '{{1,2}}');
SELECT outbox_emit_many('many.error', '{a,b}', partitions => '{1,-1}');
SELECT outbox_emit_many('many.error', '{a,b}', timestamps => '{now}');
SELECT outbox_emit_many('many.error', '{a,b}', timestamps => '{{now,now}}');
SELECT outbox_emit_many('many.error', '{a,b}', timestamps => '{now,infinity}');
SELECT outbox_emit_rows(NULL, 'p');
SELECT outbox_emit_rows('no topic', 'p');
SELECT outbox_emit_rows('many.error', 42);
SELECT outbox_emit_rows('many.error', 'p', ARRAY[1]);
SELECT outbox_emit_rows('many.error', 'p', 'k', '[]');
SELECT outbox_emit_rows('many.error', 'p', 'k', NULL, -1, NULL);
SELECT outbox_emit_rows('many.error', 'p', 'k', NULL, NULL, '-infinity');
SELECT outbox_emit_rows('many.error', n::text) OVER (ORDER BY n) FROM generate_series(1, 3) AS n;
\set VERBOSITY sqlstate
SELECT outbox_emit_many('many.error', '{a,b');
SELECT outbox_emit_many('many.error', '{a}', '{a,b');
SELECT outbox_emit_many('many.error', '{a,b}', headers => '{"{"}');
SELECT outbox_emit_many('many.error', ARRAY['a', repeat('p', (pg_size_bytes(current_setting('outbox.max_event_size')) + 1)::int)]);
SELECT outbox_emit_rows('many.error', repeat('p', (pg_size_bytes(current_setting('outbox.max_event_size')) + 1)::int));
\set VERBOSITY default
SELECT count(*) FROM got WHERE topic = 'many.error';

-- where nothing can be stored, also no event
BEGIN READ ONLY;
SELECT outbox_emit_many('many.error', '{}');
ROLLBACK;
BEGIN READ ONLY;
SELECT outbox_emit_rows('many.error', 'p');
ROLLBACK;
BEGIN READ ONLY;
SELECT outbox_emit_rows('many.error', 'p') WHERE false;
ROLLBACK;
CREATE FUNCTION many_parallel(int) RETURNS uuid[] LANGUAGE sql PARALLEL SAFE AS
	$$ SELECT outbox_emit_many('many.error', ARRAY[$1::text]) $$;
CREATE FUNCTION many_parallel_rows(int) RETURNS uuid[] LANGUAGE sql PARALLEL SAFE AS
	$$ SELECT outbox_emit_rows('many.error', $1::text) $$;
BEGIN;
SELECT count(set_config(name, 'on', true)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET LOCAL max_parallel_workers_per_gather = 2;
\set VERBOSITY terse
SAVEPOINT a;
SELECT many_parallel(1);
ROLLBACK TO a;
SELECT many_parallel_rows(1);
\set VERBOSITY default
ROLLBACK;
DROP FUNCTION many_parallel, many_parallel_rows;
-- a large table does not lead to a parallel plan
BEGIN;
CREATE TABLE many_big AS SELECT n FROM generate_series(1, 1000) AS n;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT outbox_emit_rows('many.error', n::text) FROM many_big;
ROLLBACK;

-- altered segments are refused, or passed over
CREATE FUNCTION many_altered(change text, last int) RETURNS uuid[] LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 0..last LOOP
		EXECUTE format(change, 'outbox.event_' || n);
	END LOOP;
	RETURN outbox_emit_many('many.altered', '{p}');
END
$$;
\set VERBOSITY terse
SELECT many_altered('ALTER TABLE %s ADD COLUMN more int', 3);
SELECT many_altered('ALTER TABLE %s ADD EXCLUDE (id WITH =)', 3);
\set VERBOSITY default
BEGIN;
SELECT cardinality(many_altered('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', 2));
SELECT DISTINCT tableoid::regclass FROM outbox.event WHERE topic = 'many.altered';
ROLLBACK;
DROP FUNCTION many_altered;
-- nor can they be altered while rows wait
CREATE FUNCTION many_alter() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'ALTER TABLE outbox.event_0 ADD COLUMN more int';
	EXECUTE 'ALTER TABLE outbox.event_1 ADD COLUMN more int';
	EXECUTE 'ALTER TABLE outbox.event_2 ADD COLUMN more int';
	EXECUTE 'ALTER TABLE outbox.event_3 ADD COLUMN more int';
	RETURN 'altered';
END
$$;
\set VERBOSITY sqlstate
SELECT outbox_emit_rows('many.alter', CASE WHEN n = 1 THEN 'p' ELSE many_alter() END) FROM generate_series(1, 2) AS n;
\set VERBOSITY default
DROP FUNCTION many_alter;

-- EXECUTE is all that one needs
CREATE ROLE regress_outbox_many;
SET ROLE regress_outbox_many;
\set VERBOSITY terse
SELECT outbox_emit_many('many.role', '{p}');
SELECT outbox_emit_many('many.role', ARRAY['p'::bytea], ARRAY[1]);
SELECT outbox_emit_rows('many.role', 'p', 'k');
SELECT outbox_schema_registry_frame(1, '');
\set VERBOSITY default
RESET ROLE;
GRANT EXECUTE ON FUNCTION outbox_emit_many(text, text, text, jsonb[], integer[], timestamptz[]),
	outbox_emit_rows(text, "any", "any"), outbox_schema_registry_frame(integer, bytea) TO regress_outbox_many;
SET ROLE regress_outbox_many;
SELECT cardinality(outbox_emit_many('many.role', '{p}')), cardinality(outbox_emit_rows('many.role', 'p', 'k')), outbox_schema_registry_frame(1, '');
RESET ROLE;
DROP OWNED BY regress_outbox_many;
DROP ROLE regress_outbox_many;

-- payloads for a schema registry
SELECT outbox_schema_registry_frame(0, ''), outbox_schema_registry_frame(1, '\x0061ff'), outbox_schema_registry_frame(2147483647, 'x'),
	outbox_schema_registry_frame(16909060, 'x');
SELECT outbox_schema_registry_frame(1, NULL) IS NULL AS tombstone, length(outbox_schema_registry_frame(1, repeat('x', 100000)::bytea));
SELECT outbox_schema_registry_frame(-1, 'x');
SELECT outbox_schema_registry_frame(NULL, 'x');
SELECT outbox_schema_registry_frame(NULL, NULL);
SELECT outbox_emit('many.frame', outbox_schema_registry_frame(258, convert_to('payload', 'UTF8')), 'k') IS NOT NULL AS emitted;
SELECT e.payload FROM outbox.event e WHERE topic = 'many.frame';

DROP FUNCTION many_same, many_numbers;
