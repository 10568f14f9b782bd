/*-------------------------------------------------------------------------
 *
 * schema_registry.c
 *	  Payloads in the wire format of Confluent's Schema Registry.
 *
 * A consumer that uses a registry finds out by five bytes before the payload
 * with which schema it was written.  Who knows that id is the application;
 * nothing here asks a registry.
 *
 * IDENTIFICATION
 *	  src/schema_registry.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "port/pg_bswap.h"

#include "compat.h"

PG_FUNCTION_INFO_V1(outbox_schema_registry_frame);

/* The first byte of a framed payload: the version of the format. */
#define MAGIC_BYTE		0

/*
 * outbox_schema_registry_frame(schema_id integer, payload bytea)
 *
 * The magic byte, the id in network order, and the payload; NULL, for a
 * tombstone, if payload is NULL.
 */
Datum
outbox_schema_registry_frame(PG_FUNCTION_ARGS)
{
	bytea	   *payload;
	bytea	   *result;
	char	   *out;
	int32		schema_id;
	uint32		network_id;
	Size		length;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("schema_id must not be null")));
	schema_id = PG_GETARG_INT32(0);
	if (schema_id < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("schema_id must not be negative: %d", schema_id)));
	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();

	payload = PG_GETARG_BYTEA_PP(1);
	length = VARHDRSZ + sizeof(char) + sizeof(network_id) + VARSIZE_ANY_EXHDR(payload);
	result = palloc(length);
	SET_VARSIZE(result, length);
	network_id = pg_hton32((uint32) schema_id);

	out = VARDATA(result);
	*out++ = MAGIC_BYTE;
	memcpy(out, &network_id, sizeof(network_id));
	out += sizeof(network_id);
	memcpy(out, VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload));

	PG_RETURN_BYTEA_P(result);
}
