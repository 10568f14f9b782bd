/*-------------------------------------------------------------------------
 *
 * foreign_counter.h
 *	  How many foreign rows there are.
 *
 * IDENTIFICATION
 *	  src/foreign_counter.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_FOREIGN_COUNTER_H
#define OUTBOX_FOREIGN_COUNTER_H

#include "datatype/timestamp.h"

#include "installation.h"
#include "snapshot.h"

typedef struct OutboxForeignCounter
{
	uint64		waiting[OUTBOX_SEGMENTS];	/* of batches closed and not stored */
	uint64		segment[OUTBOX_SEGMENTS];	/* in the table */
	uint64		stored;			/* of all segments, in the table */
	uint64		batches_begun;	/* since the start */
	uint64		batches_closed;
	bool		recount;		/* when as many batches as */
	uint64		recount_after;	/* this are closed and stored */
	TimestampTz checked_at;
} OutboxForeignCounter;

extern void outbox_foreign_counter_load(OutboxForeignCounter *counter);
extern void outbox_foreign_counter_store(OutboxForeignCounter *counter);
extern bool outbox_foreign_counter_check(OutboxForeignCounter *counter,
										 const OutboxSnapshot *done, bool nothing_waits,
										 TimestampTz now);

#endif							/* OUTBOX_FOREIGN_COUNTER_H */
