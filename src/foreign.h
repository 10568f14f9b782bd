/*-------------------------------------------------------------------------
 *
 * foreign.h
 *	  Foreign rows: which they are.
 *
 * IDENTIFICATION
 *	  src/foreign.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_FOREIGN_H
#define OUTBOX_FOREIGN_H

#include "access/tableam.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

#include "snapshot.h"

typedef struct OutboxForeign OutboxForeign;

/*
 * Reads what tells foreign rows from others, into the current memory context.
 * Needs a transaction in which the current user may read the tables of the
 * extension.
 */
extern OutboxForeign *outbox_foreign_load(void);

/*
 * The next foreign row of a scan of a segment, in slot; false at the end.
 * Can be interrupted.
 */
extern bool outbox_foreign_next(const OutboxForeign *foreign, TableScanDesc scan,
								TupleTableSlot *slot);

/*
 * How many foreign rows of a segment are visible both in the active snapshot
 * and in done; not more than limit.
 */
extern int64 outbox_foreign_count(const OutboxForeign *foreign, Oid segment,
								  const OutboxSnapshot *done, int64 limit);

/*
 * Called by the publisher before it reads its first batch, connected to SPI
 * in a transaction with an active snapshot.  If the database is a copy, made
 * from a template, keeps how far its original had published, and returns true.
 */
extern bool outbox_foreign_recognize_copy(void);

#endif							/* OUTBOX_FOREIGN_H */
