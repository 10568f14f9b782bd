/*-------------------------------------------------------------------------
 *
 * window.c
 *	  Which of the events that were sent are acknowledged.
 *
 * Acknowledgements come in order per partition and in any order across, so
 * only a low-water mark says how far events are published; taking the newest
 * acknowledged one would lose those before it.  What is acknowledged beyond
 * the mark is remembered, so that it is not sent again to another producer.
 *
 * IDENTIFICATION
 *	  src/window.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "window.h"

OutboxWindow *
outbox_window_create(MemoryContext context)
{
	return MemoryContextAllocZero(context, sizeof(OutboxWindow));
}

/*
 * Notes that the event is acknowledged.  Returns false, and notes nothing, if
 * it was so before, or was never sent.
 */
bool
outbox_window_acknowledge(OutboxWindow *window, uint64 number)
{
	if (number > window->sent || outbox_window_is_acknowledged(window, number))
		return false;

	window->bits[(number % OUTBOX_WINDOW_SIZE) / 64] |= (uint64) 1 << (number % 64);

	/* bits behind the mark are cleared, for the number that comes there next */
	while (window->low_water < window->sent)
	{
		uint64		next = window->low_water + 1;
		uint64	   *word = &window->bits[(next % OUTBOX_WINDOW_SIZE) / 64];
		uint64		bit = (uint64) 1 << (next % 64);

		if ((*word & bit) == 0)
			break;
		*word &= ~bit;
		window->low_water = next;
	}
	return true;
}

/*
 * Notes that the event is not to be acknowledged: a dead letter, or an event
 * that a hold row took over.  number is at most OUTBOX_WINDOW_SIZE above the
 * low-water mark.
 */
void
outbox_window_leave_out(OutboxWindow *window, uint64 number)
{
	window->sent = Max(window->sent, number);
	(void) outbox_window_acknowledge(window, number);
}
