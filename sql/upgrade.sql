--
-- versions of the extension: what is installed, and its signatures
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

-- the default version is the one installed, and the only ways lead to it
SELECT default_version = installed_version AS current FROM pg_available_extensions WHERE name = 'outbox';
SELECT version, relocatable, trusted FROM pg_available_extension_versions WHERE name = 'outbox' ORDER BY version;
SELECT source, target, path FROM pg_extension_update_paths('outbox') WHERE path IS NOT NULL ORDER BY source, target;

-- an update to the version that is installed does nothing
ALTER EXTENSION outbox UPDATE;

-- what callers rely on
SELECT oid::regprocedure AS function, pg_get_function_result(oid) AS result, provolatile, proparallel, prosecdef, proargnames
FROM pg_proc WHERE proname IN ('outbox_emit', 'outbox_emit_many', 'outbox_emit_rows', 'outbox_schema_registry_frame') ORDER BY oid::regprocedure::text COLLATE "C";
SELECT attname, atttypid::regtype, attnotnull FROM pg_attribute
WHERE attrelid = 'outbox.event'::regclass AND attnum > 0 ORDER BY attnum;
SELECT conf.relation::regclass, conf.condition IS DISTINCT FROM '' AS filtered
FROM pg_extension, ROWS FROM (unnest(extconfig), unnest(extcondition)) AS conf (relation, condition)
WHERE extname = 'outbox' ORDER BY conf.relation::regclass::text COLLATE "C";

-- the session sees the extension go and come back, as another installation
SELECT outbox_emit('upgrade', 'before') IS NOT NULL AS emitted;
SELECT DISTINCT origin AS before FROM outbox.event WHERE topic = 'upgrade' AND payload = 'before' AND origin <> 0 \gset
SET client_min_messages = error;
DROP EXTENSION outbox CASCADE;
-- what core adds to this message depends on the version
\set VERBOSITY terse
SELECT outbox_emit('upgrade', 'gone');
\set VERBOSITY default
SELECT to_regclass('outbox.event') IS NULL AS gone;
BEGIN;
CREATE EXTENSION outbox VERSION '1.0';
SELECT outbox_emit('upgrade', 'undone') IS NOT NULL AS emitted;
ROLLBACK;
SELECT to_regclass('outbox.event') IS NULL AS gone;
CREATE EXTENSION outbox VERSION '1.0';
SET client_min_messages = notice;
SELECT outbox_emit('upgrade', 'after') IS NOT NULL AS emitted;
SELECT topic, convert_from(payload, 'UTF8') AS payload, origin <> :before AS other_origin, origin <> 0 AS has_origin, id FROM outbox.event;

-- a schema of that name which is not the extension's is no installation
SET client_min_messages = error;
DROP EXTENSION outbox CASCADE;
CREATE SCHEMA outbox;
CREATE TABLE outbox.event_0 (id bigint);
CREATE FUNCTION emit_left(topic text, payload text, key text, headers jsonb, partition integer, "timestamp" timestamptz)
RETURNS uuid AS '$libdir/outbox', 'outbox_emit' LANGUAGE C;
\set VERBOSITY terse
SELECT emit_left('upgrade', 'nowhere', NULL, NULL, NULL, NULL);
\set VERBOSITY default
DROP FUNCTION emit_left;
DROP SCHEMA outbox CASCADE;
CREATE EXTENSION outbox;

-- neither is one with a table that is not the extension's; seen by new sessions
ALTER EXTENSION outbox DROP TABLE outbox.event_1;
\c -
\set VERBOSITY terse
SELECT public.outbox_emit('upgrade', 'nowhere');
\set VERBOSITY default
ALTER EXTENSION outbox ADD TABLE outbox.event_1;
SELECT public.outbox_emit('upgrade', 'here') IS NOT NULL AS emitted;
