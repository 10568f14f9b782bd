/*-------------------------------------------------------------------------
 *
 * barrier.c
 *	  Waiting until the commits of a batch are durable.
 *
 * Keeps G3: nothing is sent before its commit is flushed and, with
 * synchronous replication, acknowledged by the standbys.  A commit with
 * synchronous_commit = off is visible before it is flushed, and one whose
 * wait for standbys was cancelled is visible before any of them has it; a
 * crash or a failover would then undo what Kafka already has.
 *
 * Where the committers have flushed already, which is the rule, this costs a
 * few look-ups in memory.
 *
 * IDENTIFICATION
 *	  src/barrier.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "storage/lwlock.h"

#include "barrier.h"
#include "compat.h"
#include "shutdown.h"

static XLogRecPtr insert_end_position(void);
static XLogRecPtr newest_unflushed_commit(const OutboxBarrier *barrier);

/* Starts a barrier; call it after the snapshot is taken. */
void
outbox_barrier_begin(OutboxBarrier *barrier)
{
	barrier->insert_position = insert_end_position();
	barrier->too_many = false;
	barrier->count = 0;
}

/*
 * Waits.  When this returns, every commit noted in the barrier is flushed
 * here and, with synchronous replication, acknowledged as this session's
 * synchronous_commit says.  If the wait is cut short, by SIGTERM, it does not
 * return: the process ends.  Must be called outside a transaction, as a
 * standby that is away can make it last.
 */
void
outbox_barrier_wait(const OutboxBarrier *barrier)
{
	bool		standbys = SyncRepRequested() && SyncRepStandbyNames != NULL &&
		SyncRepStandbyNames[0] != '\0';
	XLogRecPtr	wanted;

	Assert(!IsTransactionState());

	if (barrier->count == 0)
		return;

	/*
	 * The commit log knows where unflushed commits end, but not where the
	 * others do, so standbys are asked for everything up to the snapshot.
	 */
	if (standbys || barrier->too_many)
		wanted = barrier->insert_position;
	else
		wanted = newest_unflushed_commit(barrier);
	if (XLogRecPtrIsInvalid(wanted))
		return;

	XLogFlush(wanted);
	if (!standbys)
		return;

	/*
	 * A wait that is cancelled returns as if it had succeeded, with a warning
	 * to nobody; only the interrupt tells.
	 */
	outbox_shutdown_at_once(true);
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(wanted, true);
	RESUME_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	outbox_shutdown_at_once(false);
}

/*
 * The end of what is inserted into the write-ahead log now, in the form that
 * XLogFlush() takes.  At a page boundary the insert position is behind the
 * header of a page that does not exist yet; flushing up to there fails.
 */
static XLogRecPtr
insert_end_position(void)
{
	XLogRecPtr	position = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(position, wal_segment_size) == SizeOfXLogLongPHD)
		position -= SizeOfXLogLongPHD;
	else if (position % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		position -= SizeOfXLogShortPHD;
	return position;
}

/*
 * Where the newest of the barrier's commits ends that may not be flushed yet,
 * or invalid if all are.
 */
static XLogRecPtr
newest_unflushed_commit(const OutboxBarrier *barrier)
{
	XLogRecPtr	newest = InvalidXLogRecPtr;
	XLogRecPtr	flushed = GetFlushRecPtr(NULL);
	int			i;

	/* the usual case on a quiet server: nothing is unflushed at all */
	if (barrier->insert_position <= flushed)
		return InvalidXLogRecPtr;

	/*
	 * The commit log may be truncated up to a transaction whose event has
	 * waited long; such a commit has been flushed long ago.
	 */
	LWLockAcquire(XactTruncationLock, LW_SHARED);
	for (i = 0; i < barrier->count; i++)
	{
		TransactionId xid = (TransactionId) barrier->xid[i];
		FullTransactionId next = ReadNextFullTransactionId();
		XLogRecPtr	lsn;

		if (U64FromFullTransactionId(next) - barrier->xid[i] > PG_INT32_MAX ||
			TransactionIdPrecedes(xid, outbox_oldest_commit_log_xid()))
			continue;
		lsn = TransactionIdGetCommitLSN(xid);
		if (lsn > newest)
			newest = lsn;
	}
	LWLockRelease(XactTruncationLock);

	return newest > flushed ? newest : InvalidXLogRecPtr;
}
