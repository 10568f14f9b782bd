/*-------------------------------------------------------------------------
 *
 * repeat.h
 *	  Keeps the same text from being sent again and again.
 *
 * IDENTIFICATION
 *	  src/producer/repeat.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_REPEAT_H
#define OUTBOX_REPEAT_H

#include <stdbool.h>
#include <stdint.h>

/* Enough for each broker of a large cluster to fail in its own way. */
#define REPEAT_SLOTS	64

typedef struct Repeat
{
	struct
	{
		uint64_t	hash;		/* 0: free */
		int64_t		sent;		/* milliseconds */
		unsigned	dropped;	/* since then */
	}			slots[REPEAT_SLOTS];
} Repeat;

extern bool repeat_allows(Repeat *repeat, int code, const char *text,
						  int64_t now, unsigned *dropped);

#endif							/* OUTBOX_REPEAT_H */
