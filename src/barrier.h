/*-------------------------------------------------------------------------
 *
 * barrier.h
 *	  Waiting until the commits of a batch are durable.
 *
 * IDENTIFICATION
 *	  src/barrier.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_BARRIER_H
#define OUTBOX_BARRIER_H

#include "access/xlogdefs.h"

/*
 * Transactions of a batch that are looked up one by one; a batch of more is
 * large enough for one flush of everything not to matter.
 */
#define OUTBOX_BARRIER_XIDS		64

/* What a batch has to wait for; filled while its events are read. */
typedef struct OutboxBarrier
{
	XLogRecPtr	insert_position;	/* taken with or after the snapshot */
	bool		too_many;		/* more transactions than xid has room for */
	int			count;
	uint64		xid[OUTBOX_BARRIER_XIDS];
} OutboxBarrier;

extern void outbox_barrier_begin(OutboxBarrier *barrier);
extern void outbox_barrier_wait(const OutboxBarrier *barrier);

/* Notes that an event of this transaction is in the batch. */
static inline void
outbox_barrier_add(OutboxBarrier *barrier, uint64 xid)
{
	if (barrier->count > 0 && barrier->xid[barrier->count - 1] == xid)
		return;
	if (barrier->count == OUTBOX_BARRIER_XIDS)
		barrier->too_many = true;
	else
		barrier->xid[barrier->count++] = xid;
}

#endif							/* OUTBOX_BARRIER_H */
