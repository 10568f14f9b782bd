--
-- outbox_forward: rows of an application's own outbox table become events
--
-- what the server has as its defaults must not matter here
SET client_min_messages = error;
SET default_transaction_read_only = off;
SET default_transaction_isolation = 'read committed';
SET session_replication_role = origin;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET row_security = on;
SET search_path = public;
SET client_encoding = 'UTF8';
SET DateStyle = 'ISO, MDY';
SET timezone = 'UTC';
SET jit = off;
CREATE EXTENSION IF NOT EXISTS outbox;
SET client_min_messages = notice;
SET outbox.format = plain;
SET outbox.topic_template = DEFAULT;
SET outbox.debezium_placement = '';
\set SHOW_CONTEXT never
\pset null null

-- headers as they are encoded, one per line; complains if there is more or less
CREATE FUNCTION forward_headers(headers bytea) RETURNS text LANGUAGE plpgsql STRICT AS $$
DECLARE
	result text := '';
	at int := 0;
	size int;
BEGIN
	WHILE at < length(headers) LOOP
		size := get_byte(headers, at) * 256 + get_byte(headers, at + 1);
		result := result || CASE WHEN at > 0 THEN E'\n' ELSE '' END || encode(substr(headers, at + 3, size), 'escape');
		at := at + 2 + size;
		size := ('x' || encode(substr(headers, at + 1, 4), 'hex'))::bit(32)::int;
		result := result || CASE WHEN size < 0 THEN ' is null' ELSE ' = ' || encode(substr(headers, at + 5, size), 'escape') END;
		at := at + 4 + greatest(size, 0);
	END LOOP;
	IF at <> length(headers) THEN
		RAISE EXCEPTION 'headers end at % of %', at, length(headers);
	END IF;
	RETURN regexp_replace(result, '^id = [0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]+', 'id = (uuid)');
END
$$;
-- events since the last look
CREATE TEMP TABLE seen (id bigint);
INSERT INTO seen SELECT coalesce(max(id), 0) FROM outbox.event;
CREATE FUNCTION news() RETURNS TABLE (topic text, key text, partition int, headers text, payload text, created timestamptz)
LANGUAGE sql VOLATILE AS $$
	WITH up_to AS (UPDATE seen SET id = (SELECT coalesce(max(e.id), 0) FROM outbox.event e) RETURNING (SELECT s.id FROM seen s) AS before)
	SELECT e.topic, encode(e.key, 'escape'), e.partition, forward_headers(e.headers), encode(e.payload, 'escape'),
		CASE WHEN e.created < '2025-01-01' THEN e.created END
	FROM outbox.event e, up_to WHERE e.id > up_to.before AND e.origin <> 0 ORDER BY e.id
$$;

--
-- Debezium's shape
--
CREATE TABLE outboxevent (id uuid NOT NULL, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,
	type varchar(255) NOT NULL, payload jsonb);
SELECT outbox_forward('outboxevent');
SELECT * FROM outbox.forward;
INSERT INTO outboxevent VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'OrderPaid', '{"id": 1}'),
	('00000000-0000-4000-8000-000000000002', 'Order', '', 'OrderPaid', NULL),
	('00000000-0000-4000-8000-000000000003', 'order', '1', 'OrderPaid', 'null') RETURNING id;
SELECT * FROM news();
-- placements are those of the setting
SET outbox.debezium_placement = 'type:header:eventType';
INSERT INTO outboxevent VALUES ('00000000-0000-4000-8000-000000000004', 'Order', '1', 'OrderPaid', '{}');
SET outbox.debezium_placement = '';
SELECT * FROM news();
SELECT count(*) FROM outboxevent;
-- what else is done to rows is nothing to us
UPDATE outboxevent SET payload = '{"changed": true}';
DELETE FROM outboxevent WHERE aggregateid = '1';
TRUNCATE outboxevent;
SELECT count(*) FROM news();
-- inserted and deleted in one transaction, as Debezium's users do, or in one statement
BEGIN;
INSERT INTO outboxevent VALUES ('00000000-0000-4000-8000-000000000005', 'Order', '5', 'OrderPaid', '{}');
DELETE FROM outboxevent;
COMMIT;
WITH inserted AS (INSERT INTO outboxevent VALUES ('00000000-0000-4000-8000-000000000006', 'Order', '6', 'OrderPaid', '{}') RETURNING id)
DELETE FROM outboxevent o USING inserted i WHERE o.id = i.id;
DELETE FROM outboxevent;
-- rolled back, with a savepoint too
BEGIN;
INSERT INTO outboxevent VALUES ('00000000-0000-4000-8000-000000000007', 'Order', '7', 'OrderPaid', '{}');
ROLLBACK;
BEGIN;
SAVEPOINT s;
INSERT INTO outboxevent VALUES ('00000000-0000-4000-8000-000000000008', 'Order', '8', 'OrderPaid', '{}');
ROLLBACK TO s;
COMMIT;
COPY outboxevent FROM stdin;
00000000-0000-4000-8000-000000000009	Order	9	OrderPaid	{"copied": 1}
00000000-0000-4000-8000-00000000000a	Order	10	OrderPaid	{"copied": 2}
\.
MERGE INTO outboxevent o USING (VALUES ('00000000-0000-4000-8000-0000000000aa'::uuid), ('00000000-0000-4000-8000-000000000009')) AS v (id) ON o.id = v.id
WHEN MATCHED THEN UPDATE SET type = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'Order', 'merged', 'OrderPaid', '{}');
SELECT topic, key, headers, payload FROM news();
-- a trigger of the application that inserts one more row: that one comes later
CREATE FUNCTION insert_more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO outboxevent VALUES (gen_random_uuid(), 'Order', '1', 'more', NEW.payload); RETURN NULL; END $$;
CREATE TRIGGER "$more" AFTER INSERT ON outboxevent FOR EACH ROW WHEN (NEW.type <> 'more') EXECUTE FUNCTION insert_more();
SET outbox.debezium_placement = 'type:header';
INSERT INTO outboxevent SELECT gen_random_uuid(), 'Order', '1', 'one', to_jsonb(i) FROM generate_series(1, 2) i;
SET outbox.debezium_placement = '';
SELECT substring(headers FROM 'type = .*') AS type, payload FROM news();
DROP TRIGGER "$more" ON outboxevent;
DROP FUNCTION insert_more();

-- renamed table and columns are followed; a column that is needed stays
ALTER TABLE outboxevent RENAME TO "Out box";
ALTER TABLE "Out box" RENAME payload TO "Pay load";
SELECT "table", columns FROM outbox.forward;
INSERT INTO "Out box" VALUES ('00000000-0000-4000-8000-00000000000b', 'Order', '11', 'OrderPaid', '{}');
SELECT topic, key, headers, payload FROM news();
ALTER TABLE "Out box" DROP COLUMN "Pay load";
-- the detail is worded by the version
\set VERBOSITY terse
ALTER TABLE "Out box" ALTER COLUMN aggregateid TYPE text;
\set VERBOSITY default
ALTER TABLE "Out box" ADD COLUMN later int DEFAULT 1;
INSERT INTO "Out box" VALUES ('00000000-0000-4000-8000-00000000000c', 'Order', '12', 'OrderPaid', '{}');
SELECT topic, key, headers, payload FROM news();
SELECT outbox_forward('"Out box"', payload_column => 'Pay load');
SELECT outbox_unforward('"Out box"');
INSERT INTO "Out box" VALUES ('00000000-0000-4000-8000-00000000000d', 'Order', '13', 'OrderPaid', '{}');
SELECT count(*) FROM news();
SELECT count(*) FROM outbox.forward;
SELECT outbox_unforward('"Out box"');
SELECT tgname FROM pg_trigger WHERE tgrelid = '"Out box"'::regclass;
DROP TABLE "Out box";

-- with what Quarkus adds
CREATE TABLE outboxevent (id uuid NOT NULL, aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL,
	type varchar(255) NOT NULL, "timestamp" timestamp NOT NULL, payload varchar(8000), tracingspancontext varchar(256));
SELECT outbox_forward('outboxevent');
SET timezone = 'Asia/Tokyo';
INSERT INTO outboxevent VALUES
	('00000000-0000-4000-8000-000000000001', 'Order', '1', 'OrderPaid', '2024-02-03 04:05:06.789', ' {"id" :1}',
		E'#Sat Feb 03 04:05:06 UTC 2024\ntraceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\ntracestate=a\\=b,c\\=d\n'),
	('00000000-0000-4000-8000-000000000002', 'Order', '1', 'OrderPaid', '2024-02-03 04:05:06.789', '',
		E'#traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nuber-trace-id=1\\:2\\:0\\:1\r\n'),
	('00000000-0000-4000-8000-000000000003', 'Order', '1', 'OrderPaid', '2024-02-03 04:05:06.789', NULL, 'traceparent=nonsense'),
	('00000000-0000-4000-8000-000000000004', 'Order', '1', 'OrderPaid', '2024-02-03 04:05:06.789', NULL, NULL);
SET timezone = 'UTC';
SELECT key, headers, payload, created FROM news();
DROP TABLE outboxevent;

--
-- the CloudEvents-like shape
--
CREATE TABLE events (event_id uuid PRIMARY KEY, created_at timestamptz NOT NULL, event_type text NOT NULL, aggregate_type text,
	aggregate_id jsonb, metadata jsonb, payload jsonb, tenant text, region name, n numeric, flag boolean, extra jsonb, day date);
SELECT outbox_forward('events');
SELECT * FROM outbox.forward;
INSERT INTO events VALUES
	('00000000-0000-4000-8000-000000000001', '2024-02-03 04:05:06.789+00', 'paid', 'order', '"42"', '{"user": "u-7", "n": 1.50}', '{"id": 42}'),
	('00000000-0000-4000-8000-000000000002', '2024-02-03 04:05:06.789+00', 'paid', 'order', '42', '{}', NULL),
	('00000000-0000-4000-8000-000000000003', '2024-02-03 04:05:06.789+00', 'paid', 'order', '{"b": 1, "a": 2}', 'null', 'null'),
	('00000000-0000-4000-8000-000000000004', '2024-02-03 04:05:06.789+00', 'paid', 'order', NULL, NULL, '[]');
SELECT * FROM news();
-- an insert that does nothing emits nothing
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000004', now(), 'again', 'order', '1') ON CONFLICT DO NOTHING;
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000004', now(), 'again', 'order', '1') ON CONFLICT (event_id) DO UPDATE SET event_type = 'changed';
SELECT count(*) FROM news();
-- an event must have an aggregate type; what is wrong with a row is said with its table
\set SHOW_CONTEXT errors
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000005', now(), 'paid', NULL, '1');
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000005', now(), 'paid', 'two words', '1');
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000005', '1969-12-31', 'paid', 'order', '1');
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000005', now(), 'paid', 'order', '1', '[1]');
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000005', now(), 'paid', 'order', '1', '{"id": 1}');
\set SHOW_CONTEXT never
SELECT count(*) FROM news();
SELECT outbox_unforward('events');

-- formats, and columns that become headers: a member of metadata gives way to a column
SELECT outbox_forward('events', format => 'debezium', headers => '{tenant,region:x-region,n,flag,extra,day}', topic => 'by.{aggregate_type}.v1');
SELECT columns, topic, format FROM outbox.forward;
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000011', '2024-02-03 04:05:06.789+00', 'paid', 'order', '1', '{"tenant": "no", "user": "u"}', '{}',
	'T 1', 'eu', 1.50, true, '{"a": "b"}', '2024-02-03');
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000012', '2024-02-03 04:05:06.789+00', 'paid', 'order', '1', NULL, '{}');
SELECT topic, headers FROM news();
-- metadata that is no object is refused with them, too
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000014', '2024-02-03 04:05:06.789+00', 'paid', 'order', '1', '["lost"]', '{}');
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000014', '2024-02-03 04:05:06.789+00', 'paid', 'order', '1', '"lost"', '{}');
SELECT outbox_unforward('events');
SELECT outbox_forward('events', format => 'cloudevents-binary', topic => 'all', subject_column => 'tenant', extensions_column => 'extra',
	datacontenttype_column => 'region');
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000013', '2024-02-03 04:05:06.789+00', 'paid', 'order', '1', NULL, '{}', 'the subject',
	'text/x', NULL, NULL, '{"sequence": 7}');
SELECT topic, regexp_replace(headers, '(ce_source = ).*?(\n)', '\1...\2') AS headers FROM news();
SELECT outbox_unforward('events');

-- a condition, in the search_path of the caller; constants; '' is no column
CREATE SCHEMA forward_schema;
CREATE FUNCTION forward_schema.is_wanted(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 <> 'internal' $$;
SET search_path = forward_schema, public;
SELECT outbox_forward('events', "when" => 'is_wanted(NEW.event_type) -- and no other', aggregate_type => 'constant',
	event_type => 'always', event_type_column => '', created_column => '', id_column => '', metadata_column => '', aggregate_type_column => '');
SHOW search_path;
SET search_path = public;
SELECT columns, aggregate_type, event_type, "when" FROM outbox.forward;
SET quote_all_identifiers = on;
SELECT "when" FROM outbox.forward;
SET quote_all_identifiers = off;
INSERT INTO events VALUES ('00000000-0000-4000-8000-000000000021', '2024-02-03', 'external', NULL, '1', NULL, '{}'),
	('00000000-0000-4000-8000-000000000022', '2024-02-03', 'internal', NULL, '1', NULL, '{}');
SELECT topic, regexp_replace(headers, 'created_at = .*', 'created_at') AS headers FROM news();
SELECT outbox_unforward('events');
DROP TABLE events;

--
-- other shapes, and other types
--
CREATE TABLE changes (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind smallint, entity uuid, what char(10), body text,
	doubled text GENERATED ALWAYS AS (body || body) STORED, target text, slot smallint, at timestamptz, parent text, state text, trace text, props json);
SELECT outbox_forward('changes', id_column => 'n', aggregate_type_column => 'kind', aggregate_id_column => 'entity', event_type_column => 'what',
	payload_column => 'doubled', topic_column => 'target', partition_column => 'slot', created_column => 'at', metadata_column => 'props',
	traceparent_column => 'parent', tracestate_column => 'state', topic => 'otherwise');
INSERT INTO changes (kind, entity, what, body, target, slot, at, parent, state, props) VALUES
	(1, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'what', 'body', 'chosen', 3, '2024-02-03 04:05:06+00',
	'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'a=b', '{"x": 1}') RETURNING n;
INSERT INTO changes (kind, at) VALUES (2, '2024-02-03');
SELECT * FROM news();
INSERT INTO changes (kind, slot) VALUES (2, -2);
INSERT INTO changes (kind, slot) VALUES (2, -1);
INSERT INTO changes (kind, at) VALUES (2, '-infinity');
INSERT INTO changes (kind, target) VALUES (2, 'two words');
INSERT INTO changes (kind, parent) VALUES (2, 'nonsense');
SELECT outbox_unforward('changes');
SELECT outbox_forward('changes', id_column => 'n', aggregate_type => 'change', aggregate_id_column => 'n', event_type_column => '',
	payload_column => 'props', trace_id_column => 'trace');
INSERT INTO changes (props, trace, what) VALUES ('{"x" : 1}', 'T-1', 'what');
SELECT topic, key, regexp_replace(headers, 'created_at = [^\n]*', 'created_at') AS headers, payload FROM news();
-- the row's type, and bytes
SELECT outbox_unforward('changes');
DROP TABLE changes;
CREATE TABLE bytes (id bigint, aggregatetype name, aggregateid int, type text, payload bytea);
SELECT outbox_forward('bytes', format => 'debezium');
INSERT INTO bytes VALUES (9007199254740993, 'Order', -1, 'e', '\x00ff');
INSERT INTO bytes SELECT NULL, 'Order', 2, NULL, string_agg(sha512(i::text::bytea), '') FROM generate_series(1, 200) i;
SELECT topic, key, headers, length(payload) FROM news();
SELECT length(payload) = (SELECT length(payload) FROM bytes WHERE aggregateid = 2) AS toasted_is_whole FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
DROP TABLE bytes;

--
-- rows that are removed
--
CREATE TABLE gone (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload text);
INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'before', repeat('x', 10));
SELECT outbox_forward('gone', keep => false);
SELECT keep FROM outbox.forward;
INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000002', 'Order', '2', 'e', (SELECT string_agg(sha512(i::text::bytea)::text, '') FROM generate_series(1, 200) i)),
	('00000000-0000-4000-8000-000000000003', 'Order', '3', 'e', 'x') RETURNING id;
COPY gone FROM stdin;
00000000-0000-4000-8000-000000000004	Order	4	e	x
00000000-0000-4000-8000-000000000005	Order	5	e	x
\.
SELECT key, length(payload) FROM news();
SELECT id FROM gone;
-- constraints hold all the same
INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'again', 'x');
INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000006', 'Order', '6', 'e', 'x'), ('00000000-0000-4000-8000-000000000006', 'Order', '6', 'e', 'x');
SELECT count(*) FROM news();
-- removed by the application at once; or changed by a trigger of its own
WITH inserted AS (INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000007', 'Order', '7', 'e', 'x') RETURNING id)
DELETE FROM gone o USING inserted i WHERE o.id = i.id;
CREATE FUNCTION change_gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE gone SET type = 'changed' WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER "!change" AFTER INSERT ON gone FOR EACH ROW EXECUTE FUNCTION change_gone();
INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000008', 'Order', '8', 'e', 'x');
DROP TRIGGER "!change" ON gone;
CREATE TRIGGER zchange AFTER INSERT ON gone FOR EACH ROW EXECUTE FUNCTION change_gone();
INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000009', 'Order', '9', 'e', 'x');
DROP TRIGGER zchange ON gone;
SELECT key FROM news();
SELECT id, type FROM gone ORDER BY id;
-- one command for all rows of a statement, or memory would grow with them
BEGIN;
INSERT INTO gone SELECT gen_random_uuid(), 'Order', i, 'e', 'x' FROM generate_series(1, 100) i;
INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000010', 'Order', 'x', 'e', 'x') RETURNING cmin::text::int < 20 AS few_commands;
COMMIT;
SELECT count(*) FROM news();
-- what wants to know of deleted rows
CREATE TABLE child (parent uuid REFERENCES gone);
INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000011', 'Order', '11', 'e', 'x');
SELECT outbox_unforward('gone');
SELECT outbox_forward('gone', keep => false);
DROP TABLE child;
-- a server whose wal_level is not logical warns here
SET client_min_messages = error;
CREATE PUBLICATION forward_gone FOR TABLE gone;
RESET client_min_messages;
ALTER TABLE gone REPLICA IDENTITY NOTHING;
SELECT outbox_forward('gone', keep => false);
INSERT INTO gone VALUES ('00000000-0000-4000-8000-000000000012', 'Order', '12', 'e', 'x');
DROP PUBLICATION forward_gone;
SELECT count(*) FROM news();
DROP TABLE gone;

--
-- partitioned tables
--
CREATE TABLE parted (published boolean, id uuid NOT NULL, payload jsonb, aggregatetype text, aggregateid text, type text) PARTITION BY LIST (published);
CREATE TABLE parted_new (type text, dropped int, id uuid NOT NULL, payload jsonb, aggregatetype text, aggregateid text, published boolean);
ALTER TABLE parted_new DROP COLUMN dropped;
ALTER TABLE parted ATTACH PARTITION parted_new FOR VALUES IN (false);
SELECT outbox_forward('parted', "when" => 'NOT NEW.published', "always" => true);
CREATE TABLE parted_old PARTITION OF parted FOR VALUES IN (true);
SELECT "table", "when", "always" FROM outbox.forward;
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgrelid IN ('parted'::regclass, 'parted_new'::regclass, 'parted_old'::regclass) ORDER BY 1, 2;
INSERT INTO parted VALUES (false, '00000000-0000-4000-8000-000000000001', '{"p": 1}', 'Order', '1', 'e');
INSERT INTO parted_new (published, id, payload, aggregatetype, aggregateid, type) VALUES (false, '00000000-0000-4000-8000-000000000002', '{"p": 2}', 'Order', '2', 'e');
ALTER TABLE parted RENAME payload TO body;
INSERT INTO parted VALUES (false, '00000000-0000-4000-8000-000000000003', '{"p": 3}', 'Order', '3', 'e');
-- an update that moves a row to another partition is an insert there: the condition tells
UPDATE parted SET published = true;
SELECT topic, key, headers, payload FROM news();
-- a replica's session
SET session_replication_role = replica;
INSERT INTO parted VALUES (false, '00000000-0000-4000-8000-000000000004', '{"p": 4}', 'Order', '4', 'e');
SET session_replication_role = origin;
SELECT key FROM news();
SELECT outbox_unforward('parted_new');
SELECT outbox_forward('parted_new', payload_column => 'body');
SELECT outbox_unforward('parted');
SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!outbox_forward%';
SELECT outbox_forward('parted_new', payload_column => 'body');
SET session_replication_role = replica;
INSERT INTO parted VALUES (false, '00000000-0000-4000-8000-000000000005', '{"p": 5}', 'Order', '5', 'e');
SET session_replication_role = origin;
INSERT INTO parted VALUES (false, '00000000-0000-4000-8000-000000000006', '{"p": 6}', 'Order', '6', 'e');
SELECT key FROM news();
SELECT outbox_forward('parted', payload_column => 'body');
-- rows that were there
SELECT outbox_unforward('parted_new');
SELECT outbox_forward('parted', payload_column => 'body', take_over => true, take_over_order => '{aggregateid}', take_over_where => 'NOT published', keep => false);
SELECT key FROM news();
SELECT aggregateid FROM parted ORDER BY 1;
DROP TABLE parted;
-- a foreign table among the partitions
CREATE FOREIGN DATA WRAPPER forward_wrapper;
CREATE SERVER forward_server FOREIGN DATA WRAPPER forward_wrapper;
CREATE TABLE far (id uuid, aggregatetype text, aggregateid text, type text, payload text) PARTITION BY LIST (aggregatetype);
CREATE FOREIGN TABLE far_away PARTITION OF far FOR VALUES IN ('Order') SERVER forward_server;
SELECT outbox_forward('far', keep => false);
SELECT outbox_forward('far');
DROP TABLE far;
DROP FOREIGN DATA WRAPPER forward_wrapper CASCADE;

--
-- rows that were there before
--
CREATE TABLE earlier (id uuid, aggregatetype text, aggregateid text, type text, payload text, published boolean, n serial, at timestamptz);
INSERT INTO earlier SELECT gen_random_uuid(), 'Order', i % 3, 'e', 'row ' || i, i % 5 = 0, 301 - i, timestamptz '2024-01-01' + i * interval '1 s'
	FROM generate_series(1, 300) i;
SELECT outbox_forward('earlier', take_over => true);
SELECT outbox_forward('earlier', take_over => true, take_over_order => '{nothing}');
SELECT outbox_forward('earlier', take_over => true, take_over_order => '{NULL}');
SELECT outbox_forward('earlier', take_over => true, take_over_where => 'nonsense', created_column => 'at');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT outbox_forward('earlier', take_over => true, created_column => 'at');
ROLLBACK;
SELECT count(*) FROM news();
SELECT count(*) FROM outbox.forward;
CREATE FUNCTION taken() RETURNS TABLE (rows bigint, first text, last text, in_order boolean) LANGUAGE sql AS $$
	SELECT count(*), min(payload) FILTER (WHERE n = 1), min(payload) FILTER (WHERE n = of),
		array_agg(payload ORDER BY n) = array_agg(payload ORDER BY substr(payload, 5)::int)
			OR array_agg(payload ORDER BY n) = array_agg(payload ORDER BY substr(payload, 5)::int DESC)
	FROM (SELECT payload, row_number() OVER () AS n, count(*) OVER () AS of FROM news()) x
$$;
-- by time of creation
SELECT outbox_forward('earlier', take_over => true, created_column => 'at');
SELECT * FROM taken();
SELECT outbox_unforward('earlier');
-- by number, those that were not sent and pass the condition
SELECT outbox_forward('earlier', take_over => true, take_over_where => 'NOT published -- those', take_over_order => '{n}', "when" => 'NEW.aggregateid <> ''0''');
SELECT * FROM taken();
SELECT outbox_unforward('earlier');
-- a number for an id goes before a time
SELECT outbox_forward('earlier', take_over => true, id_column => 'n', created_column => 'at');
SELECT * FROM taken();
SELECT outbox_unforward('earlier');
-- as they lie, and removed
SELECT outbox_forward('earlier', take_over => true, take_over_order => '{ctid}', take_over_where => 'published', keep => false);
SELECT * FROM taken();
SELECT count(*), bool_or(published) FROM earlier;
SELECT outbox_unforward('earlier');
-- rolled back
BEGIN;
SELECT outbox_forward('earlier', take_over => true, take_over_order => '{n}');
ROLLBACK;
SELECT count(*) FROM news();
-- a condition that holds for other rows when they are removed; a rule that keeps them
CREATE SEQUENCE forward_calls;
SELECT outbox_forward('earlier', take_over => true, take_over_order => '{n}', take_over_where => $$nextval('forward_calls') <= 2$$, keep => false);
DROP SEQUENCE forward_calls;
CREATE RULE forward_kept AS ON DELETE TO earlier DO INSTEAD NOTHING;
SELECT outbox_forward('earlier', take_over => true, take_over_order => '{n}', take_over_where => 'n = 300', keep => false);
DROP RULE forward_kept ON earlier;
SELECT count(*) FROM news();
-- a row that cannot be an event
INSERT INTO earlier (id, aggregatetype) VALUES (gen_random_uuid(), NULL);
SELECT outbox_forward('earlier', take_over => true, take_over_order => '{n}');
SELECT count(*) FROM outbox.forward;
-- a policy that hides rows from their owner is an error, not a loss
DELETE FROM earlier WHERE aggregatetype IS NULL;
CREATE ROLE regress_outbox_forward;
GRANT EXECUTE ON FUNCTION outbox_forward, outbox_unforward, outbox_forward_row, outbox_forward_rows TO regress_outbox_forward;
ALTER TABLE earlier OWNER TO regress_outbox_forward;
ALTER TABLE earlier ENABLE ROW LEVEL SECURITY;
ALTER TABLE earlier FORCE ROW LEVEL SECURITY;
CREATE POLICY few ON earlier USING (aggregateid = '1');
SET ROLE regress_outbox_forward;
SELECT outbox_forward('earlier', take_over => true, take_over_order => '{n}');
RESET ROLE;
ALTER TABLE earlier DISABLE ROW LEVEL SECURITY;
-- tables that inherit are no part of it
CREATE TABLE earlier_child () INHERITS (earlier);
INSERT INTO earlier_child SELECT * FROM earlier LIMIT 1;
SELECT outbox_forward('earlier', take_over => true, take_over_order => '{n}');
INSERT INTO earlier_child SELECT * FROM earlier LIMIT 1;
SELECT count(*) FROM news();
DROP TABLE earlier CASCADE;

--
-- privileges: the owner of the table forwards it; who inserts needs nothing
--
CREATE ROLE regress_outbox_app;
CREATE TABLE owned (id uuid, aggregatetype text, aggregateid text, type text, payload text);
GRANT INSERT ON owned TO regress_outbox_app;
SET ROLE regress_outbox_app;
SELECT outbox_forward('owned');
SELECT outbox_unforward('owned');
SELECT outbox_forward_rows('owned');
SELECT * FROM outbox.forward;
CREATE TEMP TABLE mine (id int);
CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION outbox_forward_row();
RESET ROLE;
SET ROLE regress_outbox_forward;
SELECT outbox_forward('owned');
SELECT outbox_forward_rows('owned');
RESET ROLE;
ALTER TABLE owned OWNER TO regress_outbox_forward;
SET ROLE regress_outbox_forward;
SELECT outbox_forward('owned', format => 'plain');
RESET ROLE;
SET ROLE regress_outbox_app;
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'e', 'x');
SELECT outbox_emit('t', 'p');
RESET ROLE;
SELECT topic, key FROM news();
SET ROLE regress_outbox_forward;
SELECT outbox_unforward('owned');
RESET ROLE;
-- not to be called otherwise
SELECT outbox_forward_row();
CREATE TRIGGER wrong BEFORE INSERT ON owned FOR EACH ROW EXECUTE FUNCTION outbox_forward_row();
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'e', 'x');
DROP TRIGGER wrong ON owned;
CREATE TRIGGER wrong AFTER INSERT ON owned FOR EACH STATEMENT EXECUTE FUNCTION outbox_forward_row();
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'e', 'x');
DROP TRIGGER wrong ON owned;
CREATE TRIGGER wrong AFTER INSERT ON owned FOR EACH ROW EXECUTE FUNCTION outbox_forward_row();
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'e', 'x');
CREATE TRIGGER list AFTER INSERT ON owned FOR EACH ROW WHEN (false AND (true OR outbox_trigger_columns('payload'::text, NEW.payload)))
	EXECUTE FUNCTION outbox_forward_row('columns=here');
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'e', 'x');
DROP TRIGGER list ON owned;
CREATE TRIGGER list AFTER INSERT ON owned FOR EACH ROW WHEN (false AND (true OR outbox_trigger_columns('nothing'::text, NEW.payload)))
	EXECUTE FUNCTION outbox_forward_row('columns=here');
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'e', 'x');
DROP TRIGGER wrong ON owned;
DROP TRIGGER list ON owned;
CREATE TRIGGER wrong AFTER INSERT ON owned FOR EACH ROW EXECUTE FUNCTION outbox_forward_row('nothing');
CREATE TRIGGER list AFTER INSERT ON owned FOR EACH ROW WHEN (false AND (true OR outbox_trigger_columns('aggregate_type'::text, NEW.payload)))
	EXECUTE FUNCTION outbox_forward_row('columns=here');
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'e', 'x');
SELECT outbox_unforward('owned');
-- all triggers switched off and on again
SELECT outbox_forward('owned', format => 'plain');
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '0', 'e', 'x');
ALTER TABLE owned DISABLE TRIGGER ALL;
SELECT enabled FROM outbox.forward;
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '1', 'e', 'x');
ALTER TABLE owned ENABLE TRIGGER ALL;
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '2', 'e', 'x');
SELECT topic, key FROM news();
-- a trigger that is changed, and keeps its oid
CREATE OR REPLACE TRIGGER "!outbox_forward" AFTER INSERT ON owned FOR EACH ROW EXECUTE FUNCTION outbox_forward_row('format=plain', 'topic=replaced');
INSERT INTO owned VALUES ('00000000-0000-4000-8000-000000000001', 'Order', '3', 'e', 'x');
SELECT topic, key FROM news();
SELECT outbox_unforward('owned');
DROP TABLE owned;
DROP OWNED BY regress_outbox_forward;
DROP OWNED BY regress_outbox_app;
DROP ROLE regress_outbox_forward;
DROP ROLE regress_outbox_app;

--
-- what is refused
--
SELECT outbox_forward(NULL);
SELECT outbox_unforward(NULL);
SELECT outbox_forward(4294967295::oid::regclass);
CREATE VIEW a_view AS SELECT 1 AS id;
CREATE TEMP TABLE a_temp (id uuid, aggregatetype text, aggregateid text, type text, payload text);
SELECT outbox_forward('a_view');
SELECT outbox_forward('a_temp');
SELECT outbox_forward('pg_class');
SELECT outbox_forward('outbox.event_0');
SELECT outbox_unforward('outbox.event_0');
DROP VIEW a_view;
CREATE TABLE wrong (id uuid, aggregatetype text, aggregateid text, type text, payload text, "a:b" text, n int, at date, place point, list int[], body bytea);
ALTER TABLE wrong ADD COLUMN doc jsonb;
SELECT outbox_forward('wrong', keep => NULL);
SELECT outbox_forward('wrong', "always" => NULL);
SELECT outbox_forward('wrong', take_over => NULL);
SELECT outbox_forward('wrong', take_over_where => 'true');
SELECT outbox_forward('wrong', take_over_order => '{n}');
SELECT outbox_forward('wrong', payload_column => 'nothing');
SELECT outbox_forward('wrong', aggregate_type_column => '');
SELECT outbox_forward('wrong', format => 'avro');
SELECT outbox_forward('wrong', topic => 'two words');
SELECT outbox_forward('wrong', topic => '{nothing}');
SELECT outbox_forward('wrong', topic => '');
SELECT outbox_forward('wrong', "when" => 'nonsense');
SELECT outbox_forward('wrong', "when" => 'n > 0');
SELECT outbox_forward('wrong', headers => '{nothing}');
SELECT outbox_forward('wrong', headers => '{NULL}');
SELECT outbox_forward('wrong', headers => '{n:}');
SELECT outbox_forward('wrong', headers => '{n:id}');
SELECT outbox_forward('wrong', headers => '{n,at:n}');
DO $$
DECLARE
	arguments text;
	context text;
	detail text;
BEGIN
	FOREACH arguments IN ARRAY ARRAY['headers => ''{place}''', 'headers => ''{body}''', 'id_column => ''doc''', 'id_column => ''body''',
		'aggregate_type_column => ''list''', 'aggregate_id_column => ''place''', 'event_type_column => ''doc''', 'payload_column => ''n''',
		'metadata_column => ''payload''', 'extensions_column => ''payload''', 'created_column => ''at''', 'partition_column => ''payload''',
		'topic_column => ''place''', 'trace_context_column => ''list''', 'traceparent_column => ''doc''']
	LOOP
		BEGIN
			EXECUTE format('SELECT outbox_forward(''wrong'', %s)', arguments);
			RAISE NOTICE '% is taken', arguments;
		EXCEPTION WHEN datatype_mismatch THEN
			GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT, detail = PG_EXCEPTION_DETAIL;
			RAISE NOTICE E'%\n  %\n  %\n  %', arguments, SQLERRM, detail, split_part(context, E'\n', 1);
		END;
	END LOOP;
END
$$;
SELECT count(*) FROM outbox.forward;
-- a column with a colon in its name
SELECT outbox_forward('wrong', headers => '{a:b,n:c:d}');
SELECT columns FROM outbox.forward;
DROP TABLE wrong;
CREATE TABLE wrong (id uuid, kind text, body text);
SELECT outbox_forward('wrong');
SELECT outbox_forward('wrong', aggregate_type_column => 'kind', payload_column => 'body');
CREATE TABLE half (aggregate_type text, aggregate_id text, payload text);
SELECT outbox_forward('half');
DROP TABLE wrong, half;

-- the extension goes only with the triggers
CREATE TABLE outboxevent (id uuid, aggregatetype text, aggregateid text, type text, payload text);
SELECT outbox_forward('outboxevent');
-- without the number of events that would be lost
SET client_min_messages = error;
DROP EXTENSION outbox;
SET client_min_messages = notice;
DROP TABLE outboxevent;
SET client_min_messages = warning;
DROP SCHEMA forward_schema CASCADE;
DROP FUNCTION change_gone(), taken(), news(), forward_headers(bytea);
