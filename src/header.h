/*-------------------------------------------------------------------------
 *
 * header.h
 *	  Headers as the column outbox.event.headers holds them.
 *
 * IDENTIFICATION
 *	  src/header.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_HEADER_H
#define OUTBOX_HEADER_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "utf8.h"

/*
 * What to do about a member of an object: true makes a header of it, false
 * leaves it out.  The name is in UTF-8.
 */
typedef bool (*OutboxHeaderFilter) (OutboxBytes name, const void *argument);

/* Begins; what is added is sent in the order of the calls. */
extern void outbox_headers_init(StringInfo out);

/* One header of UTF-8 or other bytes; value.data NULL is the null header. */
extern void outbox_headers_add(StringInfo out, const char *name, OutboxBytes value);

/* What members of an object may be, or'ed together. */
#define OUTBOX_HEADERS_NESTED	0x01	/* objects and arrays in them are sent as
										 * JSON text, and not refused */
#define OUTBOX_HEADERS_NO_NULLS	0x02	/* nulls make no header */

/*
 * Headers from the members of an object, in its order, that pass the filter
 * (NULL: all).  ERROR, invalid_parameter_value, naming the argument,
 * if it is not an object of names and values as the manual has it.
 */
extern void outbox_headers_add_object(StringInfo out, Jsonb *object, const char *argument,
									  int options, OutboxHeaderFilter filter,
									  const void *filter_argument);

/* The bytes; NULL if nothing was added. */
extern bytea *outbox_headers_finish(StringInfo out);

typedef enum OutboxHeaderFound
{
	OUTBOX_HEADER_FOUND,
	OUTBOX_HEADER_NONE,			/* that was all */
	OUTBOX_HEADER_MALFORMED
} OutboxHeaderFound;

/*
 * Takes the next header off what is left.  Name and value point into it;
 * value.data NULL is the null header.
 */
extern OutboxHeaderFound outbox_headers_next(OutboxBytes *left, OutboxBytes *name,
											 OutboxBytes *value);

#endif							/* OUTBOX_HEADER_H */
