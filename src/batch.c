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
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "batch.h"
#include "compat.h"
#include "event.h"
#include "frame.h"

/*
 * Rows fetched per transaction from a large batch.  The socket holds about 700
 * small events: the next ones must be there before the producer has read them.
 */
#define FETCH_WINDOW		512

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
	OutboxBarrier *barrier;
	MemoryContext row_context;
	int			rows;
} Receiver;

/* Columns of the query of a large batch. */
enum
{
	DIRECTORY_ID,
	DIRECTORY_XID,
	DIRECTORY_ORIGIN,
	DIRECTORY_CTID,
	DIRECTORY_TABLEOID
};

static Datum finished_xids(const OutboxSnapshot *begin, const OutboxSnapshot *end,
						   int *count);
static SPIPlanPtr plan_for(int segment, bool with_list, bool directory);
static bool receive_row(TupleTableSlot *slot, DestReceiver *self);
static bool receive_entry(TupleTableSlot *slot, DestReceiver *self);
static bool belongs(Receiver *receiver, uint64 xid, int64 origin, Oid table);
static void spool_event(OutboxBatch *batch, uint64 number, TupleTableSlot *slot,
						MemoryContext row_context);
static void receiver_startup(DestReceiver *self, int operation, TupleDesc type);
static void receiver_nothing(DestReceiver *self);

/* The table that a plan reads: a segment, or all of them. */
#define ALL_SEGMENTS		OUTBOX_SEGMENTS

/*
 * Reads the events of a batch into its spool, or where its rows are into its
 * directory, if it has one: what is visible in its end and not in begin, with
 * ids behind its position if it has one.  Sets its last number and counts its
 * foreign rows; notes its transactions in the barrier.  The caller is
 * connected to SPI, with an active snapshot that sees at least what the
 * batch's end sees.
 */
void
outbox_batch_read(OutboxBatch *batch, const OutboxSnapshot *begin, OutboxBarrier *barrier)
{
	const OutboxInstallation *installation = outbox_installation_get(false);
	const OutboxSnapshot *end = batch->end;
	SPIExecuteOptions options = {0};
	ParamListInfo params;
	Receiver	receiver = {0};
	Datum		list;
	int			list_length;
	int			segment = -1;
	int			i;
	int			result;

	list = finished_xids(begin, end, &list_length);
	if (list_length == 0 && begin->xmax >= end->xmax)
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
	receiver.barrier = barrier;
	receiver.row_context = AllocSetContextCreate(CurrentMemoryContext, "outbox rows",
												 ALLOCSET_DEFAULT_SIZES);

	params = makeParamList(5);
	params->params[0].value = FullTransactionIdGetDatum(FullTransactionIdFromU64(begin->xmax));
	params->params[0].ptype = XID8OID;
	params->params[1].value = FullTransactionIdGetDatum(FullTransactionIdFromU64(end->xmax));
	params->params[1].ptype = XID8OID;
	params->params[2].value = Int64GetDatum(batch->has_position ? batch->position : PG_INT64_MIN);
	params->params[2].ptype = INT8OID;
	params->params[3].value = list;
	params->params[3].ptype = XID8ARRAYOID;
	params->params[4].value = Int64GetDatum(receiver.installation.origin);
	params->params[4].ptype = INT8OID;
	for (i = 0; i < 5; i++)
	{
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
	}

	options.params = params;
	options.read_only = true;
	options.dest = &receiver.pub;
	result = SPI_execute_plan_extended(plan_for(segment, list_length > 0, batch->directory != NULL),
									   &options);
	if (result < 0)
		elog(ERROR, "could not read events: %s", SPI_result_code_string(result));
	MemoryContextDelete(receiver.row_context);
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

	while (fetched < FETCH_WINDOW && batch->spooled < batch->last)
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
		spool_event(batch, ++batch->spooled, slot, row_context);
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
 * The transactions that ran at the begin of a batch and have finished since,
 * as an array of xid8.
 */
static Datum
finished_xids(const OutboxSnapshot *begin, const OutboxSnapshot *end, int *count)
{
	Datum	   *xids = palloc(sizeof(Datum) * Max(begin->count, 1));
	int			i;

	*count = 0;
	for (i = 0; i < begin->count; i++)
		if (outbox_snapshot_sees(end, begin->xip[i]))
			xids[(*count)++] = FullTransactionIdGetDatum(FullTransactionIdFromU64(begin->xip[i]));
	return PointerGetDatum(construct_array(xids, *count, XID8OID, sizeof(FullTransactionId),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * The plan that reads a segment, or all of them: by the range of transactions
 * that is new in the end snapshot, and by the list of those that ran before.
 * Foreign rows are counted when the batch is closed, so a batch that is taken
 * up again from a position reads all of them once more.
 */
static SPIPlanPtr
plan_for(int segment, bool with_list, bool directory)
{
	static SPIPlanPtr plans[OUTBOX_SEGMENTS + 1][2][2];
	SPIPlanPtr	plan = plans[segment][with_list][directory];
	Oid			types[5] = {XID8OID, XID8OID, INT8OID, XID8ARRAYOID, INT8OID};
	const char *columns = directory ? "id, xid, origin, ctid, tableoid" :
		"id, xid, uid, origin, created, partition, topic, key, headers, payload, tableoid";
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
					 " AND (id > $3 OR origin <> $5)",
					 columns, table);
	if (with_list)
		appendStringInfo(&query, " UNION ALL SELECT %s FROM %s WHERE xid = ANY ($4)"
						 " AND (id > $3 OR origin <> $5)",
						 columns, table);
	appendStringInfoString(&query, " ORDER BY 1");

	plan = SPI_prepare(query.data, 5, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare the reading of events: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	plans[segment][with_list][directory] = plan;
	return plan;
}

/* A row of a batch that is read as a whole. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *receiver = (Receiver *) self;

	slot_getallattrs(slot);
	if (!belongs(receiver,
				 U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[Anum_outbox_event_xid - 1])),
				 DatumGetInt64(slot->tts_values[Anum_outbox_event_origin - 1]),
				 DatumGetObjectId(slot->tts_values[Natts_outbox_event])))
		return true;

	spool_event(receiver->batch, ++receiver->batch->last, slot, receiver->row_context);
	if (++receiver->rows % ROWS_PER_RESET == 0)
		MemoryContextReset(receiver->row_context);
	return true;
}

/* A row of a large batch: where it is. */
static bool
receive_entry(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *receiver = (Receiver *) self;
	OutboxBatch *batch = receiver->batch;
	DirectoryEntry entry = {0};
	Oid			table;

	slot_getallattrs(slot);
	table = DatumGetObjectId(slot->tts_values[DIRECTORY_TABLEOID]);
	if (!belongs(receiver,
				 U64FromFullTransactionId(DatumGetFullTransactionId(slot->tts_values[DIRECTORY_XID])),
				 DatumGetInt64(slot->tts_values[DIRECTORY_ORIGIN]), table))
		return true;

	entry.id = DatumGetInt64(slot->tts_values[DIRECTORY_ID]);
	ItemPointerCopy((ItemPointer) DatumGetPointer(slot->tts_values[DIRECTORY_CTID]), &entry.tid);
	while (receiver->installation.segment[entry.segment] != table)
		entry.segment++;
	batch->last++;
	memcpy(outbox_spool_append(batch->directory, sizeof(entry), entry.id, batch->last),
		   &entry, sizeof(entry));
	return true;
}

/*
 * Whether a row is an event of the batch.  Notes its transaction for the
 * barrier, or counts it as a foreign row.
 */
static bool
belongs(Receiver *receiver, uint64 xid, int64 origin, Oid table)
{
	int			i;

	/* the plan's range ends at xmax; some below it may still run */
	if (!outbox_snapshot_sees(receiver->batch->end, xid))
		return false;

	for (i = 0; i < OUTBOX_SEGMENTS; i++)
		if (table == receiver->installation.segment[i])
			break;
	if (i == OUTBOX_SEGMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %u inherits from outbox.event, but is no segment", table),
				 errhint("Leave the tables of outbox as the extension made them.")));

	if (origin != receiver->installation.origin)
	{
		receiver->batch->foreign_rows[i]++;
		return false;
	}
	outbox_barrier_add(receiver->barrier, xid);
	return true;
}

/*
 * Appends an event to the spool of its batch, as a frame.  The slot has the
 * columns of the table; what is detoasted is left in row_context.
 */
static void
spool_event(OutboxBatch *batch, uint64 number, TupleTableSlot *slot, MemoryContext row_context)
{
	static const int columns[3] = {
		Anum_outbox_event_key, Anum_outbox_event_headers, Anum_outbox_event_payload
	};
	MemoryContext old_context = MemoryContextSwitchTo(row_context);
	FrameHeader header = {0};
	FrameEvent	event = {0};
	struct varlena *topic;
	struct varlena *value[3];
	int32		length[3];
	char	   *frame;
	int			i;

	topic = PG_DETOAST_DATUM_PACKED(slot->tts_values[Anum_outbox_event_topic - 1]);
	header.length = sizeof(FrameEvent) + VARSIZE_ANY_EXHDR(topic);
	for (i = 0; i < 3; i++)
	{
		value[i] = NULL;
		length[i] = -1;
		if (slot->tts_isnull[columns[i] - 1])
			continue;
		value[i] = PG_DETOAST_DATUM_PACKED(slot->tts_values[columns[i] - 1]);
		length[i] = VARSIZE_ANY_EXHDR(value[i]);
		header.length += length[i];
	}

	header.type = FRAME_EVENT;
	event.number = number;
	event.timestamp = DatumGetTimestampTz(slot->tts_values[Anum_outbox_event_created - 1]) / 1000 +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY * 1000;
	memcpy(event.uid, DatumGetUUIDP(slot->tts_values[Anum_outbox_event_uid - 1])->data, UUID_LEN);
	event.partition = slot->tts_isnull[Anum_outbox_event_partition - 1] ? -1 :
		DatumGetInt32(slot->tts_values[Anum_outbox_event_partition - 1]);
	event.topic_length = VARSIZE_ANY_EXHDR(topic);
	event.key_length = length[0];
	event.headers_length = length[1];
	event.payload_length = length[2];

	frame = outbox_spool_append(batch->spool, sizeof(header) + header.length,
								DatumGetInt64(slot->tts_values[Anum_outbox_event_id - 1]),
								number);
	memcpy(frame, &header, sizeof(header));
	frame += sizeof(header);
	memcpy(frame, &event, sizeof(event));
	frame += sizeof(event);
	memcpy(frame, VARDATA_ANY(topic), event.topic_length);
	frame += event.topic_length;
	for (i = 0; i < 3; i++)
	{
		if (value[i] == NULL)
			continue;
		memcpy(frame, VARDATA_ANY(value[i]), length[i]);
		frame += length[i];
	}
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
