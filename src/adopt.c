/*-------------------------------------------------------------------------
 *
 * adopt.c
 *	  Making foreign rows events of this installation.
 *
 * A row that came by SQL (a restore, a copy of the database) is foreign: only
 * a person can know whether its original publishes it, too.  outbox_adopt()
 * is how that person says that this installation is to publish it.  In one
 * transaction each foreign row is stored again as an event emitted here, in
 * the order of the ids, with the uid that it has; and the original is deleted,
 * so that no event is ever adopted twice or lost in between (G1, G4).
 *
 * Knows nothing of how far anything is published: adopted events are like all
 * others, and the publisher corrects its count of foreign rows by itself.
 *
 * IDENTIFICATION
 *	  src/adopt.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

#include "compat.h"
#include "dead_letter.h"
#include "event.h"
#include "foreign.h"
#include "installation.h"
#include "shmem.h"
#include "wakeup.h"

/*
 * Class of the transaction-level advisory lock that keeps two sessions from
 * adopting the same rows.  SQL functions use classes 1 and 2 only, and the
 * publisher has 57.  A lock on a table would have to be one that emitters and
 * pg_dump do not want; this one nobody else wants.
 */
#define ADVISORY_LOCK_CLASS	58

/* Columns of a row to sort: where a foreign row is. */
enum
{
	PLACE_ID,
	PLACE_SEGMENT,
	PLACE_TID,
	PLACE_COLUMNS
};

PG_FUNCTION_INFO_V1(outbox_adopt);

static void
lock_against_others(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, ADVISORY_LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

static TupleDesc
place_descriptor(void)
{
	TupleDesc	descriptor = CreateTemplateTupleDesc(PLACE_COLUMNS);

	TupleDescInitEntry(descriptor, PLACE_ID + 1, "id", INT8OID, -1, 0);
	TupleDescInitEntry(descriptor, PLACE_SEGMENT + 1, "segment", INT4OID, -1, 0);
	TupleDescInitEntry(descriptor, PLACE_TID + 1, "tid", TIDOID, -1, 0);
	outbox_finish_descriptor_compat(descriptor);
	return descriptor;
}

/* Puts the places of the foreign rows of one segment into sort. */
static void
find_foreign_rows(const OutboxForeign *foreign, Relation relation, int segment,
				  Snapshot snapshot, Tuplesortstate *sort, TupleTableSlot *place)
{
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = outbox_beginscan_compat(relation, snapshot);

	while (outbox_foreign_next(foreign, scan, slot))
	{
		ExecClearTuple(place);
		place->tts_values[PLACE_ID] = slot->tts_values[Anum_outbox_event_id - 1];
		place->tts_values[PLACE_SEGMENT] = Int32GetDatum(segment);
		place->tts_values[PLACE_TID] = PointerGetDatum(&slot->tts_tid);
		memset(place->tts_isnull, 0, sizeof(bool) * PLACE_COLUMNS);
		ExecStoreVirtualTuple(place);
		tuplesort_puttupleslot(sort, place);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Stores a foreign row again, as an event of this installation, and deletes
 * the original.  The row has been visible in the snapshot; an error says that
 * somebody deleted it since.
 */
static void
adopt_row(Relation relation, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
	Datum		values[Natts_outbox_event];
	bool		isnull[Natts_outbox_event];

	if (!table_tuple_fetch_row_version(relation, tid, snapshot, slot))
		elog(ERROR, "foreign row is not where it was");
	slot_getallattrs(slot);
	memcpy(values, slot->tts_values, sizeof(values));
	memcpy(isnull, slot->tts_isnull, sizeof(isnull));

	/* the original goes last: toasted values are copied from it */
	outbox_event_insert_adopted(values, isnull);
	ExecClearTuple(slot);

	/* below SQL as well: a publication of all tables would refuse a DELETE */
	simple_table_tuple_delete(relation, tid, snapshot);
}

/*
 * outbox_adopt() returns bigint
 *
 * Makes every foreign row that is visible now an event of this installation,
 * published after the commit.  Returns how many.  Other sessions go on
 * emitting; a second adopt waits for the end of the first transaction.  Locks
 * all segments in RowExclusiveLock until then, which delays rotation.  Memory
 * is bounded by work_mem.  Dead letters of other origins are adopted too; where
 * there are any, the publisher is kept away until the end of the transaction.
 * The caller needs SELECT on the tables of the extension, and UPDATE on
 * outbox.dead_letter.  Errors: read_only_sql_transaction, undefined_object,
 * active_sql_transaction.
 */
Datum
outbox_adopt(PG_FUNCTION_ARGS)
{
	AttrNumber	key = PLACE_ID + 1;
	Oid			order = Int8LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;
	OutboxInstallation installation;
	OutboxForeign *foreign;
	Relation	relations[OUTBOX_SEGMENTS];
	TupleTableSlot *slots[OUTBOX_SEGMENTS];
	TupleTableSlot *place;
	Tuplesortstate *sort;
	TupleDesc	descriptor;
	Snapshot	snapshot;
	MemoryContext row_context;
	MemoryContext old_context;
	int64		adopted = 0;
	int			i;

	/* a standby's transactions are read-only, too: name the true reason */
	PreventCommandDuringRecovery("outbox_adopt()");
	PreventCommandIfReadOnly("outbox_adopt()");
	PreventCommandIfParallelMode("outbox_adopt()");
	/* the transaction's snapshot may show rows that another one has adopted */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("outbox_adopt() cannot run in a transaction with isolation level repeatable read or serializable"),
				 errhint("Call it in a transaction with isolation level read committed.")));

	lock_against_others();
	installation = *outbox_installation_get(false);

	/*
	 * Events that follow a dead letter of their key must find it parked: the
	 * publisher parks what it finds when it comes back.
	 */
	SPI_connect();
	if (outbox_dead_letters_have_foreign())
	{
		outbox_slot_hold(MyDatabaseId);
		outbox_wakeup_release_at_end();
		(void) outbox_dead_letters_adopt();
	}
	SPI_finish();

	/* in the order of DROP EXTENSION */
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		relations[i] = table_open(installation.segment[i], RowExclusiveLock);
		slots[i] = table_slot_create(relations[i], NULL);
	}

	/*
	 * Taken after the locks, so that it sees what others have adopted; and
	 * what this transaction has done before, be it in the same statement.
	 */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	snapshot = GetActiveSnapshot();
	foreign = outbox_foreign_load();

	descriptor = place_descriptor();
	place = MakeSingleTupleTableSlot(descriptor, &TTSOpsVirtual);
	sort = tuplesort_begin_heap(descriptor, 1, &key, &order, &collation, &nulls_first,
								work_mem, NULL, TUPLESORT_NONE);
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
		find_foreign_rows(foreign, relations[i], i, snapshot, sort, place);
	ExecDropSingleTupleTableSlot(place);
	tuplesort_performsort(sort);

	place = MakeSingleTupleTableSlot(descriptor, &TTSOpsMinimalTuple);
	row_context = AllocSetContextCreate(CurrentMemoryContext, "outbox rows",
										ALLOCSET_DEFAULT_SIZES);
	while (tuplesort_gettupleslot(sort, true, false, place, NULL))
	{
		ItemPointerData tid;
		int			segment;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(place);
		segment = DatumGetInt32(place->tts_values[PLACE_SEGMENT]);
		ItemPointerCopy((ItemPointer) DatumGetPointer(place->tts_values[PLACE_TID]), &tid);

		old_context = MemoryContextSwitchTo(row_context);
		adopt_row(relations[segment], &tid, snapshot, slots[segment]);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
		adopted++;
	}
	ExecDropSingleTupleTableSlot(place);
	tuplesort_end(sort);
	MemoryContextDelete(row_context);

	PopActiveSnapshot();
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		ExecDropSingleTupleTableSlot(slots[i]);
		table_close(relations[i], NoLock);
	}

	if (adopted > 0)
		outbox_wakeup_adopted();
	PG_RETURN_INT64(adopted);
}
