/*-------------------------------------------------------------------------
 *
 * format.h
 *	  The formats of a domain event.
 *
 * IDENTIFICATION
 *	  src/format.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_FORMAT_H
#define OUTBOX_FORMAT_H

#include "domain_event.h"
#include "event.h"
#include "guc.h"
#include "utf8.h"

/* Room for a time as formats write it, with its terminating zero. */
#define OUTBOX_TIME_LENGTH		28

/*
 * A domain event as the formats get it: complete, detoasted, in UTF-8.  What
 * has no bytes is none.
 */
typedef struct OutboxContent
{
	const OutboxDomainEvent *event; /* for what has no member here */
	OutboxBytes aggregate_type;
	OutboxBytes event_type;
	OutboxBytes key;
	bytea	   *payload;		/* may be toasted */
	OutboxBytes id;				/* of the event: given, or the uid */
	TimestampTz created;
} OutboxContent;

/* The format of this name; ERROR if there is none. */
extern OutboxFormat outbox_format_find(const char *name, int length);

/*
 * Makes of a domain event what Kafka gets.  Sets headers, payload and, where
 * the format says it, partition; key and all else are set.
 */
extern void outbox_format_render(OutboxFormat format, const OutboxContent *content,
								 OutboxEvent *event);

/* A time as RFC 3339 has it, in UTC with microseconds. */
extern OutboxBytes outbox_format_time(TimestampTz time, char *buffer);

#endif							/* OUTBOX_FORMAT_H */
