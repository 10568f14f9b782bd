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
#include "common/base64.h"
#include "common/shortest_dec.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "compat.h"
#include "envelope.h"

#define MAX_HEADER_NAME_LENGTH	PG_INT16_MAX

/* Bytes in the database's encoding to UTF-8. */
static bytea *
encode_text(const char *data, int length)
{
	char	   *encoded = pg_server_to_any(data, length, PG_UTF8);

	if (encoded != data)
		length = strlen(encoded);
	return (bytea *) cstring_to_text_with_len(encoded, length);
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

bytea *
outbox_envelope_key(Datum value, bool isnull, Oid type)
{
	Oid			base = type;

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

	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("key cannot be of type %s", format_type_be(type)),
			 errdetail("A key is text, bytea or a scalar whose text is the same under all settings."),
			 type == JSONBOID ?
			 errhint("Headers are the fourth argument: headers => ... . For a key, take a part of it as text.") :
			 errhint("Cast it to text, or take a part of it.")));
	return NULL;				/* keep compiler quiet */
}

/* One header to the end of *out; value NULL is the null header. */
static void
append_header(StringInfo out, const char *name, int name_length,
			  const char *value, int value_length)
{
	pq_sendint16(out, name_length);
	appendBinaryStringInfo(out, name, name_length);
	if (value == NULL)
		pq_sendint32(out, -1);
	else
	{
		pq_sendint32(out, value_length);
		appendBinaryStringInfo(out, value, value_length);
	}
}

static void
append_text_header(StringInfo out, const char *name, int name_length,
				   const char *value, int value_length)
{
	char	   *encoded = pg_server_to_any(value, value_length, PG_UTF8);

	append_header(out, name, name_length, encoded,
				  encoded != value ? strlen(encoded) : value_length);
}

static void
append_base64_header(StringInfo out, const char *name, int name_length,
					 JsonbContainer *container)
{
	JsonbValue	buffer;
	JsonbValue *base64 = NULL;
	void	   *bytes;
	int			length;

	if (JsonContainerSize(container) == 1)
		base64 = getKeyJsonValueFromContainer(container, "base64", strlen("base64"), &buffer);
	if (base64 == NULL || base64->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("header \"%.*s\" has an object as its value", name_length, name),
				 errhint("Write {\"base64\": \"...\"} for bytes, or pass the object as a string.")));

	length = pg_b64_dec_len(base64->val.string.len);
	bytes = palloc(length + 1);
	length = pg_b64_decode(base64->val.string.val, base64->val.string.len, bytes, length);
	if (length < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("header \"%.*s\" is not valid base64", name_length, name),
				 errdetail("Base64 has groups of four characters out of A-Z, a-z, 0-9, \"+\" and \"/\", padded with \"=\".")));
	append_header(out, name, name_length, bytes, length);
	pfree(bytes);
}

static void
append_json_header(StringInfo out, const char *name, int name_length,
				   const JsonbValue *value, bool in_array)
{
	switch (value->type)
	{
		case jbvNull:
			append_header(out, name, name_length, NULL, 0);
			break;
		case jbvString:
			append_text_header(out, name, name_length,
							   value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			{
				char	   *number = DatumGetCString(DirectFunctionCall1(numeric_out,
																		 NumericGetDatum(value->val.numeric)));

				append_header(out, name, name_length, number, strlen(number));
				break;
			}
		case jbvBool:
			{
				const char *word = value->val.boolean ? "true" : "false";

				append_header(out, name, name_length, word, strlen(word));
				break;
			}
		case jbvBinary:
			{
				JsonbIterator *iterator;
				JsonbIteratorToken token;
				JsonbValue	element;

				if (JsonContainerIsObject(value->val.binary.data))
				{
					append_base64_header(out, name, name_length, value->val.binary.data);
					break;
				}
				if (in_array)
					ereport(ERROR,
							(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							 errmsg("header \"%.*s\" has an array inside an array", name_length, name),
							 errhint("Use one array, for a header that is repeated.")));
				iterator = JsonbIteratorInit(value->val.binary.data);
				while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
				{
					if (token == WJB_ELEM)
						append_json_header(out, name, name_length, &element, true);
				}
				break;
			}
		default:
			elog(ERROR, "unexpected type %d of a header value", (int) value->type);
	}
}

bytea *
outbox_envelope_headers(Jsonb *headers)
{
	StringInfoData out;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;
	char	   *name = NULL;
	int			name_length = 0;

	if (!JB_ROOT_IS_OBJECT(headers))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers must be a JSON object"),
				 errhint("Write them as {\"name\": \"value\"}.")));
	if (JB_ROOT_COUNT(headers) == 0)
		return NULL;

	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);

	iterator = JsonbIteratorInit(&headers->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			name = pg_server_to_any(item.val.string.val, item.val.string.len, PG_UTF8);
			name_length = name != item.val.string.val ? strlen(name) : item.val.string.len;
			if (name_length == 0 || name_length > MAX_HEADER_NAME_LENGTH)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("the name of a header has %d bytes", name_length),
						 errdetail("A name has 1 to %d bytes.", MAX_HEADER_NAME_LENGTH)));
			if (name_length == strlen(OUTBOX_UID_HEADER) &&
				memcmp(name, OUTBOX_UID_HEADER, name_length) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("header \"%s\" is reserved", OUTBOX_UID_HEADER),
						 errdetail("It carries the uid of the event."),
						 errhint("Choose another name for this header.")));
		}
		else if (token == WJB_VALUE)
			append_json_header(&out, name, name_length, &item, false);
	}

	/* empty arrays make no header */
	if (out.len == VARHDRSZ)
		return NULL;

	SET_VARSIZE(out.data, out.len);
	return (bytea *) out.data;
}
