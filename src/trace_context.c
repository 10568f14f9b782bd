/*-------------------------------------------------------------------------
 *
 * trace_context.c
 *	  What tracing says about a call.
 *
 * The forms are those of W3C's Trace Context, level 1.
 *
 * IDENTIFICATION
 *	  src/trace_context.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "trace_context.h"

/* Parts of a traceparent. */
#define VERSION_LENGTH		2
#define TRACE_ID_LENGTH		32
#define PARENT_ID_LENGTH	16
#define FLAGS_LENGTH		2
#define TRACEPARENT_LENGTH \
	(VERSION_LENGTH + 1 + TRACE_ID_LENGTH + 1 + PARENT_ID_LENGTH + 1 + FLAGS_LENGTH)

/* Limits of W3C's for a tracestate. */
#define MAX_STATES			32
#define MAX_KEY_LENGTH		256
#define MAX_VALUE_LENGTH	256

/*
 * Whether so many hexadecimal digits in lower case are at *p, which is left
 * behind them and behind the hyphen that follows if one must.
 */
static bool
skip_hex(const char **p, int length, bool hyphen, bool *all_zero)
{
	int			i;

	*all_zero = true;
	for (i = 0; i < length; i++)
	{
		char		c = (*p)[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
		*all_zero &= (c == '0');
	}
	*p += length;
	if (!hyphen)
		return true;
	return *(*p)++ == '-';
}

bool
outbox_traceparent_is_valid(OutboxBytes value)
{
	const char *p = value.data;
	bool		is_zero;
	bool		is_version_zero;

	if (value.length < TRACEPARENT_LENGTH)
		return false;
	if (!skip_hex(&p, VERSION_LENGTH, true, &is_version_zero) ||
		memcmp(value.data, "ff", VERSION_LENGTH) == 0)
		return false;
	if (!skip_hex(&p, TRACE_ID_LENGTH, true, &is_zero) || is_zero)
		return false;
	if (!skip_hex(&p, PARENT_ID_LENGTH, true, &is_zero) || is_zero)
		return false;
	if (!skip_hex(&p, FLAGS_LENGTH, false, &is_zero))
		return false;

	/* later versions may go on */
	if (value.length == TRACEPARENT_LENGTH)
		return true;
	return !is_version_zero && *p == '-' && outbox_trace_id_is_valid(value);
}

static bool
is_key_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		c == '_' || c == '-' || c == '*' || c == '/' || c == '@';
}

bool
outbox_tracestate_is_valid(OutboxBytes value)
{
	const char *p = value.data;
	const char *end = p + value.length;
	int			states = 0;

	while (p < end)
	{
		const char *start;

		while (p < end && (*p == ' ' || *p == '\t'))
			p++;
		if (p < end && *p != ',')
		{
			start = p;
			while (p < end && is_key_character(*p))
				p++;
			if (p == start || p - start > MAX_KEY_LENGTH || p == end || *p != '=' ||
				*start == '_' || *start == '-' || *start == '*' || *start == '/' || *start == '@')
				return false;
			start = ++p;
			while (p < end && *p >= ' ' && *p <= '~' && *p != ',' && *p != '=')
				p++;
			if (p == start || p - start > MAX_VALUE_LENGTH)
				return false;
			/* the comma is looked at below */
			while (p < end && *p == '\t')
				p++;
			if (++states > MAX_STATES)
				return false;
		}
		if (p < end && *p++ != ',')
			return false;
	}
	return states > 0;
}

bool
outbox_trace_id_is_valid(OutboxBytes value)
{
	int			i;

	for (i = 0; i < value.length; i++)
	{
		unsigned char c = value.data[i];

		if (c < ' ' || c == 0x7F)
			return false;
	}
	return value.length > 0;
}
