/*-------------------------------------------------------------------------
 *
 * emit_arguments.c
 *	  What a caller says about one event, checked.
 *
 * The functions that emit what is given to them come this way, for one event
 * and for many, so that none of them takes what another refuses.
 *
 * IDENTIFICATION
 *	  src/emit_arguments.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "emit_arguments.h"
#include "envelope.h"
#include "event_check.h"

void
outbox_prevent_emit(const char *name)
{
	/* a standby's transactions are read-only, too: name the true reason */
	PreventCommandDuringRecovery(name);
	PreventCommandIfReadOnly(name);
	PreventCommandIfParallelMode(name);
}

/* The topic, if it can be one. */
static text *
get_topic(const OutboxEmitArguments *arguments)
{
	text	   *result;

	if (arguments->topic.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("topic of an event must not be null")));
	result = DatumGetTextPP(arguments->topic.value);
	outbox_check_topic(result);
	return result;
}

void
outbox_emit_arguments_check(const OutboxEmitArguments *arguments)
{
	(void) get_topic(arguments);
	(void) outbox_envelope_payload((Datum) 0, true, arguments->payload_type);
	(void) outbox_envelope_key((Datum) 0, true, arguments->key_type);
}

void
outbox_emit_arguments_to_event(const OutboxEmitArguments *arguments, OutboxEvent *event)
{
	outbox_event_init(event);
	event->topic = get_topic(arguments);

	event->payload = outbox_envelope_payload(arguments->payload.value,
											 arguments->payload.isnull,
											 arguments->payload_type);
	event->key = outbox_envelope_key(arguments->key.value, arguments->key.isnull,
									 arguments->key_type);
	if (!arguments->headers.isnull)
		event->headers = outbox_envelope_headers(DatumGetJsonbP(arguments->headers.value));
	if (!arguments->partition.isnull)
	{
		event->partition = DatumGetInt32(arguments->partition.value);
		outbox_check_partition(event->partition);
	}
	if (!arguments->timestamp.isnull)
	{
		event->created = DatumGetTimestampTz(arguments->timestamp.value);
		outbox_check_timestamp(event->created);
	}

	outbox_check_size(event);
}
