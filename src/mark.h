/*-------------------------------------------------------------------------
 *
 * mark.h
 *	  Snapshots kept as the ends of later batches.
 *
 * IDENTIFICATION
 *	  src/mark.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_MARK_H
#define OUTBOX_MARK_H

#include "snapshot.h"

/* Marks in memory; when there are more, every second one is dropped. */
#define OUTBOX_MAX_MARKS	256

typedef struct OutboxMarks
{
	int			count;
	OutboxSnapshot *end[OUTBOX_MAX_MARKS];	/* oldest first */
	uint64		emitted[OUTBOX_MAX_MARKS];	/* the slot's counter at each */
} OutboxMarks;

extern void outbox_marks_add(OutboxMarks *marks, OutboxSnapshot *end, uint64 emitted);
extern void outbox_marks_drop_first(OutboxMarks *marks);

#endif							/* OUTBOX_MARK_H */
