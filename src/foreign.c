/*-------------------------------------------------------------------------
 *
 * foreign.c
 *	  Foreign rows: which they are.
 *
 * A row of origin 0 came by SQL and is foreign.  A row of another origin that
 * is not ours was emitted in a database that this one is a copy of, directly
 * or not.  It is foreign if that database had not published it when the copy
 * was made; else it is history and nobody's business any more.
 *
 * The copy has its original's cursor, which would tell, but goes on from
 * there.  So the first publisher of a copy keeps that cursor as it found it,
 * in outbox.ancestor, under the origin of the original; until then the cursor
 * is the original's.  Transaction ids mean the same in both, as they are
 * databases of one cluster.
 *
 * IDENTIFICATION
 *	  src/foreign.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "compat.h"
#include "cursor.h"
#include "event.h"
#include "foreign.h"
#include "installation.h"

PG_FUNCTION_INFO_V1(outbox_is_foreign);

struct OutboxForeign
{
	int64		origin;			/* ours */
	OutboxScopes *ancestors;
	MemoryContext row_context;	/* for detoasted values */
};

OutboxForeign *
outbox_foreign_load(void)
{
	OutboxForeign *foreign = palloc0(sizeof(OutboxForeign));

	foreign->origin = outbox_installation_get(false)->origin;
	foreign->row_context = AllocSetContextCreate(CurrentMemoryContext, "outbox foreign rows",
												 ALLOCSET_SMALL_SIZES);
	foreign->ancestors = outbox_cursor_ancestors(foreign->origin, CurrentMemoryContext);
	return foreign;
}

static bool
is_foreign(const OutboxForeign *foreign, int64 origin, uint64 xid, int64 id,
		   const text *topic, const bytea *key)
{
	if (origin == foreign->origin)
		return false;
	return origin == 0 ||
		!outbox_cursor_published(foreign->ancestors, origin, xid, id, topic, key);
}

static bool
is_foreign_row(const OutboxForeign *foreign, TupleTableSlot *slot)
{
	MemoryContext old_context = MemoryContextSwitchTo(foreign->row_context);
	bool		result;

	slot_getallattrs(slot);
	result = is_foreign(foreign,
						DatumGetInt64(slot->tts_values[Anum_outbox_event_origin - 1]),
						U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[Anum_outbox_event_xid - 1])),
						DatumGetInt64(slot->tts_values[Anum_outbox_event_id - 1]),
						DatumGetTextPP(slot->tts_values[Anum_outbox_event_topic - 1]),
						slot->tts_isnull[Anum_outbox_event_key - 1] ? NULL :
						DatumGetByteaPP(slot->tts_values[Anum_outbox_event_key - 1]));
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(foreign->row_context);
	return result;
}

/*
 * outbox_is_foreign(origin bigint, xid xid8, id bigint, topic text, key bytea)
 * returns bool
 *
 * Whether the event is foreign.  key NULL means an event without key; NULL for
 * any other argument gives NULL.  The caller needs SELECT on the tables of the
 * extension, which are read once per call site of a statement.
 */
Datum
outbox_is_foreign(PG_FUNCTION_ARGS)
{
	OutboxForeign *foreign = fcinfo->flinfo->fn_extra;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		PG_RETURN_NULL();
	if (foreign == NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		foreign = outbox_foreign_load();
		MemoryContextSwitchTo(old_context);
		fcinfo->flinfo->fn_extra = foreign;
	}
	PG_RETURN_BOOL(is_foreign(foreign, PG_GETARG_INT64(0),
							  U64FromFullTransactionId(DatumGetFullTransactionId(PG_GETARG_DATUM(1))),
							  PG_GETARG_INT64(2), PG_GETARG_TEXT_PP(3),
							  PG_ARGISNULL(4) ? NULL : PG_GETARG_BYTEA_PP(4)));
}

bool
outbox_foreign_next(const OutboxForeign *foreign, TableScanDesc scan, TupleTableSlot *slot)
{
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_foreign_row(foreign, slot))
			return true;
	}
	return false;
}

int64
outbox_foreign_count(const OutboxForeign *foreign, Oid segment,
					 const OutboxSnapshot *done, int64 limit)
{
	Relation	relation = table_open(segment, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = outbox_beginscan_compat(relation, GetActiveSnapshot());
	int64		count = 0;

	while (count < limit && outbox_foreign_next(foreign, scan, slot))
		if (outbox_snapshot_sees(done, U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[Anum_outbox_event_xid - 1]))))
			count++;
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, NoLock);
	return count;
}

bool
outbox_foreign_recognize_copy(void)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1];
	bool		copied;

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	if (SPI_execute_with_args("INSERT INTO outbox.ancestor (origin, topic, key, done, open, \"position\")"
							  " SELECT i.origin, c.topic, c.key, c.done, c.open, c.\"position\""
							  " FROM outbox.installation i, outbox.cursor c WHERE i.origin <> $1",
							  1, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write to outbox.ancestor");
	copied = SPI_processed > 0;
	if (SPI_execute_with_args("UPDATE outbox.installation SET origin = $1"
							  " WHERE origin IS DISTINCT FROM $1",
							  1, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not write to outbox.installation");
	return copied;
}
