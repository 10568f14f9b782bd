/*-------------------------------------------------------------------------
 *
 * json_value.h
 *	  A column's value as JSON.
 *
 * IDENTIFICATION
 *	  src/json_value.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_JSON_VALUE_H
#define OUTBOX_JSON_VALUE_H

#include "lib/stringinfo.h"

/* How values of one type are written; made once, used for many values. */
typedef struct OutboxJsonType OutboxJsonType;

/* A text of JSON that is being written. */
typedef struct OutboxJson
{
	StringInfoData out;			/* VARHDRSZ bytes, then the text */
	int			settings;		/* nest level of pinned settings; 0: none are */
} OutboxJson;

/*
 * How values of this type are written.  The result lives as long as the
 * current memory context.  It stays right while the type stays as it is, but
 * for a cast of it to json that is made or dropped: make another then.
 */
extern OutboxJsonType *outbox_json_type(Oid type);

/* A text of JSON without content, in the current memory context. */
extern void outbox_json_begin(OutboxJson *json);

/* Writes a value, NULL as null.  ERROR as the output function of the type. */
extern void outbox_json_value(OutboxJson *json, OutboxJsonType *type,
							  Datum value, bool isnull);

/* Writes a string, in quotes.  The length is in bytes. */
extern void outbox_json_string(StringInfo out, const char *string, int length);

/* Ends the text, which is a value of type json or text. */
extern text *outbox_json_end(OutboxJson *json);

#endif							/* OUTBOX_JSON_VALUE_H */
