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

#include "utils/hsearch.h"

#include "courier.h"
#include "source.h"
#include "suspects.h"
#include "window.h"

typedef struct OutboxSender
{
	OutboxSource *source;
	OutboxWindow *window;
	OutboxSuspects *suspects;
	MemoryContext context;
	OutboxSpoolRun run;			/* what the source gave last */
	const char *next;			/* in it: the first frame not taken yet */
	uint64		reached;		/* the newest event taken for this producer: those
								 * up to it are acknowledged or under way */
	const char *piece;			/* frames that are being sent */
	Size		length;			/* bytes of them; 0: none */
	Size		sent;			/* bytes of them sent already */
	char	   *rest;			/* copy of them, if their run may be freed */
	HTAB	   *withdrawn;		/* events taken back while they were under way;
								 * NULL: none */
	bool		await_withdrawn;	/* they are to be reported, too */
} OutboxSender;

extern OutboxSender *outbox_sender_create(OutboxSource *source, OutboxWindow *window,
										  OutboxSuspects *suspects, MemoryContext context);
extern void outbox_sender_rewind(OutboxSender *sender);
extern void outbox_sender_drop(OutboxSender *sender);
extern void outbox_sender_send(OutboxSender *sender, OutboxCourier *courier, bool take);
extern bool outbox_sender_send_frame(OutboxSender *sender, OutboxCourier *courier,
									 const char *frame);
extern bool outbox_sender_withdraw(OutboxSender *sender, bool await);
extern void outbox_sender_acknowledged(OutboxSender *sender, uint64 number);
extern void outbox_sender_take_again(OutboxSender *sender);

/* Whether the socket did not take all that was to be sent. */
static inline bool
outbox_sender_is_blocked(const OutboxSender *sender)
{
	return sender->length > 0;
}

/* Whether nothing that was taken for this producer is under way any more. */
static inline bool
outbox_sender_is_done(const OutboxSender *sender)
{
	return sender->length == 0 && sender->window->low_water >= sender->reached &&
		!(sender->await_withdrawn && hash_get_num_entries(sender->withdrawn) > 0);
}

#endif							/* OUTBOX_SENDER_H */
