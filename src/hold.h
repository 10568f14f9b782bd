/*-------------------------------------------------------------------------
 *
 * hold.h
 *	  Hold rows: topics and keys that are out of the main stream of batches.
 *
 * IDENTIFICATION
 *	  src/hold.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_HOLD_H
#define OUTBOX_HOLD_H

#include "lib/ilist.h"
#include "utils/hsearch.h"

#include "cursor.h"
#include "trouble.h"

typedef enum OutboxHoldReason
{
	OUTBOX_HOLD_ERROR,			/* the topic takes no events */
	OUTBOX_HOLD_REFUSED,		/* a run of dead letters of the topic */
	OUTBOX_HOLD_PAUSED,			/* somebody asked for it */
	OUTBOX_HOLD_DEAD_LETTER		/* a key is parked behind a dead letter */
} OutboxHoldReason;

typedef struct OutboxHold
{
	dlist_node	node;
	struct OutboxHold *next;	/* with the same hash */
	char	   *topic;			/* NUL-terminated */
	char	   *key;			/* NULL: the whole topic */
	uint32		topic_length;
	uint32		key_length;
	OutboxHoldReason reason;
	OutboxCursor cursor;		/* the row as it is in the table */

	/*
	 * Coming back.  Batches have serial numbers; those from join on include
	 * the scope's events, of which the first one reads all that the row does
	 * not cover.  The row goes in the transaction that closes that batch.
	 */
	bool		wants_join;
	uint64		join;			/* serial of that batch; 0: none is under way */
	bool		joined;			/* it is closed: the row goes next */

	/*
	 * In batches from this one on, an event of the scope that counts as
	 * acknowledged really is: before, it was only left out.
	 */
	uint64		live_from;
	HTAB	   *settled;		/* uids acknowledged and not covered by the
								 * row; NULL: none */

	/* trying a held topic, see probe.c */
	char	   *first_frame;	/* of its first event; NULL: not known */
	int			attempts;
	TimestampTz next_try;
	TimestampTz noted_at;		/* when the row's error was last written */
} OutboxHold;

typedef struct OutboxHolds
{
	MemoryContext context;
	dlist_head	list;
	int			count;
	int			topics;			/* those that hold a whole topic */
	HTAB	   *table;
} OutboxHolds;

extern OutboxHolds *outbox_holds_create(MemoryContext parent);
extern void outbox_holds_load(OutboxHolds *holds);
extern OutboxHold *outbox_holds_find(OutboxHolds *holds, const char *topic,
									 uint32 topic_length, const char *key, uint32 key_length);
extern OutboxHold *outbox_holds_find_exactly(OutboxHolds *holds, const char *topic,
											 uint32 topic_length, const char *key,
											 uint32 key_length);
extern int	outbox_holds_count_keys(OutboxHolds *holds, const char *topic,
									uint32 topic_length);

extern OutboxHold *outbox_hold_insert(OutboxHolds *holds, const char *topic,
									  uint32 topic_length, const char *key,
									  uint32 key_length, OutboxHoldReason reason,
									  const OutboxCursor *cursor,
									  const OutboxTrouble *trouble);
extern void outbox_hold_store(OutboxHolds *holds, OutboxHold *hold, const OutboxSnapshot *done,
							  const OutboxSnapshot *open, int64 position);
extern void outbox_hold_change(OutboxHold *hold, OutboxHoldReason reason,
							   const OutboxTrouble *trouble);
extern void outbox_hold_note(OutboxHold *hold, const OutboxTrouble *trouble);
extern void outbox_hold_delete(OutboxHold *hold);
extern void outbox_hold_forget(OutboxHolds *holds, OutboxHold *hold);
extern void outbox_hold_cancel(OutboxHold *hold);

extern void outbox_hold_settle(OutboxHolds *holds, OutboxHold *hold, const uint8 *uid);
extern bool outbox_hold_is_settled(const OutboxHold *hold, const uint8 *uid);

#endif							/* OUTBOX_HOLD_H */
