/*-------------------------------------------------------------------------
 *
 * first_event.c
 *	  The first event of a held topic that waits.
 *
 * A held topic is tried with it.  To send it before the rest is as right as to
 * end a batch of the topic behind it.
 *
 * IDENTIFICATION
 *	  src/first_event.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "tcop/dest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "barrier.h"
#include "event.h"
#include "event_frame.h"
#include "first_event.h"
#include "installation.h"
#include "session.h"

/* Events looked at in one go. */
#define FIRST_PAGE			64

/* Keeps the first event that the row does not cover. */
typedef struct FirstReceiver
{
	DestReceiver pub;
	OutboxHolds *holds;
	OutboxHold *hold;
	HTAB	   *letters;
	OutboxBarrier *barrier;
	int			rows;			/* received in this page */
	int64		last_id;
	char	   *frame;
} FirstReceiver;

static bool
receive_first(TupleTableSlot *slot, DestReceiver *dest)
{
	FirstReceiver *receiver = (FirstReceiver *) dest;
	OutboxEventParts parts;
	OutboxEventView view;
	uint64		xid;
	char	   *frame;

	slot_getallattrs(slot);
	xid = U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[Anum_outbox_event_xid - 1]));
	receiver->rows++;
	receiver->last_id = DatumGetInt64(slot->tts_values[Anum_outbox_event_id - 1]);
	if (outbox_cursor_covers(&receiver->hold->cursor, xid, receiver->last_id))
		return true;
	outbox_event_parts(&parts, slot, 0, 0);
	if (outbox_hold_is_settled(receiver->hold, parts.event.uid) ||
		(receiver->letters != NULL &&
		 hash_search(receiver->letters, parts.event.uid, HASH_FIND, NULL) != NULL))
		return true;
	frame = MemoryContextAllocHuge(receiver->holds->context, parts.length);
	outbox_event_frame_write(&parts, frame);
	outbox_event_frame_set_flags(frame, FRAME_EVENT_ALONE);
	outbox_event_view(&view, frame);
	if (outbox_holds_find(receiver->holds, view.topic, view.event.topic_length, view.key,
						  view.event.key_length) != receiver->hold)
	{
		pfree(frame);
		return true;
	}
	receiver->frame = frame;
	outbox_barrier_add(receiver->barrier, xid);
	return false;
}

static void
first_startup(DestReceiver *self, int operation, TupleDesc type)
{
}

static void
first_nothing(DestReceiver *self)
{
}

/*
 * A frame of the first event of a held topic, to be sent alone, allocated where
 * the holds are; NULL: there is none.  Events whose uid is in letters (NULL:
 * none) do not count.  Sets *gone if the database has no outbox extension any
 * more.  Runs a short transaction of its own.
 *
 * Looks by id, a page at a time, among all that the hold row's snapshot does
 * not see.  The event passes the barrier as a batch does.
 */
char *
outbox_first_event(OutboxHolds *holds, OutboxHold *hold, HTAB *letters, bool *gone)
{
	const OutboxSnapshot *done = hold->cursor.done;
	FirstReceiver receiver = {0};
	SPIExecuteOptions options = {0};
	ParamListInfo params;
	OutboxBarrier barrier;
	SPIPlanPtr	plan;
	Oid			types[5] = {XID8OID, XID8ARRAYOID, TEXTOID, INT8OID, INT8OID};
	Datum	   *xids = palloc(sizeof(Datum) * Max(done->count, 1));
	int			i;

	if (!outbox_session_begin(OUTBOX_COMMIT_READ_ONLY))
	{
		*gone = true;
		return NULL;
	}
	outbox_session_use_snapshot();
	outbox_barrier_begin(&barrier);

	receiver.pub.receiveSlot = receive_first;
	receiver.pub.rStartup = first_startup;
	receiver.pub.rShutdown = first_nothing;
	receiver.pub.rDestroy = first_nothing;
	receiver.pub.mydest = DestNone;
	receiver.holds = holds;
	receiver.letters = letters;
	receiver.hold = hold;
	receiver.barrier = &barrier;

	plan = SPI_prepare(psprintf("SELECT " OUTBOX_EVENT_COLUMNS " FROM outbox.event"
								" WHERE (xid >= $1 OR xid = ANY ($2)) AND topic = $3"
								" AND origin = $4 AND id > $5 ORDER BY 1 LIMIT %d", FIRST_PAGE),
					   5, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare the reading of events: %s",
			 SPI_result_code_string(SPI_result));
	for (i = 0; i < done->count; i++)
		xids[i] = FullTransactionIdGetDatum(FullTransactionIdFromU64(done->xip[i]));
	params = makeParamList(5);
	params->params[0].value = FullTransactionIdGetDatum(FullTransactionIdFromU64(done->xmax));
	params->params[1].value =
		PointerGetDatum(construct_array(xids, done->count, XID8OID, sizeof(FullTransactionId),
										FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	params->params[2].value = CStringGetTextDatum(hold->topic);
	params->params[3].value = Int64GetDatum(outbox_installation_get(false)->origin);
	for (i = 0; i < 5; i++)
	{
		params->params[i].ptype = types[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
	}
	options.params = params;
	options.read_only = true;
	options.dest = &receiver.pub;
	receiver.last_id = PG_INT64_MIN;
	do
	{
		receiver.rows = 0;
		params->params[4].value = Int64GetDatum(receiver.last_id);
		if (SPI_execute_plan_extended(plan, &options) < 0)
			elog(ERROR, "could not read events");
	} while (receiver.frame == NULL && receiver.rows == FIRST_PAGE);
	outbox_session_commit();
	outbox_barrier_wait(&barrier);
	return receiver.frame;
}
