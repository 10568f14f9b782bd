/*-------------------------------------------------------------------------
 *
 * snapshot.c
 *	  Snapshots as values: which transactions were finished at a moment.
 *
 * A batch is what is visible in one snapshot and not in another, so they
 * must outlive their transactions, be compared, and be stored.  This is the
 * publisher's own form of SQL's pg_snapshot; the two meet as text only, as
 * the layout of pg_snapshot is private to the server.
 *
 * IDENTIFICATION
 *	  src/snapshot.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "lib/qunique.h"
#include "lib/stringinfo.h"
#include "utils/snapmgr.h"

#include "snapshot.h"

static int	compare_xids(const void *a, const void *b);
static uint64 widen(TransactionId xid, FullTransactionId next);

/*
 * The value of a snapshot that the server has just taken, allocated in
 * context.  It lists top-level transactions only: rows carry the top-level
 * transaction, and a transaction commits with all its subtransactions.
 *
 * The caller's own transaction is not listed, as in every MVCC snapshot: take
 * it before the transaction has an id, or its own rows count as finished.
 */
OutboxSnapshot *
outbox_snapshot_from(Snapshot snapshot, MemoryContext context)
{
	FullTransactionId next = ReadNextFullTransactionId();
	OutboxSnapshot *result;
	uint32		i;

	Assert(snapshot->snapshot_type == SNAPSHOT_MVCC);

	result = MemoryContextAlloc(context, offsetof(OutboxSnapshot, xip) +
								sizeof(uint64) * snapshot->xcnt);
	result->xmin = widen(snapshot->xmin, next);
	result->xmax = widen(snapshot->xmax, next);
	for (i = 0; i < snapshot->xcnt; i++)
		result->xip[i] = widen(snapshot->xip[i], next);

	/* a transaction being prepared can be listed twice */
	qsort(result->xip, snapshot->xcnt, sizeof(uint64), compare_xids);
	result->count = qunique(result->xip, snapshot->xcnt, sizeof(uint64),
							compare_xids);
	return result;
}

/*
 * Reads the text form of SQL's pg_snapshot ("xmin:xmax:xip,xip,...") as the
 * server wrote it; anything else is corruption.
 */
OutboxSnapshot *
outbox_snapshot_parse(const char *text, MemoryContext context)
{
	OutboxSnapshot *result;
	const char *p;
	char	   *end;
	int			count = 0;
	int			i;

	for (p = text; *p; p++)
		if (*p == ',')
			count++;
	result = MemoryContextAlloc(context, offsetof(OutboxSnapshot, xip) +
								sizeof(uint64) * (count + 1));

	result->xmin = strtoull(text, &end, 10);
	if (*end != ':')
		goto bad;
	result->xmax = strtoull(end + 1, &end, 10);
	if (*end != ':')
		goto bad;
	result->count = 0;
	if (end[1] == '\0')
		return result;
	for (i = 0; i <= count; i++)
	{
		result->xip[i] = strtoull(end + 1, &end, 10);
		if (*end != (i == count ? '\0' : ','))
			goto bad;
	}
	result->count = count + 1;
	return result;

bad:
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("invalid snapshot \"%s\"", text)));
	return NULL;				/* keep compiler quiet */
}

/* The text form of SQL's pg_snapshot, in the current memory context. */
char *
outbox_snapshot_text(const OutboxSnapshot *snapshot)
{
	StringInfoData text;
	int			i;

	initStringInfo(&text);
	appendStringInfo(&text, UINT64_FORMAT ":" UINT64_FORMAT ":",
					 snapshot->xmin, snapshot->xmax);
	for (i = 0; i < snapshot->count; i++)
		appendStringInfo(&text, "%s" UINT64_FORMAT, i > 0 ? "," : "",
						 snapshot->xip[i]);
	return text.data;
}

/* Whether the transaction was finished when the snapshot was taken. */
bool
outbox_snapshot_sees(const OutboxSnapshot *snapshot, uint64 xid)
{
	if (xid < snapshot->xmin)
		return true;
	if (xid >= snapshot->xmax)
		return false;
	return snapshot->count == 0 ||
		bsearch(&xid, snapshot->xip, snapshot->count, sizeof(uint64),
				compare_xids) == NULL;
}

bool
outbox_snapshot_equal(const OutboxSnapshot *a, const OutboxSnapshot *b)
{
	return a->xmin == b->xmin && a->xmax == b->xmax && a->count == b->count &&
		memcmp(a->xip, b->xip, sizeof(uint64) * a->count) == 0;
}

static int
compare_xids(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

/*
 * Adds the epoch to a transaction id of a snapshot taken before next was
 * read: such an id is at most half the id space older than next.
 */
static uint64
widen(TransactionId xid, FullTransactionId next)
{
	uint32		epoch = EpochFromFullTransactionId(next);

	if (TransactionIdIsNormal(xid) && xid > XidFromFullTransactionId(next))
		epoch--;
	return ((uint64) epoch << 32) | xid;
}
