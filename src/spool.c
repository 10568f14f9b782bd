/*-------------------------------------------------------------------------
 *
 * spool.c
 *	  The events of a batch, read once, from which they are sent and resent.
 *
 * A spool holds one record for each event of a batch, in order, in chunks: the
 * frames that go to the producer, or of a large batch, where its rows are.  It
 * outlives the transaction that filled it: no transaction is open while Kafka
 * is waited for.  Chunks beyond the limit of its pool go to a temporary file.
 * A chunk is freed when all its events are acknowledged.
 *
 * Knows nothing of tables, and nothing of what a record means.
 *
 * IDENTIFICATION
 *	  src/spool.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "storage/buffile.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "spool.h"

/*
 * A spool starts with a small chunk, as most batches are a few events, and
 * doubles: a chunk of 256 kB is one write to the socket's full buffer.
 */
#define FIRST_CHUNK_SIZE	(8 * 1024)
#define LAST_CHUNK_SIZE		(256 * 1024)

typedef struct OutboxSpoolChunk
{
	dlist_node	node;
	uint64		first;			/* numbers of its first and last event */
	uint64		last;
	int64		last_id;		/* id of its last event */
	uint32		size;
	uint32		used;
	bool		on_file;
	int			fileno;			/* where it is on file */
	off_t		offset;
	char	   *data;			/* NULL: on file only */
} OutboxSpoolChunk;

struct OutboxSpool
{
	MemoryContext context;
	OutboxSpoolPool *pool;
	dlist_head	chunks;
	uint32		next_size;
	BufFile    *file;			/* NULL: none needed so far */
	int			end_fileno;		/* where the file ends */
	off_t		end_offset;
	OutboxSpoolChunk *loaded;	/* chunk read back from file, if any */
	OutboxSpoolChunk *current;	/* chunk given last; NULL: before the head */
};

static void write_chunk(OutboxSpool *spool, OutboxSpoolChunk *chunk);
static void load_chunk(OutboxSpool *spool, OutboxSpoolChunk *chunk);
static void drop_data(OutboxSpool *spool, OutboxSpoolChunk *chunk);
static OutboxSpoolChunk *tail(OutboxSpool *spool);

/* pool must outlive the spool. */
OutboxSpool *
outbox_spool_create(MemoryContext parent, OutboxSpoolPool *pool)
{
	MemoryContext context;
	OutboxSpool *spool;

	context = AllocSetContextCreate(parent, "outbox spool", ALLOCSET_DEFAULT_SIZES);
	spool = MemoryContextAllocZero(context, sizeof(OutboxSpool));
	spool->context = context;
	spool->pool = pool;
	spool->next_size = FIRST_CHUNK_SIZE;
	dlist_init(&spool->chunks);
	return spool;
}

void
outbox_spool_destroy(OutboxSpool *spool)
{
	dlist_iter	iter;

	dlist_foreach(iter, &spool->chunks)
		drop_data(spool, dlist_container(OutboxSpoolChunk, node, iter.cur));
	if (spool->file != NULL)
		BufFileClose(spool->file);
	MemoryContextDelete(spool->context);
}

/*
 * Makes room for a record of length bytes, for the event with this id and
 * number, and returns where to write it; valid until the next call.  Numbers must be
 * consecutive within a spool.  ERROR if a temporary file cannot be written.
 */
char *
outbox_spool_append(OutboxSpool *spool, uint32 length, int64 id, uint64 number)
{
	OutboxSpoolChunk *chunk = tail(spool);
	char	   *result;

	/* what was given to the reader stays as it is */
	if (chunk == NULL || chunk == spool->current || chunk->size - chunk->used < length)
	{
		uint32		size = Max(spool->next_size, length);

		if (chunk != NULL && chunk != spool->current &&
			spool->pool->used + size > spool->pool->limit)
			write_chunk(spool, chunk);

		chunk = MemoryContextAllocZero(spool->context, sizeof(OutboxSpoolChunk));
		chunk->data = MemoryContextAllocHuge(spool->context, size);
		chunk->size = size;
		chunk->first = number;
		spool->pool->used += size;
		dlist_push_tail(&spool->chunks, &chunk->node);
		spool->next_size = Min(spool->next_size * 2, LAST_CHUNK_SIZE);
	}

	Assert(chunk->used == 0 || number == chunk->last + 1);
	result = chunk->data + chunk->used;
	chunk->used += length;
	chunk->last = number;
	chunk->last_id = id;
	return result;
}

/* Whether the memory of its pool is used up, so that more would go to file. */
bool
outbox_spool_is_full(const OutboxSpool *spool)
{
	return spool->pool->used + spool->next_size > spool->pool->limit;
}

/* No more is appended for now: gives back what the last chunk leaves free. */
void
outbox_spool_finish(OutboxSpool *spool)
{
	OutboxSpoolChunk *chunk = tail(spool);

	if (chunk != NULL && chunk != spool->current && chunk->size > chunk->used)
	{
		chunk->data = repalloc_huge(chunk->data, chunk->used);
		spool->pool->used -= chunk->size - chunk->used;
		chunk->size = chunk->used;
	}
}

/*
 * Gives the next records.  False at the end.  The run is valid until
 * the next call, or until its events are released.
 */
bool
outbox_spool_next(OutboxSpool *spool, OutboxSpoolRun *run)
{
	OutboxSpoolChunk *chunk;

	if (spool->current == NULL)
	{
		if (dlist_is_empty(&spool->chunks))
			return false;
		chunk = dlist_head_element(OutboxSpoolChunk, node, &spool->chunks);
	}
	else
	{
		if (!dlist_has_next(&spool->chunks, &spool->current->node))
			return false;
		chunk = dlist_container(OutboxSpoolChunk, node,
								dlist_next_node(&spool->chunks, &spool->current->node));
	}

	if (chunk->data == NULL)
		load_chunk(spool, chunk);
	spool->current = chunk;
	run->data = chunk->data;
	run->length = chunk->used;
	run->first = chunk->first;
	run->last = chunk->last;
	return true;
}

/* Goes back to the oldest event that is not released. */
void
outbox_spool_rewind(OutboxSpool *spool)
{
	spool->current = NULL;
}

/*
 * Frees the chunks whose events all have numbers up to the given one, but
 * never the last chunk of the spool.  Returns whether there was one, and sets
 * id to that of the last event freed.
 */
bool
outbox_spool_release(OutboxSpool *spool, uint64 number, int64 *id)
{
	bool		released = false;

	while (!dlist_is_empty(&spool->chunks))
	{
		OutboxSpoolChunk *chunk = dlist_head_element(OutboxSpoolChunk, node, &spool->chunks);

		if (chunk->last > number || !dlist_has_next(&spool->chunks, &chunk->node))
			break;
		*id = chunk->last_id;
		released = true;
		if (spool->loaded == chunk)
			spool->loaded = NULL;
		if (spool->current == chunk)
			spool->current = NULL;	/* the next one is the head from now on */
		drop_data(spool, chunk);
		dlist_delete(&chunk->node);
		pfree(chunk);
	}
	return released;
}

static OutboxSpoolChunk *
tail(OutboxSpool *spool)
{
	if (dlist_is_empty(&spool->chunks))
		return NULL;
	return dlist_tail_element(OutboxSpoolChunk, node, &spool->chunks);
}

static void
write_chunk(OutboxSpool *spool, OutboxSpoolChunk *chunk)
{
	if (spool->file == NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(spool->context);
		ResourceOwner old_owner = CurrentResourceOwner;

		/* the file must not end with the transaction that fills it */
		CurrentResourceOwner = NULL;
		spool->file = BufFileCreateTemp(true);
		CurrentResourceOwner = old_owner;
		MemoryContextSwitchTo(old_context);
	}

	/* chunks may have been read since the last one was written */
	if (BufFileSeek(spool->file, spool->end_fileno, spool->end_offset, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not seek in the spool's temporary file: %m")));
	BufFileTell(spool->file, &chunk->fileno, &chunk->offset);
	BufFileWrite(spool->file, chunk->data, chunk->used);
	BufFileTell(spool->file, &spool->end_fileno, &spool->end_offset);
	chunk->on_file = true;
	drop_data(spool, chunk);
}

/*
 * Reads a chunk back.  One is in memory at a time: records are read in order,
 * and what was read before stays on file for another time.
 */
static void
load_chunk(OutboxSpool *spool, OutboxSpoolChunk *chunk)
{
	Assert(chunk->on_file);

	if (spool->loaded != NULL)
		drop_data(spool, spool->loaded);
	spool->loaded = NULL;

	chunk->data = MemoryContextAllocHuge(spool->context, chunk->used);
	chunk->size = chunk->used;
	spool->pool->used += chunk->size;
	spool->loaded = chunk;
	if (BufFileSeek(spool->file, chunk->fileno, chunk->offset, SEEK_SET) != 0 ||
		BufFileRead(spool->file, chunk->data, chunk->used) != chunk->used)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read the spool's temporary file: %m")));
}

static void
drop_data(OutboxSpool *spool, OutboxSpoolChunk *chunk)
{
	if (chunk->data == NULL)
		return;
	pfree(chunk->data);
	chunk->data = NULL;
	spool->pool->used -= chunk->size;
}
