--
-- status: the shape of outbox.status and who may read it.  What it says needs a
-- server with the library preloaded, and is tested with one in test/t.
--
SET client_min_messages = error;
SET default_transaction_read_only = off;
SET session_replication_role = origin;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET search_path = public;
CREATE EXTENSION IF NOT EXISTS outbox;
SET client_min_messages = notice;

SELECT attnum, attname, format_type(atttypid, atttypmod) AS type
FROM pg_attribute WHERE attrelid = 'outbox.status'::regclass AND attnum > 0 ORDER BY attnum;

-- monitors may read the view, and nothing else
SELECT c.relname, has_table_privilege('pg_monitor', c.oid, 'SELECT') AS monitor_may_read
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'outbox' AND c.relkind IN ('r', 'v') ORDER BY 1;
SELECT has_function_privilege('pg_monitor', 'outbox_status()', 'EXECUTE') AS monitor_may_call;

-- an ordinary role may not
CREATE ROLE regress_outbox_reader;
SET ROLE regress_outbox_reader;
SELECT state FROM outbox.status;
SELECT state FROM outbox_status();
RESET ROLE;
DROP ROLE regress_outbox_reader;

-- how far the cursor is
SELECT outbox_is_published('0'::xid8, 1, 't', NULL) AS before_everything;
BEGIN;
SELECT outbox_emit('status', 'p') IS NOT NULL AS emitted;
SELECT outbox_is_published(xid, id, topic, key) AS not_committed_yet
FROM outbox.event WHERE topic = 'status' AND xid = pg_current_xact_id();
ROLLBACK;
SELECT outbox_is_published(NULL, 1, 't', NULL) IS NULL AS no_xid,
	outbox_is_published('1'::xid8, NULL, 't', NULL) IS NULL AS no_id,
	outbox_is_published('1'::xid8, 1, NULL, NULL) IS NULL AS no_topic;
