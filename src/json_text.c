/*-------------------------------------------------------------------------
 *
 * json_text.c
 *	  JSON, read and written in UTF-8.
 *
 * IDENTIFICATION
 *	  src/json_text.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "json_text.h"

void
outbox_json_append_string(StringInfo out, OutboxBytes value)
{
	const char *p = value.data;
	const char *end = p + value.length;

	appendStringInfoCharMacro(out, '"');
	while (p < end)
	{
		const char *start = p;

		while (p < end && (unsigned char) *p >= ' ' && *p != '"' && *p != '\\')
			p++;
		appendBinaryStringInfo(out, start, p - start);
		if (p == end)
			break;
		switch (*p)
		{
			case '"':
				appendStringInfoString(out, "\\\"");
				break;
			case '\\':
				appendStringInfoString(out, "\\\\");
				break;
			case '\b':
				appendStringInfoString(out, "\\b");
				break;
			case '\f':
				appendStringInfoString(out, "\\f");
				break;
			case '\n':
				appendStringInfoString(out, "\\n");
				break;
			case '\r':
				appendStringInfoString(out, "\\r");
				break;
			case '\t':
				appendStringInfoString(out, "\\t");
				break;
			default:
				appendStringInfo(out, "\\u%04x", (unsigned char) *p);
				break;
		}
		p++;
	}
	appendStringInfoCharMacro(out, '"');
}

void
outbox_json_append_name(StringInfo out, OutboxBytes name)
{
	if (out->data[out->len - 1] != '{')
		appendStringInfoCharMacro(out, ',');
	outbox_json_append_string(out, name);
	appendStringInfoCharMacro(out, ':');
}

bool
outbox_json_is_valid(OutboxBytes value, const char **detail)
{
	JsonLexContext *lex = outbox_json_lexer(unconstify(char *, value.data), value.length, PG_UTF8);
	JsonParseErrorType error = pg_parse_json(lex, &nullSemAction);

	if (error == JSON_SUCCESS)
		return true;
	*detail = json_errdetail(error, lex);
	return false;
}

bool
outbox_text_int32(const char *text, int32 *result)
{
	char	   *end;
	long		number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (end == text || errno != 0 || *end != '\0' ||
		number < PG_INT32_MIN || number > PG_INT32_MAX)
		return false;
	*result = (int32) number;
	return true;
}

bool
outbox_json_int32(const JsonbValue *value, int32 *result)
{
	/* its text has a point unless it is written as an integer */
	return value->type == jbvNumeric &&
		outbox_text_int32(DatumGetCString(DirectFunctionCall1(numeric_out,
															  NumericGetDatum(value->val.numeric))),
						  result);
}
