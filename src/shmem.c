/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  Shared memory of outbox: one slot per database with a publisher.
 *
 * A slot says which process publishes a database, what it reports, and what
 * the launcher has to do about it.  It is lost in a crash of the server and
 * filled again from nothing, so no guarantee rests on it: two publishers of
 * one database are made impossible by an advisory lock, not by a slot.
 *
 * The phases of a slot, and who moves it:
 *
 *		FREE -> WANTED			outbox_slot_want
 *		WANTED -> STARTING		launcher, at start_at and if nobody holds it
 *		STARTING -> RUNNING		publisher, in outbox_slot_attach
 *		STARTING -> WANTED		launcher: it ended before it attached
 *		RUNNING -> WANTED		publisher, as it exits, with the back-off
 *		RUNNING -> ABSENT		publisher, as it exits: no extension
 *		ABSENT -> FREE			launcher
 *		any -> FREE				the database is gone
 *
 * IDENTIFICATION
 *	  src/shmem.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "shmem.h"

#define TRANCHE_NAME		"outbox"

/* Seconds before the next start after one failure; doubled with each. */
#define FIRST_BACKOFF		1
#define LONGEST_BACKOFF		60

/*
 * Seconds before the next start after SIGTERM: whoever sent it, DROP DATABASE
 * WITH (FORCE) among others, waits up to 5 seconds for the database to be
 * empty.
 */
#define TERMINATED_BACKOFF	5

/* Milliseconds to wait for a publisher to leave: as long as DROP DATABASE. */
#define HOLD_TIMEOUT		5000

OutboxShared *outbox_shared = NULL;
OutboxSlot *outbox_my_slot = NULL;

/* This publisher found no extension. */
static bool extension_absent = false;

static shmem_request_hook_type previous_shmem_request_hook = NULL;
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;

static Size
shmem_size(void)
{
	return add_size(offsetof(OutboxShared, slot),
					mul_size(outbox_max_publishers, sizeof(OutboxSlot)));
}

static void
shmem_request(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();

	RequestAddinShmemSpace(shmem_size());
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

static void
shmem_startup(void)
{
	bool		found;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	outbox_shared = ShmemInitStruct("outbox", shmem_size(), &found);
	if (!found)
	{
		int			i;

		memset(outbox_shared, 0, shmem_size());
		outbox_shared->lock = &GetNamedLWLockTranche(TRANCHE_NAME)->lock;
		pg_atomic_init_u32(&outbox_shared->launcher_proc_number, PG_UINT32_MAX);
		ConditionVariableInit(&outbox_shared->left);
		outbox_shared->slots = outbox_max_publishers;
		for (i = 0; i < outbox_shared->slots; i++)
		{
			OutboxSlot *slot = &outbox_shared->slot[i];

			pg_atomic_init_u32(&slot->database, InvalidOid);
			pg_atomic_init_u32(&slot->sleeping, 0);
			pg_atomic_init_u32(&slot->proc_number, PG_UINT32_MAX);
			pg_atomic_init_u32(&slot->segment, 0);
			pg_atomic_init_u32(&slot->adopted, 0);
			pg_atomic_init_u64(&slot->emitted, 0);
			pg_atomic_init_u64(&slot->requests, 0);
			pg_atomic_init_u64(&slot->published, 0);
			pg_atomic_init_u64(&slot->waiting, 0);
			slot->phase = OUTBOX_SLOT_FREE;
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

void
outbox_shmem_init(void)
{
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

OutboxSlot *
outbox_slot_find(Oid database)
{
	int			i;

	if (outbox_shared == NULL)
		return NULL;

	for (i = 0; i < outbox_shared->slots; i++)
	{
		OutboxSlot *slot = &outbox_shared->slot[i];

		if (pg_atomic_read_u32(&slot->database) == database)
			return slot;
	}
	return NULL;
}

void
outbox_launcher_wake(void)
{
	uint32		proc_number;

	proc_number = pg_atomic_read_u32(&outbox_shared->launcher_proc_number);
	if (proc_number != PG_UINT32_MAX)
		SetLatch(&ProcGlobal->allProcs[proc_number].procLatch);
}

/* Gives a free slot to a database; the caller has the lock. */
static void
take_slot(OutboxSlot *slot, Oid database)
{
	pg_atomic_write_u32(&slot->sleeping, 0);
	pg_atomic_write_u32(&slot->proc_number, PG_UINT32_MAX);
	pg_atomic_write_u32(&slot->segment, 0);
	pg_atomic_write_u32(&slot->adopted, 0);
	pg_atomic_write_u64(&slot->emitted, 0);
	pg_atomic_write_u64(&slot->published, 0);
	pg_atomic_write_u64(&slot->waiting, 0);

	slot->phase = OUTBOX_SLOT_WANTED;
	slot->pid = 0;
	slot->hold_pid = 0;
	slot->restart = false;
	slot->failures = 0;
	slot->start_at = 0;
	slot->started_at = 0;

	slot->state = OUTBOX_PUBLISHER_STARTING;
	slot->since = GetCurrentTimestamp();
	slot->foreign_rows = -1;
	slot->attempts = 0;
	slot->held_topics = 0;
	slot->parked_keys = 0;
	slot->dead_letters = 0;
	slot->error_class = 0;
	slot->error[0] = '\0';
	slot->error_hint[0] = '\0';
	slot->error_at = 0;
	slot->rotation_delayed_by[0] = '\0';
	slot->connected = false;
	slot->producer_pid = 0;
	slot->extension_version[0] = '\0';
	slot->producer_version[0] = '\0';
	slot->kafka_version[0] = '\0';

	/* last: from here on emitters count their events in it */
	pg_write_barrier();
	pg_atomic_write_u32(&slot->database, database);
}

/* Has the publisher that runs, if any, end and come back; under the lock. */
static void
restart_publisher(OutboxSlot *slot)
{
	uint32		proc_number = pg_atomic_read_u32(&slot->proc_number);

	slot->restart = true;
	if (proc_number != PG_UINT32_MAX)
		SetLatch(&ProcGlobal->allProcs[proc_number].procLatch);
}

bool
outbox_slot_want(Oid database)
{
	OutboxSlot *slot;
	bool		result = true;

	if (outbox_shared == NULL)
		return false;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	slot = outbox_slot_find(database);
	if (slot == NULL)
	{
		slot = outbox_slot_find(InvalidOid);
		if (slot != NULL)
			take_slot(slot, database);
		else
		{
			outbox_shared->look_again = true;
			result = false;
		}
	}
	else if (slot->phase == OUTBOX_SLOT_STARTING ||
			 slot->phase == OUTBOX_SLOT_RUNNING)
		restart_publisher(slot);
	else
	{
		slot->phase = OUTBOX_SLOT_WANTED;
		slot->failures = 0;
		slot->start_at = 0;
	}
	LWLockRelease(outbox_shared->lock);

	outbox_launcher_wake();
	return result;
}

void
outbox_slot_restart(Oid database)
{
	int			i;

	if (outbox_shared == NULL)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < outbox_shared->slots; i++)
	{
		OutboxSlot *slot = &outbox_shared->slot[i];

		if (OidIsValid(database) &&
			pg_atomic_read_u32(&slot->database) != database)
			continue;

		if (slot->phase == OUTBOX_SLOT_STARTING ||
			slot->phase == OUTBOX_SLOT_RUNNING)
			restart_publisher(slot);
		else if (slot->phase == OUTBOX_SLOT_WANTED)
		{
			/* it may have failed for the setting that is now another */
			slot->failures = 0;
			slot->start_at = 0;
		}
	}
	LWLockRelease(outbox_shared->lock);

	outbox_launcher_wake();
}

void
outbox_slot_hold(Oid database)
{
	OutboxSlot *slot;
	pid_t		pid = 0;
	TimestampTz deadline;

	if (outbox_shared == NULL)
		return;

	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), HOLD_TIMEOUT);

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	slot = outbox_slot_find(database);
	if (slot != NULL)
	{
		/*
		 * Of two that copy one template the later takes over: a publisher
		 * that comes back too early for the other waits for its lock on the
		 * database.
		 */
		slot->hold_pid = MyProcPid;
		pid = slot->pid;
		if (pid != 0)
			kill(pid, SIGTERM);
	}
	LWLockRelease(outbox_shared->lock);

	if (slot == NULL)
		return;

	ConditionVariablePrepareToSleep(&outbox_shared->left);
	for (;;)
	{
		bool		left;
		long		timeout;

		LWLockAcquire(outbox_shared->lock, LW_SHARED);
		left = pg_atomic_read_u32(&slot->database) != database ||
			(slot->pid == 0 && slot->phase != OUTBOX_SLOT_STARTING);
		LWLockRelease(outbox_shared->lock);
		if (left)
			break;

		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (timeout <= 0 ||
			ConditionVariableTimedSleep(&outbox_shared->left, timeout,
										PG_WAIT_EXTENSION))
			break;
	}
	ConditionVariableCancelSleep();

	/*
	 * It has left its slot, but is in the database until it has left the
	 * process array, some microseconds later.  The statement would wait for
	 * that in steps of 100 ms.
	 */
	while (pid != 0 && BackendPidGetProc(pid) != NULL &&
		   GetCurrentTimestamp() < deadline)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void
outbox_slots_release(void)
{
	int			i;

	if (outbox_shared == NULL)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < outbox_shared->slots; i++)
	{
		OutboxSlot *slot = &outbox_shared->slot[i];

		if (slot->hold_pid != MyProcPid)
			continue;
		slot->hold_pid = 0;
		if (slot->phase == OUTBOX_SLOT_WANTED)
			slot->start_at = 0;
	}
	LWLockRelease(outbox_shared->lock);

	outbox_launcher_wake();
}

/* A publisher that still runs is not in the database: it keeps its slot. */
void
outbox_slot_drop(Oid database)
{
	OutboxSlot *slot;

	if (outbox_shared == NULL)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	slot = outbox_slot_find(database);
	if (slot != NULL && (slot->phase == OUTBOX_SLOT_WANTED ||
						 slot->phase == OUTBOX_SLOT_ABSENT))
	{
		slot->hold_pid = 0;
		slot->phase = OUTBOX_SLOT_FREE;
		pg_atomic_write_u32(&slot->database, InvalidOid);
	}
	LWLockRelease(outbox_shared->lock);

	/* a database that found no slot may have this one */
	outbox_launcher_wake();
}

/*
 * Leaves the slot as this publisher exits, whatever the reason.  The code
 * tells a failure from an end on purpose, and the cause of the session's end
 * a failure from SIGTERM, which is nobody's fault.
 */
static void
leave_slot(int code, Datum arg)
{
	OutboxSlot *slot = outbox_my_slot;
	TimestampTz now;
	int			delay;			/* seconds */
	int			i;

	if (slot == NULL)
		return;
	outbox_my_slot = NULL;

	now = GetCurrentTimestamp();

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&slot->proc_number, PG_UINT32_MAX);
	pg_atomic_write_u32(&slot->sleeping, 0);
	slot->pid = 0;
	slot->producer_pid = 0;
	slot->connected = false;
	slot->state = OUTBOX_PUBLISHER_STARTING;
	slot->since = now;

	if (slot->restart || slot->hold_pid != 0)
		delay = 0;
	else if (code == 0 || ShutdownRequestPending ||
			 pgStatSessionEndCause == DISCONNECT_KILLED)
		delay = TERMINATED_BACKOFF;
	else
	{
		delay = FIRST_BACKOFF;
		for (i = 0; i < slot->failures && delay < LONGEST_BACKOFF; i++)
			delay *= 2;
		delay = Min(delay, LONGEST_BACKOFF);
		slot->failures++;
		slot->state = OUTBOX_PUBLISHER_WAITING;
	}

	if (extension_absent && !slot->restart)
		slot->phase = OUTBOX_SLOT_ABSENT;
	else
	{
		slot->phase = OUTBOX_SLOT_WANTED;
		slot->start_at = TimestampTzPlusMilliseconds(now, delay * 1000);
	}
	slot->restart = false;
	LWLockRelease(outbox_shared->lock);

	ConditionVariableBroadcast(&outbox_shared->left);
	outbox_launcher_wake();
}

bool
outbox_slot_attach(Oid database)
{
	OutboxSlot *slot;

	Assert(outbox_my_slot == NULL);
	if (outbox_shared == NULL)
		return false;

	before_shmem_exit(leave_slot, (Datum) 0);

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	slot = outbox_slot_find(database);
	if (slot != NULL && slot->pid == 0 && slot->hold_pid == 0)
	{
		slot->phase = OUTBOX_SLOT_RUNNING;
		slot->pid = MyProcPid;
		/* what it was told to come back for, it has yet to read */
		slot->restart = false;
		slot->started_at = GetCurrentTimestamp();
		slot->state = OUTBOX_PUBLISHER_STARTING;
		slot->since = slot->started_at;
		slot->connected = false;
		slot->producer_pid = 0;
		pg_atomic_write_u32(&slot->sleeping, 0);
		pg_atomic_write_u32(&slot->proc_number, outbox_my_proc_number());
		outbox_my_slot = slot;
	}
	LWLockRelease(outbox_shared->lock);

	return outbox_my_slot != NULL;
}

void
outbox_slot_set_absent(void)
{
	extension_absent = true;
}

void
outbox_slot_set_healthy(void)
{
	if (outbox_my_slot == NULL || outbox_my_slot->failures == 0)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->failures = 0;
	LWLockRelease(outbox_shared->lock);
}

/* Copies a text, cut at a whole character; NULL is the empty text. */
static void
copy_text(char *destination, const char *source, int size)
{
	int			length;

	if (source == NULL)
		source = "";
	length = pg_mbcliplen(source, strlen(source), size - 1);
	memcpy(destination, source, length);
	destination[length] = '\0';
}

/*
 * This publisher is the only writer of its words, so it may read them without
 * the lock to see that nothing changes.
 */
void
outbox_slot_set_state(OutboxPublisherState state)
{
	if (outbox_my_slot == NULL || outbox_my_slot->state == state)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->state = state;
	outbox_my_slot->since = GetCurrentTimestamp();
	LWLockRelease(outbox_shared->lock);
}

void
outbox_slot_set_error(int error_class, const char *text, const char *hint)
{
	if (outbox_my_slot == NULL)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->error_class = error_class;
	copy_text(outbox_my_slot->error, text, OUTBOX_ERROR_LENGTH);
	copy_text(outbox_my_slot->error_hint, hint, OUTBOX_HINT_LENGTH);
	outbox_my_slot->error_at = GetCurrentTimestamp();
	LWLockRelease(outbox_shared->lock);
}

void
outbox_slot_clear_error(void)
{
	if (outbox_my_slot == NULL || outbox_my_slot->error_at == 0)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->error_class = 0;
	outbox_my_slot->error[0] = '\0';
	outbox_my_slot->error_hint[0] = '\0';
	outbox_my_slot->error_at = 0;
	LWLockRelease(outbox_shared->lock);
}

void
outbox_slot_set_rotation_delay(const char *reason)
{
	if (outbox_my_slot == NULL)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	copy_text(outbox_my_slot->rotation_delayed_by, reason, OUTBOX_HINT_LENGTH);
	LWLockRelease(outbox_shared->lock);
}

void
outbox_slot_set_connected(bool connected)
{
	if (outbox_my_slot == NULL || outbox_my_slot->connected == connected)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->connected = connected;
	LWLockRelease(outbox_shared->lock);
}

void
outbox_slot_set_producer(pid_t pid, const char *version, const char *kafka_version)
{
	if (outbox_my_slot == NULL)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->producer_pid = pid;
	copy_text(outbox_my_slot->producer_version, version, OUTBOX_VERSION_LENGTH);
	copy_text(outbox_my_slot->kafka_version, kafka_version, OUTBOX_VERSION_LENGTH);
	LWLockRelease(outbox_shared->lock);
}

void
outbox_slot_set_extension_version(const char *version)
{
	if (outbox_my_slot == NULL)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	copy_text(outbox_my_slot->extension_version, version, OUTBOX_VERSION_LENGTH);
	LWLockRelease(outbox_shared->lock);

	/* the look at this database is over: the next may have its turn */
	outbox_launcher_wake();
}

void
outbox_slot_set_foreign_rows(int64 count)
{
	if (outbox_my_slot == NULL || outbox_my_slot->foreign_rows == count)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->foreign_rows = count;
	LWLockRelease(outbox_shared->lock);
}

void
outbox_slot_set_attempts(int attempts)
{
	if (outbox_my_slot == NULL || outbox_my_slot->attempts == attempts)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->attempts = attempts;
	LWLockRelease(outbox_shared->lock);
}

void
outbox_slot_set_held(int topics, int keys, int64 dead_letters)
{
	if (outbox_my_slot == NULL ||
		(outbox_my_slot->held_topics == topics && outbox_my_slot->parked_keys == keys &&
		 outbox_my_slot->dead_letters == dead_letters))
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->held_topics = topics;
	outbox_my_slot->parked_keys = keys;
	outbox_my_slot->dead_letters = dead_letters;
	LWLockRelease(outbox_shared->lock);
}

void
outbox_slot_set_disk_full(bool full)
{
	if (outbox_my_slot == NULL || outbox_my_slot->disk_full == full)
		return;

	LWLockAcquire(outbox_shared->lock, LW_EXCLUSIVE);
	outbox_my_slot->disk_full = full;
	LWLockRelease(outbox_shared->lock);
}
