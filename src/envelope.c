/*-------------------------------------------------------------------------
 *
 * envelope.c
 *	  Argument values of an emit to the bytes of a record.
 *
 * What is stored is what Kafka gets: all conversion happens here, in the
 * emitter's session.  A key's bytes decide its partition and its order, so
 * they must not depend on settings such as DateStyle: types whose text does
 * are written in one fixed form, or refused.  Knows nothing of tables.
 *
 * IDENTIFICATION
 *	  src/envelope.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "compat.h"
#include "envelope.h"
#include "header.h"
#include "utf8.h"

/* Bytes in the database's encoding to UTF-8. */
static bytea *
encode_text(const char *data, int length)
{
	OutboxBytes encoded = outbox_utf8(data, length);

	return (bytea *) cstring_to_text_with_len(encoded.data, encoded.length);
}

static bytea *
encode_cstring(const char *data)
{
	return encode_text(data, strlen(data));
}

static bytea *
encode_text_datum(Datum value)
{
	text	   *packed;

	/* the bytes of a text are those of a bytea, compressed or not */
	if (GetDatabaseEncoding() == PG_UTF8)
		return (bytea *) DatumGetPointer(value);

	packed = DatumGetTextPP(value);
	return encode_text(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
}

/* As a cast to text does it, without the padding. */
static bytea *
encode_bpchar(Datum value)
{
	BpChar	   *packed = DatumGetBpCharPP(value);

	return encode_text(VARDATA_ANY(packed),
					   bpchartruelen(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed)));
}

static bytea *
encode_jsonb(Datum value)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);
	StringInfoData buffer;

	initStringInfo(&buffer);
	appendStringInfoSpaces(&buffer, VARHDRSZ);
	JsonbToCString(&buffer, &jsonb->root, VARSIZE(jsonb));

	if (GetDatabaseEncoding() != PG_UTF8)
		return encode_text(buffer.data + VARHDRSZ, buffer.len - VARHDRSZ);

	SET_VARSIZE(buffer.data, buffer.len);
	return (bytea *) buffer.data;
}

/* A scalar as the text that it stands for, all else as encode_jsonb(). */
static bytea *
encode_jsonb_scalar(Datum value)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);
	JsonbValue	scalar;

	if (!JB_ROOT_IS_SCALAR(jsonb))
		return encode_jsonb(value);

	JsonbExtractScalar(&jsonb->root, &scalar);
	if (scalar.type == jbvNull)
		return NULL;
	if (scalar.type == jbvString)
		return encode_text(scalar.val.string.val, scalar.val.string.len);
	return encode_jsonb(PointerGetDatum(jsonb));
}

bytea *
outbox_envelope_payload(Datum value, bool isnull, Oid type)
{
	Oid			base = type;

	for (;;)
	{
		switch (base)
		{
			case TEXTOID:
			case VARCHAROID:
			case JSONOID:
				return isnull ? NULL : encode_text_datum(value);
			case BYTEAOID:
				return isnull ? NULL : (bytea *) DatumGetPointer(value);
			case JSONBOID:
				return isnull ? NULL : encode_jsonb(value);
			case BPCHAROID:
				return isnull ? NULL : encode_bpchar(value);
			case NAMEOID:
				return isnull ? NULL : encode_cstring(NameStr(*DatumGetName(value)));
			case UNKNOWNOID:
				return isnull ? NULL : encode_cstring(DatumGetCString(value));
			default:
				break;
		}

		if (type_is_rowtype(base))
			return isnull ? NULL :
				encode_text_datum(DirectFunctionCall1(row_to_json, value));

		/* a domain is what it is made of */
		base = getBaseType(type);
		if (base == type)
			break;
		type = base;
	}

	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("payload cannot be of type %s", format_type_be(type)),
			 errdetail("A payload is text, json, jsonb, bytea or a row."),
			 errhint("Cast it to text, or convert it with to_jsonb().")));
	return NULL;				/* keep compiler quiet */
}

/* A date or time in ISO 8601, with time zone in UTC, whatever is set. */
static bytea *
encode_datetime(Datum value, Oid type)
{
	char		buffer[MAXDATELEN + 1];
	const int	utc = 0;

	JsonEncodeDateTime(buffer, value, type, type == TIMESTAMPTZOID ? &utc : NULL);
	return encode_cstring(buffer);
}

static bytea *
encode_by_output_function(Datum value, Oid type)
{
	Oid			function;
	bool		is_varlena;

	getTypeOutputInfo(type, &function, &is_varlena);
	return encode_cstring(OidOutputFunctionCall(function, value));
}

/*
 * Whether the text of a type that is no part of PostgreSQL may be a key:
 * enums and scalars, whose output function is taken at its word.
 */
static bool
is_foreign_scalar(Oid type)
{
	char		typtype = get_typtype(type);

	if (type < FirstNormalObjectId)
		return false;
	return typtype == TYPTYPE_ENUM ||
		(typtype == TYPTYPE_BASE && !OidIsValid(get_element_type(type)));
}

/* The bytes of a scalar; *found is false where its type is none that can be. */
static bytea *
encode_scalar(Datum value, bool isnull, Oid type, bool *found)
{
	Oid			base = type;

	*found = true;

	for (;;)
	{
		switch (base)
		{
			case TEXTOID:
			case VARCHAROID:
				return isnull ? NULL : encode_text_datum(value);
			case BYTEAOID:
				return isnull ? NULL : (bytea *) DatumGetPointer(value);
			case BPCHAROID:
				return isnull ? NULL : encode_bpchar(value);
			case NAMEOID:
				return isnull ? NULL : encode_cstring(NameStr(*DatumGetName(value)));
			case UNKNOWNOID:
				return isnull ? NULL : encode_cstring(DatumGetCString(value));
			case BOOLOID:
				/* as in JSON and as a cast to text does it */
				return isnull ? NULL : encode_cstring(DatumGetBool(value) ? "true" : "false");
			case FLOAT4OID:
				{
					char		buffer[FLOAT_SHORTEST_DECIMAL_LEN];

					if (isnull)
						return NULL;
					float_to_shortest_decimal_buf(DatumGetFloat4(value), buffer);
					return encode_cstring(buffer);
				}
			case FLOAT8OID:
				{
					char		buffer[DOUBLE_SHORTEST_DECIMAL_LEN];

					if (isnull)
						return NULL;
					double_to_shortest_decimal_buf(DatumGetFloat8(value), buffer);
					return encode_cstring(buffer);
				}
			case DATEOID:
			case TIMEOID:
			case TIMETZOID:
			case TIMESTAMPOID:
			case TIMESTAMPTZOID:
				return isnull ? NULL : encode_datetime(value, base);
			case INT2OID:
			case INT4OID:
			case INT8OID:
			case OIDOID:
			case NUMERICOID:
			case UUIDOID:
			case BITOID:
			case VARBITOID:
			case INETOID:
			case CIDROID:
			case MACADDROID:
			case MACADDR8OID:
			case LSNOID:
			case XID8OID:
				/* nothing that is set changes their text */
				return isnull ? NULL : encode_by_output_function(value, base);
			default:
				break;
		}

		if (is_foreign_scalar(base))
			return isnull ? NULL : encode_by_output_function(value, base);

		/* a domain is what it is made of */
		base = getBaseType(type);
		if (base == type)
			break;
		type = base;
	}

	*found = false;
	return NULL;
}

bytea *
outbox_envelope_key(Datum value, bool isnull, Oid type)
{
	bool		found;
	bytea	   *result = encode_scalar(value, isnull, type, &found);

	if (unlikely(!found))
	{
		type = getBaseType(type);
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("key cannot be of type %s", format_type_be(type)),
				 errdetail("A key is text, bytea or a scalar whose text is the same under all settings."),
				 type == JSONBOID ?
				 errhint("Headers are the fourth argument: headers => ... . For a key, take a part of it as text.") :
				 errhint("Cast it to text, or take a part of it.")));
	}
	return result;
}

bytea *
outbox_envelope_aggregate_id(Datum value, bool isnull, Oid type, bool as_json)
{
	bool		found;
	bytea	   *result = encode_scalar(value, isnull, type, &found);

	if (found)
		return result;

	type = getBaseType(type);
	if (type != JSONBOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("aggregate_id cannot be of type %s", format_type_be(type)),
				 errdetail("It is text, bytea, jsonb or a scalar whose text is the same under all settings."),
				 errhint("Cast it to text, or take a part of it.")));
	if (isnull)
		return NULL;
	return as_json ? encode_jsonb(value) : encode_jsonb_scalar(value);
}

OutboxKind
outbox_envelope_kind(Oid type)
{
	Oid			base;

	switch (type)
	{
		case BYTEAOID:
			return OUTBOX_KIND_BYTES;
		case JSONOID:
		case JSONBOID:
			return OUTBOX_KIND_JSON;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return OUTBOX_KIND_TEXT;
		default:
			break;
	}
	if (type_is_rowtype(type))
		return OUTBOX_KIND_JSON;
	base = getBaseType(type);
	return base == type ? OUTBOX_KIND_TEXT : outbox_envelope_kind(base);
}

bytea *
outbox_envelope_headers(Jsonb *headers)
{
	StringInfoData out;

	outbox_headers_init(&out);
	outbox_headers_add_object(&out, headers, "headers", 0, NULL, NULL);
	return outbox_headers_finish(&out);
}
