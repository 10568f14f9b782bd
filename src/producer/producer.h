/*-------------------------------------------------------------------------
 *
 * producer.h
 *	  The producer's loop.
 *
 * IDENTIFICATION
 *	  src/producer/producer.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_PRODUCER_H
#define OUTBOX_PRODUCER_H

/* Exit statuses; the frames say more, these are for people and tests. */
#define PRODUCER_EXIT_LEFT		0	/* the publisher is gone */
#define PRODUCER_EXIT_FAILED	1	/* FRAME_FAILED was sent */
#define PRODUCER_EXIT_MISUSED	2	/* started or spoken to in a wrong way */

extern void producer_run(int fd) __attribute__((noreturn));

#endif							/* OUTBOX_PRODUCER_H */
