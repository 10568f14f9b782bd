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

#include "lib/stringinfo.h"

#include "domain_event.h"
#include "event.h"
#include "guc.h"
#include "utf8.h"

/* Room for a time as outbox_format_time() writes it, with a terminating zero. */
#define OUTBOX_TIME_LENGTH		28

/*
 * A domain event as the formats get it: complete, detoasted, in UTF-8.  What
 * is not there has no data.
 */
typedef struct OutboxContent
{
	const OutboxDomainEvent *event; /* for what has no member here */
	OutboxFormat format;
	OutboxBytes aggregate_type;
	OutboxBytes event_type;
	OutboxBytes key;
	bytea	   *payload;		/* may be toasted */
	OutboxBytes id;				/* of the event: given, or the uid */
	TimestampTz created;
	OutboxBytes traceparent;
	OutboxBytes tracestate;
	OutboxBytes trace_id;
} OutboxContent;

/* The format of this name; ERROR, invalid_parameter_value, if there is none. */
extern OutboxFormat outbox_format_find(const char *name, int length);

/*
 * Makes of a domain event what Kafka gets.  Sets headers and payload, and the
 * partition where the format gives one; key and all else are set.  ERROR,
 * naming the argument, if the format cannot take the domain event.
 */
extern void outbox_format_render(const OutboxContent *content, OutboxEvent *event);

/* For formats: the time of an event as RFC 3339 has it, in UTC. */
extern OutboxBytes outbox_format_time(const OutboxContent *content, char *buffer);

/* For formats: headers of the trace, and whether one of them has this name. */
extern void outbox_format_add_trace(const OutboxContent *content, StringInfo headers);
extern bool outbox_format_is_trace(const OutboxContent *content, OutboxBytes name);

/* For formats: refuses a member of metadata that they have a header for. */
extern void outbox_format_refuse_member(const OutboxContent *content, OutboxBytes name);

#endif							/* OUTBOX_FORMAT_H */
