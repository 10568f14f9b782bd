--
-- outbox_emit: everything that is refused, and that nothing of it is stored
--
-- what the server has as its defaults must not matter here
SET client_min_messages = error;
SET default_transaction_read_only = off;
SET session_replication_role = origin;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET search_path = public;
CREATE EXTENSION IF NOT EXISTS outbox;
SET client_min_messages = notice;

-- topics
SELECT outbox_emit(NULL, 'p');
SELECT outbox_emit('', 'p');
SELECT outbox_emit('.', 'p');
SELECT outbox_emit('..', 'p');
SELECT outbox_emit('two words', 'p');
SELECT outbox_emit('a/b', 'p');
SELECT outbox_emit(repeat('t', 250), 'p');
BEGIN;
SELECT outbox_emit(repeat('t', 249), 'p') IS NOT NULL AS longest,
	outbox_emit('...', 'p') IS NOT NULL AS dots, outbox_emit('aZ09._-', 'p') IS NOT NULL AS every_kind;
ROLLBACK;

-- payloads
SELECT outbox_emit('errors', 42);
SELECT outbox_emit('errors', NULL::int);
SELECT outbox_emit('errors', ARRAY['a']);
SELECT outbox_emit('errors', true);
SELECT outbox_emit('errors', now());
CREATE DOMAIN errors_array AS int[];
SELECT outbox_emit('errors', '{1}'::errors_array);

-- keys: what is no scalar, and what is written otherwise under other settings
SELECT outbox_emit('errors', 'p', '{}'::jsonb);
SELECT outbox_emit('errors', 'p', '{}'::json);
SELECT outbox_emit('errors', 'p', NULL::jsonb);
SELECT outbox_emit('errors', 'p', row(1, 2));
SELECT outbox_emit('errors', 'p', ARRAY[1, 2]);
SELECT outbox_emit('errors', 'p', '{1}'::errors_array);
SELECT outbox_emit('errors', 'p', interval '1 day');
SELECT outbox_emit('errors', 'p', '1'::money);
SELECT outbox_emit('errors', 'p', 'pg_class'::regclass);
SELECT outbox_emit('errors', 'p', int4range(1, 2));
SELECT outbox_emit('errors', 'p', point(1, 2));
DROP DOMAIN errors_array;

-- headers
SELECT outbox_emit('errors', 'p', headers => '[]');
SELECT outbox_emit('errors', 'p', headers => '"a"');
SELECT outbox_emit('errors', 'p', headers => 'null');
SELECT outbox_emit('errors', 'p', headers => '{"id": "x"}');
SELECT outbox_emit('errors', 'p', headers => '{"": "x"}');
SELECT outbox_emit('errors', 'p', headers => jsonb_build_object(repeat('n', 32768), 'x'));
SELECT outbox_emit('errors', 'p', headers => '{"a": {"b": "c"}}');
SELECT outbox_emit('errors', 'p', headers => '{"a": {}}');
SELECT outbox_emit('errors', 'p', headers => '{"a": {"base64": 1}}');
SELECT outbox_emit('errors', 'p', headers => '{"a": {"base64": "AA==", "b": 1}}');
SELECT outbox_emit('errors', 'p', headers => '{"a": {"base64": "A"}}');
SELECT outbox_emit('errors', 'p', headers => '{"a": [["b"]]}');
SELECT outbox_emit('errors', 'p', headers => '{"a": ["b", {"c": 1}]}');

-- partition and timestamp
SELECT outbox_emit('errors', 'p', partition => -1);
SELECT outbox_emit('errors', 'p', "timestamp" => 'infinity');
SELECT outbox_emit('errors', 'p', "timestamp" => '-infinity');
SELECT outbox_emit('errors', 'p', "timestamp" => '1969-12-31 23:59:59.999999Z');

-- nothing of it was stored
SELECT count(*) FROM outbox.event WHERE topic = 'errors';

-- the errors' codes, and the limit of size, which depends on the settings
CREATE FUNCTION errors_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN sqlstate || CASE WHEN sqlstate = '54000'
		THEN ' ' || regexp_replace(message || '; ' || detail, '\d+', 'N', 'g') ELSE '' END;
END
$$;
SELECT what, errors_of(format('SELECT outbox_emit(%s)', arguments)) AS error
FROM (VALUES
	('null topic', $$NULL, 'p'$$),
	('topic', $$'a b', 'p'$$),
	('payload', $$'errors', 42$$),
	('key', $$'errors', 'p', ARRAY[1]$$),
	('headers', $$'errors', 'p', headers => '[]'$$),
	('partition', $$'errors', 'p', partition => -1$$),
	('timestamp', $$'errors', 'p', "timestamp" => 'infinity'$$)) AS v (what, arguments);

CREATE FUNCTION errors_limit() RETURNS int LANGUAGE sql AS
	$$ SELECT pg_size_bytes(current_setting('outbox.max_event_size'))::int $$;
BEGIN;
SELECT errors_of($$ SELECT outbox_emit('errors', repeat('p', errors_limit())) $$) AS at_limit;
SELECT errors_of($$ SELECT outbox_emit('errors', repeat('p', errors_limit() - 13), 'k', '{"h": "v"}', 0) $$) AS with_key_and_headers;
SELECT errors_of($$ SELECT outbox_emit('errors', convert_to(repeat('p', errors_limit() - 3), 'UTF8'), '\x000102'::bytea) $$) AS bytes_at_limit;
ROLLBACK;
SELECT errors_of($$ SELECT outbox_emit('errors', repeat('p', errors_limit() + 1)) $$) AS payload;
SELECT errors_of($$ SELECT outbox_emit('errors', NULL, repeat('k', errors_limit() + 1)) $$) AS key;
SELECT errors_of($$ SELECT outbox_emit('errors', NULL, 'k', jsonb_build_object('h', repeat('v', errors_limit()))) $$) AS headers;
-- the limit is of what is sent, however well it compresses in the table it comes from
CREATE TEMP TABLE errors_large (payload text);
INSERT INTO errors_large SELECT repeat('p', errors_limit() + 1);
SELECT errors_of($$ SELECT outbox_emit('errors', payload) FROM errors_large $$) AS compressed;

-- a parallel worker
CREATE FUNCTION errors_parallel(int) RETURNS uuid LANGUAGE sql PARALLEL SAFE AS
	$$ SELECT outbox_emit('errors', $1::text) $$;
BEGIN;
SELECT count(set_config(name, 'on', true)) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SET LOCAL max_parallel_workers_per_gather = 2;
\set VERBOSITY terse
SELECT errors_parallel(1);
\set VERBOSITY default
ROLLBACK;
DROP FUNCTION errors_parallel;

-- an altered segment: what an insert below SQL would by-pass
CREATE FUNCTION errors_altered(change text, last int DEFAULT 3) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	FOR n IN 0..last LOOP
		EXECUTE format(change, 'outbox.event_' || n);
	END LOOP;
	PERFORM outbox_emit('errors', 'p');
	RETURN 'no error';
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN sqlstate || ' ' || detail;
END
$$;
CREATE FUNCTION errors_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
SELECT errors_altered('ALTER TABLE %s ENABLE ROW LEVEL SECURITY');
SELECT errors_altered('CREATE TRIGGER other AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION errors_trigger()');
SELECT errors_altered('CREATE RULE other AS ON INSERT TO %s DO INSTEAD NOTHING');
SELECT errors_altered('ALTER TABLE %s ADD CHECK (length(topic) > 1)');
SELECT errors_altered('ALTER TABLE %s ADD COLUMN more int');
SELECT errors_altered('ALTER TABLE %s ADD EXCLUDE (id WITH =)');
-- of all of them at once
BEGIN;
ALTER TABLE outbox.event ALTER partition TYPE text;
INSERT INTO outbox.event (id, xid, uid, origin, created, partition, topic)
VALUES (1, '3', '01890000-0000-7000-8000-000000000001', 0, '2020-01-01 00:00:00Z', '5', 'errors');
ROLLBACK;
SELECT errors_altered('ALTER TABLE outbox.event ALTER partition TYPE text; --%s', 0);
-- one is enough; and not every change matters
BEGIN;
SELECT errors_altered('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', 2);
SELECT DISTINCT tableoid::regclass FROM outbox.event WHERE topic = 'errors';
ROLLBACK;
BEGIN;
SELECT errors_altered('ALTER TABLE %s SET (fillfactor = 90)');
ROLLBACK;
DROP FUNCTION errors_altered, errors_trigger;

-- the trigger's function is for our tables only
CREATE TEMP TABLE errors_table (id int);
CREATE TRIGGER wrong BEFORE INSERT ON errors_table FOR EACH ROW EXECUTE FUNCTION outbox_route_event();
CREATE TRIGGER wrong2 AFTER UPDATE ON errors_table FOR EACH ROW EXECUTE FUNCTION outbox_route_event();
INSERT INTO errors_table VALUES (1);
ALTER TABLE errors_table DISABLE TRIGGER wrong;
INSERT INTO errors_table VALUES (1);
UPDATE errors_table SET id = 2;

-- a row that comes by SQL must have a topic's name, too
INSERT INTO outbox.event (id, xid, uid, origin, created, topic)
VALUES (1, '3', '01890000-0000-7000-8000-000000000001', 0, '2020-01-01 00:00:00Z', 'no topic');
INSERT INTO outbox.event_1 (id, xid, uid, origin, created, topic)
VALUES (1, '3', '01890000-0000-7000-8000-000000000001', 0, '2020-01-01 00:00:00Z', repeat('x', 250));

-- and what the producer can read: it may be adopted
INSERT INTO outbox.event (id, xid, uid, origin, created, topic, partition)
VALUES (1, '3', '01890000-0000-7000-8000-000000000001', 0, '2020-01-01 00:00:00Z', 'errors', -1);
INSERT INTO outbox.event (id, xid, uid, origin, created, topic)
VALUES (1, '3', '01890000-0000-7000-8000-000000000001', 0, '1969-12-31 23:59:59Z', 'errors');
INSERT INTO outbox.event (id, xid, uid, origin, created, topic)
VALUES (1, '3', '01890000-0000-7000-8000-000000000001', 0, 'infinity', 'errors');
INSERT INTO outbox.event (id, xid, uid, origin, created, topic, headers)
VALUES (1, '3', '01890000-0000-7000-8000-000000000001', 0, '2020-01-01 00:00:00Z', 'errors', '\x00');
INSERT INTO outbox.event_1 (id, xid, uid, origin, created, topic, headers)
VALUES (1, '3', '01890000-0000-7000-8000-000000000001', 0, '2020-01-01 00:00:00Z', 'errors', '\x00016100000002ff');

-- the trigger cannot be disabled, and without it the parent takes no row
BEGIN;
ALTER TABLE outbox.event DISABLE TRIGGER route_event;
DROP TRIGGER route_event ON outbox.event;
\set VERBOSITY terse
INSERT INTO outbox.event (id, xid, uid, origin, created, topic)
VALUES (1, '3', '01890000-0000-7000-8000-000000000001', 0, '2020-01-01 00:00:00Z', 'errors');
\set VERBOSITY default
ROLLBACK;

SELECT count(*) FROM outbox.event WHERE topic = 'errors';
DROP FUNCTION errors_of, errors_limit;
