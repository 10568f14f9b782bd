/*-------------------------------------------------------------------------
 *
 * utf8.h
 *	  Text as UTF-8.
 *
 * All text that leaves the database is UTF-8, whatever the encoding of the
 * database.
 *
 * IDENTIFICATION
 *	  src/utf8.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_UTF8_H
#define OUTBOX_UTF8_H

#include "fmgr.h"
#include "mb/pg_wchar.h"

#include "compat.h"

/* Bytes, without a terminating zero; data NULL means none. */
typedef struct OutboxBytes
{
	const char *data;
	int			length;
} OutboxBytes;

/* Text in the encoding of the database as UTF-8; may be the bytes given. */
static inline OutboxBytes
outbox_utf8(const char *data, int length)
{
	OutboxBytes result;

	result.data = pg_server_to_any(data, length, PG_UTF8);
	result.length = result.data != data ? strlen(result.data) : length;
	return result;
}

static inline OutboxBytes
outbox_utf8_cstring(const char *value)
{
	return outbox_utf8(value, strlen(value));
}

/* The same of a text, toasted or not; none of NULL. */
static inline OutboxBytes
outbox_utf8_text(const text *value)
{
	OutboxBytes none = {NULL, 0};
	text	   *packed;

	if (value == NULL)
		return none;
	packed = PG_DETOAST_DATUM_PACKED(PointerGetDatum(value));
	return outbox_utf8(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
}

/* The bytes of a value, toasted or not; none of NULL. */
static inline OutboxBytes
outbox_bytes(const bytea *value)
{
	OutboxBytes result = {NULL, 0};

	if (value != NULL)
	{
		struct varlena *packed = PG_DETOAST_DATUM_PACKED(PointerGetDatum(value));

		result.data = VARDATA_ANY(packed);
		result.length = VARSIZE_ANY_EXHDR(packed);
	}
	return result;
}

/* UTF-8 in the encoding of the database, as a message must have it. */
static inline char *
outbox_utf8_shown(const char *data, int length)
{
	char	   *copy = pnstrdup(data, length);

	return pg_any_to_server(copy, strlen(copy), PG_UTF8);
}

static inline bool
outbox_bytes_equal(OutboxBytes bytes, const char *word)
{
	return bytes.length == (int) strlen(word) && memcmp(bytes.data, word, bytes.length) == 0;
}

#endif							/* OUTBOX_UTF8_H */
