--
-- outbox_emit: types of arguments, and the bytes that they become
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

-- emits, and shows what was stored
CREATE TEMP VIEW last AS
	SELECT encode(key, 'escape') AS key, encode(payload, 'escape') AS payload,
		key IS NULL AS no_key, payload IS NULL AS tombstone
	FROM outbox.event WHERE topic = 'types' ORDER BY id DESC LIMIT 1;

-- literals
SELECT outbox_emit('types', 'text') IS NOT NULL; TABLE last;
SELECT outbox_emit('types', 'text', 'key') IS NOT NULL; TABLE last;
SELECT outbox_emit('types', '', '') IS NOT NULL; TABLE last;
SELECT outbox_emit('types', NULL) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', NULL, NULL) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', NULL, 'key') IS NOT NULL; TABLE last;
SELECT outbox_emit('types', 'text', 42) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', NULL, 42) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', payload => 'named', key => 42) IS NOT NULL; TABLE last;
SELECT outbox_emit(topic => 'types', key => '\x00ff'::bytea, payload => '{"a":  1}'::json) IS NOT NULL; TABLE last;
SELECT outbox_emit(topic => 'types', payload => '{"a":  1}'::jsonb) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', 'text', 'key', '{}', 1) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', 'text', 42, '{}', 1, now()) IS NOT NULL; TABLE last;

-- untyped parameters
PREPARE untyped2 AS SELECT outbox_emit('types', $1) IS NOT NULL;
PREPARE untyped3 AS SELECT outbox_emit($1, $2, $3) IS NOT NULL;
PREPARE untyped6 AS SELECT outbox_emit($1, $2, $3, $4, $5, $6) IS NOT NULL;
PREPARE untyped_named AS SELECT outbox_emit(topic => $1, payload => $2, key => $3, headers => $4) IS NOT NULL;
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'untyped%' ORDER BY name;
EXECUTE untyped2('p'); TABLE last;
EXECUTE untyped3('types', 'p', 'k'); TABLE last;
EXECUTE untyped3('types', NULL, NULL); TABLE last;
EXECUTE untyped6('types', 'p6', 'k6', NULL, NULL, NULL); TABLE last;
EXECUTE untyped_named('types', 'pn', 'kn', '{"a": 1}'); TABLE last;

-- typed parameters: what drivers send
PREPARE typed_uuid(text, text, uuid) AS SELECT outbox_emit($1, $2, $3) IS NOT NULL;
PREPARE typed_int(text, jsonb, int) AS SELECT outbox_emit($1, $2, $3) IS NOT NULL;
PREPARE typed_bytea(text, bytea, bytea, jsonb) AS SELECT outbox_emit($1, $2, $3, $4) IS NOT NULL;
PREPARE typed_varchar(varchar, varchar, varchar, jsonb) AS SELECT outbox_emit($1, $2, $3, $4) IS NOT NULL;
PREPARE typed_json(varchar, json, bigint, jsonb, int, timestamptz) AS SELECT outbox_emit($1, $2, $3, $4, $5, $6) IS NOT NULL;
PREPARE typed_part(varchar, jsonb) AS SELECT outbox_emit($1, $2, $3) IS NOT NULL;
EXECUTE typed_uuid('types', 'p', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'); TABLE last;
EXECUTE typed_uuid('types', NULL, NULL); TABLE last;
EXECUTE typed_int('types', '{"b":1,"a":[1,2]}', -7); TABLE last;
EXECUTE typed_int('types', NULL, NULL); TABLE last;
EXECUTE typed_bytea('types', '\x0001ff', '\xfe', NULL); TABLE last;
EXECUTE typed_bytea('types', NULL, NULL, NULL); TABLE last;
EXECUTE typed_varchar('types', 'v', 'k', NULL); TABLE last;
EXECUTE typed_json('types', '{ "kept" : "as is" }', 9007199254740993, NULL, 3, NULL); TABLE last;
EXECUTE typed_part('types', '[]', 'untyped key'); TABLE last;

-- payloads of every kind
CREATE TYPE types_row AS (id int, name text, at timestamp, tags text[]);
CREATE DOMAIN types_text AS text CHECK (value <> '');
CREATE DOMAIN types_text2 AS types_text;
CREATE DOMAIN types_json AS jsonb;
CREATE DOMAIN types_bytes AS bytea;
CREATE DOMAIN types_id AS bigint CHECK (value > 0);
CREATE DOMAIN types_of_row AS types_row CHECK ((value).id > 0);
CREATE TYPE types_mood AS ENUM ('sad', 'happy');
CREATE TEMP TABLE types_table (id int, "Name" varchar(10));
INSERT INTO types_table VALUES (1, 'one');
SELECT outbox_emit('types', 'fixed'::char(8), 'k'::char(4)) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', '\x01'::bytea, 'k'::char(4)) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', 'name'::name, 'k'::name) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', 'v'::varchar(3), 'k'::varchar) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', '{"b":1, "a":"ü"}'::jsonb, 'ü') IS NOT NULL; TABLE last;
SELECT outbox_emit('types', 'null'::jsonb) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', NULL::jsonb, NULL::int) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', '\x00'::bytea) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', row(1, 'a', '2001-02-03 04:05', '{x,y}')::types_row) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', row(1, NULL, true, 1.50)) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', NULL::types_row) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', t, t.id) IS NOT NULL FROM types_table t; TABLE last;
SELECT outbox_emit('types', s, s.n) IS NOT NULL FROM (SELECT 5 AS n, 'sub' AS what) s; TABLE last;
SELECT outbox_emit('types', 'd'::types_text, 'k'::types_text2) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', '{"d": 1}'::types_json, 7::types_id) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', '\xab'::types_bytes, '\xcd'::types_bytes) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', row(2, 'd', NULL, NULL)::types_row::types_of_row) IS NOT NULL; TABLE last;
SELECT outbox_emit('types', NULL::types_of_row, NULL::types_id) IS NOT NULL; TABLE last;

-- keys of every kind, the same under other settings
CREATE FUNCTION types_keys() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	before bigint := coalesce((SELECT max(id) FROM outbox.event), 0);
BEGIN
	PERFORM outbox_emit('types', 'smallint', 1::smallint);
	PERFORM outbox_emit('types', 'int', -2);
	PERFORM outbox_emit('types', 'bigint', 9223372036854775807);
	PERFORM outbox_emit('types', 'numeric', 1.50);
	PERFORM outbox_emit('types', 'real', 0.1::real);
	PERFORM outbox_emit('types', 'double', 0.1::float8 + 0.2::float8);
	PERFORM outbox_emit('types', 'infinity', 'infinity'::float8);
	PERFORM outbox_emit('types', 'bool', true);
	PERFORM outbox_emit('types', 'uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid);
	PERFORM outbox_emit('types', 'date', '2001-02-03'::date);
	PERFORM outbox_emit('types', 'time', '04:05:06.7'::time);
	PERFORM outbox_emit('types', 'timetz', '04:05:06+02'::timetz);
	PERFORM outbox_emit('types', 'timestamp', '2001-02-03 04:05:06.789'::timestamp);
	PERFORM outbox_emit('types', 'timestamptz', '2001-02-03 04:05:06+02'::timestamptz);
	PERFORM outbox_emit('types', 'endless', 'infinity'::timestamptz);
	PERFORM outbox_emit('types', 'bc', '0044-03-15 BC'::date);
	PERFORM outbox_emit('types', 'bit', B'101');
	PERFORM outbox_emit('types', 'varbit', B'1010'::varbit);
	PERFORM outbox_emit('types', 'inet', '10.0.0.1/8'::inet);
	PERFORM outbox_emit('types', 'cidr', '10.0.0.0/8'::cidr);
	PERFORM outbox_emit('types', 'macaddr', '08:00:2b:01:02:03'::macaddr);
	PERFORM outbox_emit('types', 'oid', 1259::oid);
	PERFORM outbox_emit('types', 'pg_lsn', '16/B374D848'::pg_lsn);
	PERFORM outbox_emit('types', 'xid8', '42'::xid8);
	PERFORM outbox_emit('types', 'enum', 'happy'::types_mood);
	PERFORM outbox_emit('types', 'bytea', '\x6869'::bytea);
	PERFORM outbox_emit('types', 'jsonb', ('{"id": 42}'::jsonb) ->> 'id');
	RETURN QUERY SELECT encode(payload, 'escape') || ': ' || encode(key, 'escape')
		FROM outbox.event WHERE topic = 'types' AND id > before ORDER BY id;
END
$$;
SELECT types_keys();
CREATE TEMP TABLE types_before AS SELECT types_keys() AS key;
SET extra_float_digits = -3;
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'Asia/Tokyo';
SET IntervalStyle = sql_standard;
SET bytea_output = escape;
SELECT count(*) AS differ FROM (SELECT types_keys() EXCEPT TABLE types_before) AS other;
RESET extra_float_digits;
RESET DateStyle;
RESET TimeZone;
RESET IntervalStyle;
RESET bytea_output;

-- headers
CREATE TEMP VIEW last_headers AS
	SELECT encode(headers, 'hex') AS headers FROM outbox.event WHERE topic = 'types' ORDER BY id DESC LIMIT 1;
SELECT outbox_emit('types', 'h', headers => '{}') IS NOT NULL; TABLE last_headers;
SELECT outbox_emit('types', 'h', headers => NULL) IS NOT NULL; TABLE last_headers;
SELECT outbox_emit('types', 'h', headers => '{"a": "b"}') IS NOT NULL; TABLE last_headers;
SELECT outbox_emit('types', 'h', headers => '{"s": "", "n": -1.50, "t": true, "f": false, "z": null}') IS NOT NULL; TABLE last_headers;
SELECT outbox_emit('types', 'h', headers => '{"r": ["x", 2, null, {"base64": "AP8="}], "e": []}') IS NOT NULL; TABLE last_headers;
SELECT outbox_emit('types', 'h', headers => '{"e": []}') IS NOT NULL; TABLE last_headers;
SELECT outbox_emit('types', 'h', headers => '{"b": {"base64": ""}, "ü": "é", "ID": "allowed"}') IS NOT NULL; TABLE last_headers;
SELECT outbox_emit('types', 'h', headers => jsonb_build_object('trace', 'x', repeat('n', 300), repeat('v', 70000))) IS NOT NULL;
SELECT length(headers), encode(substr(headers, 1, 2 + 5 + 4 + 1 + 2), 'hex') AS start
FROM outbox.event WHERE topic = 'types' ORDER BY id DESC LIMIT 1;

DEALLOCATE ALL;
DROP FUNCTION types_keys;
DROP DOMAIN types_of_row, types_text2, types_text, types_json, types_bytes, types_id;
DROP TYPE types_row, types_mood;
