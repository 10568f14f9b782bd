/*-------------------------------------------------------------------------
 *
 * suspects.h
 *	  Events that may be at fault, and are therefore sent alone.
 *
 * IDENTIFICATION
 *	  src/suspects.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SUSPECTS_H
#define OUTBOX_SUSPECTS_H

#include "event_frame.h"
#include "window.h"

/*
 * Suspects under way at a time: what probe.c leaves of FRAME_MAX_ALONE.  A
 * producer that is sent more ends.
 */
#define OUTBOX_MAX_SUSPECTS		16

/* An event that was sent alone and is not reported yet. */
typedef struct OutboxSuspect
{
	uint64		number;			/* 0: the entry is free */
	uint64		scope;			/* hash of topic and key; 0: it has no key */
	char	   *frame;			/* copy of its head, as far as the key */
} OutboxSuspect;

/* Whether an event that is next in order may be sent. */
typedef enum OutboxMaySend
{
	OUTBOX_SEND,
	OUTBOX_SEND_LATER,			/* nor anything behind it */
	OUTBOX_SEND_OTHERS_FIRST	/* what is behind it may go */
} OutboxMaySend;

typedef struct OutboxSuspects
{
	MemoryContext context;
	uint64		first;			/* numbers of the range; first > last: none */
	uint64		last;
	int			limit;			/* under way at a time */
	int			count;			/* under way */
	uint64		postponed;		/* waits until another one is acknowledged; 0:
								 * none */
	uint64		postponed_scope;
	bool		passed_over;	/* it would have been sent to this producer */
	bool		stopped;		/* none is to be sent now */
	OutboxSuspect suspect[OUTBOX_MAX_SUSPECTS];
} OutboxSuspects;

extern OutboxSuspects *outbox_suspects_create(MemoryContext parent);
extern void outbox_suspects_add(OutboxSuspects *suspects, uint64 first, uint64 last, int limit);
extern OutboxMaySend outbox_suspects_may_send(OutboxSuspects *suspects,
											  const OutboxWindow *window,
											  const OutboxEventView *event);
extern void outbox_suspects_postpone(OutboxSuspects *suspects, const OutboxSuspect *suspect);
extern void outbox_suspects_sent(OutboxSuspects *suspects, const OutboxEventView *event,
								 const char *frame);
extern OutboxSuspect *outbox_suspects_find(OutboxSuspects *suspects, uint64 number);
extern void outbox_suspects_reported(OutboxSuspects *suspects, OutboxSuspect *suspect);
extern void outbox_suspects_forget_sent(OutboxSuspects *suspects);

static inline bool
outbox_suspects_none(const OutboxSuspects *suspects)
{
	return suspects->first > suspects->last;
}

/* Whether the event is to be sent alone. */
static inline bool
outbox_suspects_has(const OutboxSuspects *suspects, uint64 number)
{
	return number >= suspects->first && number <= suspects->last;
}

#endif							/* OUTBOX_SUSPECTS_H */
