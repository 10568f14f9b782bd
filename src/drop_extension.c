/*-------------------------------------------------------------------------
 *
 * drop_extension.c
 *	  What comes before the extension is dropped.
 *
 * DROP EXTENSION locks each object that depends on the extension, in the order
 * of dependencies, while others hold some of them and wait for the rest.  So
 * everything is locked before, without keeping for long what others wait for,
 * and who drops it is told what is lost.
 *
 * It drops nothing: a statement that the server will refuse to this user is
 * not looked at.
 *
 * IDENTIFICATION
 *	  src/drop_extension.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "drop_extension.h"
#include "pending.h"

/*
 * Milliseconds.  So long all locks are waited for at first: an ordinary
 * transaction has ended by then.
 */
#define FIRST_ATTEMPT		50
/*
 * Nobody is made to wait for longer by an attempt, unless it is the last.
 * Also less than the second after which the server looks for deadlocks, by
 * default, so that it finds none.
 */
#define LONGEST_ATTEMPT		500
/* Between two attempts, for those who waited for us. */
#define PAUSE				20
/* So many attempts, and then one relation alone is waited for. */
#define ATTEMPTS_AT_ONE		5
/*
 * After this, it waits as any other command does: a load that always has
 * somebody in the way must not keep the extension for ever.
 */
#define ATTEMPTS_END		60000

/* The schema of the extension's functions, and who owns the extension. */
static void
read_extension(Oid extension, Oid *schema, Oid *owner)
{
	Relation	relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	*schema = InvalidOid;
	*owner = InvalidOid;
	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(relation, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		*schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
		*owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

/*
 * Whether the statement drops the extension: by its name, by its schema or,
 * for DROP OWNED, by its owner; and the user may do so.
 */
static bool
drops_extension(Node *statement, const OutboxInstallation *installation)
{
	ListCell   *lc;
	Oid			extension_schema;
	Oid			owner;

	read_extension(installation->extension, &extension_schema, &owner);

	if (IsA(statement, DropOwnedStmt))
	{
		foreach(lc, ((DropOwnedStmt *) statement)->roles)
		{
			Oid			role = get_rolespec_oid((RoleSpec *) lfirst(lc), true);

			/* of the bootstrap superuser the server drops nothing */
			if (OidIsValid(role) && role == owner && role != BOOTSTRAP_SUPERUSERID)
				return has_privs_of_role(GetUserId(), role);
		}
		return false;
	}

	foreach(lc, ((DropStmt *) statement)->objects)
	{
		const char *name = strVal(lfirst(lc));

		if (((DropStmt *) statement)->removeType == OBJECT_EXTENSION)
		{
			if (strcmp(name, OUTBOX_EXTENSION_NAME) == 0)
				return outbox_owns_extension(installation->extension, GetUserId());
		}
		else
		{
			Oid			schema = get_namespace_oid(name, true);

			if (OidIsValid(schema) && schema == extension_schema)
				return outbox_owns_schema(schema, GetUserId());
		}
	}
	return false;
}

/*
 * Whether the statement may drop triggers that are ours: only of DROP
 * EXTENSION alone it is certain that it does not.
 */
static bool
drops_triggers(Node *statement)
{
	return !IsA(statement, DropStmt) ||
		((DropStmt *) statement)->behavior == DROP_CASCADE ||
		list_length(((DropStmt *) statement)->objects) > 1;
}

/* The objects of a class that depend on an object, by their oids. */
static List *
find_dependents(Oid referenced, Oid object, Oid wanted)
{
	Relation	relation = table_open(DependRelationId, AccessShareLock);
	List	   *result = NIL;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(referenced));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object));
	scan = systable_beginscan(relation, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);

		if (depend->classid == wanted)
			result = list_append_unique_oid(result, depend->objid);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);

	return result;
}

/* The table of a trigger, or InvalidOid if the trigger is gone. */
static Oid
trigger_table(Oid trigger)
{
	Relation	relation = table_open(TriggerRelationId, AccessShareLock);
	Oid			result = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(relation, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
	systable_endscan(scan);
	table_close(relation, AccessShareLock);

	return result;
}

/* The tables, sequences and views of the extension. */
static List *
find_members(const OutboxInstallation *installation)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, find_dependents(ExtensionRelationId, installation->extension,
								RelationRelationId))
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_COMPOSITE_TYPE)
			result = lappend_oid(result, lfirst_oid(lc));
	return result;
}

/* The tables of others that have triggers of ours, in the order of oids. */
static List *
find_tables_with_triggers(const OutboxInstallation *installation, const List *members)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, find_dependents(ExtensionRelationId, installation->extension,
								ProcedureRelationId))
	{
		ListCell   *trigger;

		foreach(trigger, find_dependents(ProcedureRelationId, lfirst_oid(lc), TriggerRelationId))
		{
			Oid			table = trigger_table(lfirst_oid(trigger));

			if (OidIsValid(table) && !list_member_oid(members, table))
				result = list_append_unique_oid(result, table);
		}
	}
	list_sort(result, list_oid_cmp);
	return result;
}

bool
outbox_drops_extension(Node *statement, OutboxInstallation *installation)
{
	const OutboxInstallation *found;

	switch (nodeTag(statement))
	{
		case T_DropStmt:
			if (((DropStmt *) statement)->removeType == OBJECT_EXTENSION)
				break;
			if (((DropStmt *) statement)->removeType == OBJECT_SCHEMA &&
				((DropStmt *) statement)->behavior == DROP_CASCADE)
				break;
			return false;
		case T_DropOwnedStmt:
			break;
		default:
			return false;
	}

	/* the server will refuse it */
	if (XactReadOnly || RecoveryInProgress())
		return false;

	found = outbox_installation_get(true);
	if (found == NULL)
		return false;
	*installation = *found;
	return drops_extension(statement, installation);
}

/* All that is locked, in the order in which it is. */
static List *
find_relations(const OutboxInstallation *installation, bool with_triggers)
{
	List	   *members = find_members(installation);
	List	   *result = NIL;
	int			i;

	if (with_triggers)
		result = find_tables_with_triggers(installation, members);
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
		result = lappend_oid(result, installation->segment[i]);
	return list_concat_unique_oid(result, members);
}

/*
 * Locks all of them, or none if that takes longer than timeout milliseconds;
 * 0 means no limit.  Without keep, the locks are given back at once: they were
 * only waited for.  Returns false if there is one that was not to be had,
 * which is *refused then.  Any other error is raised when the subtransaction
 * that has the locks is over: whoever catches it knows of none.
 */
static bool
lock_relations(const List *relations, int timeout, bool keep, Oid *refused)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	const int	lock_timeout = LockTimeout;
	const bool	has_statement_timeout = get_timeout_active(STATEMENT_TIMEOUT);
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		ListCell   *lc;

		foreach(lc, relations)
		{
			*refused = lfirst_oid(lc);
			if (timeout > 0)
				LockTimeout = Max(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end), 1);
			LockRelationOid(*refused, AccessExclusiveLock);
		}
		/* the time may be up just as the last one is granted */
		CHECK_FOR_INTERRUPTS();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	LockTimeout = lock_timeout;

	if (error == NULL && keep)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error == NULL)
		return true;

	/* where deadlock_timeout is short, it may come first */
	if (timeout == 0 || (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
						 error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED))
		ReThrowError(error);
	/* of two timeouts at the same time the server reports one */
	if (has_statement_timeout && !get_timeout_active(STATEMENT_TIMEOUT))
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to statement timeout")));
	return false;
}

/*
 * Milliseconds that may be waited for now: timeout, or less where the user has
 * set a limit, which is for all that is waited for since start.
 */
static int
limit_timeout(int timeout, TimestampTz start)
{
	long		left;

	if (LockTimeout == 0)
		return timeout;
	left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
										   TimestampTzPlusMilliseconds(start, LockTimeout));
	if (left == 0)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("canceling statement due to lock timeout")));
	return timeout == 0 ? left : Min(timeout, left);
}

/*
 * Takes the locks that dropping the extension needs, in the order in which
 * emitters come by them: a captured table, a segment, then the rest.  What
 * they commit meanwhile is pending, and counts.
 *
 * Any order has somebody who goes the other way: who has rolled back to a
 * savepoint keeps the sequence without a segment, who has emitted may read the
 * parent table, and rows of the application are locked in between.  So nobody
 * is waited for with locks held for long: they are given back, and it begins
 * anew.
 */
static void
lock_installation(const OutboxInstallation *installation, bool with_triggers)
{
	TimestampTz start = GetCurrentTimestamp();
	int			timeout = FIRST_ATTEMPT;
	int			attempt;

	for (attempt = 1;; attempt++)
	{
		List	   *relations = find_relations(installation, with_triggers);
		Oid			refused;

		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ATTEMPTS_END))
			timeout = 0;
		if (lock_relations(relations, limit_timeout(timeout, start), true, &refused))
		{
			if (list_difference_oid(find_relations(installation, with_triggers), relations) == NIL)
				return;
			/* a table was captured meanwhile: once more, for that one */
			continue;
		}
		timeout = Min(timeout * 2, LONGEST_ATTEMPT);

		/*
		 * An autovacuum gives way to those who have waited for as long as it
		 * takes to look for deadlocks.
		 */
		if (attempt % ATTEMPTS_AT_ONE == 0)
			(void) lock_relations(list_make1_oid(refused),
								  limit_timeout(DeadlockTimeout + LONGEST_ATTEMPT, start),
								  false, &refused);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PAUSE,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

int64
outbox_before_drop(Node *statement, const OutboxInstallation *installation)
{
	const OutboxInstallation *found;
	OutboxInstallation copy;

	/* the publisher's transactions begin with this one */
	LockDatabaseObject(ExtensionRelationId, installation->extension, 0, AccessExclusiveLock);
	/* while we waited, another session may have dropped it */
	found = outbox_installation_get(true);
	if (found == NULL || found->extension != installation->extension)
		return 0;

	lock_installation(installation, drops_triggers(statement));
	found = outbox_installation_get(true);
	if (found == NULL)
		return 0;

	copy = *found;
	return outbox_pending_count(&copy);
}

void
outbox_after_drop(int64 count)
{
	if (count > 0)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("dropping extension \"outbox\" with events that are not published: " INT64_FORMAT,
						count),
				 errdetail("They are dropped too, and will never be published.")));
}
