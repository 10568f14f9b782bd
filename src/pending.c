/*-------------------------------------------------------------------------
 *
 * pending.c
 *	  Events of the current database that are not published yet.
 *
 * For people who look: the publisher never asks here.  An event is pending if
 * the cursor row of its scope does not say that it is published.  Two arms of
 * the indexes on xid find such events without reading all that is published:
 * the transactions that were running when a row's snapshot "done" was taken,
 * and all that are later than the oldest of them.  Dead letters are looked up
 * one by one: a hash or a sort could need a temporary file, and a full disk is
 * when people look.
 *
 * Whoever asks may have no right to read events, and a superuser who asks
 * must not run what the owner of the tables may have put there.  So the
 * queries run as that owner, restricted, on a fixed search_path.
 *
 * IDENTIFICATION
 *	  src/pending.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "event.h"
#include "pending.h"

/* %s is the schema of the functions. */
#define PENDING_EVENTS \
	" FROM outbox.event e" \
	" WHERE (xid >= (SELECT pg_catalog.min(pg_catalog.pg_snapshot_xmax(done)) FROM outbox.cursor)" \
	" OR xid = ANY (ARRAY(SELECT pg_catalog.pg_snapshot_xip(done) FROM outbox.cursor)))" \
	" AND NOT %s.outbox_is_published(xid, id, topic, key)" \
	" AND NOT EXISTS (SELECT FROM outbox.dead_letter d WHERE d.uid = e.uid)"

/* The schema of the extension's functions, quoted. */
#define SCHEMA_QUERY \
	"SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_extension e" \
	" JOIN pg_catalog.pg_namespace n ON n.oid = extnamespace WHERE extname = 'outbox'"

static Oid
relation_owner(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	result = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return result;
}

/* Sets a setting until the end of the current nesting level of settings. */
static void
pin_setting(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Runs a query that has one argument, the origin of this installation, %s
 * where the schema of the functions stands, and at most one row of one column.
 * Copies the value, of the given length, or 0 for one passed by value, to
 * *result; returns false if there is none.
 */
static bool
ask(const OutboxInstallation *installation, const char *query,
	Size length, void *result)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1];
	Oid			user;
	int			security_context;
	int			nest_level;
	bool		found = false;

	values[0] = Int64GetDatum(installation->origin);

	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(relation_owner(installation->event),
						   security_context | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_LOCAL_USERID_CHANGE);
	nest_level = NewGUCNestLevel();
	pin_setting("search_path", "pg_catalog, pg_temp");
	/* segments have no statistics, and may hold far more that is published */
	pin_setting("enable_seqscan", "off");
	pin_setting("enable_hashjoin", "off");
	pin_setting("enable_mergejoin", "off");
	/* which makes plans look dear enough to compile */
	pin_setting("jit", "off");
	pin_setting("max_parallel_workers_per_gather", "0");

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_execute(SCHEMA_QUERY, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read pg_extension");
	query = psprintf(query, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	if (SPI_execute_with_args(query, 1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read pending events");
	if (SPI_processed > 0)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0],
										  SPI_tuptable->tupdesc, 1, &isnull);

		if (!isnull)
		{
			if (length == 0)
				*(int64 *) result = DatumGetInt64(value);
			else
				memcpy(result, DatumGetPointer(value), length);
			found = true;
		}
	}
	PopActiveSnapshot();
	SPI_finish();

	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(user, security_context);

	return found;
}

int64
outbox_pending_count(const OutboxInstallation *installation)
{
	int64		result = 0;

	/*
	 * The argument is not needed: foreign events are pending too, also those
	 * that the cursor has passed; and so are dead letters.
	 */
	(void) ask(installation,
			   "SELECT pg_catalog.count(*) +"
			   " (SELECT pg_catalog.sum(foreign_rows) FROM outbox.segment)::pg_catalog.int8 +"
			   " (SELECT pg_catalog.count(*) FROM outbox.dead_letter WHERE state <> 'discarded')"
			   PENDING_EVENTS " AND $1 IS NOT NULL",
			   0, &result);
	return result;
}

int64
outbox_pending_oldest(const OutboxInstallation *installation)
{
	pg_uuid_t	uid;
	int			i;

	/* whoever looks at the status must not wait for who holds things up */
	if (!ConditionalLockRelationOid(installation->event, AccessShareLock) ||
		!ConditionalLockRelationOid(installation->cursor, AccessShareLock))
		return -1;
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
		if (!ConditionalLockRelationOid(installation->segment[i], AccessShareLock))
			return -1;

	if (!ask(installation,
			 "SELECT uid" PENDING_EVENTS
			 " AND origin = $1 ORDER BY uid LIMIT 1",
			 UUID_LEN, &uid))
		return -1;
	return outbox_uid_milliseconds(uid.data);
}
