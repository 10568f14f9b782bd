--
-- outbox_headers: stored headers, shown
--
-- what the server has as its defaults must not matter here
SET client_min_messages = error;
SET default_transaction_read_only = off;
SET session_replication_role = origin;
SET search_path = public;
SET client_encoding = 'UTF8';
CREATE EXTENSION IF NOT EXISTS outbox;
SET client_min_messages = notice;

-- what emit was given, shown
CREATE FUNCTION headers_shown(given jsonb) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
	emitted uuid := outbox_emit('headers', 'p', headers => given);
BEGIN
	RETURN (SELECT outbox_headers(headers) FROM outbox.event WHERE uid = emitted);
END $$;

SELECT headers_shown('{"a": "text", "b": "", "c": null, "d": "é \" \\ \u0001"}');
SELECT headers_shown('{"a": 1.50, "b": true}');
SELECT headers_shown('{"a": ["x", null, "y"], "b": ["x"], "c": []}');
SELECT headers_shown('{"a": {"base64": "AP8="}, "b": [{"base64": "/w=="}, "text"], "c": {"base64": "dGV4dA=="}}');
SELECT headers_shown('{"é \" \\": "x"}');
SELECT headers_shown('{}') IS NULL AS none, headers_shown(NULL) IS NULL AS null;

-- what is shown can be emitted
SELECT given, headers_shown(given)::jsonb = given AS same
FROM (VALUES ('{"a": "x", "b": [null, {"base64": "AP8="}, "\t"], "c": null}'::jsonb)) AS v (given);

-- the id of an event that has one of its own, and order
SELECT outbox_emit_event('order', '1', 'paid', '{}'::jsonb, '{"z": 1, "a": 2}',
	event_id => '4d47e190-0402-4048-bd2c-89dd54343cdc', format => 'cloudevents-binary', source => '/x',
	"timestamp" => '2020-02-03 04:05:06Z');
SELECT outbox_headers(headers) FROM outbox.event ORDER BY id DESC LIMIT 1;

-- members can be asked for
SELECT outbox_headers('\x0001610000000178'::bytea) ->> 'a' AS a;

-- other bytes
SELECT outbox_headers(''), outbox_headers(NULL) IS NULL AS null;
SELECT outbox_headers('\x00');
SELECT outbox_headers('\x000161');
SELECT outbox_headers('\x000261');
SELECT outbox_headers('\x00016100000002ff');
SELECT outbox_headers('\x000161fffffffe');
SELECT outbox_headers('\x0001617fffffff');
SELECT outbox_headers('\x000161ffffffff00');
-- names
SELECT outbox_headers('\x000000000000');
SELECT outbox_headers('\x0001ff00000000');
SELECT outbox_headers('\x0002610000000000');
SELECT outbox_headers('\x7fff61'::bytea || decode(repeat('00', 32766), 'hex') || '\x00000000');
SELECT length(outbox_headers('\x7fff'::bytea || decode(repeat('61', 32767), 'hex') || '\x00000000')::text);
SELECT outbox_headers('\x8000'::bytea || decode(repeat('61', 32768), 'hex') || '\x00000000');

-- nobody may who was not let
CREATE ROLE headers_reader;
SET ROLE headers_reader;
SELECT outbox_headers('');
RESET ROLE;
DROP ROLE headers_reader;
DROP FUNCTION headers_shown(jsonb);
