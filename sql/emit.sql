--
-- outbox_emit: what is stored, and what transactions do to it
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

CREATE TEMP VIEW got AS
	SELECT id, topic, convert_from(key, 'UTF8') AS key, convert_from(payload, 'UTF8') AS payload,
		partition, created, xid, uid, origin
	FROM outbox.event WHERE topic LIKE 'emit.%' AND topic <> 'emit.LARGE';

-- one row with the uid that was returned, which is a UUID version 7 of now
SELECT outbox_emit('emit.uid', 'hello', 'k') AS uid, clock_timestamp() AS after \gset
SELECT topic, key, payload, partition, uid = :'uid' AS same_uid,
	substr(uid::text, 15, 1) AS version, substr(uid::text, 20, 1) IN ('8', '9', 'a', 'b') AS variant,
	abs(('x0000' || replace(substr(uid::text, 1, 13), '-', ''))::bit(64)::bigint
		- floor(extract(epoch FROM created) * 1000)) <= 1 AS uid_has_time,
	created BETWEEN :'after'::timestamptz - interval '1 minute' AND :'after' AS created_now,
	origin <> 0 AS has_origin
FROM got WHERE topic = 'emit.uid';

-- all arguments, positional and named
SELECT outbox_emit('emit.args', 'all', 'k', '{"a": "1"}', 7, '2001-02-03 04:05:06.789Z') IS NOT NULL AS emitted;
SELECT outbox_emit(topic => 'emit.args', payload => 'named', "timestamp" => '1970-01-01 00:00:00Z', partition => 0) IS NOT NULL AS emitted;
SELECT outbox_emit('emit.args', 'no key') IS NOT NULL AS emitted;
SELECT payload, key, partition, CASE WHEN payload <> 'no key' THEN created AT TIME ZONE 'UTC' END AS created
FROM got WHERE topic = 'emit.args' ORDER BY id;

-- calls of one transaction in their order, by id and by uid
BEGIN;
SELECT count(outbox_emit('emit.order', n::text, 'k')) FROM generate_series(1, 1000) AS n;
SELECT outbox_emit('emit.order', '1001', 'k') IS NOT NULL AS emitted;
COMMIT;
SELECT count(*), count(DISTINCT uid) AS uids, count(DISTINCT xid) AS xids, count(DISTINCT origin) AS origins,
	array_agg(payload ORDER BY id) = array_agg(payload ORDER BY payload::int) AS by_id,
	array_agg(payload ORDER BY uid) = array_agg(payload ORDER BY payload::int) AS by_uid
FROM got WHERE topic = 'emit.order';

-- what is rolled back is gone, and a savepoint's event has the top-level xid
BEGIN;
SELECT outbox_emit('emit.rollback', 'never') IS NOT NULL AS emitted;
ROLLBACK;
BEGIN;
SELECT outbox_emit('emit.savepoint', 'before') IS NOT NULL AS emitted;
SAVEPOINT a;
SELECT outbox_emit('emit.savepoint', 'rolled back') IS NOT NULL AS emitted;
ROLLBACK TO a;
SAVEPOINT b;
SAVEPOINT c;
SELECT outbox_emit('emit.savepoint', 'nested') IS NOT NULL AS emitted;
RELEASE c;
SELECT outbox_emit('emit.savepoint', 'between') IS NOT NULL AS emitted;
RELEASE b;
SELECT outbox_emit('emit.savepoint', 'after') IS NOT NULL AS emitted;
SELECT payload, xid = pg_current_xact_id() AS top_level FROM got WHERE topic = 'emit.savepoint' ORDER BY id;
COMMIT;
-- the first of a transaction may be in a savepoint
BEGIN;
SAVEPOINT a;
SELECT outbox_emit('emit.first', 'first') IS NOT NULL AS emitted;
RELEASE a;
SELECT payload, xid = pg_current_xact_id() AS top_level FROM got WHERE topic = 'emit.first';
COMMIT;
SELECT topic, array_agg(payload ORDER BY id) FROM got
WHERE topic IN ('emit.rollback', 'emit.savepoint', 'emit.first') GROUP BY topic ORDER BY topic;

-- exception blocks
DO $$
BEGIN
	PERFORM outbox_emit('emit.exception', 'outside');
	FOR n IN 1..3 LOOP
		BEGIN
			PERFORM outbox_emit('emit.exception', 'inside ' || n);
			IF n = 2 THEN
				RAISE EXCEPTION 'undo this one';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			PERFORM outbox_emit('emit.exception', 'handler');
		END;
	END LOOP;
END
$$;
SELECT payload FROM got WHERE topic = 'emit.exception' ORDER BY id;

-- triggers: the row as JSON
CREATE TABLE emit_order (id int PRIMARY KEY, state text);
CREATE FUNCTION emit_order_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM outbox_emit('emit.trigger', NEW, NEW.id);
	RETURN NEW;
END
$$;
CREATE TRIGGER emit_order_changed AFTER INSERT OR UPDATE ON emit_order
	FOR EACH ROW EXECUTE FUNCTION emit_order_changed();
CREATE CONSTRAINT TRIGGER emit_order_checked AFTER UPDATE ON emit_order DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION emit_order_changed();
INSERT INTO emit_order VALUES (1, 'placed'), (2, 'placed');
UPDATE emit_order SET state = 'paid' WHERE id = 1;
SELECT key, payload FROM got WHERE topic = 'emit.trigger' ORDER BY id;
DROP TABLE emit_order;
DROP FUNCTION emit_order_changed;

-- a procedure that commits
CREATE PROCEDURE emit_in_parts() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM outbox_emit('emit.procedure', 'kept');
	COMMIT;
	PERFORM outbox_emit('emit.procedure', 'undone');
	ROLLBACK;
	PERFORM outbox_emit('emit.procedure', 'kept, too');
END
$$;
CALL emit_in_parts();
SELECT payload, count(*) OVER (PARTITION BY xid) AS in_transaction FROM got WHERE topic = 'emit.procedure' ORDER BY id;
DROP PROCEDURE emit_in_parts;

-- large payloads, also such that come compressed or out of line from a table
CREATE TEMP TABLE emit_large (n int, payload text, bytes bytea);
INSERT INTO emit_large SELECT 1, repeat('compressible ', 12000);
INSERT INTO emit_large SELECT 2, string_agg(encode(sha256(n::text::bytea), 'hex'), '') FROM generate_series(1, 2000) AS n;
INSERT INTO emit_large SELECT 3, repeat('c', 2500);
UPDATE emit_large SET bytes = convert_to(payload, 'UTF8') || '\x00';
SELECT n, outbox_emit('emit.large', payload, n) IS NOT NULL AS emitted,
	outbox_emit('emit.LARGE', bytes, n) IS NOT NULL AS emitted
FROM emit_large ORDER BY n;
SELECT n, length(g.payload), g.payload = l.payload AS same
FROM got g JOIN emit_large l ON n = g.key::int WHERE topic = 'emit.large' ORDER BY n;
SELECT n, length(e.payload), e.payload = l.bytes AS same
FROM outbox.event e JOIN emit_large l ON n = convert_from(e.key, 'UTF8')::int WHERE topic = 'emit.LARGE' ORDER BY n;

-- read-only transactions
BEGIN READ ONLY;
SELECT outbox_emit('emit.read_only', 'never');
ROLLBACK;

-- other isolation levels
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT outbox_emit('emit.isolation', 'serializable') IS NOT NULL AS emitted;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT outbox_emit('emit.isolation', 'repeatable read') IS NOT NULL AS emitted;
COMMIT;
SELECT payload FROM got WHERE topic = 'emit.isolation' ORDER BY id;

-- an index that somebody added is kept, also one with an expression
BEGIN;
DO $$
BEGIN
	FOR n IN 0..3 LOOP
		EXECUTE format('CREATE INDEX ON outbox.event_%s (lower(topic)) WHERE key IS NOT NULL', n);
	END LOOP;
END
$$;
SELECT outbox_emit('emit.INDEX', 'in it', 'k') IS NOT NULL AS emitted;
SELECT outbox_emit('emit.INDEX', 'not in it') IS NOT NULL AS emitted;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT convert_from(payload, 'UTF8') AS payload FROM outbox.event WHERE lower(topic) = 'emit.index' AND key IS NOT NULL;
ROLLBACK;

-- rows that come by SQL are foreign: no origin, the xid of their transaction
BEGIN;
INSERT INTO outbox.event (id, xid, uid, origin, created, partition, topic, key, headers, payload)
VALUES (42, '3', '01890000-0000-7000-8000-000000000042', 99, '2020-01-01 00:00:00Z', 5, 'emit.foreign', 'k', NULL, 'by insert');
COPY outbox.event (id, xid, uid, origin, created, partition, topic, key, headers, payload) FROM stdin;
43	3	01890000-0000-7000-8000-000000000043	99	2020-01-01 00:00:00Z	\N	emit.foreign	\N	\N	by copy
\.
INSERT INTO outbox.event_2 (id, xid, uid, origin, created, topic, payload)
VALUES (44, '3', '01890000-0000-7000-8000-000000000044', 99, '2020-01-01 00:00:00Z', 'emit.foreign', 'into a segment');
SELECT id, uid, origin, xid = pg_current_xact_id() AS own_xid, created AT TIME ZONE 'UTC' AS created, partition, key, payload
FROM got WHERE topic = 'emit.foreign' ORDER BY id;
SELECT count(*) FROM ONLY outbox.event;
ROLLBACK;
INSERT INTO outbox.event (id, xid, uid, origin, created, topic)
VALUES (45, '3', '01890000-0000-7000-8000-000000000045', 0, now(), NULL);
INSERT INTO outbox.event (id, xid, uid, origin, created)
VALUES (45, '3', NULL, 0, now());

-- session_replication_role does not lead round the trigger
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO outbox.event (id, xid, uid, origin, created, topic, payload)
VALUES (46, '3', '01890000-0000-7000-8000-000000000046', 99, now(), 'emit.replica', 'x');
SELECT origin, xid = pg_current_xact_id() AS own_xid FROM got WHERE topic = 'emit.replica';
ROLLBACK;

-- rows that replication brings are dropped, events emitted there are not
SELECT pg_replication_origin_create('regress_outbox') IS NOT NULL AS created;
SELECT pg_replication_origin_session_setup('regress_outbox');
INSERT INTO outbox.event (id, xid, uid, origin, created, topic, payload)
VALUES (47, '3', '01890000-0000-7000-8000-000000000047', 99, now(), 'emit.replicated', 'dropped');
INSERT INTO outbox.event_1 (id, xid, uid, origin, created, topic, payload)
VALUES (48, '3', '01890000-0000-7000-8000-000000000048', 99, now(), 'emit.replicated', 'dropped');
SELECT outbox_emit('emit.replicated', 'own') IS NOT NULL AS emitted;
SELECT pg_replication_origin_session_reset();
SELECT pg_replication_origin_drop('regress_outbox');
SELECT payload FROM got WHERE topic = 'emit.replicated';
