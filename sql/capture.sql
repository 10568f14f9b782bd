--
-- outbox_capture: what the triggers emit, and what is refused
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
SET outbox.format = plain;
\set SHOW_CONTEXT never

-- what this transaction has emitted
CREATE TEMP VIEW got AS
	SELECT topic, convert_from(key, 'UTF8') AS key, convert_from(payload, 'UTF8') AS payload
	FROM outbox.event WHERE xid = pg_current_xact_id_if_assigned() ORDER BY id;
\pset format unaligned

CREATE TABLE capture_order (id int PRIMARY KEY, state text, note text);
SELECT outbox_capture('capture_order');

-- each operation; two of them in one command; nothing of what is rolled back
BEGIN;
INSERT INTO capture_order VALUES (1, 'new', NULL), (2, 'new', 'two');
UPDATE capture_order SET state = 'paid' WHERE id = 1;
WITH gone AS (DELETE FROM capture_order WHERE id = 2) UPDATE capture_order SET note = 'x' WHERE id = 1;
SAVEPOINT s;
UPDATE capture_order SET state = 'undone';
ROLLBACK TO s;
SELECT * FROM got;
COMMIT;

-- the aggregate type, and what the domain event has beside it
BEGIN;
UPDATE capture_order SET state = 'sent';
SELECT encode(headers, 'escape') LIKE '%event\_type%update%aggregate\_type%capture\_order%aggregate\_id%1%created\_at%' AS has_headers
FROM outbox.event WHERE xid = pg_current_xact_id_if_assigned();
ROLLBACK;

-- an update that changes nothing is an update; one that changes the key is a
-- delete of the old one and an insert of the new one
BEGIN;
UPDATE capture_order SET state = state;
UPDATE capture_order SET id = 10 WHERE id = 1;
SELECT * FROM got;
ROLLBACK;

-- COPY, ON CONFLICT, MERGE
BEGIN;
COPY capture_order FROM stdin;
3	copied	\N
4	copied	\N
\.
INSERT INTO capture_order VALUES (3, 'mine', NULL) ON CONFLICT (id) DO UPDATE SET state = excluded.state;
INSERT INTO capture_order VALUES (3, 'mine', NULL) ON CONFLICT (id) DO NOTHING;
MERGE INTO capture_order o USING (VALUES (3, 'gone'), (4, 'merged'), (5, 'merged')) AS s (id, state) ON o.id = s.id
	WHEN MATCHED AND s.state = 'gone' THEN DELETE
	WHEN MATCHED THEN UPDATE SET state = s.state
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.state, NULL);
SELECT * FROM got;
ROLLBACK;

-- renamed: columns, table and schema by their names of today, in a session
-- that knew them by the old ones, too
CREATE SCHEMA capture_schema;
BEGIN;
ALTER TABLE capture_order RENAME COLUMN id TO "Order ""Id""";
ALTER TABLE capture_order RENAME COLUMN note TO remark;
UPDATE capture_order SET state = 'one';
ALTER TABLE capture_order SET SCHEMA capture_schema;
UPDATE capture_schema.capture_order SET state = 'two';
ALTER TABLE capture_schema.capture_order RENAME TO renamed;
UPDATE capture_schema.renamed SET state = 'three';
ALTER SCHEMA capture_schema RENAME TO capture_schema_2;
UPDATE capture_schema_2.renamed SET state = 'four';
SELECT * FROM got;
SELECT "table", name, operations, aggregate_type, key, columns FROM outbox.capture;
ROLLBACK;
BEGIN;
UPDATE capture_order SET state = 'as before';
SELECT * FROM got;
ROLLBACK;

-- columns that come and go are followed where all are captured
BEGIN;
ALTER TABLE capture_order ADD COLUMN later int DEFAULT 7;
UPDATE capture_order SET state = 'added';
ALTER TABLE capture_order DROP COLUMN note;
UPDATE capture_order SET state = 'dropped';
ALTER TABLE capture_order ALTER COLUMN later TYPE text USING 'seven';
UPDATE capture_order SET state = 'altered';
SELECT * FROM got;
ROLLBACK;
-- a name that is no topic is told to the one who writes
BEGIN;
ALTER TABLE capture_order RENAME TO "capture order";
UPDATE "capture order" SET state = 'x';
ROLLBACK;
-- the key stays as it is
ALTER TABLE capture_order DROP COLUMN id;
-- the detail is worded by the version
\set VERBOSITY terse
ALTER TABLE capture_order ALTER COLUMN id TYPE bigint;
\set VERBOSITY default
BEGIN;
ALTER TABLE capture_order DROP CONSTRAINT capture_order_pkey;
UPDATE capture_order SET state = 'x';
SELECT * FROM got;
ROLLBACK;

-- once under one name
SELECT outbox_capture('capture_order', 'other');
SELECT outbox_capture('capture_order', 'other', columns => '{state}', old => true, operations => '{update}',
	"when" => 'OLD.state IS DISTINCT FROM NEW.state -- a change', name => 'second', aggregate_type => 'order');
\x
SELECT * FROM outbox.capture ORDER BY name;
\x
BEGIN;
UPDATE capture_order SET state = 'both';
UPDATE capture_order SET note = 'first only';
SELECT * FROM got;
ROLLBACK;
-- those that are used cannot be dropped
ALTER TABLE capture_order DROP COLUMN state;
SELECT outbox_uncapture('capture_order', 'second');
ALTER TABLE capture_order DROP COLUMN state;
SELECT outbox_uncapture('capture_order', 'second');
SELECT outbox_uncapture('capture_order');
SELECT count(*) FROM outbox.capture;
BEGIN;
UPDATE capture_order SET note = 'nobody sees it';
SELECT * FROM got;
ROLLBACK;
DROP TABLE capture_order;

-- options: old rows, changed columns, tombstones, conditions, format
CREATE TABLE capture_option (a int, b text, c numeric, d text, PRIMARY KEY (b, a));
INSERT INTO capture_option VALUES (1, 'one', 1.0, 'd');
SELECT outbox_capture('capture_option', 'options', old => true, changed_only => true, tombstone => true, format => 'plain',
	columns => '{c,a,d}', operations => '{delete,update,insert,truncate}');
SELECT operations, topic, format, key, columns, old, changed_only, tombstone, always, enabled FROM outbox.capture;
BEGIN;
UPDATE capture_option SET c = 1.00;
UPDATE capture_option SET c = c, d = d;
UPDATE capture_option SET c = NULL;
UPDATE capture_option SET c = NULL;
UPDATE capture_option SET d = 'short';
UPDATE capture_option SET b = 'two';
DELETE FROM capture_option;
TRUNCATE capture_option;
SELECT * FROM got;
ROLLBACK;
SELECT outbox_uncapture('capture_option');

-- a condition is looked up where the caller is, and may use what only he sees
CREATE SCHEMA capture_schema_3;
CREATE FUNCTION capture_schema_3.wanted(n numeric) RETURNS bool LANGUAGE sql AS 'SELECT n > 1';
BEGIN;
SET LOCAL search_path = capture_schema_3, public;
SELECT outbox_capture('capture_option', 'options', "when" => 'wanted(NEW.c)', operations => '{insert,update}');
SHOW search_path;
INSERT INTO capture_option (a, b, c) VALUES (2, 'x', 2), (3, 'x', 1);
UPDATE capture_option SET c = c + 1;
SELECT "when", columns FROM outbox.capture;
SELECT key FROM got;
ROLLBACK;
-- which does not lead the rest astray
CREATE TABLE capture_schema_3.pg_class AS SELECT * FROM pg_class LIMIT 0;
CREATE FUNCTION capture_schema_3.never(name, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR capture_schema_3.= (FUNCTION = capture_schema_3.never, LEFTARG = name, RIGHTARG = text);
BEGIN;
SET LOCAL search_path = capture_schema_3, pg_catalog, public;
SELECT outbox_capture('capture_option', 'options');
SELECT outbox_uncapture('capture_option');
SELECT outbox_capture('capture_option', 'options');
SELECT outbox_capture('capture_option', 'options');
ROLLBACK;

-- a key of several columns is a JSON array; one column's is its text
CREATE TABLE capture_key (u uuid, t timestamptz, n numeric, j jsonb, b bool);
BEGIN;
SET LOCAL timezone = 'Asia/Tokyo';
SET LOCAL datestyle = 'German';
SELECT outbox_capture('capture_key', 'uuid', key => '{u}', columns => '{b}', name => 'u');
SELECT outbox_capture('capture_key', 'time', key => '{t}', columns => '{b}', name => 't');
SELECT outbox_capture('capture_key', 'jsonb', key => '{j}', columns => '{b}', name => 'v');
SELECT outbox_capture('capture_key', 'several', key => '{n,t,j}', columns => '{b}', name => 'w');
INSERT INTO capture_key VALUES ('11111111-1111-1111-1111-111111111111', '2024-01-02 03:04:05+00', 1.50, '"text"', true);
INSERT INTO capture_key VALUES (NULL, NULL, 'NaN', '3', false);
SELECT * FROM got;
ROLLBACK;

-- types: the same text under all settings
CREATE TYPE capture_mood AS ENUM ('sad', 'glad');
CREATE TYPE capture_pair AS (a int, b timestamptz);
CREATE TYPE capture_nothing AS ();
CREATE DOMAIN capture_positive AS capture_pair[] CHECK (array_length(value, 1) > 0);
CREATE TABLE capture_type (id int PRIMARY KEY, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, bo bool,
	t text, vc varchar(10), bc char(4), nm name, ch "char", b bytea, j json, jb jsonb,
	d date, ti time, tz timetz, ts timestamp, tstz timestamptz, iv interval, u uuid, o oid, ip inet, bi bit(3),
	m capture_mood, p capture_pair, em capture_nothing, po capture_positive,
	ai int[], at text[][], ats timestamptz[], aj jsonb[],
	r int4range, nr numrange, tr tstzrange, tmr tstzmultirange, pt point, rc regclass,
	g int GENERATED ALWAYS AS (id * 2) STORED, "quo""ted \ ü" text);
SELECT outbox_capture('capture_type', 'types');
BEGIN;
SET LOCAL timezone = 'Asia/Tokyo';
SET LOCAL datestyle = 'German';
SET LOCAL intervalstyle = 'sql_standard';
SET LOCAL extra_float_digits = -15;
SET LOCAL bytea_output = escape;
SET LOCAL search_path = capture_schema_3, public, pg_catalog;
SET LOCAL quote_all_identifiers = on;
INSERT INTO capture_type VALUES (1, -2, -9223372036854775808, 0.1, 1e300, 123456789012345678901234567890.120, true,
	E'a"b\\c\n\r\t\b\f\001\177é€', 'v', 'b', 'n', 'c', '\x00ff10', '{"z":  1, "z": 2}', '{"z":  1.50}',
	'2024-02-03', '01:02:03.5', '01:02:03+05', '2024-02-03 01:02:03', '2024-02-03 01:02:03.000001+00', '1 day 2 hours',
	'11111111-1111-1111-1111-111111111111', 4294967295, '10.0.0.1/8', '101',
	'glad', (1, '2024-02-03 01:02:03+00'), ROW(), ARRAY[(1, NULL)::capture_pair, NULL],
	'[2:4]={1,NULL,3}', '{{a,b},{"c,",NULL}}', '{2024-02-03 01:02:03+00,infinity}', ARRAY['{"a": 1}'::jsonb],
	'[1,5)', '[1.50,)', '[2024-02-03 01:02:03+00,)', '{[2024-02-03 01:02:03+00,)}', '(0.1,1e300)', 'capture_type', DEFAULT, 'q');
SHOW datestyle;
SHOW search_path;
INSERT INTO capture_type (id, f4, f8, n, t, b, ai, d, ts, tstz, r)
	VALUES (2, 'NaN', '-Infinity', 'NaN', '', '', '{}', '-infinity', '0044-03-15 12:00:00 BC', 'infinity', 'empty'),
	(3, '-0', 'Infinity', '-Infinity', '', '', '{}', 'infinity', 'infinity', '-infinity', NULL);
SELECT payload FROM got;
-- all of it is JSON
SELECT count(payload::jsonb) FROM got;
-- a type that changes is followed
ALTER TYPE capture_pair ADD ATTRIBUTE c text;
UPDATE capture_type SET p = (1, NULL, 'c') WHERE id = 1;
ALTER TYPE capture_pair DROP ATTRIBUTE a;
UPDATE capture_type SET p = (NULL, 'd') WHERE id = 1;
SELECT payload::jsonb -> 'new' -> 'p' AS p FROM got OFFSET 3;
ROLLBACK;
-- a type with a cast to json is written by it, from when there is one
CREATE FUNCTION capture_mood_json(m capture_mood) RETURNS json LANGUAGE sql AS $$ SELECT json_build_object('mood', m::text) $$;
BEGIN;
INSERT INTO capture_type (id, iv, m) VALUES (1, '1 day', 'sad');
CREATE CAST (capture_mood AS json) WITH FUNCTION capture_mood_json(capture_mood);
UPDATE capture_type SET m = 'glad';
SELECT payload::jsonb -> 'new' -> 'm' AS m FROM got;
ROLLBACK;

-- one that changes the table while a row of it is written
CREATE TABLE capture_nested (id int PRIMARY KEY, m capture_mood, "after" text, "more" int[]);
CREATE TABLE capture_other (x text PRIMARY KEY, y text, z text);
SELECT outbox_capture('capture_nested', 'nested'), outbox_capture('capture_other', 'nested');
CREATE FUNCTION capture_mood_nested(m capture_mood) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	IF m = 'glad' THEN
		ALTER SCHEMA capture_schema_3 RENAME TO capture_schema_4;
		INSERT INTO capture_nested VALUES (2, 'sad', 'inner', '{2}');
		ALTER SCHEMA capture_schema_4 RENAME TO capture_schema_3;
		INSERT INTO capture_other VALUES ('3', 'inner', 'inner');
	END IF;
	RETURN to_json(m::text);
END
$$;
CREATE CAST (capture_mood AS json) WITH FUNCTION capture_mood_nested(capture_mood);
BEGIN;
INSERT INTO capture_nested VALUES (1, 'glad', 'outer', '{1}');
SELECT payload FROM got;
ROLLBACK;
DROP CAST (capture_mood AS json);

-- one in SQL that fails leaves nothing behind; whose rights it has may change
CREATE FUNCTION capture_mood_sql(m capture_mood) RETURNS json LANGUAGE sql VOLATILE AS
	$$ SELECT to_json(CASE m WHEN 'glad' THEN (1 / position('x' IN m::text))::text ELSE current_user::text END) $$;
CREATE CAST (capture_mood AS json) WITH FUNCTION capture_mood_sql(capture_mood);
CREATE ROLE regress_outbox_capture SUPERUSER;
BEGIN;
INSERT INTO capture_nested VALUES (1, 'sad');
SAVEPOINT s;
INSERT INTO capture_nested VALUES (2, 'glad');
ROLLBACK TO s;
INSERT INTO capture_nested VALUES (3, 'sad');
ALTER FUNCTION capture_mood_sql OWNER TO regress_outbox_capture;
ALTER FUNCTION capture_mood_sql SECURITY DEFINER;
INSERT INTO capture_nested VALUES (4, 'sad');
ALTER FUNCTION capture_mood_sql SECURITY INVOKER;
INSERT INTO capture_nested VALUES (5, 'sad');
SELECT payload::jsonb -> 'new' -> 'id' AS id, payload::jsonb -> 'new' -> 'm' = to_jsonb(current_user) AS caller FROM got;
ROLLBACK;
DROP CAST (capture_mood AS json);
DROP ROLE regress_outbox_capture;

-- a value out of line, which an update does not touch, is in the new row
CREATE TABLE capture_toast (id int PRIMARY KEY, small text, large text);
ALTER TABLE capture_toast ALTER COLUMN large SET STORAGE EXTERNAL;
INSERT INTO capture_toast VALUES (1, 'a', repeat('x', 10000));
SELECT outbox_capture('capture_toast', 'toast');
SELECT outbox_capture('capture_toast', 'changed', changed_only => true, name => 'changed');
BEGIN;
UPDATE capture_toast SET small = 'b';
SELECT topic, length(payload) FROM got;
SELECT payload FROM got WHERE topic = 'changed';
ROLLBACK;

-- partitions, of other column orders too, are their table to consumers; a row
-- that moves is deleted and inserted; key and columns are found in each
CREATE TABLE capture_part (id int, region text, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE capture_part_eu (junk int, v text, id int NOT NULL, region text NOT NULL);
ALTER TABLE capture_part_eu DROP COLUMN junk;
ALTER TABLE capture_part ATTACH PARTITION capture_part_eu FOR VALUES IN ('eu');
SELECT outbox_capture('capture_part', 'part', "when" => 'NEW.v <> ''hidden''', operations => '{insert,update}');
SELECT outbox_capture('capture_part', 'part', key => '{id}', columns => '{v}', operations => '{delete,truncate}', name => 'delete');
CREATE TABLE capture_part_us PARTITION OF capture_part FOR VALUES IN ('us') PARTITION BY RANGE (id);
CREATE TABLE capture_part_us_1 PARTITION OF capture_part_us FOR VALUES FROM (0) TO (100);
BEGIN;
INSERT INTO capture_part VALUES (1, 'eu', 'a'), (2, 'us', 'b'), (3, 'us', 'hidden');
INSERT INTO capture_part_us_1 VALUES (4, 'us', 'd');
UPDATE capture_part SET v = v || v WHERE id = 1;
UPDATE capture_part SET region = 'us' WHERE id = 1;
DELETE FROM capture_part WHERE id = 2;
TRUNCATE capture_part;
SELECT * FROM got;
ROLLBACK;
SELECT outbox_uncapture('capture_part_eu');
SELECT outbox_capture('capture_part_eu', 'part');
BEGIN;
INSERT INTO capture_part_us_1 VALUES (3, 'us', 'd');
ALTER TABLE capture_part RENAME TO capture_part_renamed;
INSERT INTO capture_part_us_1 VALUES (4, 'us', 'd');
ALTER TABLE capture_part_renamed DETACH PARTITION capture_part_us;
INSERT INTO capture_part_us_1 VALUES (5, 'us', 'd');
SELECT * FROM got;
ROLLBACK;
SELECT "table", name, operations FROM outbox.capture WHERE "table" = 'capture_part'::regclass ORDER BY name;

-- tables that inherit are their own
CREATE TABLE capture_parent (id int PRIMARY KEY);
CREATE TABLE capture_child (more text) INHERITS (capture_parent);
SELECT outbox_capture('capture_parent', 'inherit');
BEGIN;
INSERT INTO capture_child VALUES (1, 'not captured');
INSERT INTO capture_parent VALUES (2);
SELECT * FROM got;
ROLLBACK;
SELECT outbox_capture('capture_child', 'inherit', key => '{id}');
BEGIN;
INSERT INTO capture_child VALUES (1, 'captured');
UPDATE capture_parent SET id = id;
SELECT * FROM got;
ROLLBACK;

-- what foreign keys do; what other triggers do comes after what made them fire
CREATE TABLE capture_customer (id int PRIMARY KEY, name text);
CREATE TABLE capture_item (id int PRIMARY KEY, customer int REFERENCES capture_customer ON DELETE CASCADE ON UPDATE SET NULL);
CREATE FUNCTION capture_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE capture_customer SET name = 'by trigger' WHERE id = NEW.id;
	RETURN NULL;
END
$$;
CREATE TRIGGER "0_first" AFTER INSERT ON capture_customer FOR EACH ROW EXECUTE FUNCTION capture_name();
SELECT outbox_capture('capture_customer', 'fk'), outbox_capture('capture_item', 'fk');
BEGIN;
INSERT INTO capture_customer VALUES (1), (2);
INSERT INTO capture_item VALUES (1, 1), (2, 2);
DELETE FROM capture_customer WHERE id = 1;
UPDATE capture_customer SET id = 3 WHERE id = 2;
SELECT key, payload FROM got;
ROLLBACK;

-- a replica's session captures only if asked to
CREATE TABLE capture_replica (id int PRIMARY KEY);
SELECT outbox_capture('capture_replica', 'origin');
SELECT outbox_capture('capture_replica', 'always', always => true, operations => '{insert,truncate}', name => 'always');
SELECT name, always, enabled FROM outbox.capture WHERE "table" = 'capture_replica'::regclass ORDER BY name;
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO capture_replica VALUES (1);
TRUNCATE capture_replica;
SELECT * FROM got;
ROLLBACK;
ALTER TABLE capture_replica DISABLE TRIGGER "!outbox_capture_update";
SELECT name, always, enabled FROM outbox.capture WHERE "table" = 'capture_replica'::regclass ORDER BY name;

-- in each format; deletes as tombstones, and a change without a key
CREATE TABLE capture_format (id int PRIMARY KEY, v text);
SELECT count(outbox_capture('capture_format', format, format => format, name => format, tombstone => true,
	operations => '{insert,delete,truncate}'))
FROM unnest(ARRAY['plain', 'debezium', 'cloudevents-binary', 'cloudevents-structured']) AS format;
BEGIN;
INSERT INTO capture_format VALUES (1, 'v');
DELETE FROM capture_format;
TRUNCATE capture_format;
SELECT topic, key, CASE topic WHEN 'cloudevents-structured' THEN (payload::jsonb - 'id' - 'time' - 'source')::text ELSE payload END AS payload
FROM got;
ROLLBACK;

-- who writes needs nothing; who captures must own the table, and be granted it
CREATE ROLE regress_capture_owner;
CREATE ROLE regress_capture_writer;
CREATE TABLE capture_owned (id int PRIMARY KEY);
ALTER TABLE capture_owned OWNER TO regress_capture_owner;
GRANT INSERT, TRIGGER ON capture_owned TO regress_capture_writer;
SET ROLE regress_capture_owner;
SELECT outbox_capture('capture_owned', 'owned');
SELECT outbox_uncapture('capture_owned');
SELECT count(*) FROM outbox.capture;
RESET ROLE;
GRANT EXECUTE ON FUNCTION outbox_capture, outbox_uncapture, outbox_capture_check TO regress_capture_owner;
SET ROLE regress_capture_owner;
SELECT outbox_capture('capture_owned', 'owned');
CREATE TRIGGER mine AFTER TRUNCATE ON capture_owned EXECUTE FUNCTION outbox_capture_change();
RESET ROLE;
GRANT EXECUTE ON FUNCTION outbox_capture_change TO regress_capture_owner;
GRANT EXECUTE ON FUNCTION outbox_capture, outbox_capture_check, outbox_capture_change TO regress_capture_writer;
SET ROLE regress_capture_owner;
SELECT outbox_capture('capture_owned', 'owned');
SET ROLE regress_capture_writer;
SELECT outbox_capture('capture_owned', 'owned', name => 'mine');
BEGIN;
INSERT INTO capture_owned VALUES (1);
RESET ROLE;
SELECT * FROM got;
ROLLBACK;
SET ROLE regress_capture_owner;
SELECT outbox_uncapture('capture_owned');
RESET ROLE;
REVOKE ALL ON FUNCTION outbox_capture, outbox_uncapture, outbox_capture_check, outbox_capture_change
	FROM regress_capture_owner, regress_capture_writer;
DROP TABLE capture_owned;
DROP ROLE regress_capture_owner, regress_capture_writer;

-- what is refused
CREATE TABLE capture_refused (id int PRIMARY KEY, b text, iv interval, ar int[]);
CREATE TABLE capture_keyless (id int);
CREATE VIEW capture_view AS SELECT * FROM capture_refused;
CREATE MATERIALIZED VIEW capture_matview AS SELECT * FROM capture_refused;
CREATE SEQUENCE capture_seq;
CREATE FOREIGN DATA WRAPPER capture_wrapper;
CREATE SERVER capture_server FOREIGN DATA WRAPPER capture_wrapper;
CREATE FOREIGN TABLE capture_foreign (id int) SERVER capture_server;
CREATE TEMP TABLE capture_temp (id int PRIMARY KEY);
SELECT outbox_capture(NULL);
SELECT outbox_capture('capture_nowhere');
SELECT outbox_capture(1);
SELECT outbox_capture('capture_view', 't');
SELECT outbox_capture('capture_matview', 't');
SELECT outbox_capture('capture_seq', 't');
SELECT outbox_capture('capture_foreign', 't');
SELECT outbox_capture('capture_temp', 't');
SELECT outbox_capture('pg_class', 't');
SELECT outbox_capture('outbox.topic', 't');
SELECT outbox_capture('outbox.event_0', 't');
SELECT outbox_capture('capture_keyless', 't');
SELECT outbox_capture('capture_refused', 'no topic');
SELECT outbox_capture('capture_refused', '');
SELECT outbox_capture('capture_refused', aggregate_type => 'no topic');
SELECT outbox_capture('capture_refused', 't', format => 'xml');
SELECT outbox_capture('capture_refused', 't', key => 'id');
SELECT outbox_capture('capture_refused', 't', key => '{}');
SELECT outbox_capture('capture_refused', 't', key => '{{id},{b}}');
SELECT outbox_capture('capture_refused', 't', key => '{nothing}');
SELECT outbox_capture('capture_refused', 't', key => '{ctid}');
SELECT outbox_capture('capture_refused', 't', key => '{id,id}');
SELECT outbox_capture('capture_refused', 't', key => '{id,NULL}');
SELECT outbox_capture('capture_refused', 't', key => '{iv}');
SELECT outbox_capture('capture_refused', 't', key => '{ar}');
SELECT outbox_capture('capture_refused', 't', columns => '{}');
SELECT outbox_capture('capture_refused', 't', columns => '{nothing}');
SELECT outbox_capture('capture_refused', 't', columns => '{b,b}');
SELECT outbox_capture('capture_refused', 't', columns => '{b,NULL}');
SELECT outbox_capture('capture_refused', 't', operations => NULL);
SELECT outbox_capture('capture_refused', 't', operations => '{}');
SELECT outbox_capture('capture_refused', 't', operations => '{insert,upsert}');
SELECT outbox_capture('capture_refused', 't', operations => '{insert,NULL}');
SELECT outbox_capture('capture_refused', 't', "when" => 'NEW.id > 1', operations => '{truncate}');
SELECT outbox_capture('capture_refused', 't', "when" => 'NEW.id > 1');
SELECT outbox_capture('capture_refused', 't', "when" => 'OLD.id > 1');
SELECT outbox_capture('capture_refused', 't', "when" => 'NEW.nothing > 1');
SELECT outbox_capture('capture_refused', 't', "when" => 'NEW.id');
SELECT outbox_capture('capture_refused', 't', "when" => '');
SELECT outbox_capture('capture_refused', 't', name => NULL);
SELECT outbox_capture('capture_refused', 't', name => '');
SELECT outbox_capture('capture_refused', 't', name => repeat('n', 54));
SELECT outbox_capture('capture_refused', 't', name => repeat('ü', 27));
SELECT outbox_uncapture(NULL);
SELECT outbox_uncapture('capture_refused');
SELECT outbox_uncapture('capture_refused', NULL);
-- none of them left anything
SELECT count(*) FROM outbox.capture WHERE "table" = 'capture_refused'::regclass;
SHOW search_path;
-- the longest name; flags that are NULL
BEGIN;
SELECT outbox_capture('capture_refused', 't', old => NULL, changed_only => NULL, tombstone => NULL, always => NULL,
	operations => '{insert,truncate}', name => repeat('n', 53));
SELECT length(name) AS length, operations, old, changed_only, tombstone, always FROM outbox.capture WHERE "table" = 'capture_refused'::regclass;
SELECT outbox_uncapture('capture_refused', repeat('n', 53));
SELECT count(*) FROM outbox.capture WHERE "table" = 'capture_refused'::regclass;
ROLLBACK;

-- triggers that outbox_capture did not make
SELECT outbox_capture_change();
BEGIN;
CREATE TRIGGER mine BEFORE INSERT ON capture_refused FOR EACH ROW EXECUTE FUNCTION outbox_capture_change();
INSERT INTO capture_refused VALUES (1);
ROLLBACK;
BEGIN;
CREATE TRIGGER mine AFTER INSERT ON capture_refused FOR EACH STATEMENT EXECUTE FUNCTION outbox_capture_change();
INSERT INTO capture_refused VALUES (1);
ROLLBACK;
BEGIN;
CREATE TRIGGER mine AFTER INSERT ON capture_refused FOR EACH ROW EXECUTE FUNCTION outbox_capture_change();
INSERT INTO capture_refused VALUES (1);
ROLLBACK;
BEGIN;
CREATE TRIGGER mine AFTER INSERT ON capture_refused FOR EACH ROW
	WHEN (true OR outbox_trigger_columns('key'::text, NEW.id)) EXECUTE FUNCTION outbox_capture_change('topic=t', 'unknown=1');
INSERT INTO capture_refused VALUES (1);
ROLLBACK;
BEGIN;
CREATE TRIGGER mine AFTER INSERT ON capture_refused FOR EACH ROW
	WHEN (true OR outbox_trigger_columns('key'::text, NEW.id + 1)) EXECUTE FUNCTION outbox_capture_change('topic=t');
INSERT INTO capture_refused VALUES (1);
ROLLBACK;
BEGIN;
CREATE TRIGGER mine AFTER INSERT ON capture_refused FOR EACH ROW
	WHEN (true OR outbox_trigger_columns(NEW.id)) EXECUTE FUNCTION outbox_capture_change('topic=t');
INSERT INTO capture_refused VALUES (1);
ROLLBACK;
-- one by hand may do
BEGIN;
CREATE TRIGGER mine AFTER INSERT ON capture_refused FOR EACH ROW
	WHEN (true OR outbox_trigger_columns('key'::text, NEW.b)) EXECUTE FUNCTION outbox_capture_change('topic=t');
INSERT INTO capture_refused VALUES (1, 'by hand');
SELECT * FROM got;
SELECT name, topic, key FROM outbox.capture WHERE "table" = 'capture_refused'::regclass;
ROLLBACK;
-- called, the function does nothing
SELECT outbox_trigger_columns('key', 1);

SET client_min_messages = warning;
DROP TABLE capture_refused, capture_keyless, capture_option, capture_key, capture_type, capture_nested, capture_other, capture_format, capture_toast, capture_part,
	capture_parent, capture_customer, capture_item, capture_replica CASCADE;
DROP SCHEMA capture_schema, capture_schema_3 CASCADE;
DROP FUNCTION capture_name, capture_mood_json, capture_mood_nested, capture_mood_sql;
DROP TYPE capture_mood, capture_positive, capture_pair, capture_nothing;
DROP SEQUENCE capture_seq;
DROP FOREIGN DATA WRAPPER capture_wrapper CASCADE;
