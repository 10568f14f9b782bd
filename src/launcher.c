/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The launcher: starts and watches publishers.
 *
 * One static worker per cluster, connected to no database.  At its start it
 * has a publisher look into every database that takes connections, a few at a
 * time; one that finds no extension says so and gives its slot back.  Then it
 * sleeps until it is told of something: a transaction that created the
 * extension or a database, a publisher that left, a worker that ended.  It
 * wakes by the clock only for a start that is due later.
 *
 * A failure of one database never stops the launcher.  If it ends itself, the
 * postmaster starts it again; publishers go on meanwhile, and the next
 * launcher finds them in their slots.
 *
 * IDENTIFICATION
 *	  src/launcher.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "frame.h"
#include "launcher.h"
#include "producer_config.h"
#include "shmem.h"

/* Seconds before the postmaster starts a launcher that ended. */
#define RESTART_TIME		5

/*
 * Databases looked at for the extension at the same time: few, since each
 * takes a worker that somebody else may need, but not one by one, since a
 * look can wait for a lock.
 */
#define MAX_LOOKS			4

/*
 * Milliseconds after which a worker that an earlier launcher registered, and
 * that has not attached, is given up: its handle is lost.
 */
#define ATTACH_TIMEOUT		10000

/* Milliseconds between attempts where no worker is to be had. */
#define FIRST_RETRY			1000
#define LONGEST_RETRY		60000

/* Handles of workers in phase STARTING, by slot; NULL: none. */
static BackgroundWorkerHandle **handles = NULL;

/* Slots whose last error is that there was no worker to be had. */
static bool *starved = NULL;

/* Databases to be looked at, in list_context. */
static List *databases_to_look = NIL;
static MemoryContext list_context = NULL;

/*
 * Milliseconds before the next attempt where no worker was to be had, 0 after
 * a success; and whether a shortage of slots is logged already.
 */
static int	retry_delay = 0;
static bool slots_shortage_logged = false;

void
outbox_launcher_init(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, "outbox launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "outbox launcher");
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "outbox");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "outbox_launcher_main");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_TIME;
	RegisterBackgroundWorker(&worker);
}

/*
 * Whether a database may have a publisher: not a template, where a worker
 * would stand in the way of CREATE DATABASE, and not one that takes no
 * connections or is half dropped.
 */
static bool
database_is_eligible(Form_pg_database database)
{
	return !database->datistemplate &&
		database->datallowconn &&
		database->datconnlimit != DATCONNLIMIT_INVALID_DB;
}

/* Reads pg_database and makes databases_to_look of it. */
static void
list_databases(void)
{
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	MemoryContextReset(list_context);
	databases_to_look = NIL;

	StartTransactionCommand();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database_is_eligible(database))
		{
			MemoryContext oldcontext = MemoryContextSwitchTo(list_context);

			databases_to_look = lappend_oid(databases_to_look, database->oid);
			MemoryContextSwitchTo(oldcontext);
		}
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
}

/*
 * Whether the database is there and may have a publisher.  Reads the table,
 * not the cache: who commits a change tells us of it before he tells the
 * caches.
 */
static bool
database_may_publish(Oid database)
{
	Relation	relation;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result;

	StartTransactionCommand();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_database_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	/* no index: without a database it may not be known yet */
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 1, &key);
	tuple = systable_getnext(scan);
	result = HeapTupleIsValid(tuple) &&
		database_is_eligible((Form_pg_database) GETSTRUCT(tuple));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();

	return result;
}

/* Gives a slot back; the caller has the lock. */
static void
free_slot(OutboxSlot *slot)
{
	slot->phase = OUTBOX_SLOT_FREE;
	slot->hold_pid = 0;
	outbox_producer_config_forget(pg_atomic_read_u32(&slot->database));
	pg_atomic_write_u32(&slot->database, InvalidOid);
}

/*
 * A worker ended, or is given up, before it attached.  Where it was kept away
 * or told to come back, that is no failure.
 */
static void
worker_never_attached(OutboxSlot *slot)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	if (slot->phase == OUTBOX_SLOT_STARTING)
	{
		slot->phase = OUTBOX_SLOT_WANTED;
		slot->start_at = 0;
		if (slot->hold_pid == 0 && !slot->restart)
		{
			int			delay = FIRST_RETRY << Min(slot->failures, 6);

			slot->start_at =
				TimestampTzPlusMilliseconds(now, Min(delay, LONGEST_RETRY));
			slot->failures++;
		}
		slot->restart = false;
	}
	LWLockRelease(outbox_shared->lock);

	ConditionVariableBroadcast(&outbox_shared->left);
}

/* Learns what became of the workers that were registered. */
static void
watch_workers(void)
{
	int			i;

	for (i = 0; i < outbox_shared->slots; i++)
	{
		OutboxSlot *slot = &outbox_shared->slot[i];
		pid_t		pid;

		if (handles[i] == NULL)
			continue;

		if (GetBackgroundWorkerPid(handles[i], &pid) == BGWH_STOPPED)
			worker_never_attached(slot);
		else if (slot->phase == OUTBOX_SLOT_STARTING)
			continue;

		/* attached, or ended: from here on the slot itself says more */
		pfree(handles[i]);
		handles[i] = NULL;
	}
}

/* Whether a publisher looks whether there is anything to publish. */
static bool
is_look(OutboxSlot *slot)
{
	switch (slot->phase)
	{
		case OUTBOX_SLOT_WANTED:
			/* one that fails must not keep the others waiting */
			return slot->extension_version[0] == '\0' && slot->failures == 0;
		case OUTBOX_SLOT_STARTING:
		case OUTBOX_SLOT_RUNNING:
			return slot->extension_version[0] == '\0';
		default:
			return false;
	}
}

/* Gives free slots to the databases that are still to be looked at. */
static void
feed_looks(void)
{
	bool		shortage = false;

	while (databases_to_look != NIL)
	{
		Oid			database = linitial_oid(databases_to_look);
		int			looks = 0;
		bool		known = false;
		bool		full = true;
		int			i;

		LWLockAcquire(outbox_shared->lock, LW_SHARED);
		for (i = 0; i < outbox_shared->slots; i++)
		{
			OutboxSlot *slot = &outbox_shared->slot[i];

			if (slot->phase == OUTBOX_SLOT_FREE)
				full = false;
			else if (pg_atomic_read_u32(&slot->database) == database)
				known = true;
			if (is_look(slot))
				looks++;
		}
		LWLockRelease(outbox_shared->lock);

		if (!known)
		{
			/* while looks are under way, a slot may soon be free again */
			if (looks >= MAX_LOOKS || (full && looks > 0))
				return;
			if (full)
			{
				shortage = true;
				break;
			}
			(void) outbox_slot_want(database);
		}
		databases_to_look = list_delete_first(databases_to_look);
	}

	if (shortage && !slots_shortage_logged)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("outbox has no free slot for another publisher"),
				 errdetail("%d databases cannot be looked at for the extension.",
						   list_length(databases_to_look)),
				 errhint("You might need to increase \"outbox.max_publishers\".")));
	slots_shortage_logged = shortage;
}

/* Registers a publisher; returns false if there is no worker to be had. */
static bool
register_publisher(int number, Oid database)
{
	BackgroundWorker worker;
	MemoryContext oldcontext;
	bool		result;

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, "outbox publisher for database %u", database);
	snprintf(worker.bgw_type, BGW_MAXLEN, "outbox publisher");
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "outbox");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "outbox_publisher_main");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION | BGWORKER_INTERRUPTIBLE;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;

	if (handles[number] != NULL)
		pfree(handles[number]);
	oldcontext = MemoryContextSwitchTo(TopMemoryContext);
	result = RegisterDynamicBackgroundWorker(&worker, &handles[number]);
	MemoryContextSwitchTo(oldcontext);
	if (!result)
		handles[number] = NULL;

	return result;
}

/* Starts the publisher of a slot that is due. */
static void
start_publisher(int number, Oid database)
{
	OutboxSlot *slot = &outbox_shared->slot[number];
	bool		eligible = database_may_publish(database);
	bool		start = false;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	if (slot->phase == OUTBOX_SLOT_WANTED && slot->hold_pid == 0 &&
		pg_atomic_read_u32(&slot->database) == database)
	{
		if (eligible)
		{
			slot->phase = OUTBOX_SLOT_STARTING;
			slot->restart = false;
			slot->started_at = GetCurrentTimestamp();
			if (starved[number])
			{
				slot->error[0] = '\0';
				slot->error_hint[0] = '\0';
				slot->error_at = 0;
				starved[number] = false;
			}
			start = true;
		}
		else
			free_slot(slot);
	}
	LWLockRelease(outbox_shared->lock);

	if (!start)
		return;

	if (register_publisher(number, database))
	{
		retry_delay = 0;
		return;
	}

	if (retry_delay == 0)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start outbox publisher for database %u: no free background worker",
						database),
				 errhint("You might need to increase \"max_worker_processes\".")));
	retry_delay = retry_delay == 0 ? FIRST_RETRY :
		Min(retry_delay * 2, LONGEST_RETRY);

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	slot->phase = OUTBOX_SLOT_WANTED;
	slot->start_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), retry_delay);
	slot->error_class = FRAME_CLASS_SERVER;
	strlcpy(slot->error, "no free background worker", OUTBOX_ERROR_LENGTH);
	strlcpy(slot->error_hint, "You might need to increase \"max_worker_processes\".",
			OUTBOX_HINT_LENGTH);
	slot->error_at = GetCurrentTimestamp();
	LWLockRelease(outbox_shared->lock);
	starved[number] = true;
	ConditionVariableBroadcast(&outbox_shared->left);
}

/*
 * One round over the slots.  Returns the milliseconds until something is due,
 * or -1 if nothing is.
 */
static long
launcher_cycle(void)
{
	TimestampTz now;
	TimestampTz due = DT_NOEND;
	bool		look_again;
	int			i;

	watch_workers();

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	look_again = outbox_shared->look_again;
	outbox_shared->look_again = false;
	for (i = 0; i < outbox_shared->slots; i++)
	{
		if (outbox_shared->slot[i].phase == OUTBOX_SLOT_ABSENT)
			free_slot(&outbox_shared->slot[i]);
	}
	LWLockRelease(outbox_shared->lock);

	if (look_again)
	{
		/* one more database that found no slot: say so again */
		list_databases();
		slots_shortage_logged = false;
	}
	feed_looks();

	for (i = 0; i < outbox_shared->slots; i++)
	{
		OutboxSlot *slot = &outbox_shared->slot[i];
		TimestampTz slot_due = DT_NOEND;
		Oid			database;
		OutboxSlotPhase phase;
		bool		held;

		now = GetCurrentTimestamp();
		LWLockAcquire(outbox_shared->lock, LW_SHARED);
		database = pg_atomic_read_u32(&slot->database);
		phase = slot->phase;
		held = slot->hold_pid != 0;
		if (phase == OUTBOX_SLOT_WANTED)
			slot_due = slot->start_at;
		else if (phase == OUTBOX_SLOT_STARTING && handles[i] == NULL)
			slot_due = TimestampTzPlusMilliseconds(slot->started_at, ATTACH_TIMEOUT);
		LWLockRelease(outbox_shared->lock);

		/* whoever holds it wakes the launcher when it is released */
		if (held && phase == OUTBOX_SLOT_WANTED)
			continue;

		/* one that is farther away was reckoned before the clock was set back */
		if (slot_due > now &&
			(slot_due == DT_NOEND || slot_due <= TimestampTzPlusMilliseconds(now, LONGEST_RETRY)))
		{
			due = Min(due, slot_due);
			continue;
		}

		if (phase == OUTBOX_SLOT_WANTED)
			start_publisher(i, database);
		else
			worker_never_attached(slot);

		/* look at its new due time before going to sleep */
		due = Min(due, now);
	}

	if (due == DT_NOEND)
		return -1;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), due);
}

static void
launcher_exit(int code, Datum arg)
{
	pg_atomic_write_u32(&outbox_shared->launcher_proc_number, PG_UINT32_MAX);
}

void
outbox_launcher_main(Datum main_arg)
{
	MemoryContext cycle_context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	/* shared catalogs only: no database, so that none is kept busy */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	/* nobody is kept waiting by a launcher that waits for a catalog */
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);

	cycle_context = AllocSetContextCreate(TopMemoryContext, "outbox launcher cycle",
										  ALLOCSET_DEFAULT_SIZES);
	list_context = AllocSetContextCreate(TopMemoryContext, "outbox databases to look at",
										 ALLOCSET_SMALL_SIZES);
	handles = MemoryContextAllocZero(TopMemoryContext,
									 outbox_shared->slots * sizeof(BackgroundWorkerHandle *));
	starved = MemoryContextAllocZero(TopMemoryContext,
									 outbox_shared->slots * sizeof(bool));

	/* before the databases are listed: later ones report themselves */
	before_shmem_exit(launcher_exit, (Datum) 0);
	pg_atomic_write_u32(&outbox_shared->launcher_proc_number, outbox_my_proc_number());
	pg_memory_barrier();

	list_databases();

	for (;;)
	{
		int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;
		long		timeout;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		MemoryContextSwitchTo(cycle_context);
		timeout = launcher_cycle();
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(cycle_context);

		if (timeout >= 0)
			events |= WL_TIMEOUT;
		(void) WaitLatch(MyLatch, events, timeout, PG_WAIT_EXTENSION);
	}
}
