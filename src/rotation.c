/*-------------------------------------------------------------------------
 *
 * rotation.c
 *	  Filling the next segment, and emptying those that nobody needs.
 *
 * Segments are insert-only; space comes back by truncating one as a whole,
 * when all its events are published and older than outbox.retention.  Only
 * the publisher does this, so the cursor does not move meanwhile.
 *
 * That every event is published is proven twice: first without a lock, so
 * that emitters are not held up for a segment that must stay, then again
 * under the lock, on a snapshot taken after it, as an emitter may have
 * committed in between.  The lock is asked for without waiting: a refusal
 * only means later, and outbox.status says who refused.
 *
 * Events of held topics and parked keys that wait keep their segments; the
 * others go round without them.  A dead letter is a copy, and keeps none.
 *
 * The truncation is not logged for logical decoding: a replicated TRUNCATE
 * would empty the segment of a subscriber that emits events of its own.
 *
 * IDENTIFICATION
 *	  src/rotation.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "dead_letter.h"
#include "guc.h"
#include "installation.h"
#include "rotation.h"
#include "session.h"
#include "shmem.h"

/*
 * A segment is filled for half of the retention, so that one segment filled
 * and two or three that wait hold between one and one and a half times the
 * retention.  It is filled for 2 s at least: emptying one costs new files and
 * an invalidation in every session.
 */
#define FILL_PARTS			2
#define MIN_FILL_TIME		2000

/* After a refusal, try again when a quarter of that time has gone, in ms. */
#define RETRY_PARTS			4
#define MIN_RETRY_TIME		1000
#define MAX_RETRY_TIME		60000

typedef struct Segment
{
	TimestampTz opened;			/* 0: it is empty, and not filled */
	TimestampTz closed;			/* 0: it is filled, or was never */
	bool		has_rows;		/* it may have some */
	bool		has_held;		/* it had events of held scopes that wait, */
	uint64		held_at;		/* when there were so many changes of holds */
} Segment;

static bool try_advance(TimestampTz now);
static bool try_empty(int number, OutboxHolds *holds);
static bool has_foreign_rows(int number);
static bool has_unpublished(int number);
static char *copy_parked(int number, OutboxHolds *holds, bool *copied);
static bool has_blocks(Oid relation);
static char *lock_holder(Oid relation);
static int	fill_time(void);
static TimestampTz earlier(TimestampTz a, TimestampTz b);

static Segment segments[OUTBOX_SEGMENTS];
static int	filled;				/* the one that emitters fill */
static TimestampTz retry_at;

/*
 * Reads the state of the ring and tells the emitters which segment to fill.
 * Returns false if the database has no outbox extension.
 */
bool
outbox_rotation_load(void)
{
	const OutboxInstallation *installation;
	int			i;

	if (!outbox_session_begin(OUTBOX_COMMIT_READ_ONLY))
		return false;
	outbox_session_use_snapshot();

	if (SPI_execute("SELECT number, opened, closed FROM outbox.segment",
					true, 0) != SPI_OK_SELECT || SPI_processed != OUTBOX_SEGMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("outbox.segment does not have %d rows", OUTBOX_SEGMENTS),
				 errhint("Only the publisher writes to this table.")));
	filled = 0;
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	type = SPI_tuptable->tupdesc;
		bool		isnull;
		int			number = DatumGetInt16(SPI_getbinval(row, type, 1, &isnull));
		Segment    *segment = &segments[number];
		Datum		opened = SPI_getbinval(row, type, 2, &isnull);

		segment->opened = isnull ? 0 : DatumGetTimestampTz(opened);
		segment->closed = DatumGetTimestampTz(SPI_getbinval(row, type, 3, &isnull));
		if (isnull)
			segment->closed = 0;
		if (segment->opened != 0 && segment->closed == 0)
			filled = number;
	}

	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		installation = outbox_installation_get(false);
		segments[i].has_rows = has_blocks(installation->segment[i]);
	}
	outbox_session_commit();

	pg_atomic_write_u32(&outbox_my_slot->segment, filled);
	retry_at = 0;
	return true;
}

/*
 * Does what is due: has emitters fill the next segment, and empties those
 * that nobody needs.  events_read says whether events were read since the
 * last call; holds are the scopes that are out of the main stream.  Returns
 * when to call again; 0: not before events are read.
 */
TimestampTz
outbox_rotation_run(TimestampTz now, bool events_read, OutboxHolds *holds)
{
	TimestampTz next = 0;
	bool		refused = false;
	int			i;

	if (events_read)
		segments[filled].has_rows = true;
	if (outbox_retention < 0)
	{
		outbox_slot_set_rotation_delay("");
		return 0;
	}
	if (retry_at != 0 && now < retry_at)
		return retry_at;

	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		Segment    *segment = &segments[i];
		TimestampTz due;

		if (i == filled || !segment->has_rows)
			continue;

		/*
		 * Rows in a segment that was never filled came from an emitter that
		 * found the right one locked.
		 */
		if (segment->closed == 0)
			segment->closed = now;
		due = segment->closed + (int64) outbox_retention * USECS_PER_SEC;
		if (now >= due)
			refused |= !try_empty(i, holds);
		else
			next = earlier(next, due);
	}

	if (segments[filled].has_rows)
	{
		TimestampTz due = TimestampTzPlusMilliseconds(segments[filled].opened, fill_time());

		if (now < due)
			next = earlier(next, due);
		else if (try_advance(now))
			next = earlier(next, TimestampTzPlusMilliseconds(now, fill_time()));
		else
			refused = true;
	}

	retry_at = 0;
	if (refused)
	{
		retry_at = TimestampTzPlusMilliseconds(now, Min(Max(fill_time() / RETRY_PARTS, MIN_RETRY_TIME),
														MAX_RETRY_TIME));
		next = earlier(next, retry_at);
	}
	else
		outbox_slot_set_rotation_delay("");
	return next;
}

/*
 * Has emitters fill the next segment that is empty.  Those that have read the
 * old hint still fill the old one, which is as right.
 */
static bool
try_advance(TimestampTz now)
{
	int			next = filled;
	char		query[512];
	int			i;

	if (!outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
		return false;
	outbox_session_use_snapshot();
	for (i = 1; i < OUTBOX_SEGMENTS && next == filled; i++)
	{
		int			candidate = (filled + i) % OUTBOX_SEGMENTS;

		if (has_blocks(outbox_installation_get(false)->segment[candidate]))
			segments[candidate].has_rows = true;
		else
			next = candidate;
	}
	if (next == filled)
	{
		outbox_session_commit();
		return false;
	}

	snprintf(query, sizeof(query),
			 "UPDATE outbox.segment SET"
			 " opened = CASE WHEN number = %d THEN pg_catalog.now() ELSE opened END,"
			 " closed = CASE WHEN number = %d THEN pg_catalog.now() END"
			 " WHERE number IN (%d, %d)", next, filled, filled, next);
	if (SPI_execute(query, false, 0) != SPI_OK_UPDATE || SPI_processed != 2)
		elog(ERROR, "could not update outbox.segment");
	outbox_session_commit();

	segments[filled].closed = now;
	segments[next].opened = now;
	segments[next].closed = 0;
	segments[next].has_rows = false;
	filled = next;
	pg_atomic_write_u32(&outbox_my_slot->segment, filled);
	return true;
}

/*
 * Empties a segment if all its events are published and nobody uses it.
 * Commits locally: a standby that is away must not make this hold the lock.
 */
static bool
try_empty(int number, OutboxHolds *holds)
{
	Segment    *segment = &segments[number];
	Oid			oid;
	Relation	relation;
	char		query[256];
	bool		foreign;
	char	   *held;
	bool		copied = false;

	/* that is not looked for again before it can have changed */
	if (segment->has_held && segment->held_at == holds->changes)
		return false;

	if (!outbox_session_begin(OUTBOX_COMMIT_LOCAL))
		return false;
	outbox_session_use_snapshot();
	oid = outbox_installation_get(false)->segment[number];

	foreign = has_foreign_rows(number);
	if (foreign || has_unpublished(number))
	{
		outbox_session_commit();
		snprintf(query, sizeof(query),
				 foreign ? "foreign rows in outbox.event_%d" :
				 "events in outbox.event_%d that are not published", number);
		outbox_slot_set_rotation_delay(query);
		return false;
	}
	held = copy_parked(number, holds, &copied);
	if (held != NULL || copied)
	{
		segment->has_held = held != NULL;
		segment->held_at = holds->changes;
		outbox_slot_set_rotation_delay(held ? held : "");
		outbox_session_commit();
		return false;
	}
	if (!outbox_dead_letters_are_old(oid))
	{
		outbox_slot_set_rotation_delay("a snapshot that is older than the newest dead letter");
		outbox_session_commit();
		return false;
	}
	if (!ConditionalLockRelationOid(oid, AccessExclusiveLock))
	{
		char	   *holder = lock_holder(oid);

		outbox_slot_set_rotation_delay(holder);
		outbox_session_commit();
		return false;
	}

	outbox_session_use_snapshot();
	if (has_unpublished(number))
	{
		outbox_session_commit();
		snprintf(query, sizeof(query),
				 "events in outbox.event_%d that are not published", number);
		outbox_slot_set_rotation_delay(query);
		return false;
	}

	relation = table_open(oid, NoLock);
	outbox_truncate_compat(list_make1(relation), list_make1_oid(oid));
	table_close(relation, NoLock);
	snprintf(query, sizeof(query),
			 "UPDATE outbox.segment SET opened = NULL, closed = NULL WHERE number = %d", number);
	if (SPI_execute(query, false, 0) != SPI_OK_UPDATE || SPI_processed != 1)
		elog(ERROR, "could not update outbox.segment");
	outbox_session_commit();

	segments[number].opened = 0;
	segments[number].closed = 0;
	segments[number].has_rows = false;
	return true;
}

/*
 * Whether the segment has foreign rows among those visible in "done" of the
 * cursor: they are counted in the transaction that moves it past them.
 */
static bool
has_foreign_rows(int number)
{
	char		query[128];
	bool		isnull;

	snprintf(query, sizeof(query),
			 "SELECT foreign_rows > 0 FROM outbox.segment WHERE number = %d", number);
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read outbox.segment");
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/*
 * Whether the segment has an event that is not visible in "done" of the
 * cursor.  What "open" and the position say is left out: such events are
 * published soon, and then this says so.
 */
static bool
has_unpublished(int number)
{
	char		query[512];
	bool		isnull;

	snprintf(query, sizeof(query),
			 "SELECT EXISTS (SELECT FROM outbox.event_%d WHERE xid >="
			 " (SELECT pg_catalog.pg_snapshot_xmax(done) FROM outbox.cursor WHERE topic IS NULL))"
			 " OR EXISTS (SELECT FROM outbox.event_%d WHERE xid = ANY (ARRAY"
			 "(SELECT pg_catalog.pg_snapshot_xip(done) FROM outbox.cursor WHERE topic IS NULL)))",
			 number, number);
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not look for events that are not published");
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/*
 * Looks for held scopes of which the segment has events that are not published.
 * If there are none but parked keys, copies what is parked with them, as far as
 * it is not too much, and sets *copied: the segment can be emptied another
 * time.  Returns words for a scope that keeps the segment; NULL: none.
 *
 * What is not visible in "done" of the main row is not looked at:
 * has_unpublished() does that, also under the lock.
 */
static char *
copy_parked(int number, OutboxHolds *holds, bool *copied)
{
	OutboxSnapshot *snapshot;
	SPITupleTable *found;
	char		query[1536];
	uint64		count;
	uint64		i;

	if (holds->count == 0)
		return NULL;

	snprintf(query, sizeof(query),
			 "WITH waiting AS MATERIALIZED (SELECT xid, id, topic, key FROM outbox.event_%d e"
			 " WHERE (xid >= (SELECT pg_catalog.min(pg_catalog.pg_snapshot_xmax(done)) FROM outbox.cursor)"
			 " OR xid = ANY (ARRAY(SELECT pg_catalog.pg_snapshot_xip(done) FROM outbox.cursor)))"
			 " AND topic IN (SELECT topic FROM outbox.cursor)"
			 " AND NOT EXISTS (SELECT FROM outbox.dead_letter d WHERE d.uid = e.uid)),"
			 " held AS (SELECT e.xid, e.id, c.topic, c.key, c.done, c.open, c.position"
			 " FROM waiting e JOIN outbox.cursor c ON c.topic = e.topic AND c.key = e.key"
			 " UNION ALL SELECT e.xid, e.id, c.topic, NULL, c.done, c.open, c.position"
			 " FROM waiting e JOIN outbox.cursor c ON c.topic = e.topic AND c.key IS NULL)"
			 " SELECT DISTINCT topic, key FROM held"
			 " WHERE NOT pg_catalog.pg_visible_in_snapshot(xid, done)"
			 " AND NOT coalesce(pg_catalog.pg_visible_in_snapshot(xid, open) AND id <= position, false)"
			 " ORDER BY key NULLS FIRST",
			 number);
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for events of held scopes");
	count = SPI_processed;
	found = SPI_tuptable;

	/* older than this transaction's own id */
	snapshot = outbox_snapshot_from(GetActiveSnapshot(), CurrentMemoryContext);

	for (i = 0; i < count; i++)
	{
		char	   *topic = SPI_getvalue(found->vals[i], found->tupdesc, 1);
		OutboxHold *hold;
		bytea	   *key;
		bool		isnull;
		Datum		value = SPI_getbinval(found->vals[i], found->tupdesc, 2, &isnull);

		if (isnull)
			return psprintf("events of held topic \"%s\" in outbox.event_%d", topic, number);
		key = DatumGetByteaPP(value);
		hold = outbox_holds_find_exactly(holds, topic, strlen(topic), VARDATA_ANY(key),
										 VARSIZE_ANY_EXHDR(key));
		if (hold == NULL || hold->join != 0 || hold->wants_join)
			return psprintf("events of a key of topic \"%s\" in outbox.event_%d that is coming back",
							topic, number);
		if (!outbox_dead_letters_copy(hold, snapshot))
			return psprintf("more than %d events of a parked key of topic \"%s\" in outbox.event_%d; see outbox.parked_key",
							OUTBOX_MAX_COPIES, topic, number);
		outbox_hold_store(holds, hold, snapshot, NULL, 0);
		*copied = true;
	}
	return NULL;
}

static bool
has_blocks(Oid oid)
{
	Relation	relation = relation_open(oid, AccessShareLock);
	bool		result = RelationGetNumberOfBlocks(relation) > 0;

	relation_close(relation, NoLock);
	return result;
}

/* Words for the session, or prepared transaction, that keeps the lock away. */
static char *
lock_holder(Oid oid)
{
	Oid			types[1] = {OIDOID};
	Datum		values[1];
	bool		isnull;
	Datum		pid;

	values[0] = ObjectIdGetDatum(oid);
	if (SPI_execute_with_args("SELECT pid FROM pg_catalog.pg_locks WHERE locktype = 'relation'"
							  " AND relation = $1 AND granted AND pid IS DISTINCT FROM pg_catalog.pg_backend_pid()"
							  " AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
							  " LIMIT 1", 1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read pg_locks");
	if (SPI_processed == 0)
		return psprintf("a lock on %s that is gone by now", get_rel_name(oid));
	pid = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull)
		return psprintf("a prepared transaction that holds a lock on %s", get_rel_name(oid));
	return psprintf("process %d, which holds a lock on %s", DatumGetInt32(pid), get_rel_name(oid));
}

/* How long a segment is filled, in milliseconds. */
static int
fill_time(void)
{
	int64		time = (int64) outbox_retention * 1000 / FILL_PARTS;

	return (int) Min(Max(time, MIN_FILL_TIME), PG_INT32_MAX);
}

static TimestampTz
earlier(TimestampTz a, TimestampTz b)
{
	if (a == 0)
		return b;
	return Min(a, b);
}
