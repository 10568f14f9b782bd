/*-------------------------------------------------------------------------
 *
 * window.h
 *	  Which of the events that were sent are acknowledged.
 *
 * IDENTIFICATION
 *	  src/window.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_WINDOW_H
#define OUTBOX_WINDOW_H

/*
 * Events sent and not acknowledged are at most so many; one bit each.  Far
 * more than the producer's queue holds of small events.
 */
#define OUTBOX_WINDOW_SIZE	((uint64) 1 << 20)

typedef struct OutboxWindow
{
	uint64		low_water;		/* all events up to this one are acknowledged */
	uint64		sent;			/* the newest event that was ever sent, or left
								 * out */
	uint64		bits[OUTBOX_WINDOW_SIZE / 64];
} OutboxWindow;

extern OutboxWindow *outbox_window_create(MemoryContext context);
extern bool outbox_window_acknowledge(OutboxWindow *window, uint64 number);
extern void outbox_window_leave_out(OutboxWindow *window, uint64 number);

static inline bool
outbox_window_is_acknowledged(const OutboxWindow *window, uint64 number)
{
	if (number <= window->low_water)
		return true;
	return (window->bits[(number % OUTBOX_WINDOW_SIZE) / 64] &
			((uint64) 1 << (number % 64))) != 0;
}

#endif							/* OUTBOX_WINDOW_H */
