/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  The time, for intervals.
 *
 * IDENTIFICATION
 *	  src/producer/clock.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_CLOCK_H
#define OUTBOX_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds since some fixed moment; not moved by changes of the date. */
static inline int64_t
clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#endif							/* OUTBOX_CLOCK_H */
