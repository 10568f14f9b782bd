--
-- outbox_emit_event: topic, key, trace and the plain format; formats.sql has the others
--
-- what the server has as its defaults must not matter here
SET client_min_messages = error;
SET default_transaction_read_only = off;
SET session_replication_role = origin;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET search_path = public;
SET client_encoding = 'UTF8';
CREATE EXTENSION IF NOT EXISTS outbox;
SET client_min_messages = notice;
SET outbox.format = plain;
SET outbox.topic_template = DEFAULT;

-- headers as they are encoded, one per line; complains if there is more or less
CREATE FUNCTION domain_headers(headers bytea) RETURNS text LANGUAGE plpgsql STRICT AS $$
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
	RETURN result;
END
$$;
CREATE TEMP VIEW last AS
	SELECT topic, encode(key, 'escape') AS key, partition, domain_headers(headers) AS headers, encode(payload, 'escape') AS payload
	FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
-- the key of an event with this id
CREATE TEMP VIEW last_key AS SELECT coalesce(quote_literal(key), 'none') AS key FROM last;
\pset null null

-- the least, and all that every format has
SELECT outbox_emit_event('order', '42', 'OrderPaid') IS NOT NULL AS emitted;
SELECT topic, key, partition, regexp_replace(headers, '(created_at = ).*', '\1...') AS headers, payload FROM last;
SELECT to_char(created AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') = substring((SELECT headers FROM last) FROM 'created_at = (.*)') AS time_of_the_row,
	created BETWEEN now() - interval '1 hour' AND now() AS of_the_emit
FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
SELECT outbox_emit_event('order', 42, 'OrderPaid', '{"state":"paid"}'::jsonb, '{"user":"u-7","n":1.50,"many":["a","b"]}',
	"timestamp" => '2020-02-03 04:05:06.789012+00', partition => 3) IS NOT NULL AS emitted;
TABLE last;
-- byte for byte
SELECT encode(headers, 'hex') AS headers FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;

-- the result is the uid
SELECT outbox_emit_event('order', '42', 'OrderPaid') AS result \gset
SELECT uid = :'result' AS is_uid, domain_headers(headers) NOT LIKE 'id = %' AS not_stored_twice FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
-- or the id that was given: the first header, beside a uid of its own
SELECT outbox_emit_event('order', '42', 'OrderPaid', event_id => 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', "timestamp" => '2020-02-03 04:05:06Z');
TABLE last;
SELECT uid::text LIKE '________-____-7___-____-____________' AS has_uid FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;

-- what is none makes no header, what is empty does
SELECT outbox_emit_event('order', NULL, NULL, "timestamp" => '2020-01-01Z') IS NOT NULL AS emitted; TABLE last;
SELECT outbox_emit_event('order', '', '', '', '{}', "timestamp" => '2020-01-01Z') IS NOT NULL AS emitted; TABLE last;
SELECT outbox_emit_event('order', '1', 'é', '{"ä": 1}', '{"ü": "ö"}', "timestamp" => '2020-01-01Z') IS NOT NULL AS emitted; TABLE last;

-- metadata: as headers of outbox_emit, and what they cannot hold as its JSON text
SELECT outbox_emit_event('order', '1', 'e', NULL, '{"s":"x","n":1.50,"b":true,"z":null,"raw":{"base64":"AP8="},"o":{"a":{"base64":1}},"a":["x",1,null,{"b":1},[1,"y"]],"e":[],"u":{"base64":1},"v":{}}',
	"timestamp" => '2020-01-01Z') IS NOT NULL AS emitted; TABLE last;

-- aggregate ids
CREATE DOMAIN domain_json AS jsonb;
CREATE DOMAIN domain_uuid AS uuid;
SELECT outbox_emit_event('order', 'text'::text, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', 'v'::varchar(5), 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::domain_uuid, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', -7::bigint, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', '\x00ff'::bytea, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', '"text"'::jsonb, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', '"domain"'::domain_json, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', '1.50'::jsonb, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', 'true'::jsonb, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', 'null'::jsonb, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', NULL::jsonb, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', '{"b":1,"a":[2]}'::jsonb, 'e') IS NOT NULL AS emitted; TABLE last_key;
SELECT outbox_emit_event('order', '[1,"x"]'::jsonb, 'e') IS NOT NULL AS emitted; TABLE last_key;

-- payloads are those of outbox_emit
CREATE TEMP VIEW last_payload AS SELECT coalesce(quote_literal(payload), 'none') AS payload FROM last;
SELECT outbox_emit_event('order', 1, 'e', 'text') IS NOT NULL AS emitted; TABLE last_payload;
SELECT outbox_emit_event('order', 1, 'e', '{ "a" : 1 }'::json) IS NOT NULL AS emitted; TABLE last_payload;
SELECT outbox_emit_event('order', '1', 'e', '{ "a" : 1 }'::jsonb) IS NOT NULL AS emitted; TABLE last_payload;
SELECT outbox_emit_event('order', 1, 'e', '\x0001ff'::bytea) IS NOT NULL AS emitted; TABLE last_payload;
SELECT outbox_emit_event('order', 1, 'e', x) IS NOT NULL AS emitted FROM (VALUES (1, 'one')) AS x (number, name); TABLE last_payload;
SELECT outbox_emit_event('order', 1, 'e', NULL) IS NOT NULL AS emitted; TABLE last_payload;
SELECT outbox_emit_event('order', 1, 'e', NULL::bytea) IS NOT NULL AS emitted; TABLE last_payload;

-- what was toasted and compressed in a table
CREATE TEMP TABLE domain_large (type text, id text, event text, payload text, metadata jsonb);
INSERT INTO domain_large VALUES ('order', repeat('i', 3000), repeat('e', 3000), repeat('p', 30000), jsonb_build_object('m', repeat('m', 3000)));
ALTER TABLE domain_large ALTER event SET STORAGE EXTERNAL;
INSERT INTO domain_large SELECT * FROM domain_large;
SELECT count(outbox_emit_event(type, id, event, payload, metadata)) FROM domain_large;
SELECT length(key) AS key, length(payload) AS payload, length(headers) AS headers FROM last;

-- untyped parameters, by position and by name
PREPARE untyped4 AS SELECT outbox_emit_event($1, $2, $3, $4) IS NOT NULL;
PREPARE untyped_all AS SELECT outbox_emit_event(aggregate_type => $1, aggregate_id => $2, event_type => $3, payload => $4, metadata => $5,
	topic => $6, format => $7, event_id => $8, "timestamp" => $9, partition => $10, traceparent => $11, tracestate => $12, trace_id => $13,
	subject => $14, dataschema => $15, datacontenttype => $16, source => $17, extensions => $18);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'untyped%' ORDER BY name;
EXECUTE untyped4('order', 'k', 'e', 'p'); TABLE last_key;
EXECUTE untyped_all('order', 'k', 'e', 'p', '{"m":1}', 'named', 'plain', '01890000-0000-7000-8000-000000000001', '2020-01-01Z', 4,
	'00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'a=1', 't', NULL, NULL, NULL, NULL, NULL);
TABLE last;
SELECT oid::regprocedure AS function, pg_get_function_result(oid) AS result, provolatile, proparallel, prosecdef, proargnames
FROM pg_proc WHERE proname = 'outbox_emit_event' ORDER BY oid::regprocedure::text COLLATE "C";

-- topics: of the call, of the aggregate type, by the template
CREATE TEMP VIEW last_topic AS SELECT topic FROM last;
SELECT outbox_set_aggregate_type('order', topic => 'purchases');
SELECT outbox_emit_event('order', 1, 'e', topic => 'of.call') IS NOT NULL AS emitted; TABLE last_topic;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
SELECT outbox_emit_event('Order', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
SELECT outbox_emit_event('purchases', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
-- a type without rule that is as long as one with
SELECT outbox_emit_event('ordes', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
SET outbox.topic_template = 'a.{aggregate_type}.b-{aggregate_type}';
SELECT outbox_emit_event('bill', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
SET outbox.topic_template = 'all';
SELECT outbox_emit_event('bill', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
SET outbox.topic_template = '{aggregate_type}';
SELECT outbox_emit_event(repeat('t', 249), 1, 'e') IS NOT NULL AS emitted; SELECT length(topic) FROM last_topic;
RESET outbox.topic_template;

-- many rules: each is found
BEGIN;
SELECT count(outbox_set_aggregate_type(repeat('n', n % 7) || n, topic => 't' || n)) FROM generate_series(1, 40) n;
SELECT count(outbox_emit_event(repeat('n', n % 7) || n, n, 'e')) FROM generate_series(1, 41) n;
SELECT count(*) FROM (SELECT topic, encode(key, 'escape') AS n FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 41) e WHERE topic = 't' || n;
TABLE last_topic;
ROLLBACK;

-- formats: of the call, of the topic, of the aggregate type, of the session
CREATE TEMP VIEW last_format AS
	SELECT CASE WHEN headers LIKE '%application/cloudevents%' THEN 'cloudevents-structured'
		WHEN headers LIKE '%ce_specversion%' THEN 'cloudevents-binary'
		WHEN headers LIKE '%aggregate_type%' THEN 'plain' WHEN headers IS NULL THEN 'debezium' END AS format FROM last;
SET outbox.format = 'cloudevents-binary';
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_format;
SELECT outbox_set_aggregate_type('order', format => 'cloudevents-structured');
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_format;
SELECT outbox_emit_event('order', 1, 'e', topic => 'other') IS NOT NULL AS emitted; TABLE last_format;
SELECT outbox_emit_event('bill', 1, 'e') IS NOT NULL AS emitted; TABLE last_format;
SELECT outbox_set_topic('purchases', format => 'debezium');
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_format;
SELECT outbox_emit_event('bill', 1, 'e', topic => 'purchases') IS NOT NULL AS emitted; TABLE last_format;
SELECT outbox_emit_event('order', 1, 'e', format => 'plain') IS NOT NULL AS emitted; TABLE last_format;
SELECT outbox_emit_event('order', 1, 'e', topic => 'other') IS NOT NULL AS emitted; TABLE last_format;
SET outbox.format = plain;

-- what is set: NULL leaves it, '' takes it away, and so does what is undone
TABLE outbox.aggregate_type;
SELECT * FROM outbox.topic WHERE topic = 'purchases';
SELECT outbox_set_topic('purchases', on_refusal => 'skip');
SELECT * FROM outbox.topic WHERE topic = 'purchases';
BEGIN;
SELECT outbox_set_topic('purchases', format => '');
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_format;
SAVEPOINT s;
SELECT outbox_set_aggregate_type('order', topic => '', format => 'plain');
TABLE outbox.aggregate_type;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_format; TABLE last_topic;
ROLLBACK TO s;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_format; TABLE last_topic;
ROLLBACK;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_format;
SELECT outbox_set_aggregate_type('order', format => '');
TABLE outbox.aggregate_type;
SELECT outbox_set_aggregate_type('order', topic => '');
TABLE outbox.aggregate_type;
SELECT outbox_set_aggregate_type('order');
TABLE outbox.aggregate_type;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
-- however the tables are changed
INSERT INTO outbox.aggregate_type VALUES ('order', 'inserted');
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
SET session_replication_role = replica;
UPDATE outbox.aggregate_type SET topic = 'updated';
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
SET session_replication_role = origin;
DELETE FROM outbox.aggregate_type;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
INSERT INTO outbox.aggregate_type VALUES ('order', 'inserted');
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
TRUNCATE outbox.aggregate_type;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_topic;
SELECT outbox_set_topic('purchases', format => '');
SELECT * FROM outbox.topic WHERE topic = 'purchases';

-- the trace: of the call, or of the session unless the metadata has it
CREATE TEMP VIEW last_trace AS SELECT substring(headers FROM 'created_at = [^\n]*\n?(.*)') AS trace FROM last;
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"m":1}', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate => 'congo=t61rcWkgMzE, rojo=00f067aa0ba902b7') IS NOT NULL AS emitted; TABLE last_trace;
SELECT outbox_emit_event('order', 1, 'e', trace_id => 'any id') IS NOT NULL AS emitted; TABLE last_trace;
SET outbox.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00';
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_trace;
SET outbox.tracestate = 'a=1';
SET outbox.trace_id = 'of session';
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_trace;
SELECT outbox_emit_event('order', 1, 'e', trace_id => 'of call') IS NOT NULL AS emitted; TABLE last_trace;
SELECT outbox_emit_event('order', 1, 'e', traceparent => '') IS NOT NULL AS emitted; TABLE last_trace;
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"trace_id": "of metadata"}') IS NOT NULL AS emitted; TABLE last_trace;
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"traceparent": "of metadata"}') IS NOT NULL AS emitted; TABLE last_trace;
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"tracestate": "of metadata"}') IS NOT NULL AS emitted; TABLE last_trace;
RESET outbox.traceparent;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_trace;
RESET outbox.trace_id;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_trace;
RESET outbox.tracestate;
BEGIN;
SET LOCAL outbox.trace_id = 'of transaction';
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_trace;
COMMIT;
SELECT outbox_emit_event('order', 1, 'e') IS NOT NULL AS emitted; TABLE last_trace;
-- later versions may go on
SELECT outbox_emit_event('order', 1, 'e', traceparent => 'cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more') IS NOT NULL AS emitted;
SELECT outbox_emit_event('order', 1, 'e', traceparent => 'cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01') IS NOT NULL AS emitted;
SELECT outbox_emit_event('order', 1, 'e', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
	tracestate => (SELECT string_agg('k' || n || '=v', ',') FROM generate_series(1, 32) n)) IS NOT NULL AS emitted;

--
-- everything that is refused
--
CREATE TEMP VIEW before AS SELECT max(id) AS id FROM outbox.event;
SELECT id AS before FROM before \gset
SELECT outbox_emit_event(NULL, 1, 'e');
SELECT outbox_emit_event('', 1, 'e');
SELECT outbox_emit_event('two words', 1, 'e');
SELECT outbox_emit_event(repeat('t', 250), 1, 'e');
SELECT outbox_emit_event('ärger', 1, 'e');
SELECT outbox_emit_event('order', 1, 'e', topic => 'no topic');
SELECT outbox_emit_event('order', 1, 'e', topic => '');
SELECT outbox_emit_event('order', 1, 'e', topic => repeat('t', 250));
SELECT outbox_emit_event('order', 1, 'e', format => 'avro');
SELECT outbox_emit_event('order', 1, 'e', format => 'Plain');
SELECT outbox_emit_event('order', 1, 'e', format => '');
SELECT outbox_emit_event('order', 1, 'e', partition => -1);
SELECT outbox_emit_event('order', 1, 'e', "timestamp" => 'infinity');
SELECT outbox_emit_event('order', 1, 'e', "timestamp" => '-infinity');
SELECT outbox_emit_event('order', 1, 'e', "timestamp" => '1969-12-31 23:59:59.999999Z');
SELECT outbox_emit_event('order', 1, 'e', "timestamp" => '10000-01-01Z');
SELECT outbox_emit_event('order', '{}'::json, 'e');
SELECT outbox_emit_event('order', ARRAY[1], 'e');
SELECT outbox_emit_event('order', row(1), 'e');
SELECT outbox_emit_event('order', interval '1 day', 'e');
SELECT outbox_emit_event('order', NULL::int[], 'e');
SELECT outbox_emit_event('order', 1, 'e', 42);
SELECT outbox_emit_event('order', 1, 'e', ARRAY['a']);
SELECT outbox_emit_event('order', 1, 'e', NULL, '[]');
SELECT outbox_emit_event('order', 1, 'e', NULL, '"m"');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"id": 1}');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"": 1}');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"a": {"base64": "A"}}');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"event_type": 1}');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"aggregate_type": 1}');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"aggregate_id": 1}');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"created_at": 1}');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"trace_id": 1}', trace_id => 'x');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"traceparent": 1}', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
SELECT outbox_emit_event('order', 1, 'e', NULL, '{"tracestate": 1}', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate => 'a=1');
SELECT outbox_emit_event('order', 1, 'e', extensions => '{}');
SELECT outbox_emit_event('order', 1, 'e', subject => 's');
SELECT outbox_emit_event('order', 1, 'e', dataschema => 's');
SELECT outbox_emit_event('order', 1, 'e', datacontenttype => 's');
SELECT outbox_emit_event('order', 1, 'e', source => 's');
SELECT outbox_emit_event('order', 1, 'e', format => 'debezium', extensions => '{}');
SELECT outbox_emit_event('order', 1, 'e', tracestate => 'a=1');
SELECT outbox_emit_event('order', 1, 'e', trace_id => E'a\tb');

-- traces that are none
CREATE FUNCTION domain_error(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END
$$;
SELECT value, domain_error(format('SELECT outbox_emit_event(%L, 1, %L, traceparent => %L)', 'order', 'e', value)) AS argument,
	domain_error(format('SET LOCAL outbox.traceparent = %L', value)) AS setting
FROM (VALUES ('x'),
	('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0'),
	('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-'),
	('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011'),
	('cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011'),
	('ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
	('00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01'),
	('00-00000000000000000000000000000000-00f067aa0ba902b7-01'),
	('00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01'),
	('00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
	('0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01')) AS v (value);
SELECT value, domain_error(format('SELECT outbox_emit_event(%L, 1, %L, traceparent => %L, tracestate => %L)', 'order', 'e',
		'00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', value)) AS argument,
	domain_error(format('SET LOCAL outbox.tracestate = %L', value)) AS setting
FROM (VALUES ('a'), ('=1'), ('a='), ('A=1'), (','), (' '), ('a=1;b=2'), ('a=1=2'), ('a=1, b'), ('a=ä'), ('-a=1')) AS v (value);
SELECT domain_error(format('SET outbox.tracestate = %L', (SELECT string_agg('k' || n || '=v', ',') FROM generate_series(1, 33) n))) LIKE '22023 invalid value%' AS too_many;
SET outbox.traceparent = 'x';
SET outbox.tracestate = 'x';
SET outbox.trace_id = E'a\nb';

-- settings that are none
SET outbox.format = 'avro';
SET outbox.topic_template = '';
SET outbox.topic_template = '{type}';
SET outbox.topic_template = '{aggregate_type';
SET outbox.topic_template = 'aggregate_type}';
SET outbox.topic_template = 'x{{aggregate_type}}';
SET outbox.topic_template = 'no topic';
SELECT outbox_emit_event('order', 1, 'e');
RESET outbox.topic_template;

-- what is set for types and topics
SELECT outbox_set_aggregate_type(NULL, topic => 't');
SELECT outbox_set_aggregate_type('', topic => 't');
SELECT outbox_set_aggregate_type('order', topic => 'no topic');
SELECT outbox_set_aggregate_type('order', topic => '..');
SELECT outbox_set_aggregate_type('order', topic => repeat('t', 250));
SELECT outbox_set_aggregate_type('order', format => 'avro');
SELECT outbox_set_topic('t', format => 'avro');
SELECT outbox_set_topic('', format => 'plain');
INSERT INTO outbox.aggregate_type VALUES ('order', NULL, 'avro');
INSERT INTO outbox.aggregate_type VALUES ('order', 'no topic', NULL);
INSERT INTO outbox.aggregate_type VALUES ('', 't', NULL);
CREATE TEMP TABLE domain_table (id int);
CREATE TRIGGER wrong BEFORE INSERT ON domain_table FOR EACH ROW EXECUTE FUNCTION outbox_forget_rules();
INSERT INTO domain_table VALUES (1);

-- codes, and the size
SELECT what, substr(domain_error(format('SELECT outbox_emit_event(%s)', arguments)), 1, 5) AS error
FROM (VALUES
	('null aggregate_type', $$NULL, 1, 'e'$$),
	('topic by template', $$'a b', 1, 'e'$$),
	('format', $$'order', 1, 'e', format => 'x'$$),
	('aggregate_id', $$'order', ARRAY[1], 'e'$$),
	('payload', $$'order', 1, 'e', 42$$),
	('too large', $$'order', 1, 'e', repeat('p', 70000000)$$)) AS v (what, arguments);
BEGIN READ ONLY;
SELECT outbox_emit_event('order', 1, 'e');
ROLLBACK;

-- nothing of it was stored
SELECT max(id) = :before AS nothing FROM outbox.event;

-- privileges: EXECUTE is enough, also where rules are read
SELECT outbox_set_aggregate_type('order', topic => 'purchases');
CREATE ROLE regress_outbox_domain;
SET ROLE regress_outbox_domain;
SELECT outbox_emit_event('order', '1', 'e', 'p');
SELECT outbox_emit_event('order', 1, 'e', 'p');
SELECT outbox_emit_event('order', '1', 'e', '{}'::jsonb);
SELECT outbox_emit_event('order', 1, 'e', '{}'::jsonb);
SELECT outbox_set_aggregate_type('order', topic => 'mine');
RESET ROLE;
GRANT EXECUTE ON FUNCTION
	outbox_emit_event(text, "any", text, "any", jsonb, text, text, uuid, timestamptz, integer, text, text, text, text, text, text, text, jsonb)
TO regress_outbox_domain;
-- a new session, which has no rules in memory
\c -
SET search_path = public;
SET client_min_messages = warning;
SET outbox.format = plain;
SET ROLE regress_outbox_domain;
SELECT outbox_emit_event('order', 1, 'e', '{}'::jsonb) IS NOT NULL AS emitted;
SET outbox.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SELECT count(*) FROM outbox.aggregate_type;
RESET ROLE;
SELECT topic FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
-- what the manual grants is enough to set
GRANT USAGE ON SCHEMA outbox TO regress_outbox_domain;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox.aggregate_type TO regress_outbox_domain;
GRANT EXECUTE ON FUNCTION outbox_set_aggregate_type TO regress_outbox_domain;
SET ROLE regress_outbox_domain;
SELECT outbox_set_aggregate_type('order', topic => 'granted');
RESET outbox.traceparent;
SELECT outbox_emit_event('order', 1, 'e', '{}'::jsonb) IS NOT NULL AS emitted;
RESET ROLE;
SELECT topic FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
SELECT outbox_set_aggregate_type('order', topic => '');
DROP OWNED BY regress_outbox_domain;
DROP ROLE regress_outbox_domain;
DROP DOMAIN domain_json, domain_uuid;
DROP FUNCTION domain_headers, domain_error;
