/*-------------------------------------------------------------------------
 *
 * batch_source.c
 *	  Events as snapshot batches from the segments: a source.
 *
 * A batch is what is visible in its end snapshot and not in the end of the
 * batch before, so that batches cut the stream of commits exactly: no event
 * is in none of them (G1), none is in two, and an event of a transaction
 * that rolled back is in none (G2).  Ids order events inside a batch only;
 * a late commit of a lower id is in a later batch.
 *
 * Several batches may be in flight.  They close in order: "done" of the
 * cursor becomes the end of the last one whose events are all acknowledged.
 * The position inside the first batch in flight is stored together with its
 * end as "open", and only then, so that nothing in the table ever names a
 * batch whose barrier was not passed.
 *
 * While there is no room to read, snapshots are remembered as marks, the ends
 * of later batches, so that a backlog is a row of small batches.  Marks may be
 * dropped at any time: a batch over a wider range is as right.
 *
 * No transaction, snapshot or lock is held when a function of this file
 * returns.  Knows nothing of Kafka and nothing of the producer but the form
 * of a frame.
 *
 * IDENTIFICATION
 *	  src/batch_source.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/ilist.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "barrier.h"
#include "batch.h"
#include "batch_source.h"
#include "cursor.h"
#include "dead_letter.h"
#include "first_event.h"
#include "foreign.h"
#include "foreign_counter.h"
#include "guc.h"
#include "hold.h"
#include "installation.h"
#include "mark.h"
#include "session.h"
#include "shmem.h"
#include "snapshot.h"

/*
 * A new batch is read while the spools hold less than this part of
 * outbox.spool_memory: the producer is kept busy from what is left while the
 * next batch is read.
 */
#define ROOM_PART			2

/*
 * Batches in flight at a time.  Each has a memory context and two snapshots;
 * with more, a slow broker would be met by many tiny batches.
 */
#define MAX_BATCHES			64

/* A mark is taken when this many events were emitted since the last one. */
#define EVENTS_PER_MARK		10000

/*
 * Progress is stored at most so often (ms): each update leaves a dead row
 * version behind, which can stay for hours while a session holds the xmin
 * horizon.
 */
#define STORE_INTERVAL		20

/* The position inside a batch is stored this often (ms). */
#define POSITION_INTERVAL	1000

/*
 * A batch of more events than this is not read as a whole: its directory
 * holds where its rows are, and they are fetched in windows.  Sorting and
 * spooling whole rows would write each of them to temporary files twice.
 */
#define LARGE_BATCH			20000

/*
 * Where a temporary file could not be written, the directory of a batch is read
 * this many rows at a time: sorting them takes less than the smallest work_mem
 * that anybody sets, and all that waits is scanned for each page.
 */
#define PAGE				10000

/* Keys of one topic parked at a time; with more, the topic is held. */
#define MAX_PARKED_KEYS		1000

/* The part of outbox.spool_memory that directories may use. */
#define DIRECTORY_PART		4

typedef struct BatchSource
{
	OutboxSource source;
	MemoryContext context;
	OutboxCursor cursor;		/* as it is in the table */
	OutboxSpoolPool frame_pool;
	OutboxSpoolPool directory_pool;
	bool		started;		/* the first batch was opened */
	bool		looked;			/* a snapshot was taken: the backlog is known */
	HTAB	   *letters;		/* uids of events not to be sent; NULL: none */
	uint64		serial;			/* of the newest batch */
	dlist_head	batches;		/* in flight, oldest first */
	int			batch_count;
	OutboxBatch *sending;		/* the one that next() reads; NULL: the first */

	OutboxSnapshot *end;		/* of the newest batch: where the next begins */
	bool		resume;			/* the next batch is cursor.open, from position */

	uint64		emitted_end;	/* slot's counter at that end */

	OutboxMarks marks;

	uint64		emitted_seen;	/* slot's counter before the newest snapshot */
	uint64		next_xid_read;	/* the server's next xid before the snapshot of
								 * this fill() */
	uint64		next_xid_seen;	/* the same for the newest snapshot */
	bool		running_seen;	/* it listed running transactions */

	uint64		acknowledged;	/* all events up to this number are */
	OutboxSnapshot *closed;		/* end of batches closed and not stored yet */
	OutboxForeignCounter foreign;
	TimestampTz stored_at;
} BatchSource;

static uint64 fill(OutboxSource *source);
static bool next(OutboxSource *source, OutboxSpoolRun *run);
static void rewind_batches(OutboxSource *source);
static void acknowledge(OutboxSource *source, uint64 number);
static TimestampTz store(OutboxSource *source, TimestampTz now, bool force);
static bool may_have_more(OutboxSource *source);
static bool must_look(OutboxSource *source);
static bool has_backlog(OutboxSource *source);
static bool has_room(OutboxSource *source);
static uint64 backlog(OutboxSource *source);
static bool excludes(OutboxSource *source, const OutboxEventView *event);
static void settle(OutboxSource *source, const OutboxEventView *event);
static OutboxHold *hold_topic(OutboxSource *source, const char *topic,
							  OutboxHoldReason reason, const OutboxTrouble *trouble);
static OutboxRefusal refuse(OutboxSource *source, uint64 number,
							const OutboxEventView *event, bool parks,
							const OutboxTrouble *trouble);
static char *first_of(OutboxSource *source, OutboxHold *hold);

static OutboxHold *find_hold(BatchSource *self, const OutboxEventView *event);
static uint64 fetch(BatchSource *self, OutboxBatch *batch);
static void take_mark(BatchSource *self, uint64 emitted);
static void note_seen(BatchSource *self, uint64 emitted, const OutboxSnapshot *now);
static void close_batches(BatchSource *self);
static OutboxSnapshot *current_snapshot(BatchSource *self);
static OutboxBatch *first_batch(BatchSource *self);
static OutboxBatch *last_batch(BatchSource *self);
static OutboxSnapshot *copy_snapshot(BatchSource *self, const OutboxSnapshot *snapshot);

/*
 * Makes the source of this database, from what outbox.cursor says.  Returns
 * NULL if the database has no outbox extension.
 */
OutboxSource *
outbox_batch_source_create(MemoryContext parent)
{
	MemoryContext context;
	BatchSource *self;
	bool		copied;

	context = AllocSetContextCreate(parent, "outbox batches", ALLOCSET_DEFAULT_SIZES);
	self = MemoryContextAllocZero(context, sizeof(BatchSource));
	self->context = context;
	self->source.fill = fill;
	self->source.next = next;
	self->source.rewind = rewind_batches;
	self->source.acknowledge = acknowledge;
	self->source.store = store;
	self->source.may_have_more = may_have_more;
	self->source.must_look = must_look;
	self->source.has_backlog = has_backlog;
	self->source.has_room = has_room;
	self->source.backlog = backlog;
	self->source.excludes = excludes;
	self->source.settle = settle;
	self->source.hold_topic = hold_topic;
	self->source.refuse = refuse;
	self->source.first_of = first_of;
	self->source.holds = outbox_holds_create(context);
	dlist_init(&self->batches);

	if (!outbox_session_begin(OUTBOX_COMMIT_READ_ONLY))
		return NULL;
	outbox_session_use_snapshot();
	copied = outbox_foreign_recognize_copy();
	outbox_cursor_load(&self->cursor, context);
	outbox_holds_load(self->source.holds);
	self->letters = outbox_dead_letters_not_passed(&self->cursor, self->source.holds, context);
	outbox_foreign_counter_load(&self->foreign);
	outbox_session_commit();
	if (self->cursor.xids_reset)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("transaction ids went backwards, so that new events look like published ones"),
				 errdetail("This happens after pg_resetwal."),
				 errhint("Set aside the events that are to be published, create the extension anew, and adopt them: see \"restore\" in the documentation.")));

	if (!outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
		return NULL;
	outbox_session_use_snapshot();
	outbox_dead_letters_park(self->source.holds, &self->cursor);
	outbox_session_commit();
	self->source.excluding = self->source.holds->count > 0;

	/* what was emitted before is found by the first look, not counted */
	self->emitted_seen = pg_atomic_read_u64(&outbox_my_slot->emitted);
	self->emitted_end = self->emitted_seen;
	self->end = copy_snapshot(self, self->cursor.done);
	self->resume = self->cursor.open != NULL;

	/*
	 * Some may have been adopted while no publisher ran; and the first batch
	 * of a copy counts those too that its original published with "open".
	 */
	self->foreign.recount = copied || self->foreign.stored > 0;
	self->foreign.recount_after = copied ? 1 : 0;
	return &self->source;
}

static uint64
fill(OutboxSource *source)
{
	BatchSource *self = (BatchSource *) source;
	OutboxBarrier barrier;
	OutboxSnapshot *now;
	OutboxSnapshot *end;
	OutboxBatch *batch;
	uint64		emitted;
	uint64		emitted_end = self->emitted_end;
	bool		fresh = false;
	bool		large;

	/* settings may have changed */
	self->frame_pool.limit = (Size) outbox_spool_memory * 1024;
	self->directory_pool.limit = self->frame_pool.limit / DIRECTORY_PART;

	/*
	 * Read before the snapshot: whatever is counted by now is visible in it.
	 */
	emitted = pg_atomic_read_u64(&outbox_my_slot->emitted);
	self->next_xid_read = U64FromFullTransactionId(ReadNextFullTransactionId());

	if (!has_room(source))
	{
		uint64		newest = self->marks.count > 0 ?
			self->marks.emitted[self->marks.count - 1] : self->emitted_end;

		if (!self->resume && emitted - newest >= EVENTS_PER_MARK)
			take_mark(self, emitted);
		return 0;
	}

	batch = last_batch(self);
	if (batch != NULL && (batch->spooled < batch->last || batch->more))
		return fetch(self, batch);

	if (!outbox_session_begin(OUTBOX_COMMIT_READ_ONLY))
	{
		source->gone = true;
		return 0;
	}
	outbox_session_use_snapshot();
	pg_read_barrier();
	now = current_snapshot(self);

	/*
	 * A scope that comes back may have had events published that are newer than
	 * the marks: the first that was tried, copies of what was parked.  The batch
	 * in which it joins must see them all, for no later one asks its row.
	 */
	if (!self->resume && outbox_holds_want_join(source->holds))
		while (self->marks.count > 0)
			outbox_marks_drop_first(&self->marks);

	/*
	 * The batch in whose middle the publisher stopped must end where it ended
	 * then; after it the marks; else now.
	 */
	if (self->resume)
		end = self->cursor.open;
	else if (self->marks.count > 0)
	{
		end = self->marks.end[0];
		emitted_end = self->marks.emitted[0];
	}
	else
	{
		end = now;
		fresh = true;
		emitted_end = emitted;
	}

	/* what has gathered before this publisher started is not counted */
	large = !self->started || emitted_end - self->emitted_end > LARGE_BATCH;

	if (!self->resume && outbox_snapshot_equal(self->end, end) && !outbox_holds_want_join(source->holds))
	{
		if (fresh)
			note_seen(self, emitted, now);
		else
			outbox_marks_drop_first(&self->marks);
		outbox_session_commit();
		pfree(now);
		return 0;
	}

	batch = MemoryContextAllocZero(self->context, sizeof(OutboxBatch));
	batch->serial = ++self->serial;
	batch->begin = copy_snapshot(self, self->end);
	batch->end = copy_snapshot(self, end);

	/* the batch that was broken off ends where it did: nothing joins in it */
	if (!self->resume && outbox_holds_begin_joins(source->holds, batch->serial))
		large = true;
	batch->page = outbox_my_slot->disk_full ? PAGE : 0;
	large |= batch->page > 0;
	batch->spool = outbox_spool_create(self->context, &self->frame_pool);
	if (large)
		batch->directory = outbox_spool_create(self->context, &self->directory_pool);
	batch->first = source->newest + 1;
	batch->last = source->newest;
	if (self->resume)
	{
		batch->has_position = true;
		batch->position = self->cursor.position;
	}

	outbox_barrier_begin(&barrier);
	outbox_batch_read(batch, source->holds, self->letters, &barrier);
	outbox_session_commit();
	outbox_spool_finish(large ? batch->directory : batch->spool);
	batch->spooled = large ? batch->first - 1 : batch->last;

	/* from here on the batch may be sent */
	outbox_barrier_wait(&barrier);

	pfree(self->end);
	self->end = copy_snapshot(self, batch->end);
	self->emitted_end = emitted_end;
	self->started = true;
	self->looked = true;
	if (self->resume)
		self->resume = false;
	else if (fresh)
		note_seen(self, emitted, now);
	else
		outbox_marks_drop_first(&self->marks);
	pfree(now);

	dlist_push_tail(&self->batches, &batch->node);
	self->batch_count++;
	self->foreign.batches_begun++;
	source->newest = batch->last;

	/* all of it at once: what could not be written may be written again */
	if (!batch->more)
		outbox_slot_set_disk_full(false);

	/* a batch without events may be over already */
	if (batch->last < batch->first && !batch->more)
	{
		close_batches(self);
		return 0;
	}
	if (large)
		return fetch(self, batch);
	return batch->last - batch->first + 1;
}

/*
 * Remembers what the newest snapshot has seen, to tell later whether there
 * can be anything new.
 */
static void
note_seen(BatchSource *self, uint64 emitted, const OutboxSnapshot *now)
{
	self->looked = true;
	self->emitted_seen = emitted;
	self->next_xid_seen = self->next_xid_read;
	self->running_seen = now->count > 0;
}

/* Fetches more of a large batch, and before that where the next page is. */
static uint64
fetch(BatchSource *self, OutboxBatch *batch)
{
	uint64		spooled = batch->spooled;
	OutboxBarrier barrier;

	if (!outbox_session_begin(OUTBOX_COMMIT_READ_ONLY))
	{
		self->source.gone = true;
		return 0;
	}
	outbox_session_use_snapshot();
	if (batch->spooled == batch->last && batch->more)
	{
		if (batch->directory == NULL)
			batch->directory = outbox_spool_create(self->context, &self->directory_pool);
		outbox_barrier_begin(&barrier);
		outbox_batch_read(batch, self->source.holds, self->letters, &barrier);
		outbox_session_commit();
		outbox_spool_finish(batch->directory);
		outbox_barrier_wait(&barrier);
		self->source.newest = batch->last;

		/* a page of nothing but held events */
		if (batch->spooled == batch->last)
		{
			close_batches(self);
			return 0;
		}
		return fetch(self, batch);
	}
	outbox_batch_fetch(batch);
	outbox_session_commit();
	outbox_spool_finish(batch->spool);
	return batch->spooled - spooled;
}

/*
 * Remembers the present as the end of a later batch.  emitted is the slot's
 * counter, read before.
 */
static void
take_mark(BatchSource *self, uint64 emitted)
{
	OutboxSnapshot *mark;

	if (!outbox_session_begin(OUTBOX_COMMIT_READ_ONLY))
	{
		self->source.gone = true;
		return;
	}
	outbox_session_use_snapshot();
	mark = current_snapshot(self);
	outbox_session_commit();
	outbox_marks_add(&self->marks, mark, emitted);
}

/*
 * The value of the active snapshot.  Transaction ids that go backwards mean
 * that new events could be taken for published ones.
 */
static OutboxSnapshot *
current_snapshot(BatchSource *self)
{
	OutboxSnapshot *snapshot = outbox_snapshot_from(GetActiveSnapshot(), self->context);

	if (snapshot->xmax < self->end->xmax)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("transaction ids went backwards"),
				 errdetail("The last batch ended at transaction " UINT64_FORMAT ", but the newest snapshot ends at " UINT64_FORMAT ".",
						   self->end->xmax, snapshot->xmax)));
	return snapshot;
}

static bool
next(OutboxSource *source, OutboxSpoolRun *run)
{
	BatchSource *self = (BatchSource *) source;

	if (self->sending == NULL)
		self->sending = first_batch(self);
	while (self->sending != NULL)
	{
		if (outbox_spool_next(self->sending->spool, run))
			return true;
		if (!dlist_has_next(&self->batches, &self->sending->node))
			return false;
		self->sending = dlist_container(OutboxBatch, node,
										dlist_next_node(&self->batches, &self->sending->node));
	}
	return false;
}

static void
rewind_batches(OutboxSource *source)
{
	BatchSource *self = (BatchSource *) source;
	dlist_iter	iter;

	dlist_foreach(iter, &self->batches)
		outbox_spool_rewind(dlist_container(OutboxBatch, node, iter.cur)->spool);
	self->sending = NULL;
}

static void
acknowledge(OutboxSource *source, uint64 number)
{
	BatchSource *self = (BatchSource *) source;

	self->acknowledged = number;
	close_batches(self);
}

/*
 * Takes the batches off the front whose events are all acknowledged, and
 * notes how far the first of the others is.
 */
static void
close_batches(BatchSource *self)
{
	OutboxBatch *batch;
	dlist_iter	iter;
	int			i;

	while ((batch = first_batch(self)) != NULL)
	{
		bool		matters = batch->first <= batch->last ||
			self->closed != NULL || self->cursor.open != NULL;

		if (batch->last > self->acknowledged || batch->more)
		{
			int64		id;

			if (outbox_spool_release(batch->spool, self->acknowledged, &id))
			{
				batch->has_position = true;
				batch->position = id;
			}
			break;
		}

		for (i = 0; i < OUTBOX_SEGMENTS; i++)
		{
			self->foreign.waiting[i] += batch->foreign_rows[i];
			matters |= batch->foreign_rows[i] > 0;
		}

		dlist_foreach(iter, &self->source.holds->list)
		{
			OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

			if (hold->join == batch->serial)
				matters = hold->joined = true;
		}

		/* an empty batch with nothing to store before it need not be stored */
		if (matters)
		{
			if (self->closed != NULL)
				pfree(self->closed);
			self->closed = batch->end;
		}
		else
			pfree(batch->end);

		if (self->sending == batch)
			self->sending = NULL;
		outbox_spool_destroy(batch->spool);
		if (batch->directory != NULL)
			outbox_spool_destroy(batch->directory);
		dlist_delete(&batch->node);
		pfree(batch->begin);
		pfree(batch);
		self->batch_count--;
		self->foreign.batches_closed++;
	}
}

/*
 * Whether the row of a scope that comes back in the first batch in flight is
 * behind what is acknowledged of it.  Ids order all that is in the batch, and
 * all of the scope that its row does not cover is in there: so the row can have
 * the batch's position, too.
 */
static bool
is_behind(const OutboxHold *hold, const OutboxBatch *batch)
{
	return batch != NULL && batch->has_position && hold->join == batch->serial &&
		(hold->cursor.open == NULL || hold->cursor.position < batch->position);
}

static TimestampTz
store(OutboxSource *source, TimestampTz now, bool force)
{
	BatchSource *self = (BatchSource *) source;
	OutboxBatch *batch = first_batch(self);
	const OutboxSnapshot *done = self->closed ? self->closed : self->cursor.done;
	bool		has_position = batch != NULL && batch->has_position;
	bool		behind = false;
	dlist_mutable_iter iter;
	TimestampTz due;

	/* an end must be prompt */
	if (!force)
		source->gone |= !outbox_foreign_counter_check(&self->foreign, self->cursor.done,
													  self->closed == NULL, now);
	if (source->gone)
		return 0;
	if (force)
		dlist_foreach_modify(iter, &source->holds->list)
			behind |= is_behind(dlist_container(OutboxHold, node, iter.cur), batch);

	if (self->closed != NULL)
		due = TimestampTzPlusMilliseconds(self->stored_at, STORE_INTERVAL);
	else if (has_position &&
			 (self->cursor.open == NULL || self->cursor.position != batch->position))
		due = TimestampTzPlusMilliseconds(self->stored_at, POSITION_INTERVAL);
	else if (behind)
		due = now;
	else
		return 0;
	/* a clock that was set back is no reason to wait */
	if (!force && now < due && now >= self->stored_at)
		return due;

	if (!outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
	{
		source->gone = true;
		return 0;
	}
	outbox_session_use_snapshot();
	outbox_cursor_store(&self->cursor, done, has_position ? batch->end : NULL,
						has_position ? batch->position : 0);
	outbox_foreign_counter_store(&self->foreign);
	dlist_foreach_modify(iter, &source->holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

		if (hold->joined)
			outbox_hold_delete(hold);

		/* there can be a thousand keys: theirs only where it may be needed */
		else if (is_behind(hold, batch) && (hold->key == NULL || force))
			outbox_hold_store(source->holds, hold, hold->cursor.done, batch->end,
							  batch->position);
	}
	outbox_session_commit();

	dlist_foreach_modify(iter, &source->holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

		if (hold->joined)
			outbox_hold_forget(source->holds, hold);
	}
	source->excluding = source->holds->count > 0;

	if (self->closed != NULL)
	{
		pfree(self->cursor.done);
		self->cursor.done = self->closed;
		self->closed = NULL;
	}
	if (self->cursor.open != NULL)
		pfree(self->cursor.open);
	self->cursor.open = has_position ? copy_snapshot(self, batch->end) : NULL;
	self->cursor.position = has_position ? batch->position : 0;
	self->stored_at = now;
	return 0;
}

static bool
may_have_more(OutboxSource *source)
{
	BatchSource *self = (BatchSource *) source;

	return has_backlog(source) ||
		pg_atomic_read_u64(&outbox_my_slot->emitted) != self->emitted_seen;
}

static bool
has_backlog(OutboxSource *source)
{
	BatchSource *self = (BatchSource *) source;
	OutboxBatch *batch = last_batch(self);

	return self->resume || self->marks.count > 0 || outbox_holds_want_join(source->holds) ||
		(batch != NULL && (batch->spooled < batch->last || batch->more));
}

static bool
must_look(OutboxSource *source)
{
	BatchSource *self = (BatchSource *) source;

	return self->running_seen ||
		U64FromFullTransactionId(ReadNextFullTransactionId()) != self->next_xid_seen;
}

static bool
has_room(OutboxSource *source)
{
	BatchSource *self = (BatchSource *) source;

	return self->batch_count < MAX_BATCHES &&
		self->frame_pool.used <= (Size) outbox_spool_memory * 1024 / ROOM_PART;
}

static uint64
backlog(OutboxSource *source)
{
	BatchSource *self = (BatchSource *) source;
	uint64		emitted = pg_atomic_read_u64(&outbox_my_slot->emitted);

	if (!self->looked)
		return PG_UINT64_MAX;
	return source->newest - self->acknowledged +
		(emitted > self->emitted_seen ? emitted - self->emitted_seen : 0);
}

/* ---- held scopes ---- */

static bool
excludes(OutboxSource *source, const OutboxEventView *event)
{
	BatchSource *self = (BatchSource *) source;
	OutboxHold *hold = find_hold(self, event);

	return hold != NULL && (hold->join == 0 || self->sending->serial < hold->join);
}

static void
settle(OutboxSource *source, const OutboxEventView *event)
{
	BatchSource *self = (BatchSource *) source;
	OutboxHold *hold = find_hold(self, event);

	if (self->sending->serial >= hold->live_from)
		outbox_hold_settle(source->holds, hold, event->event.uid);
}

static OutboxHold *
hold_topic(OutboxSource *source, const char *topic, OutboxHoldReason reason,
		   const OutboxTrouble *trouble)
{
	BatchSource *self = (BatchSource *) source;
	OutboxHold *hold;
	dlist_iter	iter;

	/* the row begins where the main row is: the less is remembered */
	(void) store(source, GetCurrentTimestamp(), true);
	if (source->gone)
		return NULL;

	/* what other holds took out before counts as acknowledged, and is not */
	dlist_foreach(iter, &source->holds->list)
	{
		hold = dlist_container(OutboxHold, node, iter.cur);
		hold->live_from = hold->join != 0 ? hold->join : self->serial + 1;
	}

	if (!outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
	{
		source->gone = true;
		return NULL;
	}
	outbox_session_use_snapshot();
	hold = outbox_holds_find_exactly(source->holds, topic, strlen(topic), NULL, 0);
	if (hold != NULL)
	{
		outbox_hold_cancel(hold);
		hold->reason = reason;
		outbox_hold_note(hold, trouble, true);
	}
	else
		hold = outbox_hold_insert(source->holds, topic, strlen(topic), NULL, 0, reason,
								  &self->cursor, trouble);
	outbox_session_commit();

	/* its keys would come back into a stream that the topic is not part of */
	dlist_foreach(iter, &source->holds->list)
	{
		OutboxHold *other = dlist_container(OutboxHold, node, iter.cur);

		if (other->key != NULL && other->join != 0 && strcmp(other->topic, topic) == 0)
		{
			outbox_hold_cancel(other);
			other->wants_join = true;
		}
	}
	source->excluding = true;
	return hold;
}

static OutboxRefusal
refuse(OutboxSource *source, uint64 number, const OutboxEventView *event, bool parks,
	   const OutboxTrouble *trouble)
{
	BatchSource *self = (BatchSource *) source;
	OutboxBatch *batch = NULL;
	OutboxCursor cursor = {0};
	OutboxHold *hold;
	dlist_iter	iter;

	dlist_foreach(iter, &self->batches)
	{
		OutboxBatch *candidate = dlist_container(OutboxBatch, node, iter.cur);

		if (number >= candidate->first && number <= candidate->last)
			batch = candidate;
	}
	if (batch == NULL)
		return OUTBOX_REFUSAL_IGNORED;

	/*
	 * A hold that took the event back owns it now, and its row says more than
	 * the batch does: the event is met again when the scope comes back.
	 */
	hold = find_hold(self, event);
	if (hold != NULL && (hold->join == 0 || batch->serial < hold->join))
		return OUTBOX_REFUSAL_IGNORED;

	parks = parks && event->key != NULL;
	if (parks && (hold == NULL || hold->key == NULL) &&
		outbox_holds_count_keys(source->holds, event->topic, event->event.topic_length) >= MAX_PARKED_KEYS)
		return OUTBOX_REFUSAL_TOO_MANY;

	if (!outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
	{
		source->gone = true;
		return OUTBOX_REFUSAL_IGNORED;
	}
	outbox_session_use_snapshot();
	cursor.position = outbox_dead_letter_insert(event->event.locator, parks, trouble) - 1;

	/*
	 * The key's row has the bounds of the batch that owns the event, as they
	 * are for its scope.
	 */
	if (parks)
	{
		cursor.done = hold != NULL && hold->join == batch->serial ?
			hold->cursor.done : batch->begin;
		cursor.open = batch->end;
		if (hold != NULL && hold->key != NULL)
		{
			outbox_hold_store(source->holds, hold, cursor.done, cursor.open, cursor.position);
			outbox_hold_cancel(hold);
		}
		else
			(void) outbox_hold_insert(source->holds, event->topic, event->event.topic_length,
									  event->key, event->event.key_length,
									  OUTBOX_HOLD_DEAD_LETTER, &cursor, trouble);
		source->excluding = true;
	}
	outbox_session_commit();
	return OUTBOX_REFUSAL_SETTLED;
}

static char *
first_of(OutboxSource *source, OutboxHold *hold)
{
	BatchSource *self = (BatchSource *) source;

	return outbox_first_event(source->holds, hold, self->letters, &source->gone);
}

static OutboxHold *
find_hold(BatchSource *self, const OutboxEventView *event)
{
	return outbox_holds_find(self->source.holds, event->topic, event->event.topic_length,
							 event->key, event->event.key_length);
}

static OutboxBatch *
first_batch(BatchSource *self)
{
	if (dlist_is_empty(&self->batches))
		return NULL;
	return dlist_head_element(OutboxBatch, node, &self->batches);
}

static OutboxBatch *
last_batch(BatchSource *self)
{
	if (dlist_is_empty(&self->batches))
		return NULL;
	return dlist_tail_element(OutboxBatch, node, &self->batches);
}

static OutboxSnapshot *
copy_snapshot(BatchSource *self, const OutboxSnapshot *snapshot)
{
	Size		size = offsetof(OutboxSnapshot, xip) + sizeof(uint64) * snapshot->count;
	OutboxSnapshot *copy = MemoryContextAlloc(self->context, size);

	memcpy(copy, snapshot, size);
	return copy;
}
