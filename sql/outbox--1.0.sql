/* sql/outbox--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION outbox" to load this file. \quit

/*
 * Tables and views live in the schema "outbox", functions in the schema that
 * the extension is created in, with the prefix outbox_.  Nothing is granted
 * to PUBLIC: the owner grants EXECUTE on outbox_emit to those who emit.
 */
CREATE SCHEMA outbox;
REVOKE ALL ON SCHEMA outbox FROM PUBLIC;
COMMENT ON SCHEMA outbox IS 'transactional outbox: tables and views';

/*
 * What makes this installation different from its copies: never dumped, so
 * that rows restored elsewhere are foreign there.
 */
CREATE TABLE outbox.installation
(
	singleton	bool PRIMARY KEY DEFAULT true CHECK (singleton),
	token		uuid NOT NULL,
	created		timestamptz NOT NULL DEFAULT pg_catalog.now(),
	origin		bigint,
	xids_reset	timestamptz
);
REVOKE ALL ON outbox.installation FROM PUBLIC;
COMMENT ON TABLE outbox.installation IS 'identity of this installation; never dumped';
COMMENT ON COLUMN outbox.installation.origin IS 'origin of the events that are emitted here, as the last publisher found it; another one in a copy that no publisher has seen yet';
COMMENT ON COLUMN outbox.installation.xids_reset IS 'when the publisher found that transaction ids had gone backwards (pg_resetwal); it publishes nothing while this is set';
INSERT INTO outbox.installation (token) VALUES (pg_catalog.gen_random_uuid());

/*
 * The ring of insert-only segments.  The parent is always empty; a row that
 * comes by SQL (a restore, a copy) is routed to a segment by the trigger
 * below and is foreign there.
 */
CREATE TABLE outbox.event
(
	id			bigint NOT NULL,
	xid			xid8 NOT NULL,
	uid			uuid NOT NULL,
	origin		bigint NOT NULL,
	created		timestamptz NOT NULL,
	partition	integer,
	topic		text NOT NULL,
	key			bytea,
	headers		bytea,
	payload		bytea,
	CONSTRAINT event_is_empty CHECK (false) NO INHERIT
);
REVOKE ALL ON outbox.event FROM PUBLIC;
COMMENT ON TABLE outbox.event IS 'events of all segments; the table itself is always empty';
COMMENT ON COLUMN outbox.event.id IS 'orders events inside a batch; not an identity: it may be issued again after a failover';
COMMENT ON COLUMN outbox.event.xid IS 'top-level transaction that emitted the event';
COMMENT ON COLUMN outbox.event.uid IS 'identity of the event (UUID version 7), sent as header "id"';
COMMENT ON COLUMN outbox.event.origin IS 'installation that emitted the event; rows of another origin are foreign and are not published';
COMMENT ON COLUMN outbox.event.created IS 'timestamp of the record: time of the emit, unless given';
COMMENT ON COLUMN outbox.event.partition IS 'partition asked for; NULL: chosen by key';
COMMENT ON COLUMN outbox.event.topic IS 'Kafka topic';
COMMENT ON COLUMN outbox.event.key IS 'key of the record; NULL: none';
COMMENT ON COLUMN outbox.event.headers IS 'headers, encoded: int16 name length, name, int32 value length (-1: null), value; NULL: none';
COMMENT ON COLUMN outbox.event.payload IS 'value of the record; NULL: tombstone';

CREATE SEQUENCE outbox.event_id_seq AS bigint CACHE 1 NO CYCLE OWNED BY outbox.event.id;
REVOKE ALL ON SEQUENCE outbox.event_id_seq FROM PUBLIC;

DO $$
DECLARE
	segment pg_catalog.text;
BEGIN
	FOR number IN 0..3 LOOP
		segment := 'event_' OPERATOR(pg_catalog.||) number::pg_catalog.text;
		EXECUTE pg_catalog.format('CREATE TABLE outbox.%I () INHERITS (outbox.event)'
			' WITH (fillfactor = 100, autovacuum_enabled = off, toast.autovacuum_enabled = off)', segment);
		EXECUTE pg_catalog.format('REVOKE ALL ON outbox.%I FROM PUBLIC', segment);
		EXECUTE pg_catalog.format('COMMENT ON TABLE outbox.%I IS ''segment %s of the ring of events''', segment, number);
		EXECUTE pg_catalog.format('CREATE INDEX %I ON outbox.%I USING btree (xid)', segment OPERATOR(pg_catalog.||) '_xid_idx', segment);
		EXECUTE pg_catalog.format('CREATE INDEX %I ON outbox.%I USING brin (uid) WITH (autosummarize = on)', segment OPERATOR(pg_catalog.||) '_uid_idx', segment);
		/* lz4 compresses at a third of the cost of pglz, where the server has it */
		BEGIN
			EXECUTE pg_catalog.format('ALTER TABLE outbox.%I ALTER COLUMN payload SET COMPRESSION lz4', segment);
		EXCEPTION WHEN feature_not_supported THEN
			NULL;
		END;
	END LOOP;
END
$$;

/*
 * Which segment emitters fill, and since when the others are closed.  Only
 * the publisher writes here; whatever it says, every segment may hold events.
 */
CREATE TABLE outbox.segment
(
	number		smallint PRIMARY KEY CHECK (number BETWEEN 0 AND 3),
	opened		timestamptz,
	closed		timestamptz,
	foreign_rows	bigint NOT NULL DEFAULT 0
);
REVOKE ALL ON outbox.segment FROM PUBLIC;
COMMENT ON TABLE outbox.segment IS 'the ring: the segment with a time opened and none closed is the one that is filled';
COMMENT ON COLUMN outbox.segment.foreign_rows IS 'rows that came by SQL and were never adopted; they keep the segment';
INSERT INTO outbox.segment (number, opened) VALUES (0, pg_catalog.now()), (1, NULL), (2, NULL), (3, NULL);

/*
 * How far events are published: what is visible in done, and what is visible
 * in open with id <= position.  An event belongs to the narrowest scope that
 * has a row; topic NULL is the main row.  Only the publisher writes here.
 * Starts as "nothing published", also after a restore.
 */
CREATE TABLE outbox.cursor
(
	topic		text,
	key			bytea,
	done		pg_snapshot NOT NULL,
	open		pg_snapshot,
	"position"	bigint,
	/* logical replication asks for one where a table is updated */
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	CONSTRAINT cursor_key_needs_topic CHECK (topic IS NOT NULL OR key IS NULL),
	CONSTRAINT cursor_position_needs_open CHECK ((open IS NULL) = ("position" IS NULL))
)
WITH (fillfactor = 10);
REVOKE ALL ON outbox.cursor FROM PUBLIC;
COMMENT ON TABLE outbox.cursor IS 'how far events are published, per scope; never dumped';
INSERT INTO outbox.cursor (done) VALUES ('1:1:');

/*
 * The cursors of the databases that this one is a copy of (CREATE DATABASE
 * TEMPLATE), as they were then: events of theirs that were published are not
 * foreign here.  Only the publisher writes here, when it first runs in a copy.
 */
CREATE TABLE outbox.ancestor
(
	origin		bigint NOT NULL,
	topic		text,
	key			bytea,
	done		pg_snapshot NOT NULL,
	open		pg_snapshot,
	"position"	bigint
);
REVOKE ALL ON outbox.ancestor FROM PUBLIC;
COMMENT ON TABLE outbox.ancestor IS 'how far the originals of this copy had published; never dumped';

/* ---- functions ---- */

CREATE FUNCTION outbox_emit(topic text, payload text, key text DEFAULT NULL, headers jsonb DEFAULT NULL,
	partition integer DEFAULT NULL, "timestamp" timestamptz DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'outbox_emit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION outbox_emit(topic text, payload "any", key text DEFAULT NULL, headers jsonb DEFAULT NULL,
	partition integer DEFAULT NULL, "timestamp" timestamptz DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'outbox_emit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION outbox_emit(topic text, payload text, key "any", headers jsonb DEFAULT NULL,
	partition integer DEFAULT NULL, "timestamp" timestamptz DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'outbox_emit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION outbox_emit(topic text, payload "any", key "any", headers jsonb DEFAULT NULL,
	partition integer DEFAULT NULL, "timestamp" timestamptz DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'outbox_emit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION outbox_emit(text, text, text, jsonb, integer, timestamptz) IS
	'store an event in this transaction; it is published to Kafka after the commit; returns the uid of the event';
COMMENT ON FUNCTION outbox_emit(text, "any", text, jsonb, integer, timestamptz) IS
	'store an event in this transaction; it is published to Kafka after the commit; returns the uid of the event';
COMMENT ON FUNCTION outbox_emit(text, text, "any", jsonb, integer, timestamptz) IS
	'store an event in this transaction; it is published to Kafka after the commit; returns the uid of the event';
COMMENT ON FUNCTION outbox_emit(text, "any", "any", jsonb, integer, timestamptz) IS
	'store an event in this transaction; it is published to Kafka after the commit; returns the uid of the event';

REVOKE ALL ON FUNCTION outbox_emit(text, text, text, jsonb, integer, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION outbox_emit(text, "any", text, jsonb, integer, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION outbox_emit(text, text, "any", jsonb, integer, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION outbox_emit(text, "any", "any", jsonb, integer, timestamptz) FROM PUBLIC;

/*
 * Routes a row that arrives by SQL to a segment, as a foreign row; drops a
 * row that replication brings.
 */
CREATE FUNCTION outbox_route_event()
RETURNS trigger
AS 'MODULE_PATHNAME', 'outbox_route_event'
LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION outbox_route_event() FROM PUBLIC;
COMMENT ON FUNCTION outbox_route_event() IS 'trigger: routes events that come by SQL to a segment, as foreign rows';

DO $$
DECLARE
	relation pg_catalog.text;
BEGIN
	FOREACH relation IN ARRAY ARRAY['event', 'event_0', 'event_1', 'event_2', 'event_3'] LOOP
		EXECUTE pg_catalog.format('CREATE TRIGGER route_event BEFORE INSERT ON outbox.%I'
			' FOR EACH ROW EXECUTE FUNCTION @extschema@.outbox_route_event()', relation);
		EXECUTE pg_catalog.format('ALTER TABLE outbox.%I ENABLE ALWAYS TRIGGER route_event', relation);
	END LOOP;
END
$$;

/*
 * The same for the extension's own state, which a publication FOR ALL TABLES
 * has too: each server keeps its own.  Fires in a replica's session only, so
 * the publisher's updates do not pay for it.
 */
CREATE FUNCTION outbox_keep_own()
RETURNS trigger
AS 'MODULE_PATHNAME', 'outbox_keep_own'
LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION outbox_keep_own() FROM PUBLIC;
COMMENT ON FUNCTION outbox_keep_own() IS 'trigger: drops what replication brings';

DO $$
DECLARE
	relation pg_catalog.text;
BEGIN
	FOREACH relation IN ARRAY ARRAY['installation', 'segment', 'cursor', 'ancestor'] LOOP
		EXECUTE pg_catalog.format('CREATE TRIGGER keep_own BEFORE INSERT OR UPDATE OR DELETE ON outbox.%I'
			' FOR EACH ROW EXECUTE FUNCTION @extschema@.outbox_keep_own()', relation);
		EXECUTE pg_catalog.format('ALTER TABLE outbox.%I ENABLE REPLICA TRIGGER keep_own', relation);
	END LOOP;
END
$$;

/* ---- restored and copied events ---- */

CREATE FUNCTION outbox_is_foreign(origin bigint, xid xid8, id bigint, topic text, key bytea)
RETURNS boolean
AS 'MODULE_PATHNAME', 'outbox_is_foreign'
LANGUAGE C STABLE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION outbox_is_foreign(bigint, xid8, bigint, text, bytea) FROM PUBLIC;
COMMENT ON FUNCTION outbox_is_foreign(bigint, xid8, bigint, text, bytea) IS
	'whether an event came by a restore or a copy, was not published by its original by then, and was not adopted';

CREATE FUNCTION outbox_adopt()
RETURNS bigint
AS 'MODULE_PATHNAME', 'outbox_adopt'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION outbox_adopt() FROM PUBLIC;
COMMENT ON FUNCTION outbox_adopt() IS
	'makes foreign events (of a restore or a copy) events of this installation, which publishes them after the commit; returns how many';

/* ---- progress ---- */

CREATE FUNCTION outbox_is_published(xid xid8, id bigint, topic text, key bytea)
RETURNS boolean
AS 'MODULE_PATHNAME', 'outbox_is_published'
LANGUAGE C STABLE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION outbox_is_published(xid8, bigint, text, bytea) FROM PUBLIC;
COMMENT ON FUNCTION outbox_is_published(xid8, bigint, text, bytea) IS
	'whether the cursor says that the event with this transaction, id, topic and key is published';

CREATE FUNCTION outbox_status(
	OUT database name, OUT pid integer, OUT state text, OUT since timestamptz,
	OUT waiting_estimate bigint, OUT oldest_waiting interval, OUT published bigint, OUT foreign_rows bigint,
	OUT error_class text, OUT error text, OUT error_at timestamptz, OUT error_hint text,
	OUT rotation_delayed_by text, OUT connection text, OUT producer_pid integer,
	OUT server_version text, OUT extension_version text, OUT producer_version text, OUT librdkafka_version text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'outbox_status'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION outbox_status() FROM PUBLIC;
COMMENT ON FUNCTION outbox_status() IS 'one row per publisher of the cluster; see the view outbox.status';

CREATE VIEW outbox.status AS SELECT * FROM @extschema@.outbox_status();
REVOKE ALL ON outbox.status FROM PUBLIC;
COMMENT ON VIEW outbox.status IS 'one row per publisher of the cluster';
GRANT USAGE ON SCHEMA outbox TO pg_monitor;
GRANT SELECT ON outbox.status TO pg_monitor;
GRANT EXECUTE ON FUNCTION outbox_status() TO pg_monitor;

/*
 * A dump holds the events that are not published, foreign ones too (which the
 * cursor has passed without publishing them), as one COPY of the parent in the
 * order of their ids.  Dumps with --inserts read FROM ONLY and would
 * silently hold none, so the filter refuses them.
 */
CREATE FUNCTION outbox_dump_guard()
RETURNS boolean
AS 'MODULE_PATHNAME', 'outbox_dump_guard'
LANGUAGE C STABLE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION outbox_dump_guard() FROM PUBLIC;
COMMENT ON FUNCTION outbox_dump_guard() IS 'true, or an error in a dump that would hold no events';

SELECT pg_catalog.pg_extension_config_dump('outbox.event',
	'WHERE @extschema@.outbox_dump_guard() AND'
	' (NOT @extschema@.outbox_is_published(xid, id, topic, key)'
	' OR @extschema@.outbox_is_foreign(origin, xid, id, topic, key)) ORDER BY id');
SELECT pg_catalog.pg_extension_config_dump('outbox.event_id_seq', '');

/*
 * Asks the launcher to start a publisher here at commit; warns, and does not
 * fail, where the library is not preloaded or no broker is configured.
 */
CREATE FUNCTION outbox_announce()
RETURNS void
AS 'MODULE_PATHNAME', 'outbox_announce'
LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION outbox_announce() FROM PUBLIC;
COMMENT ON FUNCTION outbox_announce() IS 'has a publisher started for this database after the commit';

SELECT outbox_announce();
