/*-------------------------------------------------------------------------
 *
 * snapshot.h
 *	  Snapshots as values: which transactions were finished at a moment.
 *
 * IDENTIFICATION
 *	  src/snapshot.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SNAPSHOT_H
#define OUTBOX_SNAPSHOT_H

#include "utils/snapshot.h"

/*
 * The same content as SQL's pg_snapshot: transactions below xmin are
 * finished, those from xmax on are not, and those in between are unless
 * listed.  The list is sorted and without duplicates.
 */
typedef struct OutboxSnapshot
{
	uint64		xmin;
	uint64		xmax;
	int			count;
	uint64		xip[FLEXIBLE_ARRAY_MEMBER];
} OutboxSnapshot;

extern OutboxSnapshot *outbox_snapshot_from(Snapshot snapshot, MemoryContext context);
extern OutboxSnapshot *outbox_snapshot_parse(const char *text, MemoryContext context);
extern char *outbox_snapshot_text(const OutboxSnapshot *snapshot);
extern bool outbox_snapshot_sees(const OutboxSnapshot *snapshot, uint64 xid);
extern bool outbox_snapshot_equal(const OutboxSnapshot *a, const OutboxSnapshot *b);

#endif							/* OUTBOX_SNAPSHOT_H */
