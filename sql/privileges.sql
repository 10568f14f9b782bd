--
-- privileges: nothing for PUBLIC, and EXECUTE on outbox_emit is enough to emit
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

-- no privilege of PUBLIC on anything that the extension made
SELECT c.oid::regclass AS relation, a.privilege_type
FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid,
	aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner))) a
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'outbox') AND a.grantee = 0;
SELECT p.oid::regprocedure AS function, a.privilege_type
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid,
	aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'outbox') AND a.grantee = 0;
SELECT n.nspname, a.privilege_type
FROM pg_namespace n, aclexplode(n.nspacl) a WHERE nspname = 'outbox' AND a.grantee = 0;

-- a role that nobody granted anything
CREATE ROLE regress_outbox_app;
SET ROLE regress_outbox_app;
SELECT outbox_emit('privileges', 'p');
SELECT outbox_emit('privileges', 'p', 1);
SELECT outbox_emit('privileges', '{}'::jsonb);
SELECT outbox_emit('privileges', '{}'::jsonb, 1);
SELECT count(*) FROM outbox.event;
SELECT count(*) FROM outbox.event_0;
SELECT * FROM outbox.installation;
SELECT * FROM outbox.cursor;
SELECT * FROM outbox.segment;
SELECT count(*) FROM outbox.status;
SELECT nextval('outbox.event_id_seq') > 0;
RESET ROLE;

-- who may emit may not read or write the tables
GRANT EXECUTE ON FUNCTION outbox_emit(text, text, text, jsonb, integer, timestamptz),
	outbox_emit(text, "any", text, jsonb, integer, timestamptz),
	outbox_emit(text, text, "any", jsonb, integer, timestamptz),
	outbox_emit(text, "any", "any", jsonb, integer, timestamptz) TO regress_outbox_app;
SET ROLE regress_outbox_app;
SELECT outbox_emit('privileges', 'p') IS NOT NULL AS emitted;
SELECT outbox_emit('privileges', 'p', 1) IS NOT NULL AS emitted;
SELECT outbox_emit('privileges', '{}'::jsonb) IS NOT NULL AS emitted;
SELECT outbox_emit('privileges', '{}'::jsonb, 1) IS NOT NULL AS emitted;
SELECT count(*) FROM outbox.event;
INSERT INTO outbox.event (id) VALUES (1);
RESET ROLE;
-- not even where the schema is open to it
GRANT USAGE ON SCHEMA outbox TO regress_outbox_app;
SET ROLE regress_outbox_app;
SELECT count(*) FROM outbox.event;
SELECT count(*) FROM outbox.event_0;
SELECT count(*) FROM outbox.installation;
SELECT count(*) FROM outbox.cursor;
SELECT count(*) FROM outbox.segment;
SELECT count(*) FROM outbox.status;
SELECT nextval('outbox.event_id_seq') > 0;
INSERT INTO outbox.event (id) VALUES (1);
INSERT INTO outbox.event_0 (id) VALUES (1);
UPDATE outbox.event SET id = 1;
DELETE FROM outbox.event;
TRUNCATE outbox.event_0;
CREATE TABLE outbox.mine (id int);
SELECT outbox_route_event();
CREATE TEMP TABLE mine (id int);
CREATE TRIGGER mine BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION outbox_route_event();
SELECT outbox_announce();
SELECT outbox_adopt();
RESET ROLE;
SELECT count(*) FROM outbox.event WHERE topic = 'privileges';

-- what the manual grants to those who look after dead letters is enough
GRANT SELECT, UPDATE (request) ON outbox.dead_letter TO regress_outbox_app;
GRANT SELECT (origin) ON outbox.installation TO regress_outbox_app;
GRANT EXECUTE ON FUNCTION
	outbox_retry(text), outbox_retry(text, text), outbox_retry(uuid), outbox_retry(boolean),
	outbox_discard(text), outbox_discard(text, text), outbox_discard(uuid), outbox_discard(boolean),
	outbox_request_letters, outbox_request
TO regress_outbox_app;
SET ROLE regress_outbox_app;
SELECT outbox_retry('privileges') AS by_topic, outbox_retry('privileges', 'k') AS by_key,
	outbox_retry('4d47e190-0402-4048-bd2c-89dd54343cdc'::uuid) AS by_uid;
SELECT outbox_discard('privileges') AS by_topic, outbox_discard('privileges', 'k') AS by_key,
	outbox_discard('4d47e190-0402-4048-bd2c-89dd54343cdc'::uuid) AS by_uid;
BEGIN;
SELECT outbox_retry("all" => true) IS NOT NULL AS all, outbox_discard("all" => true) IS NOT NULL AS all;
ROLLBACK;
SELECT token FROM outbox.installation;
RESET ROLE;

-- a name in front of ours in the search path does not lead the emit astray
CREATE SCHEMA regress_outbox_path;
CREATE TABLE regress_outbox_path.event_0 (id bigint);
CREATE SEQUENCE regress_outbox_path.event_id_seq;
BEGIN;
SET LOCAL search_path = regress_outbox_path, public;
SELECT public.outbox_emit('privileges', 'path') IS NOT NULL AS emitted;
SELECT is_called FROM regress_outbox_path.event_id_seq;
SELECT count(*) FROM outbox.event WHERE topic = 'privileges' AND payload = 'path';
ROLLBACK;
SET client_min_messages = warning;
DROP SCHEMA regress_outbox_path CASCADE;

-- nor do functions and operators of others in the schema of the extension
SET client_min_messages = error;
BEGIN;
DROP EXTENSION outbox CASCADE;
CREATE FUNCTION regress_outbox_trap(oid, regprocedure) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION regress_outbox_trap(oid, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION regress_outbox_trap(smallint, integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = regprocedure, FUNCTION = regress_outbox_trap);
CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = integer, FUNCTION = regress_outbox_trap);
CREATE OPERATOR & (LEFTARG = smallint, RIGHTARG = integer, FUNCTION = regress_outbox_trap);
CREATE EXTENSION outbox;
CREATE FUNCTION outbox_request_letters(text, text, text, text, text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE TABLE regress_outbox_table (id int PRIMARY KEY, aggregatetype text, aggregateid text, type text, payload text);
SELECT outbox_capture('regress_outbox_table'), outbox_forward('regress_outbox_table');
SELECT operations FROM outbox.capture WHERE "table" = 'regress_outbox_table'::regclass;
SELECT keep FROM outbox.forward WHERE "table" = 'regress_outbox_table'::regclass;
SELECT outbox_retry('t'), outbox_retry('t', 'k'), outbox_retry('4d47e190-0402-4048-bd2c-89dd54343cdc'::uuid), outbox_retry(true);
SELECT outbox_discard('t'), outbox_discard('t', 'k'), outbox_discard('4d47e190-0402-4048-bd2c-89dd54343cdc'::uuid), outbox_discard(true);
ROLLBACK;

DROP OWNED BY regress_outbox_app;
DROP ROLE regress_outbox_app;
