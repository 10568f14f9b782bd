/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  A batch: reading the events between two snapshots.
 *
 * The rows are found by their transaction: those in the range that is new in
 * the end snapshot, and those on the list of transactions that ran at the
 * begin and have finished since.  Both are index scans, so a batch costs what
 * its events cost, whatever else is in the segments and however long some
 * session has been idle in its transaction (G8).
 *
 * Events of a held scope are left out, until a batch is the one in which the
 * scope joins: that one reads all of them that the hold row does not cover.
 *
 * IDENTIFICATION
 *	  src/batch.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "tcop/dest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "batch.h"
#include "compat.h"
#include "event.h"
#include "event_frame.h"

/*
 * Rows fetched per transaction from a large batch.  The socket holds about 700
 * small events: the next ones must be there before the producer has read them.
 */
#define FETCH_WINDOW		512

/* Of the queries that read events. */
#define PARAMETERS			9

/* Rows received between two resets of the memory for detoasted values. */
#define ROWS_PER_RESET		64

/* Where a row of a large batch is. */
typedef struct DirectoryEntry
{
	int64		id;
	ItemPointerData tid;
	uint16		segment;
} DirectoryEntry;

/* The receiver of the rows of a batch. */
typedef struct Receiver
{
	DestReceiver pub;
	OutboxInstallation installation;
	OutboxBatch *batch;
	OutboxHolds *holds;
	HTAB	   *letters;		/* uids of events that are dead letters */
	OutboxBarrier *barrier;
	MemoryContext row_context;
	int			rows;
} Receiver;

/* What a query of events gives. */
typedef enum QueryForm
{
	QUERY_ROWS,					/* whole rows, tableoid, ctid */
	QUERY_DIRECTORY,			/* the columns below up to tableoid */
	QUERY_DIRECTORY_SCOPES		/* all of them */
} QueryForm;

enum
{
	DIRECTORY_ID,
	DIRECTORY_XID,
	DIRECTORY_ORIGIN,
	DIRECTORY_CTID,
	DIRECTORY_TABLEOID,
	DIRECTORY_UID,
	DIRECTORY_TOPIC,
	DIRECTORY_KEY
};

#define ROW_TABLEOID		Natts_outbox_event
#define ROW_CTID			(Natts_outbox_event + 1)

/* An event as belongs() looks at it. */
typedef struct Candidate
{
	int64		id;
	uint64		xid;
	int64		origin;
	Oid			table;
	const uint8 *uid;			/* NULL: nobody asks for the following */
	struct varlena *topic;
	struct varlena *key;		/* NULL: none */
} Candidate;

/* Where reading starts: what may be visible in the end and was not before. */
typedef struct Lower
{
	uint64		xmax;			/* all transactions from here on */
	int			count;			/* and these, in an array of xid8 */
	Datum		xids;
} Lower;

static void lower_bound(Lower *lower, const OutboxBatch *batch, OutboxHolds *holds);
static int	finished_xids(const OutboxSnapshot *begin, const OutboxSnapshot *end,
						  uint64 below, Datum *xids);
static SPIPlanPtr plan_for(int segment, bool with_list, QueryForm form);
static bool receive_row(TupleTableSlot *slot, DestReceiver *self);
static bool receive_entry(TupleTableSlot *slot, DestReceiver *self);
static int	belongs(Receiver *receiver, const Candidate *candidate);
static void spool_event(OutboxBatch *batch, uint64 number, TupleTableSlot *slot,
						uint64 locator, MemoryContext row_context);
static void receiver_startup(DestReceiver *self, int operation, TupleDesc type);
static void receiver_nothing(DestReceiver *self);

/* The table that a plan reads: a segment, or all of them. */
#define ALL_SEGMENTS		OUTBOX_SEGMENTS

/*
 * Reads the events of a batch into its spool, or where its rows are into its
 * directory, if it has one: what is visible in its end and not in its begin,
 * with ids behind its position if it has one; of held scopes nothing, but of
 * those that join in this batch all that their rows do not cover.  Events
 * whose uid is in letters (NULL: none) are left out.  Sets the batch's last
 * number and counts its foreign rows; notes its transactions in the barrier.
 * With a page, reads no more rows than that; if more is set then, the next call
 * goes on behind them.  The caller is connected to SPI, with an active snapshot that sees at least
 * what the batch's end sees.
 */
void
outbox_batch_read(OutboxBatch *batch, OutboxHolds *holds, HTAB *letters,
				  OutboxBarrier *barrier)
{
	const OutboxInstallation *installation = outbox_installation_get(false);
	SPIExecuteOptions options = {0};
	ParamListInfo params;
	Receiver	receiver = {0};
	QueryForm	form = QUERY_ROWS;
	Lower		lower;
	ItemPointerData page_tid;
	int			segment = -1;
	int			i;
	int			result;

	Assert(batch->page == 0 || batch->directory != NULL);

	lower_bound(&lower, batch, holds);
	if (lower.count == 0 && lower.xmax >= batch->end->xmax)
		return;

	/*
	 * A relation without blocks holds no row that the snapshot, which is
	 * older than this look, could see.  Mostly one segment is left.
	 */
	receiver.installation = *installation;
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		Relation	relation = relation_open(receiver.installation.segment[i], AccessShareLock);

		if (RelationGetNumberOfBlocks(relation) > 0)
			segment = segment < 0 ? i : ALL_SEGMENTS;
		relation_close(relation, NoLock);
	}
	if (segment < 0)
		return;

	receiver.pub.receiveSlot = batch->directory ? receive_entry : receive_row;
	receiver.pub.rStartup = receiver_startup;
	receiver.pub.rShutdown = receiver_nothing;
	receiver.pub.rDestroy = receiver_nothing;
	receiver.pub.mydest = DestNone;
	receiver.batch = batch;
	receiver.holds = holds;
	receiver.letters = letters;
	receiver.barrier = barrier;
	receiver.row_context = AllocSetContextCreate(CurrentMemoryContext, "outbox rows",
												 ALLOCSET_DEFAULT_SIZES);

	params = makeParamList(PARAMETERS);
	params->params[0].value = FullTransactionIdGetDatum(FullTransactionIdFromU64(lower.xmax));
	params->params[0].ptype = XID8OID;
	params->params[1].value = FullTransactionIdGetDatum(FullTransactionIdFromU64(batch->end->xmax));
	params->params[1].ptype = XID8OID;
	params->params[2].value = Int64GetDatum(batch->has_position ? batch->position : PG_INT64_MIN);
	params->params[2].ptype = INT8OID;
	params->params[3].value = lower.xids;
	params->params[3].ptype = XID8ARRAYOID;
	params->params[4].value = Int64GetDatum(receiver.installation.origin);
	params->params[4].ptype = INT8OID;
	params->params[5].value = Int64GetDatum(batch->more ? batch->page_id : PG_INT64_MIN);
	params->params[5].ptype = INT8OID;
	params->params[6].value = Int64GetDatum(batch->page);
	params->params[6].ptype = INT8OID;
	params->params[7].value = ObjectIdGetDatum(batch->page_table);
	params->params[7].ptype = OIDOID;
	/* a copy: the receiver writes there */
	page_tid = batch->page_tid;
	params->params[8].value = PointerGetDatum(&page_tid);
	params->params[8].ptype = TIDOID;
	for (i = 0; i < PARAMETERS; i++)
	{
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
	}
	params->params[6].isnull = batch->page == 0;

	options.params = params;
	options.read_only = true;
	options.dest = &receiver.pub;
	if (batch->directory != NULL)
		form = holds->count > 0 || letters != NULL ? QUERY_DIRECTORY_SCOPES : QUERY_DIRECTORY;
	result = SPI_execute_plan_extended(plan_for(segment, lower.count > 0, form), &options);
	if (result < 0)
		elog(ERROR, "could not read events: %s", SPI_result_code_string(result));
	MemoryContextDelete(receiver.row_context);
	batch->more = batch->page > 0 && receiver.rows == batch->page;
}

/*
 * Fetches the next rows of a large batch into its spool.  The caller has a
 * transaction with an active snapshot.  Rows stay where they are: only the
 * publisher empties segments, and not these.  ERROR if they do not, since
 * somebody rewrote the table: the publisher then starts anew.
 */
void
outbox_batch_fetch(OutboxBatch *batch)
{
	Relation	relations[OUTBOX_SEGMENTS];
	TupleTableSlot *slots[OUTBOX_SEGMENTS];
	MemoryContext row_context;
	uint64		fetched = 0;
	int			i;

	row_context = AllocSetContextCreate(CurrentMemoryContext, "outbox rows",
										ALLOCSET_DEFAULT_SIZES);
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		relations[i] = table_open(outbox_installation_get(false)->segment[i], AccessShareLock);
		slots[i] = table_slot_create(relations[i], NULL);
	}

	/* where no file can be written, as much as memory holds, and one at least */
	while (fetched < FETCH_WINDOW && batch->spooled < batch->last &&
		   (batch->page == 0 || fetched == 0 || !outbox_spool_is_full(batch->spool)))
	{
		DirectoryEntry entry;
		TupleTableSlot *slot;

		if (batch->spooled + 1 > batch->entries.last &&
			!outbox_spool_next(batch->directory, &batch->entries))
			elog(ERROR, "directory of a batch ends too early");
		memcpy(&entry, batch->entries.data +
			   (batch->spooled + 1 - batch->entries.first) * sizeof(entry), sizeof(entry));

		slot = slots[entry.segment];
		if (!table_tuple_fetch_row_version(relations[entry.segment], &entry.tid,
										   GetActiveSnapshot(), slot))
			elog(ERROR, "event " INT64_FORMAT " is not where it was", entry.id);
		slot_getallattrs(slot);
		if (DatumGetInt64(slot->tts_values[Anum_outbox_event_id - 1]) != entry.id)
			elog(ERROR, "event " INT64_FORMAT " is not where it was", entry.id);
		spool_event(batch, ++batch->spooled, slot,
					outbox_locator(entry.segment, &entry.tid), row_context);
		ExecClearTuple(slot);
		if (++fetched % ROWS_PER_RESET == 0)
			MemoryContextReset(row_context);
	}

	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		ExecDropSingleTupleTableSlot(slots[i]);
		table_close(relations[i], NoLock);
	}

	if (batch->spooled == batch->last)
	{
		outbox_spool_destroy(batch->directory);
		batch->directory = NULL;
	}
	else
	{
		int64		id;

		(void) outbox_spool_release(batch->directory, batch->spooled, &id);
	}
}

/*
 * The lower bound of a batch is its begin, and where scopes join in it, the
 * oldest of their rows too.
 */
static void
lower_bound(Lower *lower, const OutboxBatch *batch, OutboxHolds *holds)
{
	dlist_iter	iter;
	int			space = batch->begin->count;
	Datum	   *xids;

	lower->xmax = batch->begin->xmax;
	dlist_foreach(iter, &holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

		if (hold->join != batch->serial)
			continue;
		lower->xmax = Min(lower->xmax, hold->cursor.done->xmax);
		space += hold->cursor.done->count;
	}

	xids = palloc(sizeof(Datum) * Max(space, 1));
	lower->count = finished_xids(batch->begin, batch->end, lower->xmax, xids);
	dlist_foreach(iter, &holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

		if (hold->join == batch->serial)
			lower->count += finished_xids(hold->cursor.done, batch->end, lower->xmax,
										  xids + lower->count);
	}
	lower->xids = PointerGetDatum(construct_array(xids, lower->count, XID8OID,
												  sizeof(FullTransactionId),
												  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * The transactions that ran at the begin and have finished since, as far as
 * they are below an id: from it on all are read anyway.  Returns how many.
 */
static int
finished_xids(const OutboxSnapshot *begin, const OutboxSnapshot *end, uint64 below,
			  Datum *xids)
{
	int			count = 0;
	int			i;

	for (i = 0; i < begin->count; i++)
		if (begin->xip[i] < below && outbox_snapshot_sees(end, begin->xip[i]))
			xids[count++] = FullTransactionIdGetDatum(FullTransactionIdFromU64(begin->xip[i]));
	return count;
}

/*
 * The plan that reads a segment, or all of them: by the range of transactions
 * that is new in the end snapshot, and by the list of those that ran before.
 * Foreign rows are counted when the batch is closed, so a batch that is taken
 * up again from a position reads all of them once more.
 */
static SPIPlanPtr
plan_for(int segment, bool with_list, QueryForm form)
{
	static SPIPlanPtr plans[OUTBOX_SEGMENTS + 1][2][QUERY_DIRECTORY_SCOPES + 1];
	static const char *const columns_of[] = {
		OUTBOX_EVENT_COLUMNS ", tableoid, ctid",
		"id, xid, origin, ctid, tableoid",
		"id, xid, origin, ctid, tableoid, uid, topic, key"
	};
	SPIPlanPtr	plan = plans[segment][with_list][form];
	Oid			types[PARAMETERS] = {
		XID8OID, XID8OID, INT8OID, XID8ARRAYOID, INT8OID, INT8OID, INT8OID, OIDOID, TIDOID
	};
	const char *columns = columns_of[form];
	const char *next_page = form == QUERY_ROWS ? "" :
		" AND (id > $6 OR (id = $6 AND (tableoid, ctid) > ($8, $9)))";
	char		table[NAMEDATALEN];
	StringInfoData query;

	if (plan != NULL)
		return plan;

	if (segment == ALL_SEGMENTS)
		strlcpy(table, "outbox.event", sizeof(table));
	else
		snprintf(table, sizeof(table), "outbox.event_%d", segment);
	initStringInfo(&query);
	appendStringInfo(&query, "SELECT %s FROM %s WHERE xid >= $1 AND xid < $2"
					 " AND (id > $3 OR origin <> $5)%s",
					 columns, table, next_page);
	if (with_list)
		appendStringInfo(&query, " UNION ALL SELECT %s FROM %s WHERE xid = ANY ($4)"
						 " AND (id > $3 OR origin <> $5)%s",
						 columns, table, next_page);
	/* foreign rows may have the ids of others */
	appendStringInfoString(&query, form == QUERY_ROWS ? " ORDER BY 1" :
						   " ORDER BY 1, tableoid, ctid LIMIT $7");

	plan = SPI_prepare(query.data, PARAMETERS, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare the reading of events: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	plans[segment][with_list][form] = plan;
	return plan;
}

/* A row of a batch that is read as a whole. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *receiver = (Receiver *) self;
	MemoryContext old_context = MemoryContextSwitchTo(receiver->row_context);
	Candidate	candidate = {0};
	int			segment;

	slot_getallattrs(slot);
	candidate.id = DatumGetInt64(slot->tts_values[Anum_outbox_event_id - 1]);
	candidate.xid = U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[Anum_outbox_event_xid - 1]));
	candidate.origin = DatumGetInt64(slot->tts_values[Anum_outbox_event_origin - 1]);
	candidate.table = DatumGetObjectId(slot->tts_values[ROW_TABLEOID]);
	if (receiver->holds->count > 0 || receiver->letters != NULL)
	{
		candidate.uid = DatumGetUUIDP(slot->tts_values[Anum_outbox_event_uid - 1])->data;
		candidate.topic = PG_DETOAST_DATUM_PACKED(slot->tts_values[Anum_outbox_event_topic - 1]);
		if (!slot->tts_isnull[Anum_outbox_event_key - 1])
			candidate.key = PG_DETOAST_DATUM_PACKED(slot->tts_values[Anum_outbox_event_key - 1]);
	}

	segment = belongs(receiver, &candidate);
	if (segment >= 0)
		spool_event(receiver->batch, ++receiver->batch->last, slot,
					outbox_locator(segment,
								   (ItemPointer) DatumGetPointer(slot->tts_values[ROW_CTID])),
					receiver->row_context);
	MemoryContextSwitchTo(old_context);
	if (++receiver->rows % ROWS_PER_RESET == 0)
		MemoryContextReset(receiver->row_context);
	return true;
}

/* A row of a large batch: where it is. */
static bool
receive_entry(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *receiver = (Receiver *) self;
	MemoryContext old_context = MemoryContextSwitchTo(receiver->row_context);
	OutboxBatch *batch = receiver->batch;
	DirectoryEntry entry = {0};
	Candidate	candidate = {0};
	int			segment;

	slot_getallattrs(slot);
	candidate.id = DatumGetInt64(slot->tts_values[DIRECTORY_ID]);
	candidate.xid = U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[DIRECTORY_XID]));
	candidate.origin = DatumGetInt64(slot->tts_values[DIRECTORY_ORIGIN]);
	candidate.table = DatumGetObjectId(slot->tts_values[DIRECTORY_TABLEOID]);
	batch->page_id = candidate.id;
	batch->page_table = candidate.table;
	ItemPointerCopy((ItemPointer) DatumGetPointer(slot->tts_values[DIRECTORY_CTID]), &batch->page_tid);
	if (slot->tts_tupleDescriptor->natts > DIRECTORY_UID)
	{
		candidate.uid = DatumGetUUIDP(slot->tts_values[DIRECTORY_UID])->data;
		candidate.topic = PG_DETOAST_DATUM_PACKED(slot->tts_values[DIRECTORY_TOPIC]);
		if (!slot->tts_isnull[DIRECTORY_KEY])
			candidate.key = PG_DETOAST_DATUM_PACKED(slot->tts_values[DIRECTORY_KEY]);
	}

	segment = belongs(receiver, &candidate);
	MemoryContextSwitchTo(old_context);
	if (segment >= 0)
	{
		entry.id = candidate.id;
		ItemPointerCopy((ItemPointer) DatumGetPointer(slot->tts_values[DIRECTORY_CTID]), &entry.tid);
		entry.segment = segment;
		batch->last++;
		memcpy(outbox_spool_append(batch->directory, sizeof(entry), entry.id, batch->last),
			   &entry, sizeof(entry));
	}
	if (++receiver->rows % ROWS_PER_RESET == 0)
		MemoryContextReset(receiver->row_context);
	return true;
}

/*
 * The segment of a row that is an event of the batch, else -1.  Notes its
 * transaction for the barrier, or counts it as a foreign row.
 */
static int
belongs(Receiver *receiver, const Candidate *candidate)
{
	OutboxBatch *batch = receiver->batch;
	const OutboxHold *hold = NULL;
	bool		is_new = !outbox_snapshot_sees(batch->begin, candidate->xid);
	int			segment;

	/* the plan's range ends at xmax; some below it may still run */
	if (!outbox_snapshot_sees(batch->end, candidate->xid))
		return -1;

	for (segment = 0; segment < OUTBOX_SEGMENTS; segment++)
		if (candidate->table == receiver->installation.segment[segment])
			break;
	if (segment == OUTBOX_SEGMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %u inherits from outbox.event, but is no segment", candidate->table),
				 errhint("Leave the tables of outbox as the extension made them.")));

	if (candidate->origin != receiver->installation.origin)
	{
		if (is_new)
			batch->foreign_rows[segment]++;
		return -1;
	}

	if (candidate->uid != NULL)
	{
		hold = outbox_holds_find(receiver->holds, VARDATA_ANY(candidate->topic),
								 VARSIZE_ANY_EXHDR(candidate->topic),
								 candidate->key ? VARDATA_ANY(candidate->key) : NULL,
								 candidate->key ? VARSIZE_ANY_EXHDR(candidate->key) : 0);
		if (receiver->letters != NULL &&
			hash_search(receiver->letters, candidate->uid, HASH_FIND, NULL) != NULL)
			return -1;
	}
	if (hold != NULL && (hold->join == 0 || hold->join >= batch->serial))
	{
		if (hold->join != batch->serial ||
			outbox_cursor_covers(&hold->cursor, candidate->xid, candidate->id) ||
			outbox_hold_is_settled(hold, candidate->uid))
			return -1;
	}
	else if (!is_new)
		return -1;

	outbox_barrier_add(receiver->barrier, candidate->xid);
	return segment;
}

/*
 * Appends an event to the spool of its batch, as a frame.  The slot has the
 * columns of the table; what is detoasted is left in row_context.
 */
static void
spool_event(OutboxBatch *batch, uint64 number, TupleTableSlot *slot, uint64 locator,
			MemoryContext row_context)
{
	MemoryContext old_context = MemoryContextSwitchTo(row_context);
	OutboxEventParts parts;

	outbox_event_parts(&parts, slot, number, locator);
	outbox_event_frame_write(&parts,
							 outbox_spool_append(batch->spool, parts.length,
												 DatumGetInt64(slot->tts_values[Anum_outbox_event_id - 1]),
												 number));
	MemoryContextSwitchTo(old_context);
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc type)
{
}

static void
receiver_nothing(DestReceiver *self)
{
}
