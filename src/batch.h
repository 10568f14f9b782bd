/*-------------------------------------------------------------------------
 *
 * batch.h
 *	  A batch: reading the events between two snapshots.
 *
 * IDENTIFICATION
 *	  src/batch.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_BATCH_H
#define OUTBOX_BATCH_H

#include "lib/ilist.h"
#include "storage/itemptr.h"

#include "barrier.h"
#include "hold.h"
#include "installation.h"
#include "snapshot.h"
#include "spool.h"

typedef struct OutboxBatch
{
	dlist_node	node;
	uint64		serial;			/* later batches have higher ones */
	OutboxSnapshot *begin;		/* end of the batch before */
	OutboxSnapshot *end;
	OutboxSpool *spool;			/* of frames */
	uint64		first;			/* numbers of its first and last event */
	uint64		last;
	uint64		spooled;		/* number of the last event in the spool */
	OutboxSpool *directory;		/* of a large batch that is not in the spool
								 * as a whole: where its rows are */
	OutboxSpoolRun entries;		/* the part of it that is being fetched */
	int			page;			/* rows of the directory read at a time; 0: all */
	bool		more;			/* there may be another page, */
	int64		page_id;		/* behind the row with this id, */
	Oid			page_table;		/* in this segment, */
	ItemPointerData page_tid;	/* at this place */
	bool		has_position;
	int64		position;		/* id up to which all is acknowledged */
	uint64		foreign_rows[OUTBOX_SEGMENTS];
} OutboxBatch;

extern void outbox_batch_read(OutboxBatch *batch, OutboxHolds *holds,
							  HTAB *letters, OutboxBarrier *barrier);
extern void outbox_batch_fetch(OutboxBatch *batch);

#endif							/* OUTBOX_BATCH_H */
