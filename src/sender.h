/*-------------------------------------------------------------------------
 *
 * sender.h
 *	  Sending events from a source to a producer.
 *
 * IDENTIFICATION
 *	  src/sender.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SENDER_H
#define OUTBOX_SENDER_H

#include "courier.h"
#include "source.h"
#include "window.h"

typedef struct OutboxSender
{
	OutboxSource *source;
	OutboxWindow *window;
	OutboxSpoolRun run;			/* what the source gave last */
	const char *piece;			/* the part of it that is being sent */
	Size		length;			/* bytes of that part; 0: none */
	Size		sent;			/* bytes of it sent already */
	uint64		last;			/* number of its last event */
	uint64		next;			/* number of the first event after it */
} OutboxSender;

extern OutboxSender *outbox_sender_create(OutboxSource *source, OutboxWindow *window,
										  MemoryContext context);
extern void outbox_sender_rewind(OutboxSender *sender);
extern void outbox_sender_drop(OutboxSender *sender);
extern void outbox_sender_send(OutboxSender *sender, OutboxCourier *courier, bool take);

/* Whether the socket did not take all that was to be sent. */
static inline bool
outbox_sender_is_blocked(const OutboxSender *sender)
{
	return sender->length > 0;
}

#endif							/* OUTBOX_SENDER_H */
