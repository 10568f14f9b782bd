/*-------------------------------------------------------------------------
 *
 * sender.c
 *	  Sending events from a source to a producer.
 *
 * Events go out in the order of the source, as many as the window, the socket
 * and the source allow.  To a new producer everything that is not
 * acknowledged goes again, from the oldest on, and nothing that is: so the
 * first deliveries of a key stay in order, and a duplicate is only what was
 * sent and not reported.
 *
 * IDENTIFICATION
 *	  src/sender.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "sender.h"

static bool take_piece(OutboxSender *sender);
static const char *next_frame(const char *frame, const char *end);

OutboxSender *
outbox_sender_create(OutboxSource *source, OutboxWindow *window, MemoryContext context)
{
	OutboxSender *sender = MemoryContextAllocZero(context, sizeof(OutboxSender));

	sender->source = source;
	sender->window = window;
	outbox_sender_rewind(sender);
	return sender;
}

/* Starts again with the oldest event that is not acknowledged. */
void
outbox_sender_rewind(OutboxSender *sender)
{
	sender->source->rewind(sender->source);
	outbox_sender_drop(sender);
	sender->run.last = 0;
	sender->next = 1;
}

/* Forgets what was being sent, as its producer is gone. */
void
outbox_sender_drop(OutboxSender *sender)
{
	sender->length = 0;
	sender->sent = 0;
}

/*
 * Sends what can be sent now.  With take false, only the rest of what was
 * taken from the source before.
 */
void
outbox_sender_send(OutboxSender *sender, OutboxCourier *courier, bool take)
{
	for (;;)
	{
		if (sender->length == 0 && !(take && take_piece(sender)))
			return;

		sender->sent += outbox_courier_send(courier, sender->piece + sender->sent,
											sender->length - sender->sent);
		if (sender->sent < sender->length)
			return;
		sender->piece += sender->length;
		sender->next = sender->last + 1;
		sender->length = sender->sent = 0;
	}
}

/*
 * Takes the next frames from the source that are not acknowledged: a whole
 * run, or of one that was sent before, the next part that is not.  A piece
 * that is sent is followed at once by the next call, so acknowledgements
 * never make the source free a run that is not done with.
 */
static bool
take_piece(OutboxSender *sender)
{
	OutboxWindow *window = sender->window;
	const char *end;
	const char *piece_end;

	for (;;)
	{
		if (sender->next > sender->run.last)
		{
			/*
			 * A run is a chunk of the spool, some thousand events at most, and
			 * must fit as a whole.  What was sent before has its place.
			 */
			if (sender->run.last >= window->sent &&
				window->sent - window->low_water >= OUTBOX_WINDOW_SIZE / 2)
				return false;
			if (!sender->source->next(sender->source, &sender->run))
				return false;
			sender->piece = sender->run.data;
			sender->next = sender->run.first;
		}
		end = sender->run.data + sender->run.length;

		if (sender->run.first > window->sent)
		{
			sender->length = end - sender->piece;
			sender->last = sender->run.last;
			break;
		}

		while (sender->piece < end && outbox_window_is_acknowledged(window, sender->next))
		{
			sender->piece = next_frame(sender->piece, end);
			sender->next++;
		}
		piece_end = sender->piece;
		sender->last = sender->next - 1;
		while (piece_end < end && !outbox_window_is_acknowledged(window, sender->last + 1))
		{
			piece_end = next_frame(piece_end, end);
			sender->last++;
		}
		sender->length = piece_end - sender->piece;
		if (sender->length > 0)
			break;
	}
	window->sent = Max(window->sent, sender->last);
	return true;
}

/* The frame after this one; one that overruns its run is damage. */
static const char *
next_frame(const char *frame, const char *end)
{
	Size		left = end - frame;

	if (left < sizeof(FrameHeader) || outbox_courier_frame_length(frame) > left)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the spool of a batch is damaged")));
	return frame + outbox_courier_frame_length(frame);
}
