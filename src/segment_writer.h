/*-------------------------------------------------------------------------
 *
 * segment_writer.h
 *	  Rows into a segment, with their index entries.
 *
 * IDENTIFICATION
 *	  src/segment_writer.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SEGMENT_WRITER_H
#define OUTBOX_SEGMENT_WRITER_H

#include "utils/rel.h"

typedef struct OutboxSegmentWriter OutboxSegmentWriter;

/*
 * Stores one row in a segment that is open and locked with RowExclusiveLock.
 * ERROR, object_not_in_prerequisite_state, if the segment has an exclusion
 * constraint.
 */
extern void outbox_segment_write(Relation segment, Datum *values, bool *isnull);

/*
 * The same for many rows, which are stored some time between _add() and
 * _end(), by the subtransaction that calls.  What is added may be freed at
 * once, but for what a value points to that is stored elsewhere (out of line
 * in another table): that must stay until _end().  The segment stays open
 * meanwhile; the writer lives in a child of the current memory context, and
 * is gone after _end(), or with that context.
 */
extern OutboxSegmentWriter *outbox_segment_writer_begin(Relation segment);
extern void outbox_segment_writer_add(OutboxSegmentWriter *writer,
									  Datum *values, bool *isnull);
extern void outbox_segment_writer_end(OutboxSegmentWriter *writer);

#endif							/* OUTBOX_SEGMENT_WRITER_H */
