/*-------------------------------------------------------------------------
 *
 * uri.c
 *	  URIs as RFC 3986 has them.
 *
 * An address in brackets is looked at for its characters only.
 *
 * IDENTIFICATION
 *	  src/uri.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "uri.h"

static bool
is_alphabetic(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_hexadecimal(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool
is_unreserved(char c)
{
	return is_alphabetic(c) || is_digit(c) || (c != '\0' && strchr("-._~", c) != NULL);
}

/*
 * Whether all of it is data: unreserved, percent-encoded, sub-delimiters, or
 * one of the others given.
 */
static bool
is_data(const char *p, const char *end, const char *others)
{
	for (; p < end; p++)
	{
		if (*p == '%')
		{
			if (end - p < 3 || !is_hexadecimal(p[1]) || !is_hexadecimal(p[2]))
				return false;
			p += 2;
		}
		else if (!is_unreserved(*p) &&
				 (*p == '\0' || (strchr("!$&'()*+,;=", *p) == NULL && strchr(others, *p) == NULL)))
			return false;
	}
	return true;
}

/* The first of these characters, or the end. */
static const char *
find_any(const char *p, const char *end, const char *characters)
{
	while (p < end && (*p == '\0' || strchr(characters, *p) == NULL))
		p++;
	return p;
}

/* [user@]host[:port] */
static bool
is_authority(const char *p, const char *end)
{
	const char *at = find_any(p, end, "@");
	const char *colon;

	if (at < end)
	{
		if (!is_data(p, at, ":"))
			return false;
		p = at + 1;
	}
	if (p < end && *p == '[')
	{
		const char *bracket = find_any(p, end, "]");

		if (bracket == end || !is_data(p + 1, bracket, ":"))
			return false;
		p = bracket + 1;
		if (p < end && *p != ':')
			return false;
		colon = p;
	}
	else
	{
		colon = find_any(p, end, ":");
		if (!is_data(p, colon, ""))
			return false;
	}
	for (p = colon + 1; p < end; p++)
	{
		if (!is_digit(*p))
			return false;
	}
	return true;
}

bool
outbox_uri_is_valid(OutboxBytes value, bool relative)
{
	const char *p = value.data;
	const char *end = p + value.length;
	const char *part = find_any(p, end, ":/?#");
	bool		has_scheme = (part < end && *part == ':');

	if (value.length == 0 || (!has_scheme && !relative))
		return false;
	if (has_scheme)
	{
		const char *c;

		if (!is_alphabetic(*p))
			return false;
		for (c = p; c < part; c++)
		{
			if (!is_alphabetic(*c) && !is_digit(*c) && *c != '+' && *c != '-' && *c != '.')
				return false;
		}
		p = part + 1;
	}
	if (end - p >= 2 && p[0] == '/' && p[1] == '/')
	{
		part = find_any(p + 2, end, "/?#");
		if (!is_authority(p + 2, part))
			return false;
		p = part;
	}
	part = find_any(p, end, "?#");
	if (!is_data(p, part, ":@/"))
		return false;
	if (part < end && *part == '?')
	{
		p = part + 1;
		part = find_any(p, end, "#");
		if (!is_data(p, part, ":@/?"))
			return false;
	}
	return part == end || is_data(part + 1, end, ":@/?");
}

void
outbox_uri_append(StringInfo out, OutboxBytes value)
{
	static const char digits[] = "0123456789ABCDEF";
	int			i;

	for (i = 0; i < value.length; i++)
	{
		unsigned char c = value.data[i];

		if (is_unreserved(c))
			appendStringInfoCharMacro(out, c);
		else
		{
			appendStringInfoCharMacro(out, '%');
			appendStringInfoCharMacro(out, digits[c >> 4]);
			appendStringInfoCharMacro(out, digits[c & 0xF]);
		}
	}
}
