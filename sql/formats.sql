--
-- outbox_emit_event: the bytes of Debezium's and CloudEvents' formats
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

SET outbox.debezium_placement = '';
SET outbox.debezium_tombstone = off;
SET outbox.cloudevents_source = DEFAULT;

-- headers as they are encoded, one per line; complains if there is more or less
CREATE FUNCTION formats_headers(headers bytea) RETURNS text LANGUAGE plpgsql STRICT AS $$
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
	SELECT topic, encode(key, 'escape') AS key, partition, formats_headers(headers) AS headers, encode(payload, 'escape') AS payload
	FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
\pset null null

-- emits with an id and a time that are known, and shows what was stored
CREATE FUNCTION formats_emit(arguments text, OUT key text, OUT partition int, OUT headers text, OUT payload text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT outbox_emit_event(''order'', ' || arguments
		|| ', event_id => ''4d47e190-0402-4048-bd2c-89dd54343cdc'', "timestamp" => ''2020-02-03 04:05:06.789012Z'')';
	SELECT l.key, l.partition, l.headers, l.payload INTO key, partition, headers, payload FROM last l;
END
$$;

--
-- debezium
--
SET outbox.format = debezium;
SELECT outbox_emit_event('Order', '1', 'OrderPaid', '{"id": 1}'::jsonb, event_id => '4d47e190-0402-4048-bd2c-89dd54343cdc');
TABLE last;
SELECT encode(headers, 'hex') AS headers FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
-- without an id of its own the producer adds the uid
SELECT outbox_emit_event('Order', '1', 'OrderPaid', '{"id": 1}'::jsonb) IS NOT NULL AS emitted;
TABLE last;

-- keys and values
SELECT * FROM formats_emit($$ NULL, 'e', '{"n": 2.50,  "s": "x"}'::json $$);
SELECT * FROM formats_emit($$ '', 'e', ' ' $$);
SELECT * FROM formats_emit($$ 7, 'e', '\x0001ff'::bytea $$);
SELECT * FROM formats_emit($$ 7, 'e', 'null'::jsonb $$);
SELECT * FROM formats_emit($$ 7, NULL, NULL $$);
SELECT * FROM formats_emit($$ 7, NULL, '' $$);

-- an empty payload makes a tombstone: null, or text of which Java's trim() leaves nothing
SET outbox.debezium_tombstone = on;
SELECT payload FROM formats_emit($$ 7, 'e', NULL $$);
SELECT payload FROM formats_emit($$ 7, 'e', '' $$);
SELECT payload FROM formats_emit($$ 7, 'e', E' \t\r\n\x01' $$);
SELECT payload FROM formats_emit($$ 7, 'e', U&'\00a0' $$);
SELECT payload FROM formats_emit($$ 7, 'e', ' x ' $$);
SELECT payload FROM formats_emit($$ 7, 'e', '""'::jsonb $$);

-- an aggregate id of jsonb stays JSON
SELECT key FROM formats_emit($$ '"a-1"'::jsonb, 'e', 'p' $$);
SELECT key FROM formats_emit($$ 'null'::jsonb, 'e', 'p' $$);
SELECT key FROM formats_emit($$ '{"b":1,"a":[2]}'::jsonb, 'e', 'p' $$);
SELECT payload FROM formats_emit($$ 7, 'e', ''::bytea $$);
SELECT payload FROM formats_emit($$ 7, 'e', '\x20'::bytea $$);
RESET outbox.debezium_tombstone;

-- metadata and the trace behind the id
SELECT * FROM formats_emit($$ 7, 'e', 'p', '{"user":"u-7","many":["a","b"],"none":null}', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate => 'a=1', trace_id => 't' $$);

-- placements: headers in the order of the list, before all else
SET outbox.debezium_placement = 'type:header:eventType';
SELECT * FROM formats_emit($$ 7, 'OrderPaid', 'p', '{"user":"u-7"}', trace_id => 't' $$);
SELECT * FROM formats_emit($$ 7, NULL, 'p' $$);
SET outbox.debezium_placement = ' type : HEADER , aggregatetype:header,aggregateid:header:a,id:header:eventId,timestamp:header,payload:Header:body,tenant:header:t, missing:header';
SELECT * FROM formats_emit($$ 7, 'e', 'p', '{"tenant":"x","user":"u-7"}' $$);
SELECT headers FROM formats_emit($$ '\x00ff'::bytea, 'e', '\xfffe'::bytea $$);
SELECT headers FROM formats_emit($$ NULL, NULL, NULL $$);
-- what a column of the table would hold
SET outbox.debezium_placement = 's:header,n:header,b:header,o:header,a:header,z:header';
SELECT headers FROM formats_emit($$ 7, 'e', 'p', '{"s":"text","n":1.50,"b":true,"o":{"x":1,"base64":"AA=="},"a":[1,2],"z":null}' $$);
-- names of columns are those of Debezium's table, as it writes them
SET outbox.debezium_placement = 'Type:header';
SELECT headers FROM formats_emit($$ 7, 'e', 'p', '{"Type":"of metadata"}' $$);

-- partitions
SET outbox.debezium_placement = 'shard:partition, type:header';
SELECT partition, headers FROM formats_emit($$ 7, 'e', 'p', '{"shard":5}' $$);
SELECT partition, headers FROM formats_emit($$ 7, 'e', 'p', '{"shard":0}' $$);
SELECT partition, headers FROM formats_emit($$ 7, 'e', 'p', '{"shard":"3"}' $$);
SELECT partition, headers FROM formats_emit($$ 7, 'e', 'p', '{"shard":null}' $$);
SELECT partition, headers FROM formats_emit($$ 7, 'e', 'p' $$);
SELECT partition, headers FROM formats_emit($$ 7, 'e', 'p', '{"shard":5}', partition => 2 $$);

-- the envelope
SET outbox.debezium_placement = 'type:envelope,user:envelope:who,aggregateid:envelope:id,x:header';
SELECT * FROM formats_emit($$ 7, 'OrderPaid', '{"a":1}'::jsonb, '{"user":"u-7","x":1,"y":2}' $$);
SELECT payload FROM formats_emit($$ NULL, 'e', '{' $$);
SELECT payload FROM formats_emit($$ NULL, NULL, '' $$);
SELECT payload FROM formats_emit($$ NULL, NULL, NULL $$);
SELECT payload FROM formats_emit($$ NULL, 'e', NULL $$);
SET outbox.debezium_tombstone = on;
SELECT payload FROM formats_emit($$ 7, 'e', NULL $$);
SELECT payload FROM formats_emit($$ 7, 'e', 'p' $$);
RESET outbox.debezium_tombstone;

-- what is refused
SELECT formats_emit($$ 7, 'e', '\x00'::bytea $$);
\set VERBOSITY terse
SET outbox.debezium_placement = 'shard:partition';
SELECT formats_emit($$ 7, 'e', 'p', '{"shard":-1}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '{"shard":1.5}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '{"shard":2147483648}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '{"shard":"2147483648"}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '{"shard":"-1"}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '{"shard":"1 "}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '{"shard":""}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '{"shard":[1]}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '[1]' $$);
SET outbox.debezium_placement = 'type:header:eventType';
SELECT formats_emit($$ 7, 'e', 'p', '{"eventType":1}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '{"id":1}' $$);
SELECT formats_emit($$ 7, 'e', 'p', '{"trace_id":1}', trace_id => 't' $$);
SELECT formats_emit($$ 7, 'e', 'p', subject => 's' $$);
\set VERBOSITY default
-- settings that are none; the one before stays
SET outbox.debezium_placement = 'type';
SET outbox.debezium_placement = 'type:header:a:b';
SET outbox.debezium_placement = 'type:value';
SET outbox.debezium_placement = 'type:header,';
SET outbox.debezium_placement = ':header';
SET outbox.debezium_placement = 'type:header:';
SET outbox.debezium_placement = 'type:partition';
SET outbox.debezium_placement = 'type:header:id';
SET outbox.debezium_placement = 'id:header';
SET outbox.debezium_placement = 'body:envelope:payload';
SET outbox.debezium_placement = 'a:envelope:x,b:envelope:x';
SELECT headers FROM formats_emit($$ 7, 'e', 'p' $$);
SET outbox.debezium_placement = ' ';
SELECT headers FROM formats_emit($$ 7, 'e', 'p' $$);
-- a name that is too long for a header
SELECT length(set_config('outbox.debezium_placement', 'type:header:' || repeat('x', 65537), false));
SELECT headers FROM formats_emit($$ 7, 'e', 'p' $$);
RESET outbox.debezium_placement;

--
-- cloudevents-binary
--
SET outbox.format = 'cloudevents-binary';
SELECT replace(headers, current_database(), 'DATABASE') AS headers FROM formats_emit($$ 42, 'OrderPaid' $$);
SET outbox.cloudevents_source = '/shop';
SELECT * FROM formats_emit($$ 42, 'OrderPaid', '{"id": 1}'::jsonb $$);
SELECT encode(headers, 'hex') AS headers FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
-- the uid is the id, if there is no other
SELECT outbox_emit_event('order', 42, 'OrderPaid') AS result \gset
SELECT headers LIKE '%ce_id = ' || :'result' || E'\n%' AS id_is_uid, headers NOT LIKE 'id = %' AS no_other FROM last;
-- all attributes
SELECT * FROM formats_emit($$ 42, 'OrderPaid', 'a,b', '{"user":"ü"}', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate => 'a=1', trace_id => 't',
	subject => 'sübject', dataschema => 'https://example.com/s?v=1#x', datacontenttype => 'text/csv; charset=utf-8', source => 'urn:example:shop', partition => 3,
	extensions => '{"text":"x y","empty":"","yes":true,"no":false,"n":-2147483648,"none":null,"a1234567890123456789":2147483647}' $$);

-- data: its type by that of the argument, null for none
SELECT headers, payload FROM formats_emit($$ 42, 'e', '{"a" :  1}'::json $$);
SELECT headers, payload FROM formats_emit($$ 42, 'e', ' [1, 2]' $$);
SELECT headers, payload FROM formats_emit($$ 42, 'e', row(1) $$);
SELECT headers, payload FROM formats_emit($$ 42, 'e', '\x0001ff'::bytea $$);
SELECT headers, payload FROM formats_emit($$ 42, 'e', NULL::bytea $$);
SELECT headers, payload FROM formats_emit($$ 42, 'e', NULL, datacontenttype => 'application/json' $$);
SELECT headers, payload FROM formats_emit($$ 42, 'e', '\x0001ff'::bytea, datacontenttype => 'application/avro' $$);
SELECT headers, payload FROM formats_emit($$ 42, 'e', 'not JSON', datacontenttype => 'text/plain' $$);
SELECT headers, payload FROM formats_emit($$ 42, 'e', 'null'::jsonb $$);

-- an aggregate id that is no text, or none, is no attribute
SELECT headers FROM formats_emit($$ NULL, 'e' $$);
SELECT headers FROM formats_emit($$ '', 'e' $$);
SELECT headers FROM formats_emit($$ '\x41'::bytea, 'e' $$);
SELECT key, headers FROM formats_emit($$ '{"a":1}'::jsonb, 'e' $$);
SELECT headers FROM formats_emit($$ '\x41'::bytea, 'e', subject => 's' $$);

-- sources by the template
SET outbox.cloudevents_source = 'https://example.com/{database}/{aggregate_type}?x#{aggregate_type}';
SELECT outbox_emit_event('a b/c:ä%~', 42, 'e', topic => 'source') IS NOT NULL AS emitted;
SELECT replace(substring(headers FROM 'ce_source = ([^\n]*)'), current_database(), 'DATABASE') AS source FROM last;
SET outbox.cloudevents_source = '{aggregate_type}';
SELECT outbox_emit_event('a:b', 42, 'e', topic => 'source') IS NOT NULL AS emitted;
SELECT substring(headers FROM 'ce_source = ([^\n]*)') AS source FROM last;
SET outbox.cloudevents_source = '/shop';

--
-- cloudevents-structured
--
SET outbox.format = 'cloudevents-structured';
SELECT * FROM formats_emit($$ 42, 'OrderPaid', '{"id": 1}'::jsonb $$);
SELECT * FROM formats_emit($$ 42, 'OrderPaid', 'a,b', '{"user":"ü"}', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate => 'a=1', trace_id => 't',
	subject => 's', dataschema => 'https://example.com/s', datacontenttype => 'text/csv', source => 'urn:example:shop',
	extensions => '{"text":"x","yes":true,"no":false,"n":-7,"none":null}' $$);
-- data: JSON as it is, text as a string, bytes in base64, none without a member
SELECT payload FROM formats_emit($$ 42, 'e', '{ "a" :  1.0 }'::json $$);
SELECT payload FROM formats_emit($$ 42, 'e', ' [1, 2]' $$);
SELECT payload FROM formats_emit($$ 42, 'e', '"text"' $$);
SELECT payload FROM formats_emit($$ 42, 'e', '{}', datacontenttype => 'application/vnd.x+JSON; v=1' $$);
SELECT payload FROM formats_emit($$ 42, 'e', '{}', datacontenttype => 'application/xjson' $$);
SELECT payload FROM formats_emit($$ 42, 'e', '{}'::jsonb, datacontenttype => 'text/plain' $$);
SELECT payload FROM formats_emit($$ 42, 'e', row(1, 'x') $$);
SELECT payload FROM formats_emit($$ 42, 'e', E'"\\/\b\f\n\r\t\x01\x7f', datacontenttype => 'text/plain' $$);
SELECT payload FROM formats_emit($$ 42, 'e', '', datacontenttype => 'text/plain' $$);
SELECT payload FROM formats_emit($$ 42, 'e', '\x0001ff'::bytea $$);
SELECT payload FROM formats_emit($$ 42, 'e', ''::bytea $$);
SELECT payload FROM formats_emit($$ 42, 'e', '\x7b7d'::bytea, datacontenttype => 'application/json' $$);
SELECT payload FROM formats_emit($$ 42, 'e', NULL $$);
SELECT payload FROM formats_emit($$ 42, 'e', 'null'::jsonb $$);
SELECT payload FROM formats_emit($$ NULL, 'a "quoted" type' $$);
-- it is JSON whatever is in it
SELECT count(convert_from(payload, 'UTF8')::json) > 0 AS parsed FROM outbox.event WHERE origin <> 0 AND formats_headers(headers) LIKE '%application/cloudevents%';

-- what is refused, in both
CREATE FUNCTION formats_error(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	PERFORM formats_emit(arguments);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	-- the words of the server's JSON parser are its own
	RETURN concat_ws(E'\n', sqlstate || ' ' || message,
		nullif(CASE WHEN message LIKE '%JSON, as%' THEN '...' ELSE detail END, ''), nullif(hint, ''));
END
$$;
CREATE FUNCTION formats_errors(arguments text, OUT in_binary text, OUT in_structured text) LANGUAGE plpgsql AS $$
BEGIN
	in_binary := formats_error(arguments || $a$, format => 'cloudevents-binary' $a$);
	in_structured := formats_error(arguments || $a$, format => 'cloudevents-structured' $a$);
	IF replace(in_structured, 'cloudevents-structured', 'cloudevents-binary') = in_binary THEN
		in_structured := 'the same';
	END IF;
END
$$;
SELECT a.arguments, e.* FROM (VALUES
	($$ 42, NULL $$), ($$ 42, '' $$), ($$ 42, E'a\nb' $$), ($$ 42, U&'a\0085' $$), ($$ 42, U&'\fdd0' $$), ($$ 42, U&'\+01ffff' $$),
	($$ E'4\t2', 'e' $$),
	($$ 42, 'e', 'not JSON' $$), ($$ 42, 'e', '' $$), ($$ 42, 'e', '{"a":1,}' $$), ($$ 42, 'e', '{} {}' $$),
	($$ 42, 'e', 'x', datacontenttype => 'text/json' $$), ($$ 42, 'e', 'x', datacontenttype => 'a/b+json;c' $$),
	($$ 42, 'e', '{}', datacontenttype => '' $$), ($$ 42, 'e', '{}', datacontenttype => 'json' $$), ($$ 42, 'e', '{}', datacontenttype => 'a/' $$),
	($$ 42, 'e', '{}', datacontenttype => '/a' $$), ($$ 42, 'e', '{}', datacontenttype => 'a/b c' $$), ($$ 42, 'e', '{}', datacontenttype => E'a/b;\n' $$),
	($$ 42, 'e', '{}', datacontenttype => 'Application/CloudEvents+json' $$),
	($$ 42, 'e', subject => '' $$), ($$ 42, 'e', subject => E'a\x7f' $$),
	($$ 42, 'e', source => '' $$), ($$ 42, 'e', source => 'two words' $$), ($$ 42, 'e', dataschema => '' $$), ($$ 42, 'e', dataschema => '/relative' $$),
	($$ 42, 'e', extensions => '[]' $$), ($$ 42, 'e', extensions => '{"":1}' $$), ($$ 42, 'e', extensions => '{"Upper":1}' $$), ($$ 42, 'e', extensions => '{"under_score":1}' $$),
	($$ 42, 'e', extensions => '{"a12345678901234567890":1}' $$), ($$ 42, 'e', extensions => '{"a":1.5}' $$), ($$ 42, 'e', extensions => '{"a":2147483648}' $$),
	($$ 42, 'e', extensions => '{"a":[]}' $$), ($$ 42, 'e', extensions => '{"a":{}}' $$), ($$ 42, 'e', extensions => '{"a":"\n"}' $$),
	($$ 42, 'e', NULL, '{"content-type":1}' $$), ($$ 42, 'e', NULL, '{"Content-Type":1}' $$), ($$ 42, 'e', NULL, '{"ce_x":1}' $$), ($$ 42, 'e', NULL, '{"id":1}' $$), ($$ 42, 'e', NULL, '[]' $$),
	($$ 42, 'e', trace_id => U&'\0085' $$)
	) AS a (arguments), formats_errors(arguments) AS e;
-- every name that is an attribute
SELECT name, split_part(in_binary, E'\n', 1) AS error, in_structured
FROM unnest('{id,source,specversion,type,time,subject,dataschema,datacontenttype,data,partitionkey,traceparent,tracestate,traceid}'::text[]) AS name,
	formats_errors(format($$ 42, 'e', extensions => '{%s:1}' $$, to_json(name)));

-- URIs: what is one as a source, and as a schema
CREATE FUNCTION formats_taken(arguments text) RETURNS bool LANGUAGE sql AS
	$$ SELECT formats_error(arguments) = 'no error' $$;
SELECT uri, formats_taken(format($$ 42, 'e', source => %L $$, uri)) AS source, formats_taken(format($$ 42, 'e', dataschema => %L $$, uri)) AS dataschema
FROM (VALUES ('/'), ('a'), ('a/b'), ('?q'), ('#f'), ('//host'), ('urn:a:b'), ('http://user:p@host:80/p;a=1?q=/?#f/?'), ('http://[::1]:80/'), ('http://[::1]'), ('mailto:a@b'), ('a%20b'), ('x:'),
	('1a:b'), (':a'), ('a b'), ('ä'), ('a%2'), ('a%zz'), ('a#b#c'), ('<a>'), ('a"b'), ('a\b'), ('a^b'), ('a`b'), ('{a}'), ('a|b'), ('[a]'), ('http://[::1'), ('http://[::1]x'), ('http://h:8x'), ('http://a b/'), ('a@b:c')) AS v (uri);

-- settings that are none
SET outbox.cloudevents_source = '';
SET outbox.cloudevents_source = 'two words';
SET outbox.cloudevents_source = '{schema}';
SET outbox.cloudevents_source = '/{database';
SET outbox.cloudevents_source = 'http://host:{database}';
SET outbox.cloudevents_source = '/ä';
RESET outbox.cloudevents_source;

DROP FUNCTION formats_taken, formats_errors, formats_error, formats_emit;
DROP VIEW last;
DROP FUNCTION formats_headers;
