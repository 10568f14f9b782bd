/*-------------------------------------------------------------------------
 *
 * session.c
 *	  The publisher's database session: pinned settings, short transactions.
 *
 * Server, database and role settings are made for people.  Some of them
 * would break the publisher's guarantees: an inherited "repeatable read"
 * makes rotation lose an event, a statement timeout stops it under load, a
 * replica role turns triggers off.  So every setting that can matter is
 * pinned here, over whatever source set it.
 *
 * Transactions run as the owner of the tables, in a security-restricted
 * operation: an owner who is not a superuser gains nothing by putting code
 * of his own behind them.
 *
 * IDENTIFICATION
 *	  src/session.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "installation.h"
#include "session.h"

static Oid	table_owner(Oid relation);
static void set(const char *name, const char *value);

static Oid	saved_user;
static int	saved_security_context;
static MemoryContext saved_memory_context;
static bool snapshot_is_active;

/*
 * Pins the settings of this session, before its first transaction.  Settings
 * that the running server does not know are passed over.
 */
void
outbox_session_pin(void)
{
	set("search_path", "pg_catalog, pg_temp");
	set("default_transaction_isolation", "read committed");
	set("default_transaction_read_only", "off");
	set("default_transaction_deferrable", "off");
	set("session_replication_role", "origin");
	set("row_security", "off");
	set("statement_timeout", "0");
	set("transaction_timeout", "0");
	set("idle_in_transaction_session_timeout", "0");
	set("idle_session_timeout", "0");

	/*
	 * Somebody may lock a segment exclusively for long (VACUUM FULL, say).
	 * Then outbox.status must say so, which an error does, and the wait must
	 * end when a shutdown is asked for.
	 */
	set("lock_timeout", "5s");

	/* the spool's files are the publisher's own business */
	set("temp_file_limit", "-1");

	/* segments are never analysed, so plans must not depend on statistics */
	set("enable_seqscan", "off");
	set("enable_indexscan", "on");
	set("enable_bitmapscan", "on");
	set("enable_sort", "on");
	set("plan_cache_mode", "force_generic_plan");
	set("jit", "off");
	set("max_parallel_workers_per_gather", "0");
	set("debug_parallel_query", "off");
	set("force_parallel_mode", "off");
	set("constraint_exclusion", "partition");

	/* damage must stop the publisher, not be skipped over */
	set("zero_damaged_pages", "off");
	set("ignore_checksum_failure", "off");

	/*
	 * The barrier waits as this setting says, so it must not be weaker than
	 * "on"; remote_apply is kept.  Set in both cases, so that no reload can
	 * weaken it later.
	 */
	set("synchronous_commit",
		synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY ? "remote_apply" : "on");
}

/*
 * Starts a transaction, connected to SPI, as the owner of the tables.
 * Returns false, with no transaction open, if the database has no outbox
 * extension (any more).
 */
bool
outbox_session_begin(OutboxCommit how)
{
	const OutboxInstallation *installation;

	Assert(!IsTransactionState());

	saved_memory_context = CurrentMemoryContext;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	installation = outbox_installation_get(true);
	if (installation != NULL)
	{
		/*
		 * DROP EXTENSION has this lock before any other, so it and we never
		 * wait for tables of each other.  The extension may be gone by then.
		 */
		LockDatabaseObject(ExtensionRelationId, installation->extension, 0, AccessShareLock);
		installation = outbox_installation_get(true);
	}
	if (installation == NULL)
	{
		AbortCurrentTransaction();
		MemoryContextSwitchTo(saved_memory_context);
		return false;
	}

	switch (how)
	{
		case OUTBOX_COMMIT_READ_ONLY:
			break;
		case OUTBOX_COMMIT_ASYNCHRONOUS:
			(void) set_config_option("synchronous_commit", "off",
									 PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_LOCAL, true, 0, false);
			break;
		case OUTBOX_COMMIT_LOCAL:
			(void) set_config_option("synchronous_commit", "local",
									 PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_LOCAL, true, 0, false);
			break;
	}

	GetUserIdAndSecContext(&saved_user, &saved_security_context);
	SetUserIdAndSecContext(table_owner(installation->cursor),
						   saved_security_context | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	snapshot_is_active = false;
	return true;
}

/*
 * Takes the snapshot that the statements of this transaction read with, and
 * keeps it until the transaction ends or the next call.
 */
void
outbox_session_use_snapshot(void)
{
	if (snapshot_is_active)
		PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
	snapshot_is_active = true;
}

void
outbox_session_commit(void)
{
	SPI_finish();
	if (snapshot_is_active)
		PopActiveSnapshot();
	snapshot_is_active = false;
	SetUserIdAndSecContext(saved_user, saved_security_context);
	CommitTransactionCommand();

	/* the end of a transaction leaves one that is never emptied */
	MemoryContextSwitchTo(saved_memory_context);

	/*
	 * Nobody else reports for a background worker, and autovacuum relies on
	 * it.  Not more than once a second: the publisher reports what is left
	 * when it is idle.
	 */
	pgstat_report_stat(false);
}

void
outbox_session_abort(void)
{
	AbortCurrentTransaction();
	MemoryContextSwitchTo(saved_memory_context);
	snapshot_is_active = false;
}

static Oid
table_owner(Oid relation)
{
	HeapTuple	tuple;
	Oid			owner;

	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
set(const char *name, const char *value)
{
	if (GetConfigOption(name, true, false) != NULL)
		SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}
