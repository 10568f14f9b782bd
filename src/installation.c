/*-------------------------------------------------------------------------
 *
 * installation.c
 *	  The installed objects of outbox in the current database.
 *
 * Finds the tables by name in the schema "outbox", and believes them only if
 * they belong to the extension: a schema of that name that somebody else made
 * is no installation.  What is found is kept for the life of the backend and
 * forgotten when one of the tables changes, so that a session sees DROP and
 * CREATE EXTENSION, its own and those of others.
 *
 * IDENTIFICATION
 *	  src/installation.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "installation.h"

#define SCHEMA_NAME					"outbox"

/* Columns of outbox.installation. */
#define Anum_installation_token		2

static OutboxInstallation installation;
static bool installation_valid = false;

/* Counts the invalidations that concern us: those during a look-up, too. */
static uint64 invalidations = 0;

/*
 * A table changed.  While there is nothing valid, any table may be the one
 * that a look-up under way has just read about.
 */
static void
forget_installation(Datum arg, Oid relid)
{
	bool		ours;
	int			i;

	ours = !installation_valid || !OidIsValid(relid) ||
		relid == installation.event ||
		relid == installation.sequence ||
		relid == installation.cursor ||
		relid == installation.topic ||
		relid == installation.aggregate_type;
	for (i = 0; i < OUTBOX_SEGMENTS && !ours; i++)
		ours = (relid == installation.segment[i]);

	if (ours)
	{
		installation_valid = false;
		invalidations++;
	}
}

/*
 * The oid of a relation of ours, or InvalidOid if there is none of this name
 * and kind that belongs to the extension.
 */
static Oid
find_relation(const OutboxInstallation *found, const char *name, char relkind)
{
	Oid			result = get_relname_relid(name, found->namespace);

	if (OidIsValid(result) &&
		get_rel_relkind(result) == relkind &&
		getExtensionOfObject(RelationRelationId, result) == found->extension)
		return result;
	return InvalidOid;
}

/*
 * What tells events of this installation from those of its copies: the token
 * is never dumped, and the oid differs in a database made from a template.
 * Returns 0 if the table is not there or has no row.
 */
static int64
read_origin(Oid table)
{
	Relation	relation;
	SysScanDesc scan;
	HeapTuple	tuple;
	int64		result = 0;

	relation = try_table_open(table, AccessShareLock);
	if (relation == NULL)
		return 0;

	/*
	 * By a snapshot of its own, as a catalog is read: the transaction's may be
	 * older than the extension.
	 */
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		token = heap_getattr(tuple, Anum_installation_token,
										 RelationGetDescr(relation), &isnull);

		if (!isnull)
			result = (int64) hash_bytes_extended(DatumGetUUIDP(token)->data,
												 UUID_LEN,
												 (uint64) MyDatabaseId);
		/* 0 marks a foreign row */
		if (result == 0)
			result = 1;
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);

	return result;
}

/* Fills *found; returns whether all of it is there. */
static bool
find_installation(OutboxInstallation *found)
{
	Oid			table;
	int			i;

	memset(found, 0, sizeof(*found));

	found->extension = get_extension_oid(OUTBOX_EXTENSION_NAME, true);
	found->namespace = get_namespace_oid(SCHEMA_NAME, true);
	if (!OidIsValid(found->extension) || !OidIsValid(found->namespace))
		return false;

	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		char		name[NAMEDATALEN];

		snprintf(name, sizeof(name), "event_%d", i);
		found->segment[i] = find_relation(found, name, RELKIND_RELATION);
		if (!OidIsValid(found->segment[i]))
			return false;
	}
	found->event = find_relation(found, "event", RELKIND_RELATION);
	found->sequence = find_relation(found, "event_id_seq", RELKIND_SEQUENCE);
	found->cursor = find_relation(found, "cursor", RELKIND_RELATION);
	found->topic = find_relation(found, "topic", RELKIND_RELATION);
	found->aggregate_type = find_relation(found, "aggregate_type", RELKIND_RELATION);
	table = find_relation(found, "installation", RELKIND_RELATION);
	if (!OidIsValid(found->event) || !OidIsValid(found->sequence) ||
		!OidIsValid(found->cursor) || !OidIsValid(found->topic) ||
		!OidIsValid(found->aggregate_type) || !OidIsValid(table))
		return false;

	found->origin = read_origin(table);
	return found->origin != 0;
}

const OutboxInstallation *
outbox_installation_get(bool missing_ok)
{
	static bool callback_registered = false;
	OutboxInstallation found;
	uint64		before;

	if (likely(installation_valid))
		return &installation;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(forget_installation, (Datum) 0);
		callback_registered = true;
	}

	before = invalidations;
	if (find_installation(&found))
	{
		installation = found;
		/* what changed while it was read is for this caller, not for the next */
		installation_valid = (before == invalidations);
		return &installation;
	}

	if (!missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("outbox is not installed in database \"%s\"",
						get_database_name(MyDatabaseId)),
				 errhint("Run CREATE EXTENSION outbox in this database.")));
	return NULL;
}
