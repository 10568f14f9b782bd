/*-------------------------------------------------------------------------
 *
 * suspects.c
 *	  Events that may be at fault, and are therefore sent alone.
 *
 * A refusal fails a whole producer batch, and a death all that was under way:
 * neither says which event is at fault.  So the events in question become
 * suspects, a range of numbers, and are sent again, each in a producer batch of
 * its own, in order, and never two of one key at a time, so that nothing of
 * a key passes an event that is refused.  Only what is refused then is
 * guilty.  Ordinary sending goes on when all of them are reported.
 *
 * IDENTIFICATION
 *	  src/suspects.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "suspects.h"

static uint64 scope_of(const OutboxEventView *event);

OutboxSuspects *
outbox_suspects_create(MemoryContext parent)
{
	OutboxSuspects *suspects = MemoryContextAllocZero(parent, sizeof(OutboxSuspects));

	suspects->context = parent;
	suspects->first = 1;
	suspects->limit = OUTBOX_MAX_SUSPECTS;
	return suspects;
}

/*
 * Suspects the events from first to last, and all between them and those that
 * are suspected already.  limit is how many may be under way at a time.
 */
void
outbox_suspects_add(OutboxSuspects *suspects, uint64 first, uint64 last, int limit)
{
	if (suspects->first <= suspects->last)
	{
		first = Min(first, suspects->first);
		last = Max(last, suspects->last);
	}
	suspects->first = first;
	suspects->last = last;
	suspects->limit = limit;
}

/*
 * Whether an event that is next in order may be sent now: a suspect when all
 * before the range is acknowledged and nothing of its key is under way; one
 * behind the range when all suspects are reported, or, as one more suspect,
 * while one waits for another to be acknowledged.
 */
OutboxMaySend
outbox_suspects_may_send(OutboxSuspects *suspects, const OutboxWindow *window,
						 const OutboxEventView *event)
{
	uint64		number = event->event.number;
	uint64		scope;
	int			i;

	if (outbox_suspects_none(suspects) || number < suspects->first)
		return OUTBOX_SEND;
	if (number > suspects->last && suspects->postponed == 0)
	{
		if (window->low_water < suspects->last)
			return OUTBOX_SEND_LATER;
		suspects->first = suspects->last + 1;
		return OUTBOX_SEND;
	}

	if (suspects->stopped || window->low_water + 1 < suspects->first ||
		suspects->count >= suspects->limit)
		return OUTBOX_SEND_LATER;
	scope = scope_of(event);
	if (suspects->postponed != 0 &&
		(number == suspects->postponed ||
		 (scope != 0 && scope == suspects->postponed_scope)))
	{
		suspects->passed_over = true;
		return OUTBOX_SEND_OTHERS_FIRST;
	}
	if (scope != 0)
		for (i = 0; i < OUTBOX_MAX_SUSPECTS; i++)
			if (suspects->suspect[i].number != 0 && suspects->suspect[i].scope == scope)
				return OUTBOX_SEND_LATER;

	/* one from behind the range may be what the one postponed waits for */
	suspects->last = Max(suspects->last, number);
	return OUTBOX_SEND;
}

/* Has a suspect, and what is of its key, wait until another is acknowledged. */
void
outbox_suspects_postpone(OutboxSuspects *suspects, const OutboxSuspect *suspect)
{
	suspects->postponed = suspect->number;
	suspects->postponed_scope = suspect->scope;
	suspects->passed_over = false;
}

/* Notes that the suspect in the frame is sent. */
void
outbox_suspects_sent(OutboxSuspects *suspects, const OutboxEventView *event, const char *frame)
{
	Size		length = sizeof(FrameHeader) + sizeof(FrameEvent) +
		event->event.topic_length + Max(event->event.key_length, 0);
	OutboxSuspect *suspect = suspects->suspect;

	while (suspect->number != 0)
		suspect++;
	suspect->number = event->event.number;
	suspect->scope = scope_of(event);
	suspect->frame = MemoryContextAllocHuge(suspects->context, length);
	memcpy(suspect->frame, frame, length);
	suspects->count++;
}

/* The suspect that was sent with this number, or NULL. */
OutboxSuspect *
outbox_suspects_find(OutboxSuspects *suspects, uint64 number)
{
	int			i;

	if (suspects->count > 0)
		for (i = 0; i < OUTBOX_MAX_SUSPECTS; i++)
			if (suspects->suspect[i].number == number)
				return &suspects->suspect[i];
	return NULL;
}

/* The suspect is acknowledged or refused. */
void
outbox_suspects_reported(OutboxSuspects *suspects, OutboxSuspect *suspect)
{
	pfree(suspect->frame);
	suspect->number = 0;
	suspects->count--;
}

/* The producer is dead: nothing is under way any more. */
void
outbox_suspects_forget_sent(OutboxSuspects *suspects)
{
	int			i;

	suspects->passed_over = false;
	for (i = 0; i < OUTBOX_MAX_SUSPECTS; i++)
		if (suspects->suspect[i].number != 0)
			outbox_suspects_reported(suspects, &suspects->suspect[i]);
}

static uint64
scope_of(const OutboxEventView *event)
{
	uint64		scope;

	if (event->key == NULL)
		return 0;
	scope = hash_bytes_extended((const unsigned char *) event->topic,
								event->event.topic_length, 0);
	scope = hash_bytes_extended((const unsigned char *) event->key,
								event->event.key_length, scope);
	return scope != 0 ? scope : 1;
}
