/*-------------------------------------------------------------------------
 *
 * source.h
 *	  The seam between a publisher and where its events come from.
 *
 * A source gives events in order, each with a number (consecutive, from 1,
 * for the life of the publisher), takes back how far they are acknowledged,
 * and stores that.  How it finds them is its own business: batch_source.c
 * reads snapshot batches from the segments.  A publisher takes events by this
 * interface only.
 *
 * IDENTIFICATION
 *	  src/source.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SOURCE_H
#define OUTBOX_SOURCE_H

#include "datatype/timestamp.h"

#include "event_frame.h"
#include "hold.h"
#include "spool.h"
#include "trouble.h"

typedef struct OutboxSource OutboxSource;

/* What became of an event that was refused alone. */
typedef enum OutboxRefusal
{
	OUTBOX_REFUSAL_IGNORED,		/* no batch has it any more */
	OUTBOX_REFUSAL_SETTLED,		/* it is a dead letter */
	OUTBOX_REFUSAL_TOO_MANY		/* nothing was done: too many parked keys */
} OutboxRefusal;

struct OutboxSource
{
	/*
	 * Looks for committed events behind the last ones and reads them, if
	 * there is room; else remembers where the next ones end.  Returns how
	 * many events it read.  Runs short transactions of its own.  Nothing that
	 * next() gives afterwards can be undone by a crash.
	 */
	uint64		(*fill) (OutboxSource *source);

	/* Gives the next frames to send; false if there are none now. */
	bool		(*next) (OutboxSource *source, OutboxSpoolRun *run);

	/* Makes next() start again with the oldest event not acknowledged. */
	void		(*rewind) (OutboxSource *source);

	/* All events up to this number are acknowledged. */
	void		(*acknowledge) (OutboxSource *source, uint64 number);

	/*
	 * Stores progress, if there is any to store and it is due or now is
	 * forced.  Returns when to call again, or 0 if there is nothing to store.
	 */
	TimestampTz (*store) (OutboxSource *source, TimestampTz now, bool force);

	/*
	 * Whether events are known to wait that fill() has not read.  Looks at
	 * memory only.
	 */
	bool		(*may_have_more) (OutboxSource *source);

	/* Whether many are known to wait, so that fill() should go on at once. */
	bool		(*has_backlog) (OutboxSource *source);

	/* Whether fill() would read them; it takes marks otherwise. */
	bool		(*has_room) (OutboxSource *source);

	/*
	 * How many events wait, read or not: an estimate.  PG_UINT64_MAX before
	 * the first look.
	 */
	uint64		(*backlog) (OutboxSource *source);

	/*
	 * Whether the server has done anything since the last fill() that could
	 * have committed an event unnoticed.  Looks at memory only; asked about
	 * once a second, in case a wake-up was lost.
	 */
	bool		(*must_look) (OutboxSource *source);

	/*
	 * Whether an event of the run that next() gave last is not to be sent
	 * after all, since its scope is held.  False for all while excluding is.
	 */
	bool		(*excludes) (OutboxSource *source, const OutboxEventView *event);
	bool		excluding;

	/* Such an event is acknowledged: it is not to be read again. */
	void		(*settle) (OutboxSource *source, const OutboxEventView *event);

	/*
	 * Holds a topic.  Its events in the batches in flight do not count any
	 * more: those acknowledged are to be settled, and the others are excluded.
	 * Runs short transactions of its own.
	 */
	OutboxHold *(*hold_topic) (OutboxSource *source, const char *topic,
							   OutboxHoldReason reason, const OutboxTrouble *trouble);

	/*
	 * The broker refused an event that was sent alone, for its own content:
	 * makes it a dead letter, and if parks, holds its key.  All events of the
	 * key before it must be acknowledged, and none behind it sent.
	 */
	OutboxRefusal (*refuse) (OutboxSource *source, uint64 number,
							 const OutboxEventView *event, bool parks,
							 const OutboxTrouble *trouble);

	/*
	 * The first event of a held topic, as a frame to be sent alone, allocated
	 * where the holds are; NULL: there is none.
	 */
	char	   *(*first_of) (OutboxSource *source, OutboxHold *hold);

	/* What is held; a scope comes back after its wants_join is set. */
	OutboxHolds *holds;

	/* Number of the newest event read. */
	uint64		newest;

	/* The database has no outbox extension any more: end. */
	bool		gone;
};

#endif							/* OUTBOX_SOURCE_H */
