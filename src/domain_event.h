/*-------------------------------------------------------------------------
 *
 * domain_event.h
 *	  A domain event, and its way into an event.
 *
 * IDENTIFICATION
 *	  src/domain_event.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_DOMAIN_EVENT_H
#define OUTBOX_DOMAIN_EVENT_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "event.h"

/*
 * What an application says about something that happened.  Texts are in the
 * encoding of the database, toasted or not; NULL means none, or what is said
 * beside it.  Whoever fills this checks nothing.
 */
typedef struct OutboxDomainEvent
{
	text	   *aggregate_type;
	Datum		aggregate_id;	/* becomes the key */
	Oid			aggregate_id_type;
	bool		aggregate_id_isnull;
	text	   *event_type;
	Datum		payload;
	Oid			payload_type;
	bool		payload_isnull;
	Jsonb	   *metadata;
	Jsonb	   *extensions;		/* of a CloudEvent */
	text	   *event_id;		/* NULL: the uid */
	text	   *topic;			/* NULL: that of the aggregate type, or the template's */
	text	   *format;			/* NULL: that of the topic, the aggregate type, or outbox.format */
	int32		partition;		/* -1: chosen by key */
	TimestampTz created;		/* DT_NOBEGIN: now */
	text	   *traceparent;	/* these three NULL: the session's */
	text	   *tracestate;
	text	   *trace_id;
	text	   *subject;		/* of a CloudEvent, as the three below; NULL: the aggregate id */
	text	   *dataschema;
	text	   *datacontenttype;	/* NULL: by the type of the payload */
	text	   *source;			/* NULL: outbox.cloudevents_source */
} OutboxDomainEvent;

/* One without content. */
extern void outbox_domain_event_init(OutboxDomainEvent *event);

/*
 * Makes a complete event of a domain event, for outbox_event_insert().  Errors
 * as below.
 */
extern void outbox_domain_event_render(const OutboxDomainEvent *domain_event, OutboxEvent *event);

/*
 * Checks a domain event, gives it the topic and the format that apply, and
 * stores it as an event of this transaction.  Returns in *uid the uid of the
 * event.  ERROR, with the argument's name, if something about it is not valid;
 * locks and other errors as outbox_event_insert().
 */
extern void outbox_domain_event_emit(const OutboxDomainEvent *event, pg_uuid_t *uid);

#endif							/* OUTBOX_DOMAIN_EVENT_H */
