/*-------------------------------------------------------------------------
 *
 * utility_hook.c
 *	  Utility statements that concern publishers.
 *
 * DROP DATABASE, ALTER DATABASE RENAME and SET TABLESPACE, and a copy of a
 * database by CREATE DATABASE need the database without connections: its
 * publisher is kept away for as long as they take.  Other statements only
 * tell the launcher or a publisher, once they are committed.  The hook works
 * in every database of the cluster, also where the extension is not.
 *
 * It decides nothing: a statement that the server will refuse to this user
 * leaves publishers alone, and one that the hook does not understand goes
 * through untouched.
 *
 * IDENTIFICATION
 *	  src/utility_hook.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "compat.h"
#include "drop_extension.h"
#include "installation.h"
#include "producer_config.h"
#include "segment.h"
#include "shmem.h"
#include "utility_hook.h"
#include "wakeup.h"

#define SETTING_PREFIX		"outbox."
#define DEFAULT_TEMPLATE	"template1"

static ProcessUtility_hook_type previous_process_utility = NULL;

/* This backend keeps publishers away. */
static bool holding = false;

static void
end_holds(void)
{
	if (!holding)
		return;
	holding = false;
	outbox_slots_release();
}

/*
 * Publishers come back when the transaction has ended, also by the end of the
 * session: until then the lock on their database would make them wait.
 */
static void
end_holds_at_xact_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			end_holds();
			break;
		default:
			break;
	}
}

static void
register_callback(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(end_holds_at_xact_end, NULL);
	registered = true;
}

/* Whether the current user may create databases. */
static bool
may_create_database(void)
{
	HeapTuple	tuple;
	bool		result = false;

	if (superuser())
		return true;

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = (DefElem *) lfirst(lc);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

/*
 * The database whose publisher must be away for this statement, or InvalidOid
 * if there is none or the user has no right to the statement.
 */
static Oid
database_to_hold(Node *statement, ProcessUtilityContext context)
{
	const char *name;
	Oid			database;
	bool		allowed;

	/* the server refuses all of these but RENAME inside a transaction */
	if (!IsA(statement, RenameStmt) &&
		(context != PROCESS_UTILITY_TOPLEVEL || IsTransactionBlock()))
		return InvalidOid;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			name = ((DropdbStmt *) statement)->dbname;
			break;

		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType != OBJECT_DATABASE)
				return InvalidOid;
			name = ((RenameStmt *) statement)->subname;
			break;

		case T_AlterDatabaseStmt:
			if (find_option(((AlterDatabaseStmt *) statement)->options, "tablespace") == NULL)
				return InvalidOid;
			name = ((AlterDatabaseStmt *) statement)->dbname;
			break;

		case T_CreatedbStmt:
			{
				DefElem    *option;

				option = find_option(((CreatedbStmt *) statement)->options, "template");
				name = (option != NULL && option->arg != NULL) ?
					defGetString(option) : DEFAULT_TEMPLATE;
				break;
			}

		default:
			return InvalidOid;
	}

	database = get_database_oid(name, true);
	if (!OidIsValid(database))
		return InvalidOid;

	allowed = outbox_owns_database(database, GetUserId());
	if (IsA(statement, CreatedbStmt))
		allowed = may_create_database() && (allowed || is_template(database));
	else
	{
		if (IsA(statement, RenameStmt))
			allowed = allowed && may_create_database();
		/* refused for the database that one is in */
		allowed = allowed && database != MyDatabaseId;
	}

	return allowed ? database : InvalidOid;
}

/*
 * Whether a statement would do nothing but disable or weaken the trigger that
 * makes rows of our tables foreign, as a restore of pg_dump --disable-triggers
 * does: the table would refuse them, and afterwards the trigger would be one
 * that does not always fire.
 */
static bool
disables_our_trigger(Node *statement)
{
	const OutboxInstallation *installation;
	AlterTableStmt *alter = (AlterTableStmt *) statement;
	ListCell   *lc;
	Oid			table;
	int			i;

	if (!IsA(statement, AlterTableStmt) || creating_extension || IsBinaryUpgrade)
		return false;
	foreach(lc, alter->cmds)
	{
		AlterTableCmd *command = (AlterTableCmd *) lfirst(lc);

		switch (command->subtype)
		{
			case AT_DisableTrigAll:
			case AT_DisableTrigUser:
			case AT_EnableTrigAll:
			case AT_EnableTrigUser:
				break;
			case AT_DisableTrig:
			case AT_EnableTrig:
			case AT_EnableReplicaTrig:
				if (command->name != NULL && strcmp(command->name, OUTBOX_ROUTE_TRIGGER) == 0)
					break;
				return false;
			default:
				return false;
		}
	}

	installation = outbox_installation_get(true);
	if (installation == NULL)
		return false;
	table = RangeVarGetRelid(alter->relation, NoLock, true);
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
		if (table == installation->segment[i])
			return true;
	return table == installation->event;
}

/* Whether ALTER ... SET or RESET may change one of our settings. */
static bool
sets_our_setting(VariableSetStmt *statement)
{
	return statement->kind == VAR_RESET_ALL ||
		(statement->name != NULL &&
		 pg_strncasecmp(statement->name, SETTING_PREFIX,
						strlen(SETTING_PREFIX)) == 0);
}

/*
 * What follows from a statement that has succeeded: noted here, done at
 * commit.
 */
static void
after_statement(Node *statement)
{
	Oid			database = InvalidOid;

	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
			/* a copy has the extension that its template has */
			database = get_database_oid(((CreatedbStmt *) statement)->dbname, true);
			if (OidIsValid(database))
				outbox_wakeup_launcher_at_commit(database);
			break;

		case T_AlterDatabaseStmt:
			/* it may take connections now, or be a template no longer */
			database = get_database_oid(((AlterDatabaseStmt *) statement)->dbname, true);
			if (OidIsValid(database))
				outbox_wakeup_launcher_at_commit(database);
			break;

		case T_AlterExtensionStmt:
			/* a publisher works with the version that it has found */
			if (strcmp(((AlterExtensionStmt *) statement)->extname, OUTBOX_EXTENSION_NAME) == 0)
				outbox_wakeup_restart_at_commit(MyDatabaseId);
			break;

		case T_AlterDatabaseSetStmt:
			if (!sets_our_setting(((AlterDatabaseSetStmt *) statement)->setstmt))
				break;
			database = get_database_oid(((AlterDatabaseSetStmt *) statement)->dbname, true);
			if (OidIsValid(database))
				outbox_wakeup_restart_at_commit(database);
			break;

		case T_AlterRoleSetStmt:
			{
				AlterRoleSetStmt *set = (AlterRoleSetStmt *) statement;

				/* publishers connect as the bootstrap superuser */
				if (!sets_our_setting(set->setstmt) ||
					(set->role != NULL &&
					 get_rolespec_oid(set->role, true) != BOOTSTRAP_SUPERUSERID))
					break;
				if (set->database != NULL)
				{
					database = get_database_oid(set->database, true);
					if (!OidIsValid(database))
						break;
				}
				outbox_wakeup_restart_at_commit(database);
				break;
			}

		case T_TransactionStmt:
			if (((TransactionStmt *) statement)->kind != TRANS_STMT_COMMIT_PREPARED)
				break;
			/* its events were counted in another session, and forgotten */
			if (outbox_slot_find(MyDatabaseId) != NULL)
				outbox_wakeup_now();
			else if (OidIsValid(get_extension_oid(OUTBOX_EXTENSION_NAME, true)))
				outbox_wakeup_launcher_at_commit(MyDatabaseId);
			break;

		default:
			break;
	}
}

static void
run_statement(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			  ProcessUtilityContext context, ParamListInfo params,
			  QueryEnvironment *queryEnv, DestReceiver *dest,
			  QueryCompletion *qc)
{
	if (previous_process_utility)
		previous_process_utility(pstmt, queryString, readOnlyTree, context,
								 params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context,
								params, queryEnv, dest, qc);
}

/*
 * Runs a statement, which drops the installation if that is not NULL, while
 * the publisher of the database is kept away, until the end of the transaction.
 * After an error that ends at once, since whoever catches the error may go on
 * for long.
 */
static pg_noinline void
run_without_publisher(Oid database, const OutboxInstallation *dropped,
					  PlannedStmt *pstmt, const char *queryString,
					  bool readOnlyTree, ProcessUtilityContext context,
					  ParamListInfo params, QueryEnvironment *queryEnv,
					  DestReceiver *dest, QueryCompletion *qc)
{
	volatile int64 lost = 0;

	register_callback();

	PG_TRY();
	{
		holding = true;
		outbox_slot_hold(database);
		if (dropped != NULL)
			lost = outbox_before_drop(pstmt->utilityStmt, dropped);
		run_statement(pstmt, queryString, readOnlyTree, context, params,
					  queryEnv, dest, qc);
		outbox_after_drop(lost);
	}
	PG_CATCH();
	{
		end_holds();
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
process_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *queryEnv, DestReceiver *dest,
				QueryCompletion *qc)
{
	Node	   *statement = pstmt->utilityStmt;
	NodeTag		tag = nodeTag(statement);
	Oid			database = database_to_hold(statement, context);
	OutboxInstallation installation;
	bool		drops = outbox_drops_extension(statement, &installation);

	if (disables_our_trigger(statement))
	{
		ereport(NOTICE,
				(errmsg("trigger \"%s\" of table \"%s\" stays enabled", OUTBOX_ROUTE_TRIGGER,
						((AlterTableStmt *) statement)->relation->relname)));
		return;
	}

	/* DROP locks our tables in its own order: no deadlock with the publisher */
	if (drops)
		database = MyDatabaseId;

	if (OidIsValid(database))
		run_without_publisher(database, drops ? &installation : NULL,
							  pstmt, queryString, readOnlyTree,
							  context, params, queryEnv, dest, qc);
	else
		run_statement(pstmt, queryString, readOnlyTree, context, params,
					  queryEnv, dest, qc);

	if (tag == T_DropdbStmt && OidIsValid(database))
	{
		outbox_producer_config_forget(database);
		outbox_slot_drop(database);
	}
	/* the publisher comes back, finds no extension, and ends */
	if (drops)
		outbox_wakeup_restart_at_commit(MyDatabaseId);

	/*
	 * A CALL may have rolled back, and freed its own statement.  What is of
	 * interest here has not.
	 */
	if (tag != T_CallStmt && tag != T_DoStmt)
		after_statement(statement);
}

void
outbox_utility_hook_init(void)
{
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
