/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between PostgreSQL 15 and 19, behind one name each.
 *
 * The only file that asks for PG_VERSION_NUM.
 *
 * IDENTIFICATION
 *	  src/compat.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_COMPAT_H
#define OUTBOX_COMPAT_H

#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "postmaster/bgworker.h"
#include "replication/origin.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"		/* get_database_name(), since PostgreSQL 19 */
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "outbox needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* The index of this process in ProcGlobal->allProcs. */
#if PG_VERSION_NUM >= 170000
#define outbox_my_proc_number()		((uint32) MyProcNumber)
#else
#define outbox_my_proc_number()		((uint32) MyProc->pgprocno)
#endif

/* The oldest transaction that the commit log still knows. */
#if PG_VERSION_NUM >= 170000
#define outbox_oldest_commit_log_xid()	(TransamVariables->oldestClogXid)
#else
#define outbox_oldest_commit_log_xid()	(ShmemVariableCache->oldestClogXid)
#endif

/* Truncates relations (and their oids), unseen by logical decoding. */
#if PG_VERSION_NUM >= 160000
#define outbox_truncate_compat(relations, oids) \
	ExecuteTruncateGuts(relations, oids, NIL, DROP_RESTRICT, false, false)
#else
#define outbox_truncate_compat(relations, oids) \
	ExecuteTruncateGuts(relations, oids, NIL, DROP_RESTRICT, false)
#endif

/* A descriptor made column by column is complete; PostgreSQL 19 wants to know. */
#if PG_VERSION_NUM >= 190000
#define outbox_finish_descriptor_compat(descriptor)	TupleDescFinalize(descriptor)
#else
#define outbox_finish_descriptor_compat(descriptor)	((void) 0)
#endif

/* Starts a scan of all rows of a relation that snapshot sees. */
#if PG_VERSION_NUM >= 190000
#define outbox_beginscan_compat(relation, snapshot) \
	table_beginscan(relation, snapshot, 0, NULL, SO_NONE)
#else
#define outbox_beginscan_compat(relation, snapshot) \
	table_beginscan(relation, snapshot, 0, NULL)
#endif

/*
 * A wait event of this extension; call it with a constant, from one place per
 * name.  Before PostgreSQL 17 all of them are "Extension".
 */
#if PG_VERSION_NUM >= 170000
#define outbox_wait_event_compat(name)	outbox_wait_event(name)
static inline uint32
outbox_wait_event(const char *name)
{
	static uint32 event = 0;

	if (event == 0)
		event = WaitEventExtensionNew(name);
	return event;
}
#else
#define outbox_wait_event_compat(name)	PG_WAIT_EXTENSION
#endif

/* A set of events to wait for that lives until it is freed. */
#if PG_VERSION_NUM >= 170000
#define outbox_create_wait_event_set(context, size)	CreateWaitEventSet(NULL, size)
#else
#define outbox_create_wait_event_set(context, size)	CreateWaitEventSet(context, size)
#endif

/* PostgreSQL 19 has its own names for these. */
#ifndef PG_SIG_IGN
#define PG_SIG_IGN					SIG_IGN
#endif

/* Since PostgreSQL 17 an index may keep something open between two inserts. */
#if PG_VERSION_NUM >= 170000
#define outbox_index_insert_cleanup(index, info)	index_insert_cleanup(index, info)
#else
#define outbox_index_insert_cleanup(index, info)	((void) 0)
#endif

/* Whether this session applies what another server replicates. */
static inline bool
outbox_session_is_replicated(void)
{
#if PG_VERSION_NUM >= 190000
	return replorigin_xact_state.origin != InvalidReplOriginId;
#else
	return replorigin_session_origin != InvalidRepOriginId;
#endif
}

/* PostgreSQL 19 lets DROP DATABASE and its like end such a worker itself. */
#ifndef BGWORKER_INTERRUPTIBLE
#define BGWORKER_INTERRUPTIBLE		0
#endif

/* Whether a role owns a database, an extension, a schema, or a table. */
#if PG_VERSION_NUM >= 160000
#define outbox_owns_database(database, role) \
	object_ownercheck(DatabaseRelationId, database, role)
#define outbox_owns_extension(extension, role) \
	object_ownercheck(ExtensionRelationId, extension, role)
#define outbox_owns_schema(schema, role) \
	object_ownercheck(NamespaceRelationId, schema, role)
#define outbox_owns_table(table, role) \
	object_ownercheck(RelationRelationId, table, role)
#else
#define outbox_owns_database(database, role) \
	pg_database_ownercheck(database, role)
#define outbox_owns_extension(extension, role) \
	pg_extension_ownercheck(extension, role)
#define outbox_owns_schema(schema, role) \
	pg_namespace_ownercheck(schema, role)
#define outbox_owns_table(table, role) \
	pg_class_ownercheck(table, role)
#endif

/* Whether a column is generated when it is read; since PostgreSQL 18. */
#if PG_VERSION_NUM >= 180000
#define outbox_is_virtual_column(attribute) \
	((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define outbox_is_virtual_column(attribute)		false
#endif

/* Memory for the extra value of a setting; NULL if there is none. */
#if PG_VERSION_NUM >= 160000
#define outbox_guc_alloc(size)		guc_malloc(LOG, size)
#define outbox_guc_free(pointer)	guc_free(pointer)
#else
#define outbox_guc_alloc(size)		malloc(size)
#define outbox_guc_free(pointer)	free(pointer)
#endif

/* A lexer of JSON that is in memory, which needs no terminating zero. */
#if PG_VERSION_NUM >= 170000
#define outbox_json_lexer(json, length, encoding) \
	makeJsonLexContextCstringLen(NULL, json, length, encoding, false)
#else
#define outbox_json_lexer(json, length, encoding) \
	makeJsonLexContextCstringLen(json, length, encoding, false)
#endif

/* The limit of a database whose DROP was cut off; not in every minor version. */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB		(-2)
#endif

#if PG_VERSION_NUM >= 180000
#define OUTBOX_MODULE_MAGIC \
	PG_MODULE_MAGIC_EXT(.name = "outbox", .version = OUTBOX_VERSION)
#else
#define OUTBOX_MODULE_MAGIC			PG_MODULE_MAGIC
#endif

/* PostgreSQL 16 declares it. */
#if PG_VERSION_NUM < 160000
extern PGDLLEXPORT void _PG_init(void);
#endif

#endif							/* OUTBOX_COMPAT_H */
