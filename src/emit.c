/*-------------------------------------------------------------------------
 *
 * emit.c
 *	  SQL functions that store events.
 *
 * What can be wrong about an event is refused here, in the session that knows
 * why, so that the publisher hardly ever meets a bad one.  Nothing here waits
 * for Kafka or for the publisher.
 *
 * IDENTIFICATION
 *	  src/emit.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "compat.h"
#include "envelope.h"
#include "event.h"
#include "event_check.h"
#include "installation.h"

PG_FUNCTION_INFO_V1(outbox_emit);
PG_FUNCTION_INFO_V1(outbox_route_event);
PG_FUNCTION_INFO_V1(outbox_keep_own);

/* Arguments of outbox_emit(). */
enum
{
	ARGUMENT_TOPIC,
	ARGUMENT_PAYLOAD,
	ARGUMENT_KEY,
	ARGUMENT_HEADERS,
	ARGUMENT_PARTITION,
	ARGUMENT_TIMESTAMP
};

/*
 * outbox_emit(topic text, payload text | "any", key text | "any",
 *			   headers jsonb, partition integer, "timestamp" timestamptz)
 *
 * Stores an event in this transaction and returns its uid.
 */
Datum
outbox_emit(PG_FUNCTION_ARGS)
{
	OutboxEvent event;
	pg_uuid_t  *uid;

	/* a standby's transactions are read-only, too: name the true reason */
	PreventCommandDuringRecovery("outbox_emit()");
	PreventCommandIfReadOnly("outbox_emit()");
	PreventCommandIfParallelMode("outbox_emit()");

	if (PG_ARGISNULL(ARGUMENT_TOPIC))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("topic of an event must not be null")));
	outbox_event_init(&event);
	event.topic = PG_GETARG_TEXT_PP(ARGUMENT_TOPIC);
	outbox_check_topic(event.topic);

	event.payload = outbox_envelope_payload(PG_GETARG_DATUM(ARGUMENT_PAYLOAD),
											PG_ARGISNULL(ARGUMENT_PAYLOAD),
											outbox_argument_type(fcinfo, ARGUMENT_PAYLOAD, "payload"));
	event.key = outbox_envelope_key(PG_GETARG_DATUM(ARGUMENT_KEY),
									PG_ARGISNULL(ARGUMENT_KEY),
									outbox_argument_type(fcinfo, ARGUMENT_KEY, "key"));
	event.headers = PG_ARGISNULL(ARGUMENT_HEADERS) ? NULL :
		outbox_envelope_headers(PG_GETARG_JSONB_P(ARGUMENT_HEADERS));

	if (!PG_ARGISNULL(ARGUMENT_PARTITION))
	{
		event.partition = PG_GETARG_INT32(ARGUMENT_PARTITION);
		outbox_check_partition(event.partition);
	}

	if (!PG_ARGISNULL(ARGUMENT_TIMESTAMP))
	{
		event.created = PG_GETARG_TIMESTAMPTZ(ARGUMENT_TIMESTAMP);
		outbox_check_timestamp(event.created);
	}

	outbox_check_size(&event);

	outbox_event_insert(&event);

	uid = palloc(sizeof(pg_uuid_t));
	*uid = event.uid;
	PG_RETURN_UUID_P(uid);
}

static bool
is_segment(const OutboxInstallation *installation, Oid table)
{
	int			i;

	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		if (installation->segment[i] == table)
			return true;
	}
	return false;
}

/*
 * Trigger, before insert on outbox.event and on every segment: a row that
 * comes by SQL becomes foreign and goes to a segment; one that replication
 * brings is dropped, for its own server publishes it.
 */
Datum
outbox_route_event(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const OutboxInstallation *installation;
	Relation	relation;
	TupleDesc	descriptor;
	bool		on_parent;
	Datum		values[Natts_outbox_event];
	bool		isnull[Natts_outbox_event];

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("outbox_route_event() must be called as a trigger before insert for each row")));

	relation = trigger->tg_relation;
	descriptor = RelationGetDescr(relation);
	installation = outbox_installation_get(false);
	on_parent = (RelationGetRelid(relation) == installation->event);
	if ((!on_parent && !is_segment(installation, RelationGetRelid(relation))) ||
		descriptor->natts != Natts_outbox_event)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("table \"%s\" is not one that outbox keeps events in",
						RelationGetRelationName(relation))));

	if (outbox_session_is_replicated())
		return PointerGetDatum(NULL);

	heap_deform_tuple(trigger->tg_trigtuple, descriptor, values, isnull);
	if (!isnull[Anum_outbox_event_topic - 1])
		outbox_check_topic(DatumGetTextPP(values[Anum_outbox_event_topic - 1]));
	outbox_event_make_foreign(values, isnull);
	if (!on_parent)
		return PointerGetDatum(heap_form_tuple(descriptor, values, isnull));

	outbox_event_insert_foreign(values, isnull);
	return PointerGetDatum(NULL);
}

/*
 * Trigger, before any change of a row of the extension's own state: one that
 * replication brings is dropped.
 */
Datum
outbox_keep_own(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("outbox_keep_own() must be called as a trigger before a change of each row")));

	if (outbox_session_is_replicated())
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}
