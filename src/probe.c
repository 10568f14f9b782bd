/*-------------------------------------------------------------------------
 *
 * probe.c
 *	  Trying what is held: the first events of held topics, and dead letters.
 *
 * A held topic is tried with its first event, sent alone; when that is
 * acknowledged, the topic joins the main stream again.  A dead letter is sent
 * again, alone, when somebody asks for it; when it is acknowledged or
 * discarded, its key joins.  All that this file writes is asked for in the
 * tables, so a crash at any point only means to do it again.
 *
 * IDENTIFICATION
 *	  src/probe.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "barrier.h"
#include "dead_letter.h"
#include "probe.h"
#include "session.h"
#include "shmem.h"
#include "topic.h"

/*
 * A held topic is tried after a second, then less and less often, but so that
 * it is back within seconds (ms).
 */
#define FIRST_TRY_INTERVAL	1000
#define LAST_TRY_INTERVAL	5000

/* Under way when no more topics are tried; the rest is for letters and suspects. */
#define MAX_TOPICS			(FRAME_MAX_ALONE / 2)

/* Letters sent again at a time; the rest of what may be alone is for others. */
#define MAX_LETTERS			16

StaticAssertDecl(MAX_TOPICS + MAX_LETTERS + OUTBOX_MAX_SUSPECTS <= FRAME_MAX_ALONE,
				 "more events than FRAME_MAX_ALONE could be under way alone");

/* Letters whose topic takes no events are tried again this often (ms). */
#define LETTER_INTERVAL		5000

/* A letter whose row somebody has locked is looked at again this often (ms). */
#define LOCKED_INTERVAL		1000

/* A larger frame of a first event is not kept from one try to the next. */
#define MAX_KEPT_FRAME		(64 * 1024)

/* Something that was sent. */
typedef struct Trial
{
	uint64		number;
	OutboxHold *hold;			/* of the topic that is tried; NULL: a letter */
	OutboxHold *key;			/* of the key that a copy belongs to; else NULL */
	OutboxLetter *letter;
	char	   *frame;
	bool		sent;			/* it is not, while the socket is full */
	bool		acknowledged;	/* of a letter: its row is to go, but was locked */
	MemoryContext context;		/* of all of it */
} Trial;

struct OutboxProbe
{
	OutboxSource *source;
	OutboxSender *sender;
	MemoryContext context;
	List	   *trials;			/* under way */
	uint64		next_number;
	bool		letters_wait;	/* there may be requests to look at */
	TimestampTz letters_due;	/* not before */
	bool		letters_changed;	/* since somebody asked */
	TimestampTz locked_due;		/* when to look again whether rows are locked;
								 * 0: none was */
};

static void try_topic(OutboxProbe *probe, OutboxHold *hold, TimestampTz now);
static void do_requests(OutboxProbe *probe);
static Trial *add_trial(OutboxProbe *probe);
static List *letters_under_way(OutboxProbe *probe);
static bool take_copies(OutboxProbe *probe);
static bool letter_published(OutboxProbe *probe, Trial *trial);
static void settle_letter(OutboxProbe *probe, const OutboxLetter *letter);
static Trial *find_trial(OutboxProbe *probe, uint64 number);
static void end_trial(OutboxProbe *probe, Trial *trial);
static bool is_due(OutboxProbe *probe, const OutboxHold *hold);
static bool is_tried(OutboxProbe *probe, const OutboxHold *hold);
static OutboxLetter *copy_letter(const OutboxLetter *letter, MemoryContext context);

OutboxProbe *
outbox_probe_create(OutboxSource *source, OutboxSender *sender, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "outbox probe", ALLOCSET_SMALL_SIZES);
	OutboxProbe *probe = MemoryContextAllocZero(context, sizeof(OutboxProbe));

	probe->source = source;
	probe->sender = sender;
	probe->context = context;
	probe->next_number = OUTBOX_PROBE_FIRST_NUMBER;
	probe->letters_wait = true;
	return probe;
}

/*
 * Somebody asked for something: to retry or discard letters, or to pause
 * topics or not to, as topics says.  Returns whether events of a topic that is
 * paused now are under way, so that the producer must be replaced.
 */
bool
outbox_probe_requested(OutboxProbe *probe, HTAB *topics)
{
	OutboxSource *source = probe->source;
	HASH_SEQ_STATUS status;
	const OutboxTopic *topic;
	List	   *paused = NIL;
	ListCell   *lc;
	bool		under_way = false;
	dlist_iter	iter;

	probe->letters_wait = true;
	probe->letters_due = 0;

	dlist_foreach(iter, &source->holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

		if (hold->key != NULL || hold->reason != OUTBOX_HOLD_PAUSED || hold->join != 0)
			continue;
		topic = outbox_topics_find(topics, hold->topic);
		if (topic == NULL || !topic->paused)
			hold->wants_join = true;
	}

	/* a scan of the table would not survive the transactions of hold_topic() */
	hash_seq_init(&status, topics);
	while ((topic = hash_seq_search(&status)) != NULL)
		if (topic->paused)
			paused = lappend(paused, pstrdup(topic->topic));

	foreach(lc, paused)
	{
		const char *name = lfirst(lc);
		OutboxHold *hold = outbox_holds_find_exactly(source->holds, name, strlen(name), NULL, 0);

		if (hold != NULL && hold->reason == OUTBOX_HOLD_PAUSED && hold->join == 0)
		{
			hold->wants_join = false;
			continue;
		}
		/* what is tried must not bring it back */
		under_way |= hold != NULL && is_tried(probe, hold);
		if (source->hold_topic(source, name, OUTBOX_HOLD_PAUSED, NULL) == NULL)
			break;
		under_way |= outbox_sender_withdraw(probe->sender, true);
	}
	return under_way;
}

/* Sends what is due.  The courier takes events. */
void
outbox_probe_turn(OutboxProbe *probe, OutboxCourier *courier, TimestampTz now)
{
	dlist_iter	iter;
	ListCell   *lc;

	if (probe->locked_due != 0 && now >= probe->locked_due)
	{
		probe->locked_due = 0;
		foreach(lc, probe->trials)
		{
			Trial	   *trial = lfirst(lc);

			if (trial->acknowledged && letter_published(probe, trial))
			{
				probe->trials = foreach_delete_current(probe->trials, lc);
				MemoryContextDelete(trial->context);
			}
		}
	}

	dlist_foreach(iter, &probe->source->holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

		if (is_due(probe, hold) && now >= hold->next_try &&
			list_length(probe->trials) < MAX_TOPICS)
			try_topic(probe, hold, now);
	}
	if (probe->letters_wait && now >= probe->letters_due && !probe->source->gone)
		do_requests(probe);

	foreach(lc, probe->trials)
	{
		Trial	   *trial = lfirst(lc);

		if (!trial->sent)
			trial->sent = outbox_sender_send_frame(probe->sender, courier, trial->frame);
	}
}

void
outbox_probe_acknowledged(OutboxProbe *probe, uint64 number)
{
	Trial	   *trial = find_trial(probe, number);

	if (trial == NULL || trial->acknowledged)
		return;
	if (trial->hold != NULL)
	{
		OutboxEventView event;

		outbox_event_view(&event, trial->frame);
		outbox_hold_settle(probe->source->holds, trial->hold, event.event.uid);
		/* it may have been paused meanwhile */
		if (trial->hold->reason != OUTBOX_HOLD_PAUSED)
		{
			trial->hold->wants_join = true;
			ereport(LOG,
					(errmsg("topic \"%s\" takes events again", trial->hold->topic)));
		}
	}
	else if (!letter_published(probe, trial))
		return;
	end_trial(probe, trial);
}

void
outbox_probe_refused(OutboxProbe *probe, uint64 number, const OutboxTrouble *trouble)
{
	Trial	   *trial = find_trial(probe, number);

	if (trial == NULL)
		return;
	if (trial->hold != NULL && trouble->class == FRAME_CLASS_RECORD &&
		trial->hold->reason == OUTBOX_HOLD_ERROR)
	{
		/* the topic is well: the event is met again, and judged, in the stream */
		trial->hold->wants_join = true;
	}
	else if (outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
	{
		outbox_session_use_snapshot();
		if (trial->hold != NULL)
			outbox_hold_note(trial->hold, trouble, false);
		else if (trouble->class == FRAME_CLASS_RECORD && outbox_dead_letter_lock(trial->letter->uid))
		{
			outbox_dead_letter_refused(trial->letter->uid, trouble);
			if (trial->key != NULL)
				trial->key->settled_letter = false;
		}
		else
			probe->letters_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
															 LETTER_INTERVAL);
		outbox_session_commit();
		probe->letters_wait = true;
	}
	end_trial(probe, trial);
}

/*
 * The producer is dead and reaped: nothing is under way.  Of letters that were
 * when it crashed, one may have killed it: whoever wants that asks again.
 */
void
outbox_probe_forget(OutboxProbe *probe, bool crashed)
{
	ListCell   *lc;

	foreach(lc, probe->trials)
	{
		Trial	   *trial = lfirst(lc);

		if (trial->acknowledged)
			continue;
		if (crashed && trial->letter != NULL && trial->key == NULL && trial->sent &&
			outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
		{
			outbox_session_use_snapshot();
			if (outbox_dead_letter_lock(trial->letter->uid))
				outbox_dead_letter_deadly(trial->letter->uid);
			outbox_session_commit();
		}
		probe->trials = foreach_delete_current(probe->trials, lc);
		MemoryContextDelete(trial->context);
	}
	probe->letters_wait = true;
}

/* Whether letters were published or discarded since the last call. */
bool
outbox_probe_changed_letters(OutboxProbe *probe)
{
	bool		changed = probe->letters_changed;

	probe->letters_changed = false;
	return changed;
}

/* Whether nothing is under way. */
bool
outbox_probe_is_done(const OutboxProbe *probe)
{
	ListCell   *lc;

	foreach(lc, probe->trials)
		if (!((Trial *) lfirst(lc))->acknowledged)
			return false;
	return true;
}

/* When to call outbox_probe_turn() again; 0: no need. */
TimestampTz
outbox_probe_due(const OutboxProbe *probe)
{
	TimestampTz due = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &probe->source->holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

		/* where too many are under way, one must be reported first */
		if (list_length(probe->trials) < MAX_TOPICS &&
			is_due(unconstify(OutboxProbe *, probe), hold))
			due = due == 0 ? hold->next_try : Min(due, hold->next_try);
	}
	if (probe->letters_wait && probe->letters_due != 0)
		due = due == 0 ? probe->letters_due : Min(due, probe->letters_due);
	if (probe->locked_due != 0)
		due = due == 0 ? probe->locked_due : Min(due, probe->locked_due);
	return due;
}

/* Whether the scope is a topic that is to be tried when it is time. */
static bool
is_due(OutboxProbe *probe, const OutboxHold *hold)
{
	return hold->key == NULL && hold->reason != OUTBOX_HOLD_PAUSED && hold->join == 0 &&
		!hold->wants_join && !is_tried(probe, hold);
}

/* Whether an event of the scope itself is under way. */
static bool
is_tried(OutboxProbe *probe, const OutboxHold *hold)
{
	ListCell   *lc;

	foreach(lc, probe->trials)
		if (((Trial *) lfirst(lc))->hold == hold || ((Trial *) lfirst(lc))->key == hold)
			return true;
	return false;
}

static void
try_topic(OutboxProbe *probe, OutboxHold *hold, TimestampTz now)
{
	int			interval = Min(FIRST_TRY_INTERVAL << Min(hold->attempts, 8), LAST_TRY_INTERVAL);
	Trial	   *trial;
	Size		length;

	/* what just failed is not well yet: the first try is after a while */
	hold->next_try = TimestampTzPlusMilliseconds(now, interval);
	if (hold->attempts++ == 0)
		return;

	if (hold->first_frame == NULL)
		hold->first_frame = probe->source->first_of(probe->source, hold);
	if (hold->first_frame == NULL)
	{
		/* nothing waits that could be tried */
		hold->wants_join = true;
		return;
	}
	trial = add_trial(probe);
	length = outbox_courier_frame_length(hold->first_frame);
	trial->hold = hold;
	trial->number = probe->next_number++;
	trial->frame = MemoryContextAllocHuge(trial->context, length);
	memcpy(trial->frame, hold->first_frame, length);
	outbox_event_frame_set_number(trial->frame, trial->number);
	if (length > MAX_KEPT_FRAME)
	{
		pfree(hold->first_frame);
		hold->first_frame = NULL;
	}
}

/* Discards, and makes ready to send, the letters for which it was asked. */
static void
do_requests(OutboxProbe *probe)
{
	List	   *under_way = letters_under_way(probe);
	List	   *letters;
	ListCell   *lc;
	OutboxBarrier barrier;
	int			limit = MAX_LETTERS - list_length(under_way);

	if (!outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
	{
		probe->source->gone = true;
		return;
	}
	outbox_session_use_snapshot();
	letters = outbox_dead_letters_discard(under_way);

	/* what does not fit now is for later; whoever asks again says so */
	probe->letters_wait = list_length(letters) > 0;
	probe->letters_due = 0;
	if (letters == NIL && outbox_dead_letters_discards_wait(under_way))
	{
		probe->letters_wait = true;
		probe->letters_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOCKED_INTERVAL);
	}
	probe->letters_changed |= letters != NIL;
	foreach(lc, letters)
	{
		OutboxLetter *letter = lfirst(lc);
		OutboxHold *topic = outbox_holds_find_exactly(probe->source->holds, letter->topic,
													  strlen(letter->topic), NULL, 0);

		settle_letter(probe, letter);

		/* a person has looked: the rest of the run is judged as it comes */
		if (topic != NULL && topic->reason == OUTBOX_HOLD_REFUSED && topic->join == 0 &&
			!is_tried(probe, topic))
			topic->wants_join = true;
	}

	letters = limit > 0 ? outbox_dead_letters_to_retry(under_way, limit, probe->next_number) : NIL;
	probe->next_number += list_length(letters);
	foreach(lc, letters)
	{
		Trial	   *trial = add_trial(probe);

		trial->letter = copy_letter(lfirst(lc), trial->context);
		trial->frame = trial->letter->frame;
		trial->number = outbox_event_frame_number(trial->frame);
	}

	outbox_barrier_begin(&barrier);
	barrier.too_many = true;
	barrier.count = take_copies(probe) ? 1 : 0;
	outbox_session_commit();

	/* no batch has had the copies, so no barrier was passed for them */
	outbox_barrier_wait(&barrier);
}

/* The letters that are being sent, as a list of OutboxLetter. */
static List *
letters_under_way(OutboxProbe *probe)
{
	List	   *letters = NIL;
	ListCell   *lc;

	foreach(lc, probe->trials)
	{
		Trial	   *trial = lfirst(lc);

		if (trial->letter != NULL)
			letters = lappend(letters, trial->letter);
	}
	return letters;
}

/*
 * The letter is acknowledged.  Returns false if that cannot be written down
 * yet, as somebody has locked its row: the trial stays until it can.
 */
static bool
letter_published(OutboxProbe *probe, Trial *trial)
{
	if (!outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
		return true;
	outbox_session_use_snapshot();
	trial->acknowledged = !outbox_dead_letter_lock(trial->letter->uid);
	if (trial->acknowledged)
		probe->locked_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOCKED_INTERVAL);
	else
	{
		outbox_dead_letter_published(trial->letter->uid);
		settle_letter(probe, trial->letter);
		probe->letters_wait = true;
		probe->letters_due = 0;
		probe->letters_changed = true;
	}
	outbox_session_commit();
	return !trial->acknowledged;
}

/*
 * A letter is published or discarded: if nothing else of its key is a dead
 * letter, the key comes back, behind it.  To be called in the transaction that
 * says so of the letter.
 */
static void
settle_letter(OutboxProbe *probe, const OutboxLetter *letter)
{
	OutboxHold *hold = NULL;

	if (letter->parks && letter->key != NULL)
		hold = outbox_holds_find_exactly(probe->source->holds, letter->topic,
										 strlen(letter->topic), letter->key, letter->key_length);
	if (hold == NULL)
		return;

	/*
	 * The row ends before the letter for which the key was parked.  A letter
	 * that came by a restore may have any id: what is below that is not
	 * published for it.
	 */
	if (hold->cursor.open != NULL && letter->id == hold->cursor.position + 1)
		outbox_hold_store(probe->source->holds, hold, hold->cursor.done, hold->cursor.open,
						  letter->id);
	if (outbox_dead_letter_parks(letter->topic, letter->key, letter->key_length))
		return;
	hold->settled_letter = true;
	probe->letters_wait = true;
}

/*
 * Keys whose letters are settled: the copies of what was parked go first, one
 * at a time, then the key comes back.  Returns whether there is a copy to send.
 */
static bool
take_copies(OutboxProbe *probe)
{
	dlist_iter	iter;
	bool		any = false;

	dlist_foreach(iter, &probe->source->holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);
		OutboxLetter *letter;
		OutboxHold *topic;
		Trial	   *trial;

		if (!hold->settled_letter || is_tried(probe, hold))
			continue;
		topic = outbox_holds_find_exactly(probe->source->holds, hold->topic, hold->topic_length,
										  NULL, 0);
		if (topic != NULL && topic->join == 0)
		{
			/* its topic takes no events now */
			probe->letters_wait = true;
			probe->letters_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
															 LETTER_INTERVAL);
			continue;
		}
		if (list_length(letters_under_way(probe)) >= MAX_LETTERS)
		{
			probe->letters_wait = true;
			continue;
		}
		letter = outbox_dead_letters_first_copy(hold, probe->next_number);
		if (letter == NULL)
		{
			hold->settled_letter = false;
			hold->wants_join = true;
			continue;
		}
		trial = add_trial(probe);
		trial->key = hold;
		trial->letter = copy_letter(letter, trial->context);
		trial->frame = trial->letter->frame;
		trial->number = probe->next_number++;
		any = true;
	}
	return any;
}

static Trial *
add_trial(OutboxProbe *probe)
{
	MemoryContext context = AllocSetContextCreate(probe->context, "outbox trial",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(probe->context);
	Trial	   *trial = MemoryContextAllocZero(context, sizeof(Trial));

	trial->context = context;
	probe->trials = lappend(probe->trials, trial);
	MemoryContextSwitchTo(old_context);
	return trial;
}

static Trial *
find_trial(OutboxProbe *probe, uint64 number)
{
	ListCell   *lc;

	foreach(lc, probe->trials)
		if (((Trial *) lfirst(lc))->number == number)
			return lfirst(lc);
	return NULL;
}

static void
end_trial(OutboxProbe *probe, Trial *trial)
{
	probe->trials = list_delete_ptr(probe->trials, trial);
	MemoryContextDelete(trial->context);
}

static OutboxLetter *
copy_letter(const OutboxLetter *letter, MemoryContext context)
{
	MemoryContext old_context = MemoryContextSwitchTo(context);
	OutboxLetter *copy = palloc(sizeof(OutboxLetter));
	Size		length = outbox_courier_frame_length(letter->frame);

	*copy = *letter;
	copy->topic = pstrdup(letter->topic);
	if (letter->key != NULL)
	{
		copy->key = palloc(letter->key_length + 1);
		memcpy(copy->key, letter->key, letter->key_length);
	}
	copy->frame = MemoryContextAllocHuge(context, length);
	memcpy(copy->frame, letter->frame, length);
	MemoryContextSwitchTo(old_context);
	return copy;
}
