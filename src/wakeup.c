/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  Waking the publisher of this database at commit.
 *
 * A transaction that emitted sets its publisher's latch once its events are
 * visible, which they are when the callbacks of a commit run.  No event can
 * be slept over: the publisher stores sleeping = 1, issues a full barrier and
 * only then looks at what was emitted, and an emitter counts its events,
 * issues a full barrier and only then looks at sleeping.  While the publisher
 * is awake a commit costs one atomic addition and one atomic read.
 *
 * What runs after a commit cannot undo it, so nothing there may raise an
 * error; everything that needs memory is allocated when it is noted.
 *
 * IDENTIFICATION
 *	  src/wakeup.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/memutils.h"

#include "shmem.h"
#include "wakeup.h"

/*
 * Events emitted by this transaction, per nesting level, innermost last: what
 * a savepoint takes back does not count.  Only levels that emitted have an
 * entry.  The array grows when an event is noted and is never given back.
 */
typedef struct LevelCount
{
	int			level;
	uint64		count;
} LevelCount;

/* More levels than that are rare: it then doubles. */
#define INITIAL_LEVELS	8

static LevelCount *levels = NULL;
static int	levels_used = 0;
static int	levels_allocated = 0;

/* The publisher of this database is to look at requests. */
static bool request_noted = false;

/* This process keeps publishers away, for this transaction. */
static bool release_noted = false;

/* Databases to act on at commit, in TopTransactionContext. */
static List *databases_wanted = NIL;
static List *databases_to_restart = NIL;

/* This transaction adopted foreign rows; or a savepoint that it took back. */
static bool adopted = false;

/*
 * Wakes the publisher of this database, which has so many more events, and
 * requests to look at.
 */
static void
wake_publisher(uint64 count, int requests)
{
	OutboxSlot *slot = outbox_slot_find(MyDatabaseId);

	if (slot == NULL)
		return;

	pg_atomic_fetch_add_u64(&slot->emitted, count);
	if (requests > 0)
		pg_atomic_fetch_add_u64(&slot->requests, requests);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&slot->sleeping) != 0 &&
		pg_atomic_exchange_u32(&slot->sleeping, 0) != 0)
	{
		uint32		proc_number = pg_atomic_read_u32(&slot->proc_number);

		/* one that has just left finds the events when it comes back */
		if (proc_number != PG_UINT32_MAX)
			SetLatch(&ProcGlobal->allProcs[proc_number].procLatch);
	}
}

static void
at_commit(void)
{
	uint64		count = 0;
	ListCell   *lc;
	int			i;

	if (adopted)
	{
		OutboxSlot *slot = outbox_slot_find(MyDatabaseId);

		if (slot != NULL)
			pg_atomic_write_u32(&slot->adopted, 1);
	}

	for (i = 0; i < levels_used; i++)
		count += levels[i].count;
	if (count > 0 || request_noted)
		wake_publisher(count, request_noted ? 1 : 0);

	foreach(lc, databases_wanted)
		(void) outbox_slot_want(lfirst_oid(lc));
	foreach(lc, databases_to_restart)
		outbox_slot_restart(lfirst_oid(lc));
}

static void
xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
			at_commit();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}

	if (release_noted)
		outbox_slots_release();
	release_noted = false;
	levels_used = 0;
	request_noted = false;
	databases_wanted = NIL;
	databases_to_restart = NIL;
	adopted = false;
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mySubid,
				 SubTransactionId parentSubid, void *arg)
{
	LevelCount *top;
	int			level;

	if (levels_used == 0)
		return;
	top = &levels[levels_used - 1];
	level = GetCurrentTransactionNestLevel();
	if (top->level != level)
		return;

	if (event == SUBXACT_EVENT_ABORT_SUB)
		levels_used--;
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		if (levels_used > 1 && top[-1].level == level - 1)
		{
			top[-1].count += top->count;
			levels_used--;
		}
		else
			top->level = level - 1;
	}
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
	registered = true;
}

void
outbox_wakeup_emitted(uint64 count)
{
	int			level;

	/* where nothing publishes, there is nobody to wake */
	if (outbox_shared == NULL)
		return;

	level = GetCurrentTransactionNestLevel();
	if (likely(levels_used > 0 && levels[levels_used - 1].level == level))
	{
		levels[levels_used - 1].count += count;
		return;
	}

	if (levels_used == levels_allocated)
	{
		int			allocate = levels_allocated == 0 ?
			INITIAL_LEVELS : levels_allocated * 2;

		if (levels == NULL)
			levels = MemoryContextAlloc(TopMemoryContext,
										allocate * sizeof(LevelCount));
		else
			levels = repalloc(levels, allocate * sizeof(LevelCount));
		levels_allocated = allocate;
	}
	register_callbacks();

	levels[levels_used].level = level;
	levels[levels_used].count = count;
	levels_used++;
}

void
outbox_wakeup_adopted(void)
{
	if (outbox_shared == NULL)
		return;

	register_callbacks();
	adopted = true;
}

/*
 * One more than was emitted is counted: the publisher must see that there is
 * something new also if it was just about to sleep.  There may be requests
 * too: who prepared the transaction is another session.
 */
void
outbox_wakeup_now(void)
{
	wake_publisher(1, 1);
}

void
outbox_wakeup_request_at_commit(void)
{
	if (outbox_shared == NULL)
		return;
	register_callbacks();
	request_noted = true;
}

void
outbox_wakeup_release_at_end(void)
{
	if (outbox_shared == NULL)
		return;
	register_callbacks();
	release_noted = true;
}

/* Adds an oid to a list that lives as long as the transaction. */
static void
note_database(List **list, Oid database)
{
	MemoryContext oldcontext;

	if (outbox_shared == NULL)
		return;

	register_callbacks();
	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	*list = list_append_unique_oid(*list, database);
	MemoryContextSwitchTo(oldcontext);
}

void
outbox_wakeup_launcher_at_commit(Oid database)
{
	note_database(&databases_wanted, database);
}

void
outbox_wakeup_restart_at_commit(Oid database)
{
	note_database(&databases_to_restart, database);
}
