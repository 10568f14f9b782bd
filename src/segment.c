/*-------------------------------------------------------------------------
 *
 * segment.c
 *	  The ring of segments, as an emitter sees it.
 *
 * Which segment takes an event is only a matter of space: readers look into
 * all of them.  So the hint in shared memory may be wrong or missing, and an
 * emitter that does not get one segment's lock at once takes the next: the
 * publisher that empties a segment is never waited for.  Likewise it passes over
 * a segment that somebody altered such that an insert below SQL would be wrong.
 *
 * IDENTIFICATION
 *	  src/segment.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "event.h"
#include "segment.h"
#include "shmem.h"

/* What the columns of outbox.event must be, for values that are not SQL's. */
static const Oid column_types[Natts_outbox_event] = {
	INT8OID, XID8OID, UUIDOID, INT8OID, TIMESTAMPTZOID, INT4OID, TEXTOID, BYTEAOID, BYTEAOID, BYTEAOID
};

bool
outbox_segment_has_columns(TupleDesc descriptor)
{
	int			i;

	if (descriptor->natts != Natts_outbox_event)
		return false;
	for (i = 0; i < Natts_outbox_event; i++)
		if (TupleDescAttr(descriptor, i)->atttypid != column_types[i])
			return false;
	return true;
}

/*
 * What of a segment would be by-passed by an insert below SQL, as words for
 * an error; NULL if nothing.
 */
static const char *
find_obstacle(Relation segment)
{
	Form_pg_class form = segment->rd_rel;
	TriggerDesc *triggers = segment->trigdesc;

	if (form->relkind != RELKIND_RELATION || form->relispartition)
		return "It is not a plain table.";
	if (form->relpersistence != RELPERSISTENCE_PERMANENT)
		return "It is not a permanent table.";
	if (!outbox_segment_has_columns(RelationGetDescr(segment)))
		return "Its columns were changed.";
	if (form->relrowsecurity)
		return "It has row security enabled.";
	if (segment->rd_rules != NULL)
		return "It has a rule.";
	if (segment->rd_att->constr != NULL && segment->rd_att->constr->num_check > 0)
		return "It has a check constraint.";
	if (triggers != NULL &&
		(triggers->numtriggers != 1 ||
		 strcmp(triggers->triggers[0].tgname, OUTBOX_ROUTE_TRIGGER) != 0))
		return "It has a trigger that outbox did not make.";
	return NULL;
}

Relation
outbox_segment_open(const OutboxInstallation *installation)
{
	OutboxSlot *slot = outbox_slot_find(MyDatabaseId);
	uint32		first = slot != NULL ? pg_atomic_read_u32(&slot->segment) : 0;
	const char *obstacle = NULL;
	Oid			table = InvalidOid;
	int			i;

	for (i = 0; i < 2 * OUTBOX_SEGMENTS; i++)
	{
		bool		wait = (i >= OUTBOX_SEGMENTS);	/* all have refused */
		Relation	segment;

		table = installation->segment[(first + i) % OUTBOX_SEGMENTS];
		if (wait)
			LockRelationOid(table, RowExclusiveLock);
		else if (!ConditionalLockRelationOid(table, RowExclusiveLock))
			continue;

		segment = try_table_open(table, NoLock);
		if (segment == NULL)
		{
			UnlockRelationOid(table, RowExclusiveLock);
			return NULL;
		}

		obstacle = find_obstacle(segment);
		if (likely(obstacle == NULL))
			return segment;
		table_close(segment, NoLock);
	}

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot emit into table \"%s\"", get_rel_name(table)),
			 errdetail_internal("%s", obstacle),
			 errhint("Leave the tables of outbox as the extension made them.")));
	return NULL;				/* keep compiler quiet */
}
