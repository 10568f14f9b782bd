/*-------------------------------------------------------------------------
 *
 * event_frame.h
 *	  The row of an event as a frame for the producer, and back.
 *
 * IDENTIFICATION
 *	  src/event_frame.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_EVENT_FRAME_H
#define OUTBOX_EVENT_FRAME_H

#include "executor/tuptable.h"
#include "storage/itemptr.h"

#include "frame.h"

/* The columns of a query whose rows are made frames, as in event.h. */
#define OUTBOX_EVENT_COLUMNS \
	"id, xid, uid, origin, created, partition, topic, key, headers, payload"

/* An event's row, detoasted. */
typedef struct OutboxEventParts
{
	FrameEvent	event;
	struct varlena *value[4];	/* topic, key, headers, payload; NULL: none */
	uint32		length;			/* of the frame, with its header */
} OutboxEventParts;

/* What a frame says about its event; pointers into the frame. */
typedef struct OutboxEventView
{
	FrameEvent	event;
	const char *topic;			/* event.topic_length bytes */
	const char *key;			/* NULL: none; else event.key_length bytes */
} OutboxEventView;

extern void outbox_event_parts(OutboxEventParts *parts, TupleTableSlot *slot,
							   uint64 number, uint64 locator);
extern void outbox_event_frame_write(const OutboxEventParts *parts, char *frame);
extern void outbox_event_view(OutboxEventView *view, const char *frame);
extern void outbox_event_frame_set_flags(char *frame, uint16 flags);
extern void outbox_event_frame_set_number(char *frame, uint64 number);

/* The number of the event in a frame. */
static inline uint64
outbox_event_frame_number(const char *frame)
{
	uint64		number;

	memcpy(&number, frame + sizeof(FrameHeader) + offsetof(FrameEvent, number), sizeof(number));
	return number;
}

/* Where a row is, in a word: rows of segments never move. */
static inline uint64
outbox_locator(int segment, const ItemPointerData *tid)
{
	return (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 32 |
		(uint64) ItemPointerGetOffsetNumberNoCheck(tid) << 16 | segment;
}

static inline int
outbox_locator_segment(uint64 locator)
{
	return (int) (locator & 0xFFFF);
}

static inline void
outbox_locator_tid(uint64 locator, ItemPointerData *tid)
{
	ItemPointerSet(tid, (BlockNumber) (locator >> 32), (OffsetNumber) (locator >> 16));
}

#endif							/* OUTBOX_EVENT_FRAME_H */
