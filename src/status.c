/*-------------------------------------------------------------------------
 *
 * status.c
 *	  What the publishers report, and the functions that the install script
 *	  and pg_dump call.
 *
 * outbox.status shows shared memory, so it costs nothing however much there
 * is to publish; only the age of the oldest event of the current database is
 * looked up in its tables.
 *
 * IDENTIFICATION
 *	  src/status.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/portal.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "guc.h"
#include "installation.h"
#include "pending.h"
#include "shmem.h"
#include "trouble.h"
#include "wakeup.h"

/* Columns of outbox_status(), in order. */
enum
{
	COLUMN_DATABASE,
	COLUMN_PID,
	COLUMN_STATE,
	COLUMN_SINCE,
	COLUMN_WAITING_ESTIMATE,
	COLUMN_OLDEST_WAITING,
	COLUMN_PUBLISHED,
	COLUMN_FOREIGN_ROWS,
	COLUMN_HELD_TOPICS,
	COLUMN_PARKED_KEYS,
	COLUMN_DEAD_LETTERS,
	COLUMN_ATTEMPTS,
	COLUMN_ERROR_CLASS,
	COLUMN_ERROR,
	COLUMN_ERROR_AT,
	COLUMN_ERROR_HINT,
	COLUMN_ROTATION_DELAYED_BY,
	COLUMN_CONNECTION,
	COLUMN_PRODUCER_PID,
	COLUMN_SERVER_VERSION,
	COLUMN_EXTENSION_VERSION,
	COLUMN_PRODUCER_VERSION,
	COLUMN_LIBRDKAFKA_VERSION,
	STATUS_COLUMNS
};

/* pg_dump reads a table so where it writes INSERT commands. */
#define DUMP_WITHOUT_CHILDREN	"FROM ONLY outbox.event"

PG_FUNCTION_INFO_V1(outbox_status);
PG_FUNCTION_INFO_V1(outbox_announce);
PG_FUNCTION_INFO_V1(outbox_request);
PG_FUNCTION_INFO_V1(outbox_dump_guard);

static const char *
state_name(const OutboxSlot *slot)
{
	if (slot->phase == OUTBOX_SLOT_FREE)
		return "none";
	if (slot->phase == OUTBOX_SLOT_WANTED && slot->hold_pid != 0)
		return "held away";

	switch (slot->state)
	{
		case OUTBOX_PUBLISHER_STARTING:
			return "starting";
		case OUTBOX_PUBLISHER_CONNECTING:
			return "connecting";
		case OUTBOX_PUBLISHER_IDLE:
			return "idle";
		case OUTBOX_PUBLISHER_PUBLISHING:
			return "publishing";
		case OUTBOX_PUBLISHER_WAITING:
			return "waiting";
		case OUTBOX_PUBLISHER_PAUSED:
			return "paused";
		case OUTBOX_PUBLISHER_UNCONFIGURED:
			return "unconfigured";
		case OUTBOX_PUBLISHER_STOPPING:
			return "stopping";
	}
	return NULL;
}

/*
 * A text of shared memory, or NULL for the empty one.  It is in the encoding
 * of its own publisher's database: what is not valid here shows as "?".
 */
static Datum
text_or_null(const char *text, bool *isnull)
{
	char	   *copy;

	*isnull = (text == NULL || text[0] == '\0');
	if (*isnull)
		return (Datum) 0;

	copy = pstrdup(text);
	if (!pg_verifymbstr(copy, strlen(copy), true))
	{
		char	   *p;

		for (p = copy; *p != '\0'; p++)
		{
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
		}
	}
	return CStringGetTextDatum(copy);
}

static Datum
time_or_null(TimestampTz time, bool *isnull)
{
	*isnull = (time == 0);
	return TimestampTzGetDatum(time);
}

/* The age of the oldest event that waits here, or NULL. */
static Datum
oldest_waiting(bool *isnull)
{
	const OutboxInstallation *installation = outbox_installation_get(true);
	OutboxInstallation copy;
	int64		milliseconds;
	TimestampTz emitted;
	int64		age;
	Interval   *result;

	*isnull = true;
	if (installation == NULL)
		return (Datum) 0;

	copy = *installation;
	milliseconds = outbox_pending_oldest(&copy);
	if (milliseconds < 0)
		return (Datum) 0;

	emitted = milliseconds * 1000 -
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	/* a clock that was set back makes no negative age */
	age = Max(GetCurrentTimestamp() - emitted, 0);

	result = palloc0(sizeof(Interval));
	result->time = age;
	*isnull = false;
	return IntervalPGetDatum(result);
}

/* A row for a slot, or, where its phase is FREE, for a database without one. */
static void
put_row(ReturnSetInfo *rsinfo, const OutboxSlot *slot)
{
	Datum		values[STATUS_COLUMNS] = {0};
	bool		nulls[STATUS_COLUMNS] = {0};
	Oid			database = slot->database.value;
	char	   *name = get_database_name(database);

	/* dropped a moment ago */
	if (name == NULL)
		return;

	values[COLUMN_DATABASE] = DirectFunctionCall1(namein, CStringGetDatum(name));
	values[COLUMN_PID] = Int32GetDatum(slot->pid);
	nulls[COLUMN_PID] = (slot->pid == 0);
	values[COLUMN_STATE] = CStringGetTextDatum(state_name(slot));
	values[COLUMN_SINCE] = time_or_null(slot->since, &nulls[COLUMN_SINCE]);
	values[COLUMN_WAITING_ESTIMATE] = Int64GetDatum((int64) slot->waiting.value);
	nulls[COLUMN_WAITING_ESTIMATE] = (slot->phase == OUTBOX_SLOT_FREE ||
									  slot->waiting.value == PG_UINT64_MAX);
	if (database == MyDatabaseId)
		values[COLUMN_OLDEST_WAITING] = oldest_waiting(&nulls[COLUMN_OLDEST_WAITING]);
	else
		nulls[COLUMN_OLDEST_WAITING] = true;
	values[COLUMN_PUBLISHED] = Int64GetDatum((int64) slot->published.value);
	nulls[COLUMN_PUBLISHED] = (slot->phase == OUTBOX_SLOT_FREE);
	values[COLUMN_FOREIGN_ROWS] = Int64GetDatum(slot->foreign_rows);
	nulls[COLUMN_FOREIGN_ROWS] = (slot->foreign_rows < 0);
	values[COLUMN_HELD_TOPICS] = Int32GetDatum(slot->held_topics);
	values[COLUMN_PARKED_KEYS] = Int32GetDatum(slot->parked_keys);
	values[COLUMN_DEAD_LETTERS] = Int64GetDatum(slot->dead_letters);
	values[COLUMN_ATTEMPTS] = Int32GetDatum(slot->attempts);
	nulls[COLUMN_HELD_TOPICS] = nulls[COLUMN_PARKED_KEYS] = nulls[COLUMN_DEAD_LETTERS] =
		nulls[COLUMN_ATTEMPTS] = (slot->phase == OUTBOX_SLOT_FREE);
	values[COLUMN_ERROR_CLASS] = text_or_null(outbox_trouble_class_name(slot->error_class),
											  &nulls[COLUMN_ERROR_CLASS]);
	values[COLUMN_ERROR] = text_or_null(slot->error, &nulls[COLUMN_ERROR]);
	values[COLUMN_ERROR_AT] = time_or_null(slot->error_at, &nulls[COLUMN_ERROR_AT]);
	values[COLUMN_ERROR_HINT] = text_or_null(slot->error_hint, &nulls[COLUMN_ERROR_HINT]);
	values[COLUMN_ROTATION_DELAYED_BY] = text_or_null(slot->rotation_delayed_by,
													  &nulls[COLUMN_ROTATION_DELAYED_BY]);
	values[COLUMN_CONNECTION] = text_or_null(slot->producer_pid == 0 ? NULL :
											 slot->connected ? "connected" : "disconnected",
											 &nulls[COLUMN_CONNECTION]);
	values[COLUMN_PRODUCER_PID] = Int32GetDatum(slot->producer_pid);
	nulls[COLUMN_PRODUCER_PID] = (slot->producer_pid == 0);
	values[COLUMN_SERVER_VERSION] = CStringGetTextDatum(PG_VERSION);
	values[COLUMN_EXTENSION_VERSION] = text_or_null(slot->extension_version,
													&nulls[COLUMN_EXTENSION_VERSION]);
	values[COLUMN_PRODUCER_VERSION] = text_or_null(slot->producer_version,
												   &nulls[COLUMN_PRODUCER_VERSION]);
	values[COLUMN_LIBRDKAFKA_VERSION] = text_or_null(slot->kafka_version,
													 &nulls[COLUMN_LIBRDKAFKA_VERSION]);

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * outbox_status()
 *
 * One row per database that has the extension, as far as its publisher has
 * found out; always one for the current database, if it has the extension.
 * Errors: object_not_in_prerequisite_state where the library is
 * not preloaded.
 */
Datum
outbox_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	OutboxSlot *slot;
	bool		installed_here;
	bool		seen_here = false;
	int			i;

	if (outbox_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"outbox\" must be loaded via \"shared_preload_libraries\""),
				 errhint("Add \"outbox\" to \"shared_preload_libraries\" and restart the server.")));

	InitMaterializedSRF(fcinfo, 0);

	installed_here = outbox_installation_get(true) != NULL;
	slot = palloc(sizeof(OutboxSlot));
	for (i = 0; i < outbox_shared->slots; i++)
	{
		Oid			database;

		LWLockAcquire(outbox_shared->lock, LW_SHARED);
		memcpy(slot, &outbox_shared->slot[i], sizeof(OutboxSlot));
		LWLockRelease(outbox_shared->lock);

		database = slot->database.value;
		if (slot->phase == OUTBOX_SLOT_FREE || slot->phase == OUTBOX_SLOT_ABSENT)
			continue;

		/* one that has not looked yet may find no extension */
		if (slot->extension_version[0] == '\0' &&
			!(database == MyDatabaseId && installed_here))
			continue;

		put_row(rsinfo, slot);
		seen_here |= (database == MyDatabaseId);
	}

	/* a standby has no publisher, and a cluster may have too few slots */
	if (installed_here && !seen_here)
	{
		memset(slot, 0, sizeof(OutboxSlot));
		slot->database.value = MyDatabaseId;
		slot->phase = OUTBOX_SLOT_FREE;
		slot->foreign_rows = -1;
		put_row(rsinfo, slot);
	}

	return (Datum) 0;
}

/*
 * outbox_announce()
 *
 * Has a publisher started for this database after the commit.  Warns where
 * nothing will be published, and never fails: a restore runs it too.
 */
Datum
outbox_announce(PG_FUNCTION_ARGS)
{
	if (IsBinaryUpgrade)
		PG_RETURN_VOID();

	if (outbox_shared == NULL)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("events will not be published: \"outbox\" must be loaded via \"shared_preload_libraries\""),
				 errhint("Add \"outbox\" to \"shared_preload_libraries\" and restart the server.")));
	else
	{
		outbox_wakeup_launcher_at_commit(MyDatabaseId);

		if (outbox_bootstrap_servers == NULL || outbox_bootstrap_servers[0] == '\0')
			ereport(WARNING,
					(errcode(ERRCODE_WARNING),
					 errmsg("events will not be published until \"outbox.bootstrap_servers\" is set"),
					 errhint("Set it to the addresses of Kafka brokers, as host:port, and reload the configuration.")));
	}

	PG_RETURN_VOID();
}

/*
 * outbox_request()
 *
 * Has the publisher look after the commit at what was asked of it in tables.
 */
Datum
outbox_request(PG_FUNCTION_ARGS)
{
	outbox_wakeup_request_at_commit();
	PG_RETURN_VOID();
}

/* Whether this query reads the parent of the segments without them. */
static bool
reads_without_children(const char *query)
{
	const char *found;

	if (query == NULL)
		return false;

	found = strstr(query, DUMP_WITHOUT_CHILDREN);
	if (found == NULL)
		return false;

	/* not one of the segments, event_0 and on */
	found += strlen(DUMP_WITHOUT_CHILDREN);
	return *found != '_' && !isalnum((unsigned char) *found);
}

/*
 * outbox_dump_guard()
 *
 * True, or an error in a dump that would hold no events.  Such a dump reads
 * through a cursor, so the text to look at is that of the portal that runs.
 */
Datum
outbox_dump_guard(PG_FUNCTION_ARGS)
{
	if (reads_without_children(debug_query_string) ||
		(ActivePortal != NULL && reads_without_children(ActivePortal->sourceText)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("events cannot be dumped as INSERT commands"),
				 errdetail("Such a dump reads \"outbox.event\" without its segments and would hold no events."),
				 errhint("Run pg_dump without --inserts, --column-inserts and --rows-per-insert, or with --exclude-table-data='outbox.event*'.")));

	PG_RETURN_BOOL(true);
}
