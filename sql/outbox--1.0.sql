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
COMMENT ON COLUMN outbox.event.uid IS 'identity of the event (UUID version 7), sent as header "id" unless the headers begin with one';
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

/* ---- many events at once ---- */

CREATE FUNCTION outbox_emit_many(topic text, payloads text, keys text DEFAULT NULL, headers jsonb[] DEFAULT NULL,
	partitions integer[] DEFAULT NULL, timestamps timestamptz[] DEFAULT NULL)
RETURNS uuid[]
AS 'MODULE_PATHNAME', 'outbox_emit_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION outbox_emit_many(topic text, payloads "any", keys text DEFAULT NULL, headers jsonb[] DEFAULT NULL,
	partitions integer[] DEFAULT NULL, timestamps timestamptz[] DEFAULT NULL)
RETURNS uuid[]
AS 'MODULE_PATHNAME', 'outbox_emit_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION outbox_emit_many(topic text, payloads text, keys "any", headers jsonb[] DEFAULT NULL,
	partitions integer[] DEFAULT NULL, timestamps timestamptz[] DEFAULT NULL)
RETURNS uuid[]
AS 'MODULE_PATHNAME', 'outbox_emit_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION outbox_emit_many(topic text, payloads "any", keys "any", headers jsonb[] DEFAULT NULL,
	partitions integer[] DEFAULT NULL, timestamps timestamptz[] DEFAULT NULL)
RETURNS uuid[]
AS 'MODULE_PATHNAME', 'outbox_emit_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION outbox_emit_many(text, text, text, jsonb[], integer[], timestamptz[]) IS
	'store an event for each element of the arrays, in this transaction; returns their uids in the same order';
COMMENT ON FUNCTION outbox_emit_many(text, "any", text, jsonb[], integer[], timestamptz[]) IS
	'store an event for each element of the arrays, in this transaction; returns their uids in the same order';
COMMENT ON FUNCTION outbox_emit_many(text, text, "any", jsonb[], integer[], timestamptz[]) IS
	'store an event for each element of the arrays, in this transaction; returns their uids in the same order';
COMMENT ON FUNCTION outbox_emit_many(text, "any", "any", jsonb[], integer[], timestamptz[]) IS
	'store an event for each element of the arrays, in this transaction; returns their uids in the same order';

REVOKE ALL ON FUNCTION outbox_emit_many(text, text, text, jsonb[], integer[], timestamptz[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION outbox_emit_many(text, "any", text, jsonb[], integer[], timestamptz[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION outbox_emit_many(text, text, "any", jsonb[], integer[], timestamptz[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION outbox_emit_many(text, "any", "any", jsonb[], integer[], timestamptz[]) FROM PUBLIC;

/*
 * The aggregate.  That the final function changes the state keeps it from being
 * used as a window function, which would emit for frames.
 */
CREATE FUNCTION outbox_emit_rows_transition(internal, text, "any")
RETURNS internal
AS 'MODULE_PATHNAME', 'outbox_emit_rows_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION outbox_emit_rows_transition(internal, text, "any") FROM PUBLIC;
CREATE FUNCTION outbox_emit_rows_transition(internal, text, "any", "any")
RETURNS internal
AS 'MODULE_PATHNAME', 'outbox_emit_rows_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION outbox_emit_rows_transition(internal, text, "any", "any") FROM PUBLIC;
CREATE FUNCTION outbox_emit_rows_transition(internal, text, "any", "any", jsonb)
RETURNS internal
AS 'MODULE_PATHNAME', 'outbox_emit_rows_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION outbox_emit_rows_transition(internal, text, "any", "any", jsonb) FROM PUBLIC;
CREATE FUNCTION outbox_emit_rows_transition(internal, text, "any", "any", jsonb, integer, timestamptz)
RETURNS internal
AS 'MODULE_PATHNAME', 'outbox_emit_rows_transition'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION outbox_emit_rows_transition(internal, text, "any", "any", jsonb, integer, timestamptz) FROM PUBLIC;
CREATE FUNCTION outbox_emit_rows_final(internal)
RETURNS uuid[]
AS 'MODULE_PATHNAME', 'outbox_emit_rows_final'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION outbox_emit_rows_final(internal) FROM PUBLIC;

CREATE AGGREGATE outbox_emit_rows(topic text, payload "any")
(
	SFUNC = outbox_emit_rows_transition,
	STYPE = internal,
	FINALFUNC = outbox_emit_rows_final,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = UNSAFE
);
CREATE AGGREGATE outbox_emit_rows(topic text, payload "any", key "any")
(
	SFUNC = outbox_emit_rows_transition,
	STYPE = internal,
	FINALFUNC = outbox_emit_rows_final,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = UNSAFE
);
CREATE AGGREGATE outbox_emit_rows(topic text, payload "any", key "any", headers jsonb)
(
	SFUNC = outbox_emit_rows_transition,
	STYPE = internal,
	FINALFUNC = outbox_emit_rows_final,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = UNSAFE
);
CREATE AGGREGATE outbox_emit_rows(topic text, payload "any", key "any", headers jsonb, partition integer, "timestamp" timestamptz)
(
	SFUNC = outbox_emit_rows_transition,
	STYPE = internal,
	FINALFUNC = outbox_emit_rows_final,
	FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = UNSAFE
);

COMMENT ON AGGREGATE outbox_emit_rows(text, "any") IS
	'store an event for each row, in this transaction; returns their uids in the order of the rows';
COMMENT ON AGGREGATE outbox_emit_rows(text, "any", "any") IS
	'store an event for each row, in this transaction; returns their uids in the order of the rows';
COMMENT ON AGGREGATE outbox_emit_rows(text, "any", "any", jsonb) IS
	'store an event for each row, in this transaction; returns their uids in the order of the rows';
COMMENT ON AGGREGATE outbox_emit_rows(text, "any", "any", jsonb, integer, timestamptz) IS
	'store an event for each row, in this transaction; returns their uids in the order of the rows';

REVOKE ALL ON FUNCTION outbox_emit_rows(text, "any") FROM PUBLIC;
REVOKE ALL ON FUNCTION outbox_emit_rows(text, "any", "any") FROM PUBLIC;
REVOKE ALL ON FUNCTION outbox_emit_rows(text, "any", "any", jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION outbox_emit_rows(text, "any", "any", jsonb, integer, timestamptz) FROM PUBLIC;

CREATE FUNCTION outbox_schema_registry_frame(schema_id integer, payload bytea)
RETURNS bytea
AS 'MODULE_PATHNAME', 'outbox_schema_registry_frame'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
REVOKE ALL ON FUNCTION outbox_schema_registry_frame(integer, bytea) FROM PUBLIC;
COMMENT ON FUNCTION outbox_schema_registry_frame(integer, bytea) IS
	'a payload in the wire format of Confluent''s Schema Registry: a zero byte, the id of the schema, the payload; NULL payload: NULL';

CREATE FUNCTION outbox_headers(headers bytea)
RETURNS json
AS 'MODULE_PATHNAME', 'outbox_headers'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION outbox_headers(bytea) FROM PUBLIC;
COMMENT ON FUNCTION outbox_headers(bytea) IS
	'stored headers, of outbox.event or outbox.dead_letter, as emit would take them; bytes that are no text as {"base64": "..."}';

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
			AND NOT EXISTS (SELECT FROM outbox.dead_letter d WHERE d.uid = e.uid))
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

/*
 * outbox_retry and outbox_discard have a form for each way to say which
 * letters are meant: were the arguments optional, a key that happens to be
 * NULL would mean all letters of the topic.  What they call gets arguments of
 * exactly its types: somebody may have a function of that name for others.
 */
CREATE FUNCTION outbox_request_letters(what text, given text, topic text, key text, uid uuid)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found bigint;
BEGIN
	IF given LIKE 'topic%' AND topic IS NULL OR given = 'uid' AND uid IS NULL THEN
		RAISE EXCEPTION 'argument "%" must not be null', split_part(given, ' ', 1)
			USING ERRCODE = 'null_value_not_allowed',
				HINT = 'To mean all dead letters of the database, write "all" => true.';
	END IF;
	UPDATE outbox.dead_letter AS d SET request = what
		WHERE d.state = 'dead'
		AND d.origin = (SELECT i.origin FROM outbox.installation i)
		AND CASE given
			WHEN 'topic' THEN d.topic = outbox_request_letters.topic
			WHEN 'topic key' THEN d.topic = outbox_request_letters.topic
				AND d.key IS NOT DISTINCT FROM convert_to(outbox_request_letters.key, 'UTF8')
			WHEN 'uid' THEN d.uid = outbox_request_letters.uid
			ELSE given = 'all'
		END;
	GET DIAGNOSTICS found = ROW_COUNT;
	PERFORM @extschema@.outbox_request();
	RETURN found;
END
$$;
REVOKE ALL ON FUNCTION outbox_request_letters(text, text, text, text, uuid) FROM PUBLIC;
COMMENT ON FUNCTION outbox_request_letters(text, text, text, text, uuid) IS
	'what outbox_retry and outbox_discard have in common; given names the arguments that say which letters are meant';

CREATE FUNCTION outbox_retry(topic text)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT @extschema@.outbox_request_letters('retry'::text, 'topic'::text, $1, NULL::text, NULL::uuid) $$;
REVOKE ALL ON FUNCTION outbox_retry(text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_retry(text) IS
	'has dead letters sent again after the commit; returns how many';

CREATE FUNCTION outbox_retry(topic text, key text)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT @extschema@.outbox_request_letters('retry'::text, 'topic key'::text, $1, $2, NULL::uuid) $$;
REVOKE ALL ON FUNCTION outbox_retry(text, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_retry(text, text) IS
	'has dead letters sent again after the commit; returns how many';

CREATE FUNCTION outbox_retry(uid uuid)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT @extschema@.outbox_request_letters('retry'::text, 'uid'::text, NULL::text, NULL::text, $1) $$;
REVOKE ALL ON FUNCTION outbox_retry(uuid) FROM PUBLIC;
COMMENT ON FUNCTION outbox_retry(uuid) IS
	'has dead letters sent again after the commit; returns how many';

CREATE FUNCTION outbox_retry("all" boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF "all" IS NOT TRUE THEN
		RAISE EXCEPTION 'it is not said which dead letters are meant'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Give topic, topic and key, or uid; or "all" => true.';
	END IF;
	RETURN @extschema@.outbox_request_letters('retry'::text, 'all'::text, NULL::text, NULL::text, NULL::uuid);
END
$$;
REVOKE ALL ON FUNCTION outbox_retry(boolean) FROM PUBLIC;
COMMENT ON FUNCTION outbox_retry(boolean) IS
	'has dead letters sent again after the commit; returns how many';

CREATE FUNCTION outbox_discard(topic text)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT @extschema@.outbox_request_letters('discard'::text, 'topic'::text, $1, NULL::text, NULL::uuid) $$;
REVOKE ALL ON FUNCTION outbox_discard(text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_discard(text) IS
	'gives dead letters up after the commit, so that their keys go on; returns how many';

CREATE FUNCTION outbox_discard(topic text, key text)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT @extschema@.outbox_request_letters('discard'::text, 'topic key'::text, $1, $2, NULL::uuid) $$;
REVOKE ALL ON FUNCTION outbox_discard(text, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_discard(text, text) IS
	'gives dead letters up after the commit, so that their keys go on; returns how many';

CREATE FUNCTION outbox_discard(uid uuid)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT @extschema@.outbox_request_letters('discard'::text, 'uid'::text, NULL::text, NULL::text, $1) $$;
REVOKE ALL ON FUNCTION outbox_discard(uuid) FROM PUBLIC;
COMMENT ON FUNCTION outbox_discard(uuid) IS
	'gives dead letters up after the commit, so that their keys go on; returns how many';

CREATE FUNCTION outbox_discard("all" boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF "all" IS NOT TRUE THEN
		RAISE EXCEPTION 'it is not said which dead letters are meant'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Give topic, topic and key, or uid; or "all" => true.';
	END IF;
	RETURN @extschema@.outbox_request_letters('discard'::text, 'all'::text, NULL::text, NULL::text, NULL::uuid);
END
$$;
REVOKE ALL ON FUNCTION outbox_discard(boolean) FROM PUBLIC;
COMMENT ON FUNCTION outbox_discard(boolean) IS
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

/* ---- what the triggers below are about ---- */

/*
 * A trigger names its columns in WHEN (... AND (true OR outbox_trigger_columns(
 * 'key', NEW.id))), where PostgreSQL follows their renames and minds their
 * being dropped.  Never called there.
 */
CREATE FUNCTION outbox_trigger_columns(VARIADIC "any")
RETURNS boolean
AS 'MODULE_PATHNAME', 'outbox_trigger_columns'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
REVOKE ALL ON FUNCTION outbox_trigger_columns("any") FROM PUBLIC;
COMMENT ON FUNCTION outbox_trigger_columns("any") IS 'names columns in the WHEN of a trigger; never called there';

CREATE FUNCTION outbox_trigger_column_names("table" oid, condition pg_node_tree, role text)
RETURNS text[]
AS 'MODULE_PATHNAME', 'outbox_trigger_column_names'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION outbox_trigger_column_names(oid, pg_node_tree, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_trigger_column_names(oid, pg_node_tree, text) IS 'columns that the WHEN of a trigger names for something, by their names of today';

/* ---- capture ---- */

CREATE FUNCTION outbox_capture_change()
RETURNS trigger
AS 'MODULE_PATHNAME', 'outbox_capture_change'
LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION outbox_capture_change() FROM PUBLIC;
COMMENT ON FUNCTION outbox_capture_change() IS 'trigger of outbox_capture(): emits a change';

CREATE FUNCTION outbox_capture_check("table" regclass)
RETURNS void
AS 'MODULE_PATHNAME', 'outbox_capture_check'
LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION outbox_capture_check(regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_capture_check(regclass) IS 'fails where every change of a captured table would';

CREATE FUNCTION outbox_trigger_argument(arguments bytea, name text)
RETURNS text
AS 'MODULE_PATHNAME', 'outbox_trigger_argument'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION outbox_trigger_argument(bytea, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_trigger_argument(bytea, text) IS 'an argument name=value of a trigger of outbox, out of pg_trigger.tgargs';

/*
 * Of the caller's rights.  Looks names up in pg_catalog, except those in the
 * condition, which the caller wrote for his own search_path: so what is done
 * outside of pg_catalog is qualified.
 */
CREATE FUNCTION outbox_capture("table" regclass, topic text DEFAULT NULL, key text[] DEFAULT NULL,
	columns text[] DEFAULT NULL, "when" text DEFAULT NULL,
	operations text[] DEFAULT '{insert,update,delete}', old boolean DEFAULT false,
	changed_only boolean DEFAULT false, tombstone boolean DEFAULT false, format text DEFAULT NULL,
	always boolean DEFAULT false, aggregate_type text DEFAULT NULL, name text DEFAULT 'outbox_capture')
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	path pg_catalog.text := pg_catalog.current_setting('search_path');
	pinned CONSTANT pg_catalog.text := 'pg_catalog, pg_temp';
	class pg_catalog.record;
	"column" pg_catalog.record;
	list pg_catalog.record;
	operation pg_catalog.text;
	operand pg_catalog.text;
	condition pg_catalog.text;
	arguments pg_catalog.text;
	trigger pg_catalog.text;
	message pg_catalog.text;
BEGIN
	PERFORM pg_catalog.set_config('search_path', pinned, true);

	IF "table" IS NULL THEN
		RAISE EXCEPTION 'argument "table" must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	SELECT c.relkind, c.relpersistence, c.relowner, pg_catalog.format('%I.%I', n.nspname, c.relname) AS target INTO class
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = "table";
	IF NOT FOUND THEN
		RAISE EXCEPTION 'table with OID % does not exist', "table"::oid
			USING ERRCODE = 'undefined_table';
	END IF;
	IF class.relkind NOT IN ('r', 'p') THEN
		RAISE EXCEPTION '% cannot be captured', "table"
			USING ERRCODE = 'wrong_object_type',
				DETAIL = CASE class.relkind
					WHEN 'v' THEN 'It is a view.'
					WHEN 'm' THEN 'It is a materialized view.'
					WHEN 'f' THEN 'It is a foreign table.'
					ELSE 'It is not a table.' END,
				HINT = 'Tables and partitioned tables can be captured.';
	END IF;
	IF class.relpersistence = 't' THEN
		RAISE EXCEPTION 'table % cannot be captured', "table"
			USING ERRCODE = 'wrong_object_type',
				DETAIL = 'It is a temporary table.';
	END IF;
	/* users' tables have oids from 16384 on */
	IF "table"::oid < 16384::oid THEN
		RAISE EXCEPTION 'table % cannot be captured', "table"
			USING ERRCODE = 'wrong_object_type',
				DETAIL = 'It is a system catalog.';
	END IF;
	IF EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
			WHERE d.classid = 'pg_class'::regclass AND d.objid = "table" AND d.deptype = 'e'
			AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'outbox') THEN
		RAISE EXCEPTION 'table % cannot be captured', "table"
			USING ERRCODE = 'wrong_object_type',
				DETAIL = 'It is a table of outbox itself.';
	END IF;
	IF NOT pg_has_role(class.relowner, 'USAGE') THEN
		RAISE EXCEPTION 'must be owner of table %', "table"
			USING ERRCODE = 'insufficient_privilege';
	END IF;

	IF name IS NULL OR name = '' THEN
		RAISE EXCEPTION 'argument "name" must not be null or empty'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	/* a trigger's name has up to 63 bytes: this one, "!" and "_truncate" */
	IF octet_length(name) > 53 THEN
		RAISE EXCEPTION 'argument "name" is too long'
			USING ERRCODE = 'name_too_long',
				DETAIL = 'It may have 53 bytes.';
	END IF;
	IF EXISTS (SELECT FROM pg_trigger t
			WHERE t.tgrelid = "table" AND t.tgfoid = '@extschema@.outbox_capture_change()'::regprocedure
			AND t.tgname IN ('!' || name || '_insert', '!' || name || '_update',
				'!' || name || '_delete', '!' || name || '_truncate')) THEN
		RAISE EXCEPTION 'table % is captured as "%" already', "table", name
			USING ERRCODE = 'duplicate_object',
				HINT = 'End that by outbox_uncapture(), or pass another name.';
	END IF;

	IF array_ndims(operations) IS DISTINCT FROM 1 THEN
		RAISE EXCEPTION 'argument "operations" must be a list of operations'
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'The operations are insert, update, delete and truncate.';
	END IF;
	FOREACH operation IN ARRAY operations LOOP
		IF coalesce(operation NOT IN ('insert', 'update', 'delete', 'truncate'), true) THEN
			RAISE EXCEPTION 'there is no operation "%"', coalesce(operation, 'NULL')
				USING ERRCODE = 'invalid_parameter_value',
					HINT = 'The operations are insert, update, delete and truncate.';
		END IF;
	END LOOP;
	IF "when" IS NOT NULL AND 'truncate' = ANY (operations) THEN
		RAISE EXCEPTION 'truncate cannot have a condition'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = 'There is no row that "when" could be about.',
				HINT = 'Capture it under another name: operations => ''{truncate}'', name => ... .';
	END IF;

	IF key IS NULL THEN
		SELECT array_agg(a.attname::text ORDER BY k.position) INTO key
			FROM pg_index i
			CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, position)
			JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
			WHERE i.indrelid = "table" AND i.indisprimary AND k.position <= i.indnkeyatts;
		IF key IS NULL THEN
			RAISE EXCEPTION 'table % has no primary key', "table"
				USING ERRCODE = 'invalid_parameter_value',
					HINT = 'Pass the columns of the key: key => ''{column}''.';
		END IF;
	END IF;

	FOR list IN SELECT l.argument, l.names
			FROM (VALUES ('key', key), ('columns', columns)) AS l (argument, names)
			WHERE l.names IS NOT NULL LOOP
		IF array_ndims(list.names) IS DISTINCT FROM 1 THEN
			RAISE EXCEPTION 'argument "%" must be a list of columns', list.argument
				USING ERRCODE = 'invalid_parameter_value';
		END IF;
		FOR "column" IN SELECT n.name, a.attnum, a.attgenerated, count(*) OVER (PARTITION BY n.name) AS times
				FROM unnest(list.names) AS n (name)
				LEFT JOIN pg_attribute a ON a.attrelid = "table" AND a.attname = n.name
					AND a.attnum > 0 AND NOT a.attisdropped LOOP
			IF "column".name IS NULL THEN
				RAISE EXCEPTION 'argument "%" must not have a null in it', list.argument
					USING ERRCODE = 'null_value_not_allowed';
			END IF;
			IF "column".attnum IS NULL THEN
				RAISE EXCEPTION 'table % has no column "%"', "table", "column".name
					USING ERRCODE = 'undefined_column',
						DETAIL = pg_catalog.format('Argument "%s" names it.', list.argument);
			END IF;
			IF "column".attgenerated = 'v' THEN
				RAISE EXCEPTION 'column "%" of table % cannot be captured', "column".name, "table"
					USING ERRCODE = 'feature_not_supported',
						DETAIL = 'It is a virtual generated column, which has no value in the row.';
			END IF;
			IF "column".times > 1 THEN
				RAISE EXCEPTION 'argument "%" has column "%" twice', list.argument, "column".name
					USING ERRCODE = 'duplicate_column';
			END IF;
		END LOOP;
	END LOOP;

	SELECT string_agg(quote_literal(a.name || '=' || a.value), ', ' ORDER BY a.position) INTO arguments
		FROM (VALUES (1, 'aggregate_type', aggregate_type),
			(2, 'topic', topic),
			(3, 'format', format),
			(4, 'old', CASE WHEN old THEN 'true' END),
			(5, 'changed_only', CASE WHEN changed_only THEN 'true' END),
			(6, 'tombstone', CASE WHEN tombstone THEN 'true' END)) AS a (position, name, value)
		WHERE a.value IS NOT NULL;

	FOREACH operation IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate'] LOOP
		CONTINUE WHEN operation <> ALL (operations);

		/* of triggers that fire for a row, the first by name comes first */
		trigger := quote_ident('!' || name || '_' || operation);
		IF operation = 'truncate' THEN
			condition := 'STATEMENT';
		ELSE
			operand := CASE operation WHEN 'delete' THEN 'OLD.' ELSE 'NEW.' END;
			SELECT '''key''::pg_catalog.text, ' || string_agg(operand || quote_ident(c.name), ', ' ORDER BY c.position)
				INTO condition
				FROM unnest(key) WITH ORDINALITY AS c (name, position);
			IF columns IS NOT NULL THEN
				SELECT condition || ', ''columns''::pg_catalog.text, '
						|| string_agg(operand || quote_ident(c.name), ', ' ORDER BY c.position)
					INTO condition
					FROM unnest(columns) WITH ORDINALITY AS c (name, position);
			END IF;
			/* on lines of its own: it may end with a comment */
			condition := 'ROW WHEN (' || coalesce(E'(\n' || "when" || E'\n) AND ', '')
				|| '(true OR @extschema@.outbox_trigger_columns(' || condition || ')))';
		END IF;

		BEGIN
			PERFORM set_config('search_path', path, true);
			EXECUTE pg_catalog.format(
				'CREATE TRIGGER %s AFTER %s ON %s FOR EACH %s EXECUTE FUNCTION @extschema@.outbox_capture_change(%s)',
				trigger, operation, class.target, condition, arguments);
			PERFORM pg_catalog.set_config('search_path', pinned, true);
		EXCEPTION WHEN invalid_object_definition THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
			RAISE EXCEPTION '%', message
				USING ERRCODE = 'invalid_object_definition',
					HINT = 'OLD is there for update and delete, NEW for insert and update. Capture other operations under another name, with a condition of their own.';
		END;
		IF always THEN
			EXECUTE 'ALTER TABLE ' || class.target || ' ENABLE ALWAYS TRIGGER ' || trigger;
		END IF;
	END LOOP;
	PERFORM @extschema@.outbox_capture_check("table");

	IF class.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = "table") THEN
		RAISE WARNING 'tables that inherit from % are not captured', "table"
			USING HINT = 'Capture each of them.';
	END IF;
	PERFORM set_config('search_path', path, true);
END
$$;
REVOKE ALL ON FUNCTION outbox_capture(regclass, text, text[], text[], text, text[], boolean, boolean, boolean, text,
	boolean, text, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_capture(regclass, text, text[], text[], text, text[], boolean, boolean, boolean, text,
	boolean, text, text) IS 'emits the changes of a table from now on, in the transactions that make them';

CREATE FUNCTION outbox_uncapture("table" regclass, name text DEFAULT 'outbox_capture')
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	command text;
	ended boolean := false;
BEGIN
	IF "table" IS NULL THEN
		RAISE EXCEPTION 'argument "table" must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	FOR command IN
		SELECT format('DROP TRIGGER %I ON %I.%I', t.tgname, n.nspname, c.relname)
			FROM pg_trigger t
			JOIN pg_class c ON c.oid = t.tgrelid
			JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE t.tgrelid = "table" AND t.tgparentid = 0
			AND t.tgfoid = '@extschema@.outbox_capture_change()'::regprocedure
			AND t.tgname IN ('!' || name || '_insert', '!' || name || '_update',
				'!' || name || '_delete', '!' || name || '_truncate')
	LOOP
		EXECUTE command;
		ended := true;
	END LOOP;
	IF NOT ended THEN
		RAISE EXCEPTION 'table % is not captured as "%"', "table", coalesce(name, 'NULL')
			USING ERRCODE = 'undefined_object',
				HINT = 'The view outbox.capture has the captures. That of a partitioned table cannot be ended for a partition.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION outbox_uncapture(regclass, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_uncapture(regclass, text) IS 'ends what outbox_capture began';

/*
 * Operators in views, which are looked up when the extension is made, have
 * operands of exactly their types: one for others may be in its schema.
 */
CREATE VIEW outbox.capture AS
	SELECT t.tgrelid::pg_catalog.regclass AS "table",
		coalesce(pg_catalog."substring"(t.tgname, '^!(.*)_(?:insert|update|delete|truncate)$'), t.tgname) AS name,
		pg_catalog.array_agg(CASE WHEN (t.tgtype & 4::pg_catalog.int2) <> 0 THEN 'insert' WHEN (t.tgtype & 16::pg_catalog.int2) <> 0 THEN 'update'
			WHEN (t.tgtype & 8::pg_catalog.int2) <> 0 THEN 'delete' ELSE 'truncate' END
			ORDER BY (t.tgtype & 4::pg_catalog.int2) = 0, (t.tgtype & 16::pg_catalog.int2) = 0, (t.tgtype & 8::pg_catalog.int2) = 0) AS operations,
		pg_catalog.min(coalesce(@extschema@.outbox_trigger_argument(t.tgargs, 'aggregate_type'), c.relname)) AS aggregate_type,
		pg_catalog.min(@extschema@.outbox_trigger_argument(t.tgargs, 'topic')) AS topic,
		pg_catalog.min(@extschema@.outbox_trigger_argument(t.tgargs, 'format')) AS format,
		pg_catalog.min(@extschema@.outbox_trigger_column_names(t.tgrelid, t.tgqual, 'key')) AS key,
		pg_catalog.min(@extschema@.outbox_trigger_column_names(t.tgrelid, t.tgqual, 'columns')) AS columns,
		pg_catalog.min(pg_catalog."substring"(pg_catalog.pg_get_triggerdef(t.oid),
			' WHEN [(][(](.*) AND [(]true OR [^ ]*outbox_trigger_columns[(]')) AS "when",
		pg_catalog.bool_or(@extschema@.outbox_trigger_argument(t.tgargs, 'old') IS NOT NULL) AS old,
		pg_catalog.bool_or(@extschema@.outbox_trigger_argument(t.tgargs, 'changed_only') IS NOT NULL) AS changed_only,
		pg_catalog.bool_or(@extschema@.outbox_trigger_argument(t.tgargs, 'tombstone') IS NOT NULL) AS tombstone,
		pg_catalog.bool_and(t.tgenabled = 'A') AS always,
		pg_catalog.bool_and(t.tgenabled <> 'D') AS enabled
	FROM pg_catalog.pg_trigger t
	JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
	WHERE t.tgfoid = '@extschema@.outbox_capture_change()'::pg_catalog.regprocedure::pg_catalog.oid
		AND t.tgparentid = 0::pg_catalog.oid
	GROUP BY 1, 2;
REVOKE ALL ON outbox.capture FROM PUBLIC;
COMMENT ON VIEW outbox.capture IS 'captured tables';
COMMENT ON COLUMN outbox.capture.topic IS 'NULL: by the aggregate type';
COMMENT ON COLUMN outbox.capture.columns IS 'NULL: all of them, those of later, too';
COMMENT ON COLUMN outbox.capture.enabled IS 'false where one of its triggers is disabled';
GRANT SELECT ON outbox.capture TO pg_monitor;
GRANT EXECUTE ON FUNCTION outbox_trigger_argument(bytea, text), outbox_trigger_column_names(oid, pg_node_tree, text) TO pg_monitor;

/* ---- forwarding an application's own outbox table ---- */

CREATE FUNCTION outbox_forward_row()
RETURNS trigger
AS 'MODULE_PATHNAME', 'outbox_forward_row'
LANGUAGE C VOLATILE;
REVOKE ALL ON FUNCTION outbox_forward_row() FROM PUBLIC;
COMMENT ON FUNCTION outbox_forward_row() IS 'trigger: emits the row as a domain event; made by outbox_forward';

CREATE FUNCTION outbox_forward_rows("table" regclass, condition text DEFAULT NULL, ordering text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'outbox_forward_rows'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION outbox_forward_rows(regclass, text, text) FROM PUBLIC;
COMMENT ON FUNCTION outbox_forward_rows(regclass, text, text) IS
	'part of outbox_forward: checks the trigger, and emits the rows that were there before it';

CREATE FUNCTION outbox_forward_columns("table" oid, condition pg_node_tree)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'outbox_forward_columns'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION outbox_forward_columns(oid, pg_node_tree) FROM PUBLIC;
COMMENT ON FUNCTION outbox_forward_columns(oid, pg_node_tree) IS 'what each column of a forwarded table is for, by its name of today';

/*
 * Makes the trigger.  Runs as the caller, who must own the table and may do no
 * more than by CREATE TRIGGER.  Looks names up in pg_catalog, except those in
 * the conditions, which the caller wrote for his own search_path: what is done
 * with that is qualified.
 */
CREATE FUNCTION outbox_forward("table" regclass,
	id_column text DEFAULT NULL, aggregate_type_column text DEFAULT NULL, aggregate_id_column text DEFAULT NULL,
	event_type_column text DEFAULT NULL, payload_column text DEFAULT NULL, metadata_column text DEFAULT NULL,
	created_column text DEFAULT NULL, topic_column text DEFAULT NULL, partition_column text DEFAULT NULL,
	trace_context_column text DEFAULT NULL, traceparent_column text DEFAULT NULL,
	tracestate_column text DEFAULT NULL, trace_id_column text DEFAULT NULL,
	source_column text DEFAULT NULL, subject_column text DEFAULT NULL, dataschema_column text DEFAULT NULL,
	datacontenttype_column text DEFAULT NULL, extensions_column text DEFAULT NULL,
	headers text[] DEFAULT NULL, aggregate_type text DEFAULT NULL, event_type text DEFAULT NULL,
	topic text DEFAULT NULL, format text DEFAULT NULL, "when" text DEFAULT NULL,
	keep boolean DEFAULT true, "always" boolean DEFAULT false,
	take_over boolean DEFAULT false, take_over_where text DEFAULT NULL, take_over_order text[] DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
/* a policy that hides rows is an error, not a loss */
SET row_security = off
AS $$
DECLARE
	path pg_catalog.text := pg_catalog.current_setting('search_path');
	subject pg_catalog.record;
	columns pg_catalog.text[];
	shape pg_catalog.text;
	role pg_catalog.record;
	mapping pg_catalog.jsonb := '{}';
	missing pg_catalog.text[] := '{}';
	list pg_catalog.text;
	options pg_catalog.text[] := '{}';
	header pg_catalog.text;
	separator integer;
	names pg_catalog.text[] := '{}';
	command pg_catalog.text;
	condition pg_catalog.text;
	ordering pg_catalog.text;
	taken bigint;
	removed bigint;
BEGIN
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

	IF "table" IS NULL THEN
		RAISE EXCEPTION 'argument "table" must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	SELECT c.relname, c.relkind, c.relpersistence, format('%I.%I', n.nspname, c.relname) AS target,
		pg_has_role(c.relowner, 'USAGE') AS owned,
		EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
			AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') AS of_extension
		INTO subject FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = "table";
	IF NOT FOUND THEN
		RAISE EXCEPTION 'table with OID % does not exist', "table"::oid
			USING ERRCODE = 'undefined_table';
	END IF;
	/* users' tables have oids from 16384 on */
	IF subject.relkind NOT IN ('r', 'p') OR subject.relpersistence = 't' OR subject.of_extension OR "table"::oid < 16384::oid THEN
		RAISE EXCEPTION 'cannot forward "%"', subject.relname
			USING ERRCODE = 'wrong_object_type',
				DETAIL = 'Tables and partitioned tables can be forwarded that are not temporary, and belong neither to the system nor to an extension.';
	END IF;
	IF NOT subject.owned THEN
		RAISE EXCEPTION 'must be owner of table %', subject.relname
			USING ERRCODE = 'insufficient_privilege';
	END IF;
	IF keep IS NULL OR "always" IS NULL OR take_over IS NULL THEN
		RAISE EXCEPTION 'arguments "keep", "always" and "take_over" must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF NOT take_over AND (take_over_where IS NOT NULL OR take_over_order IS NOT NULL) THEN
		RAISE EXCEPTION 'arguments "take_over_where" and "take_over_order" mean nothing without take_over => true'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;

	/* the lock of CREATE TRIGGER, before anything is read of the table */
	EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', subject.target);

	IF EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = '@extschema@.outbox_forward_row()'::regprocedure
			AND t.tgrelid IN (SELECT "table" UNION ALL SELECT p.relid FROM pg_partition_tree("table") p)) THEN
		RAISE EXCEPTION 'table % is forwarded already, or a partition of it is', "table"
			USING ERRCODE = 'duplicate_object',
				HINT = 'See outbox.forward; use outbox_unforward() first.';
	END IF;
	IF NOT keep AND EXISTS (SELECT FROM pg_partition_tree("table") p JOIN pg_class c ON c.oid = p.relid WHERE c.relkind = 'f') THEN
		RAISE EXCEPTION 'cannot remove the rows of table "%" as they are forwarded', subject.relname
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'A partition of it is a foreign table.',
				HINT = 'Detach it, or forward the table with keep => true.';
	END IF;
	/* inner triggers of foreign keys, too */
	IF NOT keep AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgtype::integer & 9 = 9
			AND t.tgrelid IN (SELECT "table" UNION ALL SELECT p.relid FROM pg_partition_tree("table") p)) THEN
		RAISE EXCEPTION 'cannot remove the rows of table "%" as they are forwarded', subject.relname
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'A trigger or a foreign key wants to know of deleted rows.',
				HINT = 'Drop it, or forward the table with keep => true.';
	END IF;

	columns := ARRAY(SELECT a.attname::text FROM pg_attribute a
		WHERE a.attrelid = "table" AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v');
	IF columns @> '{aggregatetype,aggregateid}' THEN
		shape := 'debezium';
	ELSIF columns @> '{aggregate_type,aggregate_id}' THEN
		shape := 'cloudevents';
	END IF;

	/* what is given; else what the shape has, if the table has it; '' is none */
	FOR role IN
		SELECT r.name, r.given,
			coalesce(r.given, (SELECT CASE shape WHEN 'debezium' THEN r.debezium WHEN 'cloudevents' THEN r.cloudevents END
				INTERSECT SELECT unnest(columns))) AS "column",
			r.wanted
		FROM (VALUES
			('id', id_column, 'id', 'event_id', true),
			('aggregate_type', aggregate_type_column, 'aggregatetype', 'aggregate_type', aggregate_type IS NULL),
			('aggregate_id', aggregate_id_column, 'aggregateid', 'aggregate_id', true),
			('event_type', event_type_column, 'type', 'event_type', event_type IS NULL),
			('payload', payload_column, 'payload', 'payload', true),
			('metadata', metadata_column, NULL, 'metadata', false),
			('created', created_column, 'timestamp', 'created_at', false),
			('topic', topic_column, NULL, NULL, false),
			('partition', partition_column, NULL, NULL, false),
			('trace_context', trace_context_column, 'tracingspancontext', NULL, false),
			('traceparent', traceparent_column, NULL, NULL, false),
			('tracestate', tracestate_column, NULL, NULL, false),
			('trace_id', trace_id_column, NULL, NULL, false),
			('source', source_column, NULL, NULL, false),
			('subject', subject_column, NULL, NULL, false),
			('dataschema', dataschema_column, NULL, NULL, false),
			('datacontenttype', datacontenttype_column, NULL, NULL, false),
			('extensions', extensions_column, NULL, NULL, false))
			AS r (name, given, debezium, cloudevents, wanted)
	LOOP
		IF role."column" IS NULL OR (role."column" = '' AND role.name = 'aggregate_type') THEN
			IF role.wanted THEN
				missing := missing || role.name;
			END IF;
		ELSIF role."column" <> '' THEN
			IF role."column" <> ALL (columns) THEN
				RAISE EXCEPTION 'column "%" of table "%" does not exist', role."column", subject.relname
					USING ERRCODE = 'undefined_column',
						DETAIL = format('The argument "%s_column" names it.', role.name);
			END IF;
			mapping := mapping || jsonb_build_object(role.name, role."column");
			list := concat_ws(', ', list, format('%L::pg_catalog.text, NEW.%I', role.name, role."column"));
		END IF;
	END LOOP;

	IF missing <> '{}' THEN
		RAISE EXCEPTION 'table "%" is not recognised as an outbox table', subject.relname
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = format('It is not known which column holds: %s.', array_to_string(missing, ', ')),
				HINT = format('Name the columns, as in outbox_forward(%L, %s => ''...''); '''' stands for none.'
					' They are found if they are called id, aggregatetype, aggregateid, type, payload (as Debezium has it),'
					' or event_id, aggregate_type, aggregate_id, event_type, payload.',
					"table", array_to_string(ARRAY(SELECT m || '_column' FROM unnest(missing) m), ' => ''...'', '));
	END IF;

	FOREACH header IN ARRAY coalesce(headers, '{}') LOOP
		/* column, or column:name; a column may have a colon in its name */
		separator := CASE WHEN header = ANY (columns) THEN 0 ELSE strpos(header, ':') END;
		names := names || CASE WHEN separator > 0 THEN substr(header, separator + 1) ELSE header END;
		IF separator > 0 THEN
			header := left(header, separator - 1);
		END IF;
		IF header IS NULL OR header <> ALL (columns) THEN
			RAISE EXCEPTION 'column "%" of table "%" does not exist', coalesce(header, 'NULL'), subject.relname
				USING ERRCODE = 'undefined_column',
					DETAIL = 'The argument "headers" names it.';
		END IF;
		IF names[cardinality(names)] IN ('', 'id') OR names[cardinality(names)] = ANY (names[:cardinality(names) - 1]) THEN
			RAISE EXCEPTION 'argument "headers" has the header "%" twice, or it is empty or reserved', names[cardinality(names)]
				USING ERRCODE = 'invalid_parameter_value',
					HINT = 'Write column:name for a header with another name than its column.';
		END IF;
		list := concat_ws(', ', list, format('%L::pg_catalog.text, NEW.%I', 'header ' || names[cardinality(names)], header));
	END LOOP;

	/* the router's form, where the table is the router's */
	IF format IS NULL AND shape = 'debezium' AND mapping @> '{"aggregate_type": "aggregatetype", "aggregate_id": "aggregateid"}' THEN
		format := 'debezium';
	END IF;
	options := options || ('aggregate_type=' || aggregate_type) || ('event_type=' || event_type)
		|| ('topic=' || topic) || ('format=' || format) || CASE WHEN NOT keep THEN 'keep=false' END;

	/*
	 * Of triggers that fire for a row, the first by name comes first: before one
	 * of the application that inserts more rows.
	 */
	command := format('CREATE TRIGGER "!outbox_forward" AFTER INSERT ON %s FOR EACH ROW%s'
			' EXECUTE FUNCTION @extschema@.outbox_forward_row(%s)',
		subject.target, E' WHEN (\n' || "when" || E'\n)',
		(SELECT string_agg(quote_literal(o), ', ') FROM unnest(options) o WHERE o IS NOT NULL));
	PERFORM set_config('search_path', path, true);
	EXECUTE command;
	PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

	/* the columns are apart: a WHEN is prepared anew for each statement */
	EXECUTE format('CREATE TRIGGER "!outbox_forward_columns" AFTER INSERT ON %s FOR EACH ROW'
			' WHEN (false AND (true OR @extschema@.outbox_trigger_columns(%s)))'
			' EXECUTE FUNCTION @extschema@.outbox_forward_row(''columns=here'')',
		subject.target, list);
	EXECUTE format('ALTER TABLE %s DISABLE TRIGGER "!outbox_forward_columns"', subject.target);
	IF "always" THEN
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "!outbox_forward"', subject.target);
	END IF;

	IF take_over THEN
		condition := nullif(concat_ws(' AND ', E'(\n' || "when" || E'\n)', E'(\n' || take_over_where || E'\n)'), '');
		IF take_over_order IS NULL THEN
			/* numbers tell the order of inserts; a time may be that of the transaction's start */
			SELECT CASE
					WHEN a.atttypid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype) THEN ARRAY[mapping ->> 'id']
					WHEN mapping ? 'created' THEN ARRAY[mapping ->> 'created', mapping ->> 'id']
				END
				INTO take_over_order
				FROM (SELECT) nothing LEFT JOIN pg_attribute a ON a.attrelid = "table" AND a.attname = mapping ->> 'id';
		END IF;
		IF coalesce(take_over_order, '{}') = '{}' THEN
			RAISE EXCEPTION 'it is not known in which order the rows of table "%" are to be taken over', subject.relname
				USING ERRCODE = 'invalid_parameter_value',
					DETAIL = 'It has no id that is a number, and no time of creation.',
					HINT = 'Name columns: take_over_order => ARRAY[''...'']; or ''ctid'', the place of the row, if rows were only ever inserted.';
		END IF;
		FOREACH header IN ARRAY take_over_order LOOP
			IF coalesce(header <> ALL (columns || 'ctid'::text), true) THEN
				RAISE EXCEPTION 'column "%" of table "%" does not exist', coalesce(header, 'NULL'), subject.relname
					USING ERRCODE = 'undefined_column',
						DETAIL = 'The argument "take_over_order" names it.';
			END IF;
			ordering := concat_ws(', ', ordering, format('new.%I', header));
		END LOOP;
	END IF;

	command := format('DELETE FROM %s%s AS new%s',
		CASE subject.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END, subject.target, ' WHERE ' || condition);

	PERFORM set_config('search_path', path, true);
	taken := @extschema@.outbox_forward_rows("table", condition, ordering);
	IF take_over AND NOT keep THEN
		EXECUTE command;
		GET DIAGNOSTICS removed = ROW_COUNT;
		/* what was removed but not taken over would be lost */
		IF removed OPERATOR(pg_catalog.<>) taken THEN
			RAISE EXCEPTION '% rows of table "%" are taken over, but % are removed', taken, subject.relname, removed
				USING ERRCODE = 'object_not_in_prerequisite_state',
					DETAIL = 'The condition does not hold for the same rows each time, or a rule changes what DELETE does.',
					HINT = 'Write a condition that depends on the row only, or drop the rule.';
		END IF;
	END IF;
	RETURN taken;
END
$$;
REVOKE ALL ON FUNCTION outbox_forward(regclass, text, text, text, text, text, text, text, text, text, text, text, text, text,
	text, text, text, text, text, text[], text, text, text, text, text, boolean, boolean, boolean, text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION outbox_forward(regclass, text, text, text, text, text, text, text, text, text, text, text, text, text,
	text, text, text, text, text, text[], text, text, text, text, text, boolean, boolean, boolean, text, text[]) IS
	'has each row that is inserted into an outbox table of the application emitted; returns how many rows were taken over';

CREATE FUNCTION outbox_unforward("table" regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	made record;
	ended boolean := false;
BEGIN
	IF "table" IS NULL THEN
		RAISE EXCEPTION 'argument "table" must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	FOR made IN
		SELECT t.tgname, t.tgparentid FROM pg_trigger t
			WHERE t.tgrelid = "table" AND t.tgfoid = '@extschema@.outbox_forward_row()'::regprocedure
	LOOP
		IF made.tgparentid <> 0 THEN
			RAISE EXCEPTION 'table % is forwarded as a partition', "table"
				USING ERRCODE = 'wrong_object_type',
					HINT = 'Call outbox_unforward() for the partitioned table.';
		END IF;
		EXECUTE format('DROP TRIGGER %I ON %s', made.tgname, "table");
		ended := true;
	END LOOP;
	IF NOT ended THEN
		RAISE EXCEPTION 'table % is not forwarded', "table"
			USING ERRCODE = 'undefined_object',
				HINT = 'The view outbox.forward has the tables that are.';
	END IF;
END
$$;
REVOKE ALL ON FUNCTION outbox_unforward(regclass) FROM PUBLIC;
COMMENT ON FUNCTION outbox_unforward(regclass) IS 'ends what outbox_forward began';

CREATE VIEW outbox.forward AS
	SELECT t.tgrelid::pg_catalog.regclass AS "table",
		@extschema@.outbox_forward_columns(t.tgrelid, c.tgqual) AS columns,
		@extschema@.outbox_trigger_argument(t.tgargs, 'aggregate_type') AS aggregate_type,
		@extschema@.outbox_trigger_argument(t.tgargs, 'event_type') AS event_type,
		@extschema@.outbox_trigger_argument(t.tgargs, 'topic') AS topic,
		@extschema@.outbox_trigger_argument(t.tgargs, 'format') AS format,
		pg_catalog."substring"(pg_catalog.pg_get_triggerdef(t.oid),
			' WHEN \((.*)\) EXECUTE FUNCTION [^ ]*outbox_forward_row"?\(') AS "when",
		@extschema@.outbox_trigger_argument(t.tgargs, 'keep') IS NULL AS keep,
		t.tgenabled = 'A' AS "always",
		t.tgenabled <> 'D' AS enabled
	FROM pg_catalog.pg_trigger t
	LEFT JOIN pg_catalog.pg_trigger c ON c.tgrelid = t.tgrelid AND c.tgfoid = t.tgfoid
		AND @extschema@.outbox_trigger_argument(c.tgargs, 'columns') IS NOT NULL
	WHERE t.tgfoid = '@extschema@.outbox_forward_row()'::pg_catalog.regprocedure::pg_catalog.oid
		AND t.tgparentid = 0::pg_catalog.oid
		AND @extschema@.outbox_trigger_argument(t.tgargs, 'columns') IS NULL;
REVOKE ALL ON outbox.forward FROM PUBLIC;
COMMENT ON VIEW outbox.forward IS 'outbox tables of applications whose rows are emitted';
COMMENT ON COLUMN outbox.forward.columns IS 'what each column is for';
COMMENT ON COLUMN outbox.forward.topic IS 'NULL: by the aggregate type';
COMMENT ON COLUMN outbox.forward.keep IS 'false: rows are removed as they are emitted';
COMMENT ON COLUMN outbox.forward."always" IS 'also what logical replication inserts is emitted';
GRANT SELECT ON outbox.forward TO pg_monitor;
GRANT EXECUTE ON FUNCTION outbox_forward_columns(oid, pg_node_tree) TO pg_monitor;

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
	' AND NOT EXISTS (SELECT FROM outbox.dead_letter d WHERE d.uid = event.uid) ORDER BY id');
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
