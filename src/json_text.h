/*-------------------------------------------------------------------------
 *
 * json_text.h
 *	  JSON, read and written in UTF-8.
 *
 * IDENTIFICATION
 *	  src/json_text.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_JSON_TEXT_H
#define OUTBOX_JSON_TEXT_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "utf8.h"

/* Appends UTF-8 as a JSON string, with its quotes. */
extern void outbox_json_append_string(StringInfo out, OutboxBytes value);

/*
 * Appends the name of a member of an object, and the comma before it unless it
 * is the first behind the brace.  The name is in UTF-8.
 */
extern void outbox_json_append_name(StringInfo out, OutboxBytes name);

/* Whether UTF-8 is JSON; if not, *detail says why. */
extern bool outbox_json_is_valid(OutboxBytes value, const char **detail);

/* Whether a text is an integer of 32 bits in decimal; if so, *result is that. */
extern bool outbox_text_int32(const char *text, int32 *result);

/* Whether a value is an integer of 32 bits; if so, *result is that. */
extern bool outbox_json_int32(const JsonbValue *value, int32 *result);

#endif							/* OUTBOX_JSON_TEXT_H */
