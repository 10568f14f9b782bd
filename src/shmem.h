/*-------------------------------------------------------------------------
 *
 * shmem.h
 *	  Shared memory of outbox: one slot per database with a publisher.
 *
 * Slots hold process ids, counters and hints, never the truth: the truth is
 * in the tables.  Atomics are read and written without a lock; everything
 * else under outbox_shared->lock.  Nothing process-local (pointers, file
 * descriptors) is ever stored here.
 *
 * IDENTIFICATION
 *	  src/shmem.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SHMEM_H
#define OUTBOX_SHMEM_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#define OUTBOX_ERROR_LENGTH		512
#define OUTBOX_HINT_LENGTH		256
#define OUTBOX_VERSION_LENGTH	32

/* What the launcher does with a slot. */
typedef enum OutboxSlotPhase
{
	OUTBOX_SLOT_FREE,			/* no database */
	OUTBOX_SLOT_WANTED,			/* a publisher is to be started at start_at */
	OUTBOX_SLOT_STARTING,		/* registered, not attached yet */
	OUTBOX_SLOT_RUNNING,		/* attached: pid and proc_number are valid */
	OUTBOX_SLOT_ABSENT			/* the database has no outbox extension */
} OutboxSlotPhase;

/* What a publisher does; shown in outbox.status. */
typedef enum OutboxPublisherState
{
	OUTBOX_PUBLISHER_STARTING,	/* before its first turn */
	OUTBOX_PUBLISHER_CONNECTING,	/* waits for its producer to be ready */
	OUTBOX_PUBLISHER_IDLE,		/* nothing waits */
	OUTBOX_PUBLISHER_PUBLISHING,	/* events are not acknowledged yet, or wait
									 * for a broker */
	OUTBOX_PUBLISHER_WAITING,	/* backs off after a failure, then tries again */
	OUTBOX_PUBLISHER_PAUSED,	/* switched off, or not on this host */
	OUTBOX_PUBLISHER_UNCONFIGURED,	/* outbox.bootstrap_servers is empty */
	OUTBOX_PUBLISHER_STOPPING	/* drains; then it ends, pauses, or replaces
								 * the producer */
} OutboxPublisherState;

typedef struct OutboxSlot
{
	/* wake-up: atomics, see wakeup.c */
	pg_atomic_uint32 database;	/* oid; 0 in a free slot */
	pg_atomic_uint32 sleeping;	/* 1: the publisher waits for its latch */
	pg_atomic_uint32 proc_number;	/* index in ProcGlobal->allProcs */
	pg_atomic_uint32 segment;	/* the segment that emitters fill */
	pg_atomic_uint32 adopted;	/* 1: foreign rows were adopted, so their count
								 * in outbox.segment is too high */
	pg_atomic_uint64 emitted;	/* events committed since server start */
	pg_atomic_uint64 published; /* events acknowledged since server start */
	pg_atomic_uint64 waiting;	/* events read and not acknowledged yet, plus
								 * emitted ones not read yet: an estimate;
								 * PG_UINT64_MAX: not counted yet */

	pg_atomic_uint64 requests;	/* what people asked the publisher for, in
								 * tables: how often */

	/* launcher: under the lock */
	OutboxSlotPhase phase;
	pid_t		pid;			/* of the publisher, 0: none */
	pid_t		hold_pid;		/* backend that keeps the publisher away, 0:
								 * none */
	bool		restart;		/* the publisher is asked to end and come back */
	int			failures;		/* in a row */
	TimestampTz start_at;		/* WANTED: not before */
	TimestampTz started_at;

	/* status: under the lock, written by the publisher */
	OutboxPublisherState state;
	TimestampTz since;
	int64		foreign_rows;	/* -1: not counted yet */
	int			attempts;		/* failures in a row, of producers */
	int			held_topics;
	int			parked_keys;
	int64		dead_letters;	/* as of the last look */
	bool		disk_full;		/* the last publisher could not write a file */
	int			error_class;	/* a FrameClass; 0: no error */
	char		error[OUTBOX_ERROR_LENGTH]; /* "": no error */
	char		error_hint[OUTBOX_HINT_LENGTH];
	TimestampTz error_at;
	char		rotation_delayed_by[OUTBOX_HINT_LENGTH];	/* "": nothing */
	bool		connected;		/* the producer reaches a broker */
	pid_t		producer_pid;
	char		extension_version[OUTBOX_VERSION_LENGTH];
	char		producer_version[OUTBOX_VERSION_LENGTH];
	char		kafka_version[OUTBOX_VERSION_LENGTH];
} OutboxSlot;

typedef struct OutboxShared
{
	LWLock	   *lock;
	pg_atomic_uint32 launcher_proc_number;	/* PG_UINT32_MAX: none */
	ConditionVariable left;		/* broadcast when a publisher leaves its slot */
	bool		look_again;		/* under the lock: a database found no free
								 * slot, so look at all of them again */
	int			slots;
	OutboxSlot	slot[FLEXIBLE_ARRAY_MEMBER];
} OutboxShared;

/* NULL where the library is not preloaded. */
extern PGDLLIMPORT OutboxShared *outbox_shared;

/* The slot of this process, if it is a publisher; else NULL. */
extern PGDLLIMPORT OutboxSlot *outbox_my_slot;

extern void outbox_shmem_init(void);

/* The slot of a database, or NULL; takes no lock. */
extern OutboxSlot *outbox_slot_find(Oid database);

/*
 * Has the launcher start a publisher for the database; one that runs ends and
 * comes back, since the extension or the database may not be what it was.
 * Any backend may call it, also after its commit: it raises no error.
 * Returns false if all slots are taken; the launcher then looks at all
 * databases again, and says so in the log if it still finds no slot.
 */
extern bool outbox_slot_want(Oid database);

/*
 * Has the publisher of the database end and come back, if there is one;
 * InvalidOid: all of them.  Raises no error.
 */
extern void outbox_slot_restart(Oid database);

/*
 * Keeps the publisher away from the database until outbox_slots_release():
 * ends the one that runs and waits until it has left, for 5 seconds at most.
 * Does nothing if the database has no slot.  Can be interrupted.
 */
extern void outbox_slot_hold(Oid database);

/* Ends all holds of this process; the publishers start at once. */
extern void outbox_slots_release(void);

/* Forgets a database that was dropped. */
extern void outbox_slot_drop(Oid database);

/* Has the launcher look at the slots. */
extern void outbox_launcher_wake(void);

/*
 * Makes this process the publisher of its database: fills the slot, registers
 * the callback that leaves it (with back-off before the next start if this
 * process fails) and sets outbox_my_slot.  To be called before the process
 * connects to the database, which it must not do if this returns false:
 * another process has the slot, or somebody holds the publisher away.
 */
extern bool outbox_slot_attach(Oid database);

/* Says before exit that the database has no extension: no restart. */
extern void outbox_slot_set_absent(void);

/* A run without trouble: the next failure starts with the shortest back-off. */
extern void outbox_slot_set_healthy(void);

/* The publisher's words for outbox.status.  All of them take the lock. */
extern void outbox_slot_set_state(OutboxPublisherState state);
extern void outbox_slot_set_error(int error_class, const char *text, const char *hint);
extern void outbox_slot_clear_error(void);
extern void outbox_slot_set_rotation_delay(const char *reason);
extern void outbox_slot_set_connected(bool connected);
extern void outbox_slot_set_producer(pid_t pid, const char *version, const char *kafka_version);
extern void outbox_slot_set_extension_version(const char *version);
extern void outbox_slot_set_foreign_rows(int64 count);
extern void outbox_slot_set_attempts(int attempts);
extern void outbox_slot_set_disk_full(bool full);
extern void outbox_slot_set_held(int topics, int keys, int64 dead_letters);

#endif							/* OUTBOX_SHMEM_H */
