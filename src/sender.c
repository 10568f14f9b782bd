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
 * Events that the source excludes, as their scope is held, are left out;
 * suspects are sent alone.
 *
 * IDENTIFICATION
 *	  src/sender.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "sender.h"

/* An event that was taken back while it was under way. */
typedef struct Withdrawn
{
	uint64		number;
	OutboxHold *hold;			/* its scope, which comes back after this producer */
	uint8		uid[16];
} Withdrawn;

static void note_withdrawn(OutboxSender *sender, const OutboxEventView *event);
static bool take_piece(OutboxSender *sender);
static bool next_run(OutboxSender *sender);
static void end_piece(OutboxSender *sender);
static void check_frame(const char *frame, const char *end);

OutboxSender *
outbox_sender_create(OutboxSource *source, OutboxWindow *window, OutboxSuspects *suspects,
					 MemoryContext context)
{
	OutboxSender *sender = MemoryContextAllocZero(context, sizeof(OutboxSender));

	sender->source = source;
	sender->window = window;
	sender->suspects = suspects;
	sender->context = context;
	outbox_sender_rewind(sender);
	return sender;
}

/* Starts again with the oldest event that is not acknowledged. */
void
outbox_sender_rewind(OutboxSender *sender)
{
	outbox_sender_drop(sender);
	outbox_sender_take_again(sender);
}

/*
 * Goes back to the oldest event that is not acknowledged, for the same
 * producer: nothing may be under way.
 */
void
outbox_sender_take_again(OutboxSender *sender)
{
	sender->source->rewind(sender->source);
	memset(&sender->run, 0, sizeof(sender->run));
	sender->next = NULL;
	sender->reached = 0;
}

/* Forgets what was being sent, as its producer is gone. */
void
outbox_sender_drop(OutboxSender *sender)
{
	end_piece(sender);
	if (sender->withdrawn != NULL)
		hash_destroy(sender->withdrawn);
	sender->withdrawn = NULL;
	sender->await_withdrawn = false;
	outbox_suspects_forget_sent(sender->suspects);
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
		end_piece(sender);
	}
}

/*
 * Sends a frame that is not of the source's.  Returns false, and sends
 * nothing, while something else is being sent.  The frame must stay until it
 * is reported, or the sender dropped.
 */
bool
outbox_sender_send_frame(OutboxSender *sender, OutboxCourier *courier, const char *frame)
{
	if (sender->length > 0)
		return false;
	sender->piece = frame;
	sender->length = outbox_courier_frame_length(frame);
	outbox_sender_send(sender, courier, false);
	return true;
}

/*
 * Takes back what the source has come to exclude: what of it is acknowledged
 * is settled, and the rest does not count any more.  Returns whether any of
 * it is under way: then the sender must be rewound, for another producer.
 * With await, outbox_sender_is_done() says so only when that is reported.
 */
bool
outbox_sender_withdraw(OutboxSender *sender, bool await)
{
	OutboxSource *source = sender->source;
	OutboxWindow *window = sender->window;
	OutboxSpoolRun run;
	bool		under_way = false;

	/* what is being sent may be acknowledged, and freed, by what follows */
	if (sender->length > 0 && sender->rest == NULL)
	{
		sender->length -= sender->sent;
		sender->rest = MemoryContextAllocHuge(sender->context, sender->length);
		memcpy(sender->rest, sender->piece + sender->sent, sender->length);
		sender->piece = sender->rest;
		sender->sent = 0;
	}

	source->rewind(source);
	while (source->next(source, &run) && run.first <= window->sent)
	{
		const char *frame = run.data;
		const char *end = run.data + run.length;

		for (; frame < end; frame += outbox_courier_frame_length(frame))
		{
			OutboxEventView event;

			check_frame(frame, end);
			outbox_event_view(&event, frame);
			if (event.event.number > window->sent)
				break;
			if (!source->excludes(source, &event))
				continue;
			if (outbox_window_is_acknowledged(window, event.event.number))
				source->settle(source, &event);
			else
			{
				outbox_window_leave_out(window, event.event.number);
				if (event.event.number <= sender->reached)
				{
					note_withdrawn(sender, &event);
					under_way = true;
				}
			}
		}
	}
	source->rewind(source);
	memset(&sender->run, 0, sizeof(sender->run));
	sender->next = NULL;
	sender->await_withdrawn |= await && under_way;
	return under_way;
}

static void
note_withdrawn(OutboxSender *sender, const OutboxEventView *event)
{
	Withdrawn  *withdrawn;

	if (sender->withdrawn == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(uint64);
		control.entrysize = sizeof(Withdrawn);
		control.hcxt = sender->context;
		sender->withdrawn = hash_create("outbox withdrawn", 64, &control,
										HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	withdrawn = hash_search(sender->withdrawn, &event->event.number, HASH_ENTER, NULL);
	withdrawn->hold = outbox_holds_find(sender->source->holds, event->topic,
										event->event.topic_length, event->key,
										event->event.key_length);
	memcpy(withdrawn->uid, event->event.uid, sizeof(withdrawn->uid));
}

/*
 * The producer acknowledged an event that the window does not wait for.  If it
 * was taken back, it need not be sent again when its scope comes back.
 */
void
outbox_sender_acknowledged(OutboxSender *sender, uint64 number)
{
	Withdrawn  *withdrawn;

	if (sender->withdrawn == NULL)
		return;
	withdrawn = hash_search(sender->withdrawn, &number, HASH_FIND, NULL);
	if (withdrawn == NULL)
		return;
	outbox_hold_settle(sender->source->holds, withdrawn->hold, withdrawn->uid);
	(void) hash_search(sender->withdrawn, &number, HASH_REMOVE, NULL);
}

/*
 * Takes the next frames from the source that are to be sent: a whole run, or
 * where some of it may not be sent, or not so, the next part that may.  A
 * piece that is sent is followed at once by the next call, so acknowledgements
 * never make the source free a run that is not done with.
 */
static bool
take_piece(OutboxSender *sender)
{
	OutboxSource *source = sender->source;
	OutboxWindow *window = sender->window;
	OutboxSuspects *suspects = sender->suspects;

	for (;;)
	{
		const char *end = sender->run.data + sender->run.length;
		const char *frame;
		bool		alone = false;

		if (sender->next == NULL || sender->next == end)
		{
			if (!next_run(sender))
				return false;
			end = sender->run.data + sender->run.length;
		}

		if (sender->next == sender->run.data && sender->run.first > window->sent &&
			!source->excluding &&
			(outbox_suspects_none(suspects) || sender->run.last < suspects->first))
		{
			sender->piece = sender->next;
			sender->length = sender->run.length;
			sender->next = end;
			sender->reached = window->sent = sender->run.last;
			return true;
		}

		/* frames that follow each other and may be sent make a piece */
		sender->piece = frame = sender->next;
		while (frame < end && !alone)
		{
			OutboxEventView event;
			OutboxMaySend may_send;
			Size		length;

			check_frame(frame, end);
			length = outbox_courier_frame_length(frame);
			outbox_event_view(&event, frame);

			if (!outbox_window_is_acknowledged(window, event.event.number) &&
				source->excluding && source->excludes(source, &event))
				outbox_window_leave_out(window, event.event.number);
			if (outbox_window_is_acknowledged(window, event.event.number) ||
				event.event.number <= sender->reached)
			{
				if (frame > sender->piece)
					break;
				sender->piece = frame += length;
				continue;
			}

			may_send = outbox_suspects_may_send(suspects, window, &event);
			if (may_send != OUTBOX_SEND && frame > sender->piece)
				break;
			if (may_send == OUTBOX_SEND_LATER)
			{
				sender->next = frame;
				return false;
			}
			if (may_send == OUTBOX_SEND_OTHERS_FIRST)
			{
				sender->piece = frame += length;
				continue;
			}
			alone = outbox_suspects_has(suspects, event.event.number);
			if (alone)
			{
				if (frame > sender->piece)
					break;
				outbox_suspects_sent(suspects, &event, frame);
			}
			outbox_event_frame_set_flags(unconstify(char *, frame), alone ? FRAME_EVENT_ALONE : 0);
			window->sent = Max(window->sent, event.event.number);
			sender->reached = event.event.number;
			frame += length;
		}
		sender->next = frame;
		sender->length = frame - sender->piece;
		if (sender->length > 0)
			return true;
	}
}

static void
end_piece(OutboxSender *sender)
{
	sender->length = sender->sent = 0;
	if (sender->rest != NULL)
		pfree(sender->rest);
	sender->rest = NULL;
}

/*
 * A run is a chunk of the spool, some thousand events at most, and must fit
 * into the window as a whole.  What was sent before has its place.
 */
static bool
next_run(OutboxSender *sender)
{
	OutboxWindow *window = sender->window;

	if (sender->run.last >= window->sent &&
		window->sent - window->low_water >= OUTBOX_WINDOW_SIZE / 2)
		return false;
	if (!sender->source->next(sender->source, &sender->run))
		return false;
	sender->next = sender->run.data;
	return true;
}

/* A frame that overruns its run is damage. */
static void
check_frame(const char *frame, const char *end)
{
	Size		left = end - frame;

	if (left < sizeof(FrameHeader) + sizeof(FrameEvent) ||
		outbox_courier_frame_length(frame) > left)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the spool of a batch is damaged")));
}
