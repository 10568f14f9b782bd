/*-------------------------------------------------------------------------
 *
 * hold.c
 *	  Hold rows: topics and keys that are out of the main stream of batches.
 *
 * A topic that takes no events, a paused topic and a key behind a dead letter
 * are the same thing: a row of outbox.cursor with a narrower scope.  From the
 * transaction on that inserts it, the events of its scope are published when
 * that row says so, and the main stream goes on without them (G7).  Nothing is
 * copied: the events stay in their segments, and the row is the pointer.
 *
 * This file keeps the rows and what is known about them in memory.  When a
 * scope is held and when it comes back is decided elsewhere: batch_source.c
 * reads and closes batches by them, publisher.c and probe.c say when.
 *
 * IDENTIFICATION
 *	  src/hold.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "hold.h"

/* The error of a held topic is written to its row this often (ms) at most. */
#define NOTE_INTERVAL		60000

/* An entry of the table: the holds with one hash. */
typedef struct HoldEntry
{
	uint64		hash;
	OutboxHold *first;
} HoldEntry;

static const char *const reason_names[] = {"error", "refused", "paused", "dead letter"};

static OutboxHold *add(OutboxHolds *holds, const char *topic, uint32 topic_length,
					   const char *key, uint32 key_length, OutboxHoldReason reason);
static uint64 scope_hash(const char *topic, uint32 topic_length,
						 const char *key, uint32 key_length);
static OutboxSnapshot *copy_snapshot(OutboxHolds *holds, const OutboxSnapshot *snapshot);
static void set_cursor(OutboxHolds *holds, OutboxHold *hold, const OutboxSnapshot *done,
					   const OutboxSnapshot *open, int64 position);

OutboxHolds *
outbox_holds_create(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "outbox holds", ALLOCSET_SMALL_SIZES);
	OutboxHolds *holds = MemoryContextAllocZero(context, sizeof(OutboxHolds));
	HASHCTL		control = {0};

	holds->context = context;
	dlist_init(&holds->list);
	control.keysize = sizeof(uint64);
	control.entrysize = sizeof(HoldEntry);
	control.hcxt = context;
	holds->table = hash_create("outbox holds", 64, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return holds;
}

/* Reads the hold rows.  The caller is connected to SPI, with a snapshot. */
void
outbox_holds_load(OutboxHolds *holds)
{
	uint64		i;

	if (SPI_execute("SELECT topic, key, reason, ctid, done::pg_catalog.text,"
					" open::pg_catalog.text, position"
					" FROM outbox.cursor WHERE topic IS NOT NULL", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.cursor");
	for (i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	type = SPI_tuptable->tupdesc;
		char	   *topic = SPI_getvalue(row, type, 1);
		char	   *reason = SPI_getvalue(row, type, 3);
		bytea	   *key = NULL;
		bool		isnull;
		Datum		value = SPI_getbinval(row, type, 2, &isnull);
		OutboxHold *hold;
		int			r = 0;

		if (!isnull)
			key = DatumGetByteaPP(value);
		while (r < OUTBOX_HOLD_DEAD_LETTER && strcmp(reason, reason_names[r]) != 0)
			r++;
		hold = add(holds, topic, strlen(topic), key ? VARDATA_ANY(key) : NULL,
				   key ? VARSIZE_ANY_EXHDR(key) : 0, (OutboxHoldReason) r);
		outbox_cursor_read(&hold->cursor, row, type, 4, holds->context);
	}
}

/*
 * The narrowest hold that the event belongs to; NULL: none, it is the main
 * stream's.  key NULL means an event without key.
 */
OutboxHold *
outbox_holds_find(OutboxHolds *holds, const char *topic, uint32 topic_length,
				  const char *key, uint32 key_length)
{
	OutboxHold *hold = NULL;

	if (holds->count == 0)
		return NULL;
	if (key != NULL)
		hold = outbox_holds_find_exactly(holds, topic, topic_length, key, key_length);
	if (hold == NULL)
		hold = outbox_holds_find_exactly(holds, topic, topic_length, NULL, 0);
	return hold;
}

/* The hold of this scope; key NULL means that of the whole topic. */
OutboxHold *
outbox_holds_find_exactly(OutboxHolds *holds, const char *topic, uint32 topic_length,
						  const char *key, uint32 key_length)
{
	uint64		hash = scope_hash(topic, topic_length, key, key_length);
	HoldEntry  *entry = hash_search(holds->table, &hash, HASH_FIND, NULL);
	OutboxHold *hold;

	for (hold = entry ? entry->first : NULL; hold != NULL; hold = hold->next)
	{
		if (hold->topic_length == topic_length &&
			memcmp(hold->topic, topic, topic_length) == 0 &&
			(hold->key == NULL) == (key == NULL) &&
			(key == NULL || (hold->key_length == key_length &&
							 memcmp(hold->key, key, key_length) == 0)))
			return hold;
	}
	return NULL;
}

/* How many keys of a topic are parked. */
int
outbox_holds_count_keys(OutboxHolds *holds, const char *topic, uint32 topic_length)
{
	dlist_iter	iter;
	int			count = 0;

	dlist_foreach(iter, &holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

		if (hold->key != NULL && hold->topic_length == topic_length &&
			memcmp(hold->topic, topic, topic_length) == 0)
			count++;
	}
	return count;
}

/*
 * Inserts a hold row with the triple of cursor, which is copied.  The caller
 * is connected to SPI in a transaction that commits asynchronously.
 */
OutboxHold *
outbox_hold_insert(OutboxHolds *holds, const char *topic, uint32 topic_length,
				   const char *key, uint32 key_length, OutboxHoldReason reason,
				   const OutboxCursor *cursor, const OutboxTrouble *trouble)
{
	Oid			types[9] = {TEXTOID, BYTEAOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, INT4OID, TEXTOID};
	Datum		values[9];
	char		nulls[10] = "         ";
	OutboxHold *hold;
	bool		isnull;

	hold = add(holds, topic, topic_length, key, key_length, reason);

	values[0] = CStringGetTextDatum(hold->topic);
	if (key != NULL)
		values[1] = PointerGetDatum(cstring_to_text_with_len(key, key_length));
	else
		nulls[1] = 'n';
	values[2] = CStringGetTextDatum(outbox_snapshot_text(cursor->done));
	if (cursor->open != NULL)
	{
		values[3] = CStringGetTextDatum(outbox_snapshot_text(cursor->open));
		values[4] = Int64GetDatum(cursor->position);
	}
	else
		nulls[3] = nulls[4] = 'n';
	values[5] = CStringGetTextDatum(reason_names[reason]);
	if (trouble != NULL)
	{
		values[6] = CStringGetTextDatum(outbox_trouble_class_name(trouble->class));
		values[7] = Int32GetDatum(trouble->code);
		values[8] = CStringGetTextDatum(trouble->text);
	}
	else
		nulls[6] = nulls[7] = nulls[8] = 'n';

	if (SPI_execute_with_args("INSERT INTO outbox.cursor (topic, key, done, open, position,"
							  " reason, since, error_class, error_code, error, attempts)"
							  " VALUES ($1, $2, $3::pg_catalog.pg_snapshot,"
							  " $4::pg_catalog.pg_snapshot, $5, $6, pg_catalog.clock_timestamp(),"
							  " $7, $8, $9, 0) RETURNING ctid",
							  9, types, values, nulls, false, 0) != SPI_OK_INSERT_RETURNING ||
		SPI_processed != 1)
		elog(ERROR, "could not insert into outbox.cursor");
	ItemPointerCopy((ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[0],
																SPI_tuptable->tupdesc, 1,
																&isnull)),
					&hold->cursor.tid);
	set_cursor(holds, hold, cursor->done, cursor->open, cursor->position);
	return hold;
}

/* Writes the row's triple, in a transaction as outbox_hold_insert(). */
void
outbox_hold_store(OutboxHolds *holds, OutboxHold *hold, const OutboxSnapshot *done,
				  const OutboxSnapshot *open, int64 position)
{
	outbox_cursor_store(&hold->cursor, done, open, position);
	set_cursor(holds, hold, done, open, position);
}

/*
 * Writes why the scope is held from now on, in a transaction as
 * outbox_hold_insert().  trouble NULL: nothing is wrong.
 */
void
outbox_hold_change(OutboxHold *hold, OutboxHoldReason reason, const OutboxTrouble *trouble)
{
	Oid			types[5] = {TIDOID, TEXTOID, TEXTOID, INT4OID, TEXTOID};
	Datum		values[5];
	char		nulls[6] = "     ";
	bool		isnull;

	values[0] = PointerGetDatum(&hold->cursor.tid);
	values[1] = CStringGetTextDatum(reason_names[reason]);
	if (trouble != NULL)
	{
		values[2] = CStringGetTextDatum(outbox_trouble_class_name(trouble->class));
		values[3] = Int32GetDatum(trouble->code);
		values[4] = CStringGetTextDatum(trouble->text);
	}
	else
		nulls[2] = nulls[3] = nulls[4] = 'n';
	if (SPI_execute_with_args("UPDATE outbox.cursor SET reason = $2, error_class = $3,"
							  " error_code = $4, error = $5"
							  " WHERE ctid OPERATOR(pg_catalog.=) $1 RETURNING ctid",
							  5, types, values, nulls, false, 0) != SPI_OK_UPDATE_RETURNING ||
		SPI_processed != 1)
		elog(ERROR, "could not update outbox.cursor");
	ItemPointerCopy((ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[0],
																SPI_tuptable->tupdesc, 1,
																&isnull)),
					&hold->cursor.tid);
	hold->reason = reason;
}

/*
 * Writes what is wrong with a held topic, and how often it was tried, to its
 * row: not each time, as every update leaves a dead row version behind.
 */
void
outbox_hold_note(OutboxHold *hold, const OutboxTrouble *trouble)
{
	Oid			types[5] = {TIDOID, TEXTOID, INT4OID, TEXTOID, INT4OID};
	Datum		values[5];
	TimestampTz now = GetCurrentTimestamp();
	bool		isnull;

	if (hold->noted_at != 0 && now < TimestampTzPlusMilliseconds(hold->noted_at, NOTE_INTERVAL))
		return;
	hold->noted_at = now;
	values[0] = PointerGetDatum(&hold->cursor.tid);
	values[1] = CStringGetTextDatum(outbox_trouble_class_name(trouble->class));
	values[2] = Int32GetDatum(trouble->code);
	values[3] = CStringGetTextDatum(trouble->text);
	values[4] = Int32GetDatum(hold->attempts);
	if (SPI_execute_with_args("UPDATE outbox.cursor SET error_class = $2, error_code = $3,"
							  " error = $4, attempts = $5"
							  " WHERE ctid OPERATOR(pg_catalog.=) $1 RETURNING ctid",
							  5, types, values, NULL, false, 0) != SPI_OK_UPDATE_RETURNING ||
		SPI_processed != 1)
		elog(ERROR, "could not update outbox.cursor");
	ItemPointerCopy((ItemPointer) DatumGetPointer(SPI_getbinval(SPI_tuptable->vals[0],
																SPI_tuptable->tupdesc, 1,
																&isnull)),
					&hold->cursor.tid);
}

/* Deletes the row; outbox_hold_forget() follows after the commit. */
void
outbox_hold_delete(OutboxHold *hold)
{
	Oid			types[1] = {TIDOID};
	Datum		values[1];

	values[0] = PointerGetDatum(&hold->cursor.tid);
	if (SPI_execute_with_args("DELETE FROM outbox.cursor WHERE ctid OPERATOR(pg_catalog.=) $1",
							  1, types, values, NULL, false, 0) != SPI_OK_DELETE ||
		SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a row of outbox.cursor was changed by somebody else"),
				 errhint("Only the publisher writes to this table.")));
}

void
outbox_hold_forget(OutboxHolds *holds, OutboxHold *hold)
{
	uint64		hash = scope_hash(hold->topic, hold->topic_length, hold->key, hold->key_length);
	HoldEntry  *entry = hash_search(holds->table, &hash, HASH_FIND, NULL);
	OutboxHold **link = &entry->first;

	while (*link != hold)
		link = &(*link)->next;
	*link = hold->next;
	if (entry->first == NULL)
		hash_search(holds->table, &hash, HASH_REMOVE, NULL);
	dlist_delete(&hold->node);
	holds->count--;
	if (hold->key == NULL)
		holds->topics--;

	if (hold->settled != NULL)
		hash_destroy(hold->settled);
	if (hold->first_frame != NULL)
		pfree(hold->first_frame);
	pfree(hold->cursor.done);
	if (hold->cursor.open != NULL)
		pfree(hold->cursor.open);
	if (hold->key != NULL)
		pfree(hold->key);
	pfree(hold->topic);
	pfree(hold);
}

/*
 * Takes the scope out of the stream again: the batch in which it was to come
 * back, and those after it, go on without what is not acknowledged.
 */
void
outbox_hold_cancel(OutboxHold *hold)
{
	if (hold->join != 0)
		hold->live_from = hold->join;
	hold->join = 0;
	hold->joined = false;
	hold->wants_join = false;
	hold->attempts = 0;
	hold->next_try = 0;
	if (hold->first_frame != NULL)
		pfree(hold->first_frame);
	hold->first_frame = NULL;
}

/* Remembers that an event of the scope is acknowledged: it is not sent again. */
void
outbox_hold_settle(OutboxHolds *holds, OutboxHold *hold, const uint8 *uid)
{
	if (hold->settled == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = UUID_LEN;
		control.entrysize = UUID_LEN;
		control.hcxt = holds->context;
		hold->settled = hash_create("outbox settled", 64, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	(void) hash_search(hold->settled, uid, HASH_ENTER, NULL);
}

bool
outbox_hold_is_settled(const OutboxHold *hold, const uint8 *uid)
{
	return hold->settled != NULL &&
		hash_search(hold->settled, uid, HASH_FIND, NULL) != NULL;
}

static OutboxHold *
add(OutboxHolds *holds, const char *topic, uint32 topic_length,
	const char *key, uint32 key_length, OutboxHoldReason reason)
{
	MemoryContext old_context = MemoryContextSwitchTo(holds->context);
	uint64		hash = scope_hash(topic, topic_length, key, key_length);
	OutboxHold *hold = palloc0(sizeof(OutboxHold));
	HoldEntry  *entry;
	bool		found;

	hold->topic = pnstrdup(topic, topic_length);
	hold->topic_length = topic_length;
	if (key != NULL)
	{
		/* one byte more: a key may be empty */
		hold->key = palloc(key_length + 1);
		memcpy(hold->key, key, key_length);
		hold->key_length = key_length;
	}
	hold->reason = reason;

	entry = hash_search(holds->table, &hash, HASH_ENTER, &found);
	hold->next = found ? entry->first : NULL;
	entry->first = hold;
	dlist_push_tail(&holds->list, &hold->node);
	holds->count++;
	if (key == NULL)
		holds->topics++;
	MemoryContextSwitchTo(old_context);
	return hold;
}

static uint64
scope_hash(const char *topic, uint32 topic_length, const char *key, uint32 key_length)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) topic, topic_length, 0);

	if (key != NULL)
		hash = hash_bytes_extended((const unsigned char *) key, key_length, hash);
	return hash;
}

static OutboxSnapshot *
copy_snapshot(OutboxHolds *holds, const OutboxSnapshot *snapshot)
{
	Size		size = offsetof(OutboxSnapshot, xip) + sizeof(uint64) * snapshot->count;
	OutboxSnapshot *copy = MemoryContextAlloc(holds->context, size);

	memcpy(copy, snapshot, size);
	return copy;
}

static void
set_cursor(OutboxHolds *holds, OutboxHold *hold, const OutboxSnapshot *done,
		   const OutboxSnapshot *open, int64 position)
{
	OutboxSnapshot *new_done = copy_snapshot(holds, done);
	OutboxSnapshot *new_open = open ? copy_snapshot(holds, open) : NULL;

	if (hold->cursor.done != NULL)
		pfree(hold->cursor.done);
	if (hold->cursor.open != NULL)
		pfree(hold->cursor.open);
	hold->cursor.done = new_done;
	hold->cursor.open = new_open;
	hold->cursor.position = open ? position : 0;
}
