/*-------------------------------------------------------------------------
 *
 * emit_event.c
 *	  The SQL function outbox_emit_event.
 *
 * IDENTIFICATION
 *	  src/emit_event.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "argument.h"
#include "compat.h"
#include "domain_event.h"
#include "emit_arguments.h"
#include "event_check.h"

PG_FUNCTION_INFO_V1(outbox_emit_event);

/* Arguments of outbox_emit_event(). */
enum
{
	ARGUMENT_AGGREGATE_TYPE,
	ARGUMENT_AGGREGATE_ID,
	ARGUMENT_EVENT_TYPE,
	ARGUMENT_PAYLOAD,
	ARGUMENT_METADATA,
	ARGUMENT_TOPIC,
	ARGUMENT_FORMAT,
	ARGUMENT_EVENT_ID,
	ARGUMENT_TIMESTAMP,
	ARGUMENT_PARTITION,
	ARGUMENT_TRACEPARENT,
	ARGUMENT_TRACESTATE,
	ARGUMENT_TRACE_ID,
	ARGUMENT_SUBJECT,
	ARGUMENT_DATASCHEMA,
	ARGUMENT_DATACONTENTTYPE,
	ARGUMENT_SOURCE,
	ARGUMENT_EXTENSIONS
};

/* The text of an argument, toasted or not; NULL for NULL. */
static text *
text_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : (text *) PG_GETARG_POINTER(argument);
}

static Jsonb *
jsonb_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : PG_GETARG_JSONB_P(argument);
}

/*
 * outbox_emit_event(aggregate_type text, aggregate_id text | "any", event_type text,
 *					 payload text | "any", metadata jsonb, topic text, format text,
 *					 event_id uuid, "timestamp" timestamptz, partition integer,
 *					 traceparent text, tracestate text, trace_id text, subject text,
 *					 dataschema text, datacontenttype text, source text,
 *					 extensions jsonb)
 *
 * Stores a domain event in this transaction.  Returns its id: the one given, or
 * the uid.
 */
Datum
outbox_emit_event(PG_FUNCTION_ARGS)
{
	OutboxDomainEvent event;
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	outbox_prevent_emit("outbox_emit_event()");

	outbox_domain_event_init(&event);
	event.aggregate_type = text_argument(fcinfo, ARGUMENT_AGGREGATE_TYPE);
	event.aggregate_id = PG_GETARG_DATUM(ARGUMENT_AGGREGATE_ID);
	event.aggregate_id_isnull = PG_ARGISNULL(ARGUMENT_AGGREGATE_ID);
	event.aggregate_id_type = outbox_argument_type(fcinfo, ARGUMENT_AGGREGATE_ID, "aggregate_id");
	event.event_type = text_argument(fcinfo, ARGUMENT_EVENT_TYPE);
	event.payload = PG_GETARG_DATUM(ARGUMENT_PAYLOAD);
	event.payload_isnull = PG_ARGISNULL(ARGUMENT_PAYLOAD);
	event.payload_type = outbox_argument_type(fcinfo, ARGUMENT_PAYLOAD, "payload");
	event.metadata = jsonb_argument(fcinfo, ARGUMENT_METADATA);
	event.topic = text_argument(fcinfo, ARGUMENT_TOPIC);
	event.format = text_argument(fcinfo, ARGUMENT_FORMAT);
	if (!PG_ARGISNULL(ARGUMENT_EVENT_ID))
		event.event_id = cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out,
																			 PG_GETARG_DATUM(ARGUMENT_EVENT_ID))));
	if (!PG_ARGISNULL(ARGUMENT_TIMESTAMP))
	{
		/* -infinity stands for none from here on */
		event.created = PG_GETARG_TIMESTAMPTZ(ARGUMENT_TIMESTAMP);
		outbox_check_timestamp(event.created);
	}
	if (!PG_ARGISNULL(ARGUMENT_PARTITION))
	{
		event.partition = PG_GETARG_INT32(ARGUMENT_PARTITION);
		outbox_check_partition(event.partition);
	}
	event.traceparent = text_argument(fcinfo, ARGUMENT_TRACEPARENT);
	event.tracestate = text_argument(fcinfo, ARGUMENT_TRACESTATE);
	event.trace_id = text_argument(fcinfo, ARGUMENT_TRACE_ID);
	event.subject = text_argument(fcinfo, ARGUMENT_SUBJECT);
	event.dataschema = text_argument(fcinfo, ARGUMENT_DATASCHEMA);
	event.datacontenttype = text_argument(fcinfo, ARGUMENT_DATACONTENTTYPE);
	event.source = text_argument(fcinfo, ARGUMENT_SOURCE);
	event.extensions = jsonb_argument(fcinfo, ARGUMENT_EXTENSIONS);

	outbox_domain_event_emit(&event, id);
	if (!PG_ARGISNULL(ARGUMENT_EVENT_ID))
		*id = *PG_GETARG_UUID_P(ARGUMENT_EVENT_ID);
	PG_RETURN_UUID_P(id);
}
