/*-------------------------------------------------------------------------
 *
 * event.c
 *	  One event: the row and its insert.
 *
 * Rows are inserted below SQL, through the table access method and the
 * indexes, which costs no more than a plain INSERT does.  Two rules are kept
 * here on which the order and completeness of publishing rest: the top-level
 * transaction has its xid before the event gets its id, and the row carries
 * the xid of the top-level transaction also inside a savepoint.
 *
 * IDENTIFICATION
 *	  src/event.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "event.h"
#include "installation.h"
#include "segment.h"
#include "wakeup.h"

/* Random bytes are fetched for this many uids at once: a system call each. */
#define UIDS_PER_RESEED		64

#define UNIX_EPOCH_OFFSET_USECS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/*
 * Makes a UUID version 7: 48 bits of milliseconds since 1970, 12 bits that
 * count 4096ths of a millisecond, and 62 random bits.
 *
 * The random bytes are not shared with another process: nothing makes uids
 * before the fork.
 */
static void
make_uid(TimestampTz now, pg_uuid_t *uid)
{
	static uint64 random[UIDS_PER_RESEED];
	static int	unused = 0;
	static int64 last = 0;
	int64		microseconds = now + UNIX_EPOCH_OFFSET_USECS;
	int64		tick;
	uint64		high;
	uint64		low;

	if (unused == 0)
	{
		if (!pg_strong_random(random, sizeof(random)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		unused = UIDS_PER_RESEED;
	}
	low = random[--unused];

	/* a microsecond is about 4 of these, so there is room between two */
	tick = (microseconds / 1000) * 4096 + (microseconds % 1000) * 4096 / 1000;

	/*
	 * Uids of one session ascend.  A clock that was set back by more than a
	 * millisecond is followed, for the uid tells when the event was emitted.
	 */
	if (tick <= last && last - tick < 4096)
		tick = last + 1;
	last = tick;

	high = ((uint64) tick >> 12) << 16 | 0x7000 | ((uint64) tick & 0xFFF);
	low = (low & UINT64CONST(0x3FFFFFFFFFFFFFFF)) | UINT64CONST(0x8000000000000000);

	high = pg_hton64(high);
	low = pg_hton64(low);
	memcpy(uid->data, &high, sizeof(high));
	memcpy(uid->data + sizeof(high), &low, sizeof(low));
}

/*
 * Opens the segment to fill.  Returns what is known of the installation in
 * *installation; it may be outdated when something else is opened.
 */
static Relation
open_segment(OutboxInstallation *installation)
{
	for (;;)
	{
		Relation	segment;

		*installation = *outbox_installation_get(false);
		segment = outbox_segment_open(installation);
		if (segment != NULL)
			return segment;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Index entries for a row just stored in slot.
 *
 * The executor's own way makes an EState and locks and unlocks every index
 * for every row; here an EState is made only for an index that somebody added
 * with an expression or a predicate, and the locks stay as the table's does.
 */
static void
insert_index_entries(Relation segment, TupleTableSlot *slot)
{
	EState	   *estate = NULL;
	List	   *indexes = RelationGetIndexList(segment);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), RowExclusiveLock);
		IndexInfo  *info = BuildIndexInfo(index);
		bool		wanted = info->ii_ReadyForInserts;
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];

		if (index->rd_index->indisexclusion)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot emit into table \"%s\"",
							RelationGetRelationName(segment)),
					 errdetail("It has an exclusion constraint."),
					 errhint("Leave the tables of outbox as the extension made them.")));

		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL)
		{
			ExprContext *context;

			if (estate == NULL)
				estate = CreateExecutorState();
			context = GetPerTupleExprContext(estate);
			context->ecxt_scantuple = slot;
			if (info->ii_Predicate != NIL && wanted)
				wanted = ExecQual(ExecPrepareQual(info->ii_Predicate, estate), context);
		}

		if (wanted)
		{
			FormIndexDatum(info, slot, estate, values, isnull);
			index_insert(index, values, isnull, &slot->tts_tid, segment,
						 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
						 false, info);
			outbox_index_insert_cleanup(index, info);
		}
		index_close(index, NoLock);
		pfree(info);
	}

	if (estate != NULL)
		FreeExecutorState(estate);
	list_free(indexes);
}

static void
insert_row(Relation segment, Datum *values, bool *isnull)
{
	TupleDesc	descriptor = RelationGetDescr(segment);
	TupleTableSlot *slot;

	slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsHeapTuple);
	ExecStoreHeapTuple(heap_form_tuple(descriptor, values, isnull), slot, true);

	table_tuple_insert(segment, slot, GetCurrentCommandId(true), 0, NULL);
	insert_index_entries(segment, slot);

	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Stores an event whose columns are complete but for id, xid and origin.
 */
static void
insert_ours(Datum *values, bool *isnull)
{
	OutboxInstallation installation;
	Relation	segment;
	FullTransactionId xid;

	/*
	 * Of the top-level transaction, with which all its subtransactions become
	 * visible.  Taken before the id, so that most transactions that are older
	 * have lower ids, and rows of a batch are nearly in order as they lie.
	 */
	xid = GetTopFullTransactionId();
	segment = open_segment(&installation);

	values[Anum_outbox_event_id - 1] =
		Int64GetDatum(nextval_internal(installation.sequence, false));
	isnull[Anum_outbox_event_id - 1] = false;
	values[Anum_outbox_event_xid - 1] = FullTransactionIdGetDatum(xid);
	isnull[Anum_outbox_event_xid - 1] = false;
	values[Anum_outbox_event_origin - 1] = Int64GetDatum(installation.origin);
	isnull[Anum_outbox_event_origin - 1] = false;

	insert_row(segment, values, isnull);
	table_close(segment, NoLock);

	outbox_wakeup_emitted();
}

void
outbox_event_init(OutboxEvent *event)
{
	memset(event, 0, sizeof(OutboxEvent));
	event->partition = -1;
	event->created = GetCurrentTimestamp();
	make_uid(event->created, &event->uid);
}

void
outbox_event_insert(const OutboxEvent *event)
{
	Datum		values[Natts_outbox_event];
	bool		isnull[Natts_outbox_event];

	memset(isnull, 0, sizeof(isnull));
	values[Anum_outbox_event_uid - 1] = UUIDPGetDatum(&event->uid);
	values[Anum_outbox_event_created - 1] = TimestampTzGetDatum(event->created);
	values[Anum_outbox_event_partition - 1] = Int32GetDatum(event->partition);
	isnull[Anum_outbox_event_partition - 1] = (event->partition < 0);
	values[Anum_outbox_event_topic - 1] = PointerGetDatum(event->topic);
	values[Anum_outbox_event_key - 1] = PointerGetDatum(event->key);
	isnull[Anum_outbox_event_key - 1] = (event->key == NULL);
	values[Anum_outbox_event_headers - 1] = PointerGetDatum(event->headers);
	isnull[Anum_outbox_event_headers - 1] = (event->headers == NULL);
	values[Anum_outbox_event_payload - 1] = PointerGetDatum(event->payload);
	isnull[Anum_outbox_event_payload - 1] = (event->payload == NULL);

	insert_ours(values, isnull);
}

void
outbox_event_insert_adopted(Datum *values, bool *isnull)
{
	insert_ours(values, isnull);
}

void
outbox_event_make_foreign(Datum *values, bool *isnull)
{
	values[Anum_outbox_event_xid - 1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	isnull[Anum_outbox_event_xid - 1] = false;
	values[Anum_outbox_event_origin - 1] = Int64GetDatum(0);
	isnull[Anum_outbox_event_origin - 1] = false;
}

void
outbox_event_insert_foreign(Datum *values, bool *isnull)
{
	OutboxInstallation installation;
	Relation	segment;
	int			i;

	segment = open_segment(&installation);

	for (i = 0; i < Natts_outbox_event; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(segment), i);

		if (attribute->attnotnull && isnull[i])
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("null value in column \"%s\" of an event",
							NameStr(attribute->attname)),
					 errtablecol(segment, i + 1)));
	}

	insert_row(segment, values, isnull);
	table_close(segment, NoLock);
}
