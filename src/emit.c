/*-------------------------------------------------------------------------
 *
 * emit.c
 *	  outbox_emit, and the triggers of the extension's own tables.
 *
 * Nothing here waits for Kafka or for the publisher.
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
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "argument.h"
#include "compat.h"
#include "emit_arguments.h"
#include "event.h"
#include "event_check.h"
#include "installation.h"
#include "segment.h"

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
	OutboxEmitArguments arguments;
	OutboxEvent event;
	pg_uuid_t  *uid;

	outbox_prevent_emit("outbox_emit()");

	arguments.topic = fcinfo->args[ARGUMENT_TOPIC];
	arguments.payload = fcinfo->args[ARGUMENT_PAYLOAD];
	arguments.key = fcinfo->args[ARGUMENT_KEY];
	arguments.headers = fcinfo->args[ARGUMENT_HEADERS];
	arguments.partition = fcinfo->args[ARGUMENT_PARTITION];
	arguments.timestamp = fcinfo->args[ARGUMENT_TIMESTAMP];
	arguments.payload_type = outbox_argument_type(fcinfo, ARGUMENT_PAYLOAD, "payload");
	arguments.key_type = outbox_argument_type(fcinfo, ARGUMENT_KEY, "key");
	outbox_emit_arguments_to_event(&arguments, &event);

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
 * What comes by SQL may become an event by outbox_adopt(), so it must be one
 * that the producer can read.
 */
static void
check_row(const Datum *values, const bool *isnull)
{
	if (!isnull[Anum_outbox_event_topic - 1])
		outbox_check_topic(DatumGetTextPP(values[Anum_outbox_event_topic - 1]));
	if (!isnull[Anum_outbox_event_created - 1])
		outbox_check_timestamp(DatumGetTimestampTz(values[Anum_outbox_event_created - 1]));
	if (!isnull[Anum_outbox_event_partition - 1])
		outbox_check_partition(DatumGetInt32(values[Anum_outbox_event_partition - 1]));
	if (!isnull[Anum_outbox_event_headers - 1])
		outbox_check_headers(DatumGetByteaPP(values[Anum_outbox_event_headers - 1]));
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
		!outbox_segment_has_columns(descriptor))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("table \"%s\" is not one that outbox keeps events in",
						RelationGetRelationName(relation))));

	if (outbox_session_is_replicated())
		return PointerGetDatum(NULL);

	heap_deform_tuple(trigger->tg_trigtuple, descriptor, values, isnull);
	check_row(values, isnull);
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
