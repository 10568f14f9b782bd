/*-------------------------------------------------------------------------
 *
 * segment_writer.c
 *	  Rows into a segment, with their index entries.
 *
 * Rows are stored below SQL, through the table access method and the indexes,
 * which costs no more than a plain INSERT does; many rows are kept back until
 * there are enough of them for one call of the access method, which then locks
 * a page and writes a record of the write-ahead log for many at a time.  Knows
 * nothing of what the rows mean.
 *
 * IDENTIFICATION
 *	  src/segment_writer.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/memutils.h"

#include "compat.h"
#include "segment_writer.h"

/*
 * Rows are stored when there are so many of them, or so many bytes: as COPY
 * does it, a few pages at a time, of which more at a time would save nothing.
 */
#define MAX_ROWS		1000
#define MAX_BYTES		65536

/* Room for so many rows at first; it then doubles. */
#define INITIAL_ROWS	8

/* The indexes of a segment, open. */
typedef struct Indexes
{
	Relation	segment;
	MemoryContext context;		/* of what lasts until they are closed */
	int			count;
	Relation   *index;
	IndexInfo **info;
	EState	   *estate;			/* NULL until an index asks for it */
} Indexes;

struct OutboxSegmentWriter
{
	MemoryContext context;		/* of all this */
	MemoryContext rows;			/* of the rows kept back */
	MemoryContext scratch;		/* of a call of the access method */
	TupleDesc	descriptor;
	Indexes		indexes;
	TupleTableSlot **slots;
	int			allocated;		/* slots that there is room for */
	int			made;			/* slots that exist */
	int			used;			/* slots that have a row */
	Size		bytes;			/* of these rows */
};

/*
 * The executor's own way makes an EState, and locks and unlocks every index;
 * here an EState is made only for an index that somebody added with an
 * expression or a predicate, and the locks stay as the table's does.
 */
static void
open_indexes(Indexes *indexes, Relation segment)
{
	List	   *list = RelationGetIndexList(segment);
	ListCell   *cell;

	indexes->segment = segment;
	indexes->context = CurrentMemoryContext;
	indexes->count = 0;
	indexes->index = palloc(list_length(list) * sizeof(Relation));
	indexes->info = palloc(list_length(list) * sizeof(IndexInfo *));
	indexes->estate = NULL;

	foreach(cell, list)
	{
		Relation	index = index_open(lfirst_oid(cell), RowExclusiveLock);
		IndexInfo  *info = BuildIndexInfo(index);

		if (index->rd_index->indisexclusion)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot emit into table \"%s\"",
							RelationGetRelationName(segment)),
					 errdetail("It has an exclusion constraint."),
					 errhint("Leave the tables of outbox as the extension made them.")));

		indexes->index[indexes->count] = index;
		indexes->info[indexes->count] = info;
		indexes->count++;
	}
	list_free(list);
}

static void
close_indexes(Indexes *indexes)
{
	int			i;

	if (indexes->estate != NULL)
		FreeExecutorState(indexes->estate);
	for (i = 0; i < indexes->count; i++)
	{
		outbox_index_insert_cleanup(indexes->index[i], indexes->info[i]);
		index_close(indexes->index[i], NoLock);
		pfree(indexes->info[i]);
	}
	pfree(indexes->index);
	pfree(indexes->info);
}

/* Whether the row in slot belongs into an index with a predicate or expression. */
static bool
prepare_expressions(Indexes *indexes, IndexInfo *info, TupleTableSlot *slot)
{
	ExprContext *context;

	if (indexes->estate == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(indexes->context);

		indexes->estate = CreateExecutorState();
		MemoryContextSwitchTo(oldcontext);
	}
	ResetPerTupleExprContext(indexes->estate);
	context = GetPerTupleExprContext(indexes->estate);
	context->ecxt_scantuple = slot;

	if (info->ii_Predicate == NIL)
		return true;
	if (info->ii_PredicateState == NULL)
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, indexes->estate);
	return ExecQual(info->ii_PredicateState, context);
}

/* Index entries for rows just stored, index by index, as a processor's cache likes it. */
static void
insert_index_entries(Indexes *indexes, TupleTableSlot **slots, int count)
{
	int			i;
	int			j;

	for (i = 0; i < indexes->count; i++)
	{
		IndexInfo  *info = indexes->info[i];

		if (!info->ii_ReadyForInserts)
			continue;
		for (j = 0; j < count; j++)
		{
			Datum		values[INDEX_MAX_KEYS];
			bool		isnull[INDEX_MAX_KEYS];

			if ((info->ii_Expressions != NIL || info->ii_Predicate != NIL) &&
				!prepare_expressions(indexes, info, slots[j]))
				continue;

			FormIndexDatum(info, slots[j], indexes->estate, values, isnull);
			index_insert(indexes->index[i], values, isnull, &slots[j]->tts_tid,
						 indexes->segment,
						 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
						 false, info);
		}
	}
}

void
outbox_segment_write(Relation segment, Datum *values, bool *isnull)
{
	TupleDesc	descriptor = RelationGetDescr(segment);
	TupleTableSlot *slot;
	Indexes		indexes;

	slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsHeapTuple);
	ExecStoreHeapTuple(heap_form_tuple(descriptor, values, isnull), slot, true);

	table_tuple_insert(segment, slot, GetCurrentCommandId(true), 0, NULL);
	open_indexes(&indexes, segment);
	insert_index_entries(&indexes, &slot, 1);
	close_indexes(&indexes);

	ExecDropSingleTupleTableSlot(slot);
}

OutboxSegmentWriter *
outbox_segment_writer_begin(Relation segment)
{
	MemoryContext context;
	MemoryContext oldcontext;
	OutboxSegmentWriter *writer;

	context = AllocSetContextCreate(CurrentMemoryContext, "outbox segment writer",
									ALLOCSET_DEFAULT_SIZES);
	oldcontext = MemoryContextSwitchTo(context);
	writer = palloc0(sizeof(OutboxSegmentWriter));
	writer->context = context;
	writer->rows = AllocSetContextCreate(context, "outbox rows",
										 ALLOCSET_DEFAULT_SIZES);
	writer->scratch = AllocSetContextCreate(context, "outbox insert",
											ALLOCSET_DEFAULT_SIZES);
	/* a copy counts no references, so that slots are gone with their context */
	writer->descriptor = CreateTupleDescCopy(RelationGetDescr(segment));
	open_indexes(&writer->indexes, segment);
	writer->allocated = INITIAL_ROWS;
	writer->slots = palloc(writer->allocated * sizeof(TupleTableSlot *));
	MemoryContextSwitchTo(oldcontext);

	return writer;
}

static void
flush(OutboxSegmentWriter *writer)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(writer->scratch);
	int			i;

	table_multi_insert(writer->indexes.segment, writer->slots, writer->used,
					   GetCurrentCommandId(true), 0, NULL);
	insert_index_entries(&writer->indexes, writer->slots, writer->used);
	for (i = 0; i < writer->used; i++)
		ExecClearTuple(writer->slots[i]);

	MemoryContextSwitchTo(oldcontext);
	MemoryContextReset(writer->scratch);
	MemoryContextReset(writer->rows);
	writer->used = 0;
	writer->bytes = 0;
}

/* The slot for the next row. */
static TupleTableSlot *
next_slot(OutboxSegmentWriter *writer)
{
	MemoryContext oldcontext;

	if (writer->used < writer->made)
		return writer->slots[writer->used++];

	oldcontext = MemoryContextSwitchTo(writer->context);
	if (writer->made == writer->allocated)
	{
		writer->allocated *= 2;
		writer->slots = repalloc(writer->slots,
								 writer->allocated * sizeof(TupleTableSlot *));
	}
	writer->slots[writer->made++] =
		MakeSingleTupleTableSlot(writer->descriptor, &TTSOpsHeapTuple);
	MemoryContextSwitchTo(oldcontext);
	return writer->slots[writer->used++];
}

void
outbox_segment_writer_add(OutboxSegmentWriter *writer, Datum *values, bool *isnull)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(writer->rows);
	HeapTuple	row = heap_form_tuple(writer->descriptor, values, isnull);

	MemoryContextSwitchTo(oldcontext);
	ExecStoreHeapTuple(row, next_slot(writer), false);
	writer->bytes += row->t_len;
	if (writer->used >= MAX_ROWS || writer->bytes >= MAX_BYTES)
		flush(writer);
}

void
outbox_segment_writer_end(OutboxSegmentWriter *writer)
{
	if (writer->used > 0)
		flush(writer);
	close_indexes(&writer->indexes);
	MemoryContextDelete(writer->context);
}
