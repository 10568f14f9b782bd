/*-------------------------------------------------------------------------
 *
 * header.c
 *	  Headers as the column outbox.event.headers holds them.
 *
 * For each header: int16 length of the name, the name, int32 length of the
 * value (-1: null), the value; integers in network order.
 *
 * IDENTIFICATION
 *	  src/header.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "frame.h"
#include "header.h"

#define MAX_HEADER_NAME_LENGTH	PG_INT16_MAX

static void
append_header(StringInfo out, const char *name, int name_length, OutboxBytes value)
{
	int			value_length = value.data == NULL ? 0 : value.length;
	uint16		encoded_name_length = pg_hton16(name_length);
	uint32		encoded_length = pg_hton32(value.data == NULL ? -1 : value.length);
	char	   *p;

	enlargeStringInfo(out, sizeof(uint16) + name_length + sizeof(uint32) + value_length);
	p = out->data + out->len;
	memcpy(p, &encoded_name_length, sizeof(uint16));
	p += sizeof(uint16);
	memcpy(p, name, name_length);
	p += name_length;
	memcpy(p, &encoded_length, sizeof(uint32));
	p += sizeof(uint32);
	if (value_length > 0)
		memcpy(p, value.data, value_length);
	p += value_length;
	*p = '\0';
	out->len = p - out->data;
}

/* The JSON text of an object or array. */
static OutboxBytes
nested_text(const JsonbValue *value)
{
	return outbox_utf8_cstring(JsonbToCString(NULL, value->val.binary.data,
											  value->val.binary.len));
}

static void
append_object_header(StringInfo out, const char *name, int name_length,
					 const JsonbValue *value, int options)
{
	JsonbContainer *container = value->val.binary.data;
	JsonbValue	buffer;
	JsonbValue *base64 = NULL;
	OutboxBytes bytes;
	char	   *decoded;

	if (JsonContainerSize(container) == 1)
		base64 = getKeyJsonValueFromContainer(container, "base64", strlen("base64"), &buffer);
	if (base64 == NULL || base64->type != jbvString)
	{
		if ((options & OUTBOX_HEADERS_NESTED) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("header \"%s\" has an object as its value",
							outbox_utf8_shown(name, name_length)),
					 errhint("Write {\"base64\": \"...\"} for bytes, or pass the object as a string.")));
		append_header(out, name, name_length, nested_text(value));
		return;
	}

	bytes.length = pg_b64_dec_len(base64->val.string.len);
	bytes.data = decoded = palloc(bytes.length + 1);
	bytes.length = pg_b64_decode(base64->val.string.val, base64->val.string.len,
								 (void *) decoded, bytes.length);
	if (bytes.length < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("header \"%s\" is not valid base64", outbox_utf8_shown(name, name_length)),
				 errdetail("Base64 has groups of four characters out of A-Z, a-z, 0-9, \"+\" and \"/\", padded with \"=\".")));
	append_header(out, name, name_length, bytes);
	pfree(decoded);
}

static void
append_json_header(StringInfo out, const char *name, int name_length,
				   const JsonbValue *value, int options, bool in_array)
{
	const OutboxBytes null = {NULL, 0};

	switch (value->type)
	{
		case jbvNull:
			if ((options & OUTBOX_HEADERS_NO_NULLS) == 0)
				append_header(out, name, name_length, null);
			break;
		case jbvString:
			append_header(out, name, name_length,
						  outbox_utf8(value->val.string.val, value->val.string.len));
			break;
		case jbvNumeric:
			{
				char	   *number = DatumGetCString(DirectFunctionCall1(numeric_out,
																		 NumericGetDatum(value->val.numeric)));

				append_header(out, name, name_length, outbox_utf8_cstring(number));
				break;
			}
		case jbvBool:
			append_header(out, name, name_length,
						  outbox_utf8_cstring(value->val.boolean ? "true" : "false"));
			break;
		case jbvBinary:
			{
				JsonbIterator *iterator;
				JsonbIteratorToken token;
				JsonbValue	element;

				if (JsonContainerIsObject(value->val.binary.data))
				{
					append_object_header(out, name, name_length, value, options);
					break;
				}
				if (in_array && (options & OUTBOX_HEADERS_NESTED) != 0)
				{
					append_header(out, name, name_length, nested_text(value));
					break;
				}
				if (in_array)
					ereport(ERROR,
							(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							 errmsg("header \"%s\" has an array inside an array",
									outbox_utf8_shown(name, name_length)),
							 errhint("Use one array, for a header that is repeated.")));
				iterator = JsonbIteratorInit(value->val.binary.data);
				while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
				{
					if (token == WJB_ELEM)
						append_json_header(out, name, name_length, &element, options, true);
				}
				break;
			}
		default:
			elog(ERROR, "unexpected type %d of a header value", (int) value->type);
	}
}

void
outbox_headers_init(StringInfo out)
{
	initStringInfo(out);
	appendStringInfoSpaces(out, VARHDRSZ);
}

/* Its length has two bytes. */
static void
check_name_length(int length)
{
	if (length == 0 || length > MAX_HEADER_NAME_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of a header has %d bytes", length),
				 errdetail("A name has 1 to %d bytes.", MAX_HEADER_NAME_LENGTH)));
}

void
outbox_headers_add(StringInfo out, const char *name, OutboxBytes value)
{
	int			length = strlen(name);

	/* what is set as an alias may have any length */
	check_name_length(length);
	append_header(out, name, length, value);
}

static void
check_name(OutboxBytes name)
{
	check_name_length(name.length);
	if (outbox_bytes_equal(name, FRAME_ID_HEADER))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("header \"%s\" is reserved", FRAME_ID_HEADER),
				 errdetail("It carries the uid of the event."),
				 errhint("Choose another name for this header.")));
}

void
outbox_headers_add_object(StringInfo out, Jsonb *object, const char *argument, int options,
						  OutboxHeaderFilter filter, const void *filter_argument)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;
	OutboxBytes name = {NULL, 0};
	bool		wanted = true;

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", argument),
				 errhint("Write them as {\"name\": \"value\"}.")));

	iterator = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			name = outbox_utf8(item.val.string.val, item.val.string.len);
			wanted = filter == NULL || filter(name, filter_argument);
			if (wanted)
				check_name(name);
		}
		else if (token == WJB_VALUE && wanted)
			append_json_header(out, name.data, name.length, &item, options, false);
	}
}

bytea *
outbox_headers_finish(StringInfo out)
{
	if (out->len == VARHDRSZ)
		return NULL;

	SET_VARSIZE(out->data, out->len);
	return (bytea *) out->data;
}

static bool
take(OutboxBytes *left, int64 length, const char **data)
{
	if (length > left->length)
		return false;
	*data = left->data;
	left->data += length;
	left->length -= length;
	return true;
}

OutboxHeaderFound
outbox_headers_next(OutboxBytes *left, OutboxBytes *name, OutboxBytes *value)
{
	const char *data;
	uint16		name_length;
	uint32		value_length;

	if (left->length == 0)
		return OUTBOX_HEADER_NONE;

	if (!take(left, sizeof(name_length), &data))
		return OUTBOX_HEADER_MALFORMED;
	memcpy(&name_length, data, sizeof(name_length));
	name->length = pg_ntoh16(name_length);
	if (name->length == 0 || name->length > MAX_HEADER_NAME_LENGTH ||
		!take(left, name->length, &name->data) ||
		!pg_verify_mbstr(PG_UTF8, name->data, name->length, true))
		return OUTBOX_HEADER_MALFORMED;

	if (!take(left, sizeof(value_length), &data))
		return OUTBOX_HEADER_MALFORMED;
	memcpy(&value_length, data, sizeof(value_length));
	value_length = pg_ntoh32(value_length);
	value->data = NULL;
	value->length = 0;
	if (value_length == PG_UINT32_MAX)
		return OUTBOX_HEADER_FOUND;
	if (!take(left, value_length, &value->data))
		return OUTBOX_HEADER_MALFORMED;
	value->length = value_length;
	return OUTBOX_HEADER_FOUND;
}
