/*-------------------------------------------------------------------------
 *
 * segment.h
 *	  The ring of segments, as an emitter sees it.
 *
 * IDENTIFICATION
 *	  src/segment.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SEGMENT_H
#define OUTBOX_SEGMENT_H

#include "utils/rel.h"

#include "installation.h"

/* The trigger of every segment and their parent: rows that come by SQL. */
#define OUTBOX_ROUTE_TRIGGER	"route_event"

/*
 * Opens the segment that takes the next event, with RowExclusiveLock: the one
 * that the publisher fills now, else the next that grants the lock at once,
 * and waits only if all refuse.  The caller closes it with NoLock: the lock
 * stays until the end of the transaction.  Returns NULL if the segment was
 * dropped meanwhile: look for the installation again.  A segment that has what
 * an insert below SQL would by-pass (row security, a rule, a trigger or check
 * that outbox did not make) is passed over; ERROR,
 * object_not_in_prerequisite_state, if all have.
 */
extern Relation outbox_segment_open(const OutboxInstallation *installation);

/* Whether the columns are those that the extension made, by their types. */
extern bool outbox_segment_has_columns(TupleDesc descriptor);

#endif							/* OUTBOX_SEGMENT_H */
