/*-------------------------------------------------------------------------
 *
 * spool.h
 *	  The events of a batch, read once, from which they are sent and resent.
 *
 * IDENTIFICATION
 *	  src/spool.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SPOOL_H
#define OUTBOX_SPOOL_H

typedef struct OutboxSpool OutboxSpool;

/* Memory that several spools share. */
typedef struct OutboxSpoolPool
{
	Size		limit;			/* bytes; beyond it chunks go to file */
	Size		used;			/* bytes of chunks in memory */
} OutboxSpoolPool;

/* Consecutive records. */
typedef struct OutboxSpoolRun
{
	const char *data;
	uint32		length;			/* bytes */
	uint64		first;			/* numbers of the first and last event */
	uint64		last;
} OutboxSpoolRun;

extern OutboxSpool *outbox_spool_create(MemoryContext parent, OutboxSpoolPool *pool);
extern void outbox_spool_destroy(OutboxSpool *spool);

extern char *outbox_spool_append(OutboxSpool *spool, uint32 length, int64 id,
								 uint64 number);
extern void outbox_spool_finish(OutboxSpool *spool);
extern bool outbox_spool_next(OutboxSpool *spool, OutboxSpoolRun *run);
extern void outbox_spool_rewind(OutboxSpool *spool);
extern bool outbox_spool_is_full(const OutboxSpool *spool);
extern bool outbox_spool_release(OutboxSpool *spool, uint64 number, int64 *id);

#endif							/* OUTBOX_SPOOL_H */
