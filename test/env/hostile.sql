-- A schema that stands before pg_catalog in the server's search_path (see
-- hostile.conf): whoever uses an unqualified operator, function or table in the
-- publisher's session falls into a trap.
CREATE SCHEMA hostile;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;

CREATE FUNCTION hostile.trap() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'hostile object used' USING DETAIL = pg_catalog.current_query();
END $$;

DO $$
DECLARE
	type	text;
	op		text;
BEGIN
	FOREACH type IN ARRAY ARRAY['bigint', 'integer', 'text', 'name', 'oid', 'uuid',
								'bytea', 'xid8', 'pg_lsn', 'timestamptz', 'boolean']
	LOOP
		EXECUTE pg_catalog.format(
			'CREATE FUNCTION hostile.compare(%1$s, %1$s) RETURNS boolean LANGUAGE plpgsql AS '
			'''BEGIN PERFORM hostile.trap(); RETURN NULL; END''', type);
		FOREACH op IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>=']
		LOOP
			EXECUTE pg_catalog.format(
				'CREATE OPERATOR hostile.%1$s (LEFTARG = %2$s, RIGHTARG = %2$s, FUNCTION = hostile.compare)',
				op, type);
		END LOOP;
	END LOOP;
END $$;

CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE plpgsql AS
	'BEGIN PERFORM hostile.trap(); RETURN NULL; END';
CREATE FUNCTION hostile.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
	'BEGIN PERFORM hostile.trap(); RETURN NULL; END';
CREATE FUNCTION hostile.pg_current_snapshot() RETURNS pg_snapshot LANGUAGE plpgsql AS
	'BEGIN PERFORM hostile.trap(); RETURN NULL; END';
CREATE FUNCTION hostile.pg_visible_in_snapshot(xid8, pg_snapshot) RETURNS boolean LANGUAGE plpgsql AS
	'BEGIN PERFORM hostile.trap(); RETURN NULL; END';
CREATE FUNCTION hostile.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS
	'BEGIN PERFORM hostile.trap(); RETURN NULL; END';

CREATE TABLE hostile.event ();
CREATE TABLE hostile.event_0 ();
CREATE TABLE hostile.segment ();
CREATE TABLE hostile.cursor ();
CREATE TABLE hostile.installation ();
