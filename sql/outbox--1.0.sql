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
 * has a row; topic NULL is the main row, the others are hold rows.  Only the
 * publisher writes here.  Starts as "nothing published", also after a restore.
 */
CREATE TABLE outbox.cursor
(
	topic		text,
	key			bytea,
	done		pg_snapshot NOT NULL,
	open		pg_snapshot,
	"position"	bigint,
	reason		text CHECK (reason IN ('error', 'refused', 'paused', 'dead letter')),
	since		timestamptz,
	error_class	text,
	error_code	integer,
	error		text,
	attempts	integer,
	/* logical replication asks for one where a table is updated */
	id			bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	CONSTRAINT cursor_key_needs_topic CHECK (topic IS NOT NULL OR key IS NULL),
	CONSTRAINT cursor_position_needs_open CHECK ((open IS NULL) = ("position" IS NULL)),
	CONSTRAINT cursor_hold_needs_reason CHECK ((topic IS NULL) = (reason IS NULL))
)
WITH (fillfactor = 10);
REVOKE ALL ON outbox.cursor FROM PUBLIC;
COMMENT ON TABLE outbox.cursor IS 'how far events are published, per scope; never dumped';
COMMENT ON COLUMN outbox.cursor.reason IS 'why the scope is held: error (its topic takes no events), refused (a run of dead letters), paused, dead letter (a key is parked)';
COMMENT ON COLUMN outbox.cursor.attempts IS 'how often a held topic was tried; written at most once a minute';
INSERT INTO outbox.cursor (done) VALUES ('1:1:');

/*
 * Events that the broker refuses for their own content, with the reason.  The
 * columns up to payload are the event's.  The publisher inserts and deletes;
 * outbox_retry() and outbox_discard() only set request.
 */
CREATE TABLE outbox.dead_letter
(
	uid			uuid PRIMARY KEY,
	id			bigint NOT NULL,
	xid			xid8 NOT NULL,
	origin		bigint NOT NULL,
	created		timestamptz NOT NULL,
	partition	integer,
	topic		text NOT NULL,
	key			bytea,
	headers		bytea,
	payload		bytea,
	state		text NOT NULL DEFAULT 'dead' CHECK (state IN ('dead', 'discarded', 'parked')),
	parks		boolean NOT NULL,
	request		text CHECK (request IN ('retry', 'discard')),
	error_class	text,
	error_code	integer,
	error		text,
	attempts	integer NOT NULL DEFAULT 1,
	first_refused	timestamptz DEFAULT pg_catalog.now(),
	last_refused	timestamptz DEFAULT pg_catalog.now(),
	discarded	timestamptz,
	CONSTRAINT dead_letter_needs_error CHECK (state = 'parked' OR (error_class IS NOT NULL AND error_code IS NOT NULL AND error IS NOT NULL))
);
REVOKE ALL ON outbox.dead_letter FROM PUBLIC;
CREATE INDEX dead_letter_request_idx ON outbox.dead_letter (last_refused) WHERE request IS NOT NULL;
CREATE INDEX dead_letter_topic_idx ON outbox.dead_letter (topic, id) WHERE state <> 'discarded';
COMMENT ON TABLE outbox.dead_letter IS 'events that the broker refuses for their own content';
COMMENT ON COLUMN outbox.dead_letter.origin IS 'installation that emitted the event; nothing is done with letters of another origin';
COMMENT ON COLUMN outbox.dead_letter.state IS 'dead; discarded; or parked: copied here from behind a dead letter of its key, so that its segment could be emptied';
COMMENT ON COLUMN outbox.dead_letter.parks IS 'later events of the same topic and key wait until it is published or discarded';
COMMENT ON COLUMN outbox.dead_letter.request IS 'what outbox_retry or outbox_discard asked for, until the publisher has done it';
COMMENT ON COLUMN outbox.dead_letter.error_code IS 'error code of Kafka''s protocol; negative: of librdkafka';

/* What is set for single topics; outbox_set_topic() writes here. */
CREATE TABLE outbox.topic
(
	topic		text PRIMARY KEY CHECK (topic ~ '^[a-zA-Z0-9._-]{1,249}$' AND topic NOT IN ('.', '..')),
	on_refusal	text NOT NULL DEFAULT 'park' CHECK (on_refusal IN ('park', 'skip', 'stop')),
	paused		boolean NOT NULL DEFAULT false,
	format		text CHECK (format IN ('plain', 'debezium', 'cloudevents-binary', 'cloudevents-structured'))
);
REVOKE ALL ON outbox.topic FROM PUBLIC;
COMMENT ON TABLE outbox.topic IS 'what is set for single topics';
COMMENT ON COLUMN outbox.topic.on_refusal IS 'park: a refused event becomes a dead letter and its key waits; skip: its key goes on; stop: publishing stops';
COMMENT ON COLUMN outbox.topic.paused IS 'events of the topic wait';
COMMENT ON COLUMN outbox.topic.format IS 'format of domain events for the topic; NULL: that of their aggregate type, else setting outbox.format';

/* What is set for single aggregate types; outbox_set_aggregate_type() writes here. */
CREATE TABLE outbox.aggregate_type
(
	aggregate_type	text PRIMARY KEY CHECK (aggregate_type <> ''),
	topic		text CHECK (topic ~ '^[a-zA-Z0-9._-]{1,249}$' AND topic NOT IN ('.', '..')),
	format		text CHECK (format IN ('plain', 'debezium', 'cloudevents-binary', 'cloudevents-structured'))
);
REVOKE ALL ON outbox.aggregate_type FROM PUBLIC;
COMMENT ON TABLE outbox.aggregate_type IS 'what is set for domain events of single aggregate types';
COMMENT ON COLUMN outbox.aggregate_type.topic IS 'topic of domain events; NULL: by setting outbox.topic_template';
COMMENT ON COLUMN outbox.aggregate_type.format IS 'format of domain events; NULL: setting outbox.format';

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

/* ---- domain events ---- */

CREATE FUNCTION outbox_emit_event(aggregate_type text, aggregate_id text, event_type text, payload text DEFAULT NULL,
	metadata jsonb DEFAULT NULL, topic text DEFAULT NULL, format text DEFAULT NULL, event_id uuid DEFAULT NULL,
	"timestamp" timestamptz DEFAULT NULL, partition integer DEFAULT NULL,
	traceparent text DEFAULT NULL, tracestate text DEFAULT NULL, trace_id text DEFAULT NULL,
	subject text DEFAULT NULL, dataschema text DEFAULT NULL, datacontenttype text DEFAULT NULL,
	source text DEFAULT NULL, extensions jsonb DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'outbox_emit_event'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION outbox_emit_event(aggregate_type text, aggregate_id text, event_type text, payload "any",
	metadata jsonb DEFAULT NULL, topic text DEFAULT NULL, format text DEFAULT NULL, event_id uuid DEFAULT NULL,
	"timestamp" timestamptz DEFAULT NULL, partition integer DEFAULT NULL,
	traceparent text DEFAULT NULL, tracestate text DEFAULT NULL, trace_id text DEFAULT NULL,
	subject text DEFAULT NULL, dataschema text DEFAULT NULL, datacontenttype text DEFAULT NULL,
	source text DEFAULT NULL, extensions jsonb DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'outbox_emit_event'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION outbox_emit_event(aggregate_type text, aggregate_id "any", event_type text, payload text DEFAULT NULL,
	metadata jsonb DEFAULT NULL, topic text DEFAULT NULL, format text DEFAULT NULL, event_id uuid DEFAULT NULL,
	"timestamp" timestamptz DEFAULT NULL, partition integer DEFAULT NULL,
	traceparent text DEFAULT NULL, tracestate text DEFAULT NULL, trace_id text DEFAULT NULL,
	subject text DEFAULT NULL, dataschema text DEFAULT NULL, datacontenttype text DEFAULT NULL,
	source text DEFAULT NULL, extensions jsonb DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'outbox_emit_event'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION outbox_emit_event(aggregate_type text, aggregate_id "any", event_type text, payload "any",
	metadata jsonb DEFAULT NULL, topic text DEFAULT NULL, format text DEFAULT NULL, event_id uuid DEFAULT NULL,
	"timestamp" timestamptz DEFAULT NULL, partition integer DEFAULT NULL,
	traceparent text DEFAULT NULL, tracestate text DEFAULT NULL, trace_id text DEFAULT NULL,
	subject text DEFAULT NULL, dataschema text DEFAULT NULL, datacontenttype text DEFAULT NULL,
	source text DEFAULT NULL, extensions jsonb DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'outbox_emit_event'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION outbox_emit_event(text, text, text, text, jsonb, text, text, uuid, timestamptz, integer, text, text, text, text, text, text, text, jsonb) IS
	'store a domain event in this transaction; it is published to Kafka after the commit; returns its id';
REVOKE ALL ON FUNCTION outbox_emit_event(text, text, text, text, jsonb, text, text, uuid, timestamptz, integer, text, text, text, text, text, text, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION outbox_emit_event(text, text, text, "any", jsonb, text, text, uuid, timestamptz, integer, text, text, text, text, text, text, text, jsonb) IS
	'store a domain event in this transaction; it is published to Kafka after the commit; returns its id';
REVOKE ALL ON FUNCTION outbox_emit_event(text, text, text, "any", jsonb, text, text, uuid, timestamptz, integer, text, text, text, text, text, text, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION outbox_emit_event(text, "any", text, text, jsonb, text, text, uuid, timestamptz, integer, text, text, text, text, text, text, text, jsonb) IS
	'store a domain event in this transaction; it is published to Kafka after the commit; returns its id';
REVOKE ALL ON FUNCTION outbox_emit_event(text, "any", text, text, jsonb, text, text, uuid, timestamptz, integer, text, text, text, text, text, text, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION outbox_emit_event(text, "any", text, "any", jsonb, text, text, uuid, timestamptz, integer, text, text, text, text, text, text, text, jsonb) IS
	'store a domain event in this transaction; it is published to Kafka after the commit; returns its id';
REVOKE ALL ON FUNCTION outbox_emit_event(text, "any", text, "any", jsonb, text, text, uuid, timestamptz, integer, text, text, text, text, text, text, text, jsonb) FROM PUBLIC;

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
	FOREACH relation IN ARRAY ARRAY['installation', 'segment', 'cursor', 'ancestor', 'dead_letter', 'topic', 'aggregate_type'] LOOP
		EXECUTE pg_catalog.format('CREATE TRIGGER keep_own BEFORE INSERT OR UPDATE OR DELETE ON outbox.%I'
			' FOR EACH ROW EXECUTE FUNCTION @extschema@.outbox_keep_own()', relation);
		EXECUTE pg_catalog.format('ALTER TABLE outbox.%I ENABLE REPLICA TRIGGER keep_own', relation);
	END LOOP;
END
$$;

/*
 * Sessions keep what is set for topics and aggregate types in memory: this has
 * them read it again.
 */
CREATE FUNCTION outbox_forget_rules()
RETURNS trigger
AS 'MODULE_PATHNAME', 'outbox_forget_rules'
LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION outbox_forget_rules() FROM PUBLIC;
COMMENT ON FUNCTION outbox_forget_rules() IS 'trigger: has sessions read again what is set for topics and aggregate types';

DO $$
DECLARE
	relation pg_catalog.text;
BEGIN
	FOREACH relation IN ARRAY ARRAY['topic', 'aggregate_type'] LOOP
		EXECUTE pg_catalog.format('CREATE TRIGGER forget_rules AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON outbox.%I'
			' FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.outbox_forget_rules()', relation);
		EXECUTE pg_catalog.format('ALTER TABLE outbox.%I ENABLE ALWAYS TRIGGER forget_rules', relation);
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
	OUT held_topics integer, OUT parked_keys integer, OUT dead_letters bigint, OUT attempts integer,
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

/* ---- held topics and dead letters ---- */

/*
 * What is not published of a scope, from two arms of the indexes on xid.
 * Events whose key has a hold row of its own belong to that one.
 */
CREATE VIEW outbox.held_topic AS
	SELECT c.topic, c.reason, c.since, c.error_class, c.error_code, c.error, c.attempts,
		(SELECT pg_catalog.count(*) FROM outbox.event e
			WHERE e.topic = c.topic AND e.origin <> 0
			AND (e.xid >= pg_catalog.pg_snapshot_xmax(c.done)
				OR e.xid = ANY (ARRAY(SELECT pg_catalog.pg_snapshot_xip(c.done))))
			AND NOT coalesce(pg_catalog.pg_visible_in_snapshot(e.xid, c.open) AND e.id <= c."position", false)
			AND NOT EXISTS (SELECT FROM outbox.cursor k WHERE k.topic = e.topic AND k.key = e.key)) AS waiting
	FROM outbox.cursor c
	WHERE c.topic IS NOT NULL AND c.key IS NULL;
REVOKE ALL ON outbox.held_topic FROM PUBLIC;
COMMENT ON VIEW outbox.held_topic IS 'topics whose events wait while those of others are published';
COMMENT ON COLUMN outbox.held_topic.waiting IS 'events that wait; counted when read';

CREATE VIEW outbox.parked_key AS
	SELECT c.topic, c.key, c.since,
		(SELECT d.uid FROM outbox.dead_letter d
			WHERE d.topic = c.topic AND d.key = c.key AND d.parks AND d.state = 'dead'
			ORDER BY d.id LIMIT 1) AS dead_letter,
		(SELECT pg_catalog.count(*) FROM outbox.event e
			WHERE e.topic = c.topic AND e.key = c.key AND e.origin <> 0
			AND (e.xid >= pg_catalog.pg_snapshot_xmax(c.done)
				OR e.xid = ANY (ARRAY(SELECT pg_catalog.pg_snapshot_xip(c.done))))
			AND NOT coalesce(pg_catalog.pg_visible_in_snapshot(e.xid, c.open) AND e.id <= c."position", false)
			AND e.uid NOT IN (SELECT d.uid FROM outbox.dead_letter d))
		+ (SELECT pg_catalog.count(*) FROM outbox.dead_letter d
			WHERE d.topic = c.topic AND d.key = c.key AND d.state = 'parked') AS parked
	FROM outbox.cursor c
	WHERE c.key IS NOT NULL;
REVOKE ALL ON outbox.parked_key FROM PUBLIC;
COMMENT ON VIEW outbox.parked_key IS 'keys whose events wait behind a dead letter';
COMMENT ON COLUMN outbox.parked_key.parked IS 'events that wait behind the dead letter; counted when read';
GRANT SELECT ON outbox.held_topic TO pg_monitor;

CREATE FUNCTION outbox_request()
RETURNS void
AS 'MODULE_PATHNAME', 'outbox_request'
LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION outbox_request() FROM PUBLIC;
COMMENT ON FUNCTION outbox_request() IS 'has the publisher look after the commit at what was asked of it';

CREATE FUNCTION outbox_request_letters(what text, topic text, key text, uid uuid, "all" boolean)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found bigint;
BEGIN
	IF outbox_request_letters."all" THEN
		IF topic IS NOT NULL OR key IS NOT NULL OR uid IS NOT NULL THEN
			RAISE EXCEPTION 'argument "all" cannot be combined with others'
				USING ERRCODE = 'invalid_parameter_value';
		END IF;
	ELSIF topic IS NULL AND uid IS NULL THEN
		RAISE EXCEPTION 'it is not said which dead letters are meant'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Give topic, topic and key, or uid; or "all" => true.';
	END IF;
	UPDATE outbox.dead_letter AS d SET request = what
		WHERE d.state = 'dead'
		AND d.origin = (SELECT i.origin FROM outbox.installation i)
		AND (outbox_request_letters.topic IS NULL OR d.topic = outbox_request_letters.topic)
		AND (outbox_request_letters.key IS NULL OR d.key = convert_to(outbox_request_letters.key, 'UTF8'))
		AND (outbox_request_letters.uid IS NULL OR d.uid = outbox_request_letters.uid);
	GET DIAGNOSTICS found = ROW_COUNT;
	PERFORM @extschema@.outbox_request();
	RETURN found;
END
$$;
REVOKE ALL ON FUNCTION outbox_request_letters(text, text, text, uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION outbox_request_letters(text, text, text, uuid, boolean) IS 'what outbox_retry and outbox_discard have in common';

CREATE FUNCTION outbox_retry(topic text DEFAULT NULL, key text DEFAULT NULL, uid uuid DEFAULT NULL, "all" boolean DEFAULT false)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT @extschema@.outbox_request_letters('retry', $1, $2, $3, $4) $$;
REVOKE ALL ON FUNCTION outbox_retry(text, text, uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION outbox_retry(text, text, uuid, boolean) IS
	'has dead letters sent again after the commit; returns how many';

CREATE FUNCTION outbox_discard(topic text DEFAULT NULL, key text DEFAULT NULL, uid uuid DEFAULT NULL, "all" boolean DEFAULT false)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT @extschema@.outbox_request_letters('discard', $1, $2, $3, $4) $$;
REVOKE ALL ON FUNCTION outbox_discard(text, text, uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION outbox_discard(text, text, uuid, boolean) IS
	'gives dead letters up after the commit, so that their keys go on; returns how many';

CREATE FUNCTION outbox_set_topic(topic text, on_refusal text DEFAULT NULL, paused boolean DEFAULT NULL, format text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF topic IS NULL THEN
		RAISE EXCEPTION 'argument "topic" must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF on_refusal NOT IN ('park', 'skip', 'stop') THEN
		RAISE EXCEPTION 'argument "on_refusal" must be park, skip or stop, not "%"', on_refusal
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF topic !~ '^[a-zA-Z0-9._-]{1,249}$' OR topic IN ('.', '..') THEN
		RAISE EXCEPTION 'invalid topic "%"', topic
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'A topic has up to 249 letters, digits, dots, underscores and hyphens.';
	END IF;
	IF format NOT IN ('', 'plain', 'debezium', 'cloudevents-binary', 'cloudevents-structured') THEN
		RAISE EXCEPTION 'unknown format "%"', format
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Formats are plain, debezium, cloudevents-binary and cloudevents-structured.';
	END IF;
	INSERT INTO outbox.topic AS t (topic, on_refusal, paused, format)
		VALUES (outbox_set_topic.topic, coalesce(outbox_set_topic.on_refusal, 'park'),
			coalesce(outbox_set_topic.paused, false), nullif(outbox_set_topic.format, ''))
		ON CONFLICT ON CONSTRAINT topic_pkey DO UPDATE
		SET on_refusal = coalesce(outbox_set_topic.on_refusal, t.on_refusal),
			paused = coalesce(outbox_set_topic.paused, t.paused),
			format = nullif(coalesce(outbox_set_topic.format, t.format), '');
	PERFORM @extschema@.outbox_request();
END
$$;
REVOKE ALL ON FUNCTION outbox_set_topic(text, text, boolean, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_set_topic(text, text, boolean, text) IS
	'sets for a topic what happens when the broker refuses an event for its own content, whether the topic is paused, and the format of domain events; NULL: as it is; format '''': none';

CREATE FUNCTION outbox_set_aggregate_type(aggregate_type text, topic text DEFAULT NULL, format text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF aggregate_type IS NULL THEN
		RAISE EXCEPTION 'argument "aggregate_type" must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF aggregate_type = '' THEN
		RAISE EXCEPTION 'argument "aggregate_type" must not be empty'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF topic <> '' AND topic !~ '^[a-zA-Z0-9._-]{1,249}$' OR topic IN ('.', '..') THEN
		RAISE EXCEPTION 'invalid topic "%"', topic
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'A topic has up to 249 letters, digits, dots, underscores and hyphens.';
	END IF;
	IF format NOT IN ('', 'plain', 'debezium', 'cloudevents-binary', 'cloudevents-structured') THEN
		RAISE EXCEPTION 'unknown format "%"', format
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Formats are plain, debezium, cloudevents-binary and cloudevents-structured.';
	END IF;
	INSERT INTO outbox.aggregate_type AS t (aggregate_type, topic, format)
		VALUES (outbox_set_aggregate_type.aggregate_type, nullif(outbox_set_aggregate_type.topic, ''),
			nullif(outbox_set_aggregate_type.format, ''))
		ON CONFLICT ON CONSTRAINT aggregate_type_pkey DO UPDATE
		SET topic = nullif(coalesce(outbox_set_aggregate_type.topic, t.topic), ''),
			format = nullif(coalesce(outbox_set_aggregate_type.format, t.format), '');
	DELETE FROM outbox.aggregate_type AS t
		WHERE t.aggregate_type = outbox_set_aggregate_type.aggregate_type AND t.topic IS NULL AND t.format IS NULL;
END
$$;
REVOKE ALL ON FUNCTION outbox_set_aggregate_type(text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_set_aggregate_type(text, text, text) IS
	'sets topic and format of the domain events of an aggregate type; NULL: as it is; '''': none';

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
	' OR @extschema@.outbox_is_foreign(origin, xid, id, topic, key))'
	' AND uid NOT IN (SELECT d.uid FROM outbox.dead_letter d) ORDER BY id');
SELECT pg_catalog.pg_extension_config_dump('outbox.event_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('outbox.dead_letter', '');
SELECT pg_catalog.pg_extension_config_dump('outbox.topic', '');
SELECT pg_catalog.pg_extension_config_dump('outbox.aggregate_type', '');

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
