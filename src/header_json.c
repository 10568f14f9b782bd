/*-------------------------------------------------------------------------
 *
 * header_json.c
 *	  Stored headers as JSON, for people.
 *
 * The inverse of what emit makes of its argument headers: what is shown here
 * could be passed there, but for an event id.
 *
 * IDENTIFICATION
 *	  src/header_json.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/base64.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "header.h"
#include "json_text.h"
#include "utf8.h"

PG_FUNCTION_INFO_V1(outbox_headers);

typedef struct Header
{
	OutboxBytes name;
	OutboxBytes value;			/* data NULL: the null header */
} Header;

static bool
next_header(OutboxBytes *left, Header *header)
{
	switch (outbox_headers_next(left, &header->name, &header->value))
	{
		case OUTBOX_HEADER_FOUND:
			return true;
		case OUTBOX_HEADER_NONE:
			return false;
		case OUTBOX_HEADER_MALFORMED:
			break;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("headers are not as outbox stores them"),
			 errhint("Pass column \"headers\" of outbox.event or outbox.dead_letter.")));
	return false;				/* keep compiler quiet */
}

/*
 * UTF-8 in the encoding of the database; none if it is no UTF-8, or has
 * characters that this encoding has not.
 */
static OutboxBytes
as_text(OutboxBytes value)
{
	const OutboxBytes none = {NULL, 0};
	int			encoding = GetDatabaseEncoding();
	OutboxBytes result = value;
	unsigned char *converted;
	Oid			conversion;
	int			size;

	/* what might not fit into a piece of memory is not worth being read */
	if (value.length > MaxAllocSize / MAX_CONVERSION_GROWTH - 1 ||
		!pg_verify_mbstr(PG_UTF8, value.data, value.length, true))
		return none;
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return result;

	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(conversion))
		return none;
	size = value.length * MAX_CONVERSION_GROWTH + 1;
	converted = palloc(size);
	if (pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding,
									  (unsigned char *) unconstify(char *, value.data), value.length,
									  converted, size, true) < value.length)
		return none;
	result.data = (char *) converted;
	result.length = strlen(result.data);
	return result;
}

/* Bytes as the output of type bytea has them. */
static OutboxBytes
as_hex(OutboxBytes value)
{
	OutboxBytes result;
	char	   *hex = palloc(2 + value.length * 2 + 1);

	strcpy(hex, "\\x");
	result.length = 2 + hex_encode(value.data, value.length, hex + 2);
	result.data = hex;
	return result;
}

static void
append_value(StringInfo out, OutboxBytes value)
{
	OutboxBytes text;
	char	   *base64;
	int			length;

	if (value.data == NULL)
	{
		appendStringInfoString(out, "null");
		return;
	}
	text = as_text(value);
	if (text.data != NULL)
	{
		outbox_json_append_string(out, text);
		return;
	}
	base64 = palloc(pg_b64_enc_len(value.length) + 1);
	length = pg_b64_encode((void *) unconstify(char *, value.data), value.length, base64,
						   pg_b64_enc_len(value.length));
	appendStringInfoString(out, "{\"base64\":\"");
	appendBinaryStringInfo(out, base64, length);
	appendStringInfoString(out, "\"}");
}

static bool
same_name(const Header *one, const Header *other)
{
	return one->name.length == other->name.length &&
		memcmp(one->name.data, other->name.data, one->name.length) == 0;
}

/*
 * outbox_headers(headers bytea) RETURNS json
 *
 * headers is column "headers" of outbox.event or outbox.dead_letter; NULL
 * gives NULL.  The result is an object of them in their order: a string, null
 * for a null header, {"base64": "..."} for what is no text, and an array of
 * these where a header is repeated.  Without the header "id" that the
 * producer makes of the uid.  ERROR, invalid_parameter_value, if the bytes
 * are none that outbox has stored.
 */
Datum
outbox_headers(PG_FUNCTION_ARGS)
{
	OutboxBytes left = outbox_bytes(PG_GETARG_BYTEA_PP(0));
	StringInfoData out;
	Header		header;
	Header		next;
	bool		more;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	more = next_header(&left, &header);
	while (more)
	{
		OutboxBytes name;
		bool		repeated;

		more = next_header(&left, &next);
		repeated = more && same_name(&header, &next);

		/* of a database with another encoding */
		name = as_text(header.name);
		outbox_json_append_name(&out, name.data != NULL ? name : as_hex(header.name));
		if (repeated)
			appendStringInfoChar(&out, '[');
		append_value(&out, header.value);
		while (more && same_name(&header, &next))
		{
			appendStringInfoChar(&out, ',');
			append_value(&out, next.value);
			more = next_header(&left, &next);
		}
		if (repeated)
			appendStringInfoChar(&out, ']');
		header = next;
	}
	appendStringInfoChar(&out, '}');

	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
