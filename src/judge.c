/*-------------------------------------------------------------------------
 *
 * judge.c
 *	  Deciding what a refusal, a topic's trouble or a death means.
 *
 * What the producer reports is about a record, a topic, the connection or the
 * client.  Here it becomes one of three things: an event that was refused
 * alone, for its own content, is a dead letter (or, after many in a row, its
 * topic is held); a topic that takes no events for a while is held; and when
 * it is not clear which event is at fault, those in question are suspects.
 * Nothing else ever makes a dead letter or stops other events (G6, G7).
 *
 * A producer that dies again and again over the same events may be killed by
 * one of them.  Then they are sent one at a time, and an event is guilty only
 * if it kills three producers, while another one sent between two deaths is
 * acknowledged each time: else the fault may be elsewhere.
 *
 * IDENTIFICATION
 *	  src/judge.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "judge.h"
#include "shmem.h"

/* Deaths over the same events before they are sent one at a time. */
#define DEATHS_BEFORE_SUSPICION	3

/* Deaths of producers that an event alone must cause to be guilty. */
#define DEATHS_OF_THE_GUILTY	3

/*
 * A run of dead letters ends when the next one is later than this (ms): events
 * of the topic that are published between are not looked at.
 */
#define RUN_INTERVAL			10000

/* What stops all suspects is tried again this often (ms). */
#define STOP_TIME				5000

/*
 * The socket is full and nothing was acknowledged for so long (ms): a topic
 * that is in trouble holds up the others.
 */
#define STUCK_TIME				500

/* Kafka's code for a record, or a batch of them, over the limit. */
#define MESSAGE_TOO_LARGE		10

/*
 * Limits of producer batches, in bytes: a quarter of librdkafka's default, then
 * a quarter of that, down to where each event is in a batch of its own.
 */
#define FIRST_BATCH_SIZE		250000
#define BATCH_SIZE_PARTS		4
#define LAST_BATCH_SIZE			1

/* Kafka's longest name of a topic, and a NUL. */
#define TOPIC_SIZE				(OUTBOX_MAX_TOPIC_LENGTH + 1)

/* A topic that the producer said takes no events. */
typedef struct TroubledTopic
{
	dlist_node	node;
	char		topic[TOPIC_SIZE];
	int			class;
	int			code;
	char	   *text;
	bool		blocks;			/* nothing behind its events is taken */
	TimestampTz since;
} TroubledTopic;

/* Dead letters of a topic without anything else between. */
typedef struct LetterRun
{
	char		topic[TOPIC_SIZE];
	int			count;
	TimestampTz last;
} LetterRun;

struct OutboxJudge
{
	OutboxSource *source;
	OutboxWindow *window;
	OutboxSender *sender;
	OutboxSuspects *suspects;
	MemoryContext context;
	HTAB	   *topics;			/* what is set for them */
	dlist_head	troubled;
	HTAB	   *runs;

	/* events refused by this producer, not alone, for their content */
	uint64		refused_first;	/* 0: none */
	uint64		refused_last;
	bool		refused_for_size;

	/* producer batches: limited after one that no single event was to blame for */
	int			batch_size;		/* bytes; 0: as configured */
	bool		size_incident;	/* the last refusal was for size, */
	int			letters;		/* and made so many dead letters */

	bool		replace;		/* held events may be under way: reap them */
	bool		too_many;		/* topics are held: it was said */
	TimestampTz stopped_until;	/* suspects are not sent before */
	int			shown;			/* class of the error shown for what stops the
								 * stream; 0: none */
	TimestampTz turned_at;		/* the last turn */
	uint64		seen_low_water;
	TimestampTz progress_at;	/* when it moved last */

	/* deaths without progress between */
	int			deaths;
	uint64		death_low_water;
	uint64		killer;			/* number of the event that was alone; 0: none */
	int			kills;
};

static bool hold(OutboxJudge *judge, const char *topic, OutboxHoldReason reason,
				 const OutboxTrouble *trouble);
static void stop(OutboxJudge *judge);
static void show_error(OutboxJudge *judge, int class, const char *text, const char *hint);
static void clear_error(OutboxJudge *judge);
static bool is_held(OutboxJudge *judge, const char *topic);
static char *uid_text(const uint8 *uid);
static void sentence(OutboxJudge *judge, OutboxSuspect *suspect, const OutboxTrouble *trouble);
static int	run_length(OutboxJudge *judge, const char *topic);
static void forget_troubled(OutboxJudge *judge, TroubledTopic *troubled);

OutboxJudge *
outbox_judge_create(OutboxSource *source, OutboxWindow *window, OutboxSender *sender,
					OutboxSuspects *suspects, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "outbox judge", ALLOCSET_SMALL_SIZES);
	OutboxJudge *judge = MemoryContextAllocZero(context, sizeof(OutboxJudge));
	HASHCTL		control = {0};

	judge->source = source;
	judge->window = window;
	judge->sender = sender;
	judge->suspects = suspects;
	judge->context = context;
	dlist_init(&judge->troubled);
	control.keysize = TOPIC_SIZE;
	control.entrysize = sizeof(LetterRun);
	control.hcxt = context;
	judge->runs = hash_create("outbox runs of letters", 16, &control,
							  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	return judge;
}

/* What is set for single topics, from now on. */
void
outbox_judge_topics(OutboxJudge *judge, HTAB *topics)
{
	judge->topics = topics;
	judge->stopped_until = 0;
}

/*
 * A topic does not take events, or with code 0, does again.  blocks says that
 * nothing behind its events is taken either.
 */
void
outbox_judge_topic(OutboxJudge *judge, const char *topic, const OutboxTrouble *trouble,
				   bool blocks)
{
	TroubledTopic *troubled = NULL;
	dlist_iter	iter;

	dlist_foreach(iter, &judge->troubled)
	{
		TroubledTopic *other = dlist_container(TroubledTopic, node, iter.cur);

		if (strcmp(other->topic, topic) == 0)
			troubled = other;
	}
	if (trouble->code == 0)
	{
		if (troubled != NULL)
			forget_troubled(judge, troubled);
		return;
	}
	if (is_held(judge, topic) || strlen(topic) >= TOPIC_SIZE)
		return;

	if (troubled == NULL)
	{
		troubled = MemoryContextAllocZero(judge->context, sizeof(TroubledTopic));
		strlcpy(troubled->topic, topic, TOPIC_SIZE);
		troubled->since = GetCurrentTimestamp();
		dlist_push_tail(&judge->troubled, &troubled->node);
	}
	else
		pfree(troubled->text);
	troubled->class = trouble->class;
	troubled->code = trouble->code;
	troubled->text = MemoryContextStrdup(judge->context, trouble->text);
	troubled->blocks = blocks;
}

/*
 * An event was refused.  If it was not alone, its whole producer batch was, and
 * the producer ends: what that means is decided then.
 */
void
outbox_judge_refused(OutboxJudge *judge, uint64 number, const char *topic,
					 const OutboxTrouble *trouble, bool alone)
{
	OutboxSuspect *suspect;

	if (trouble->class == FRAME_CLASS_TOPIC)
	{
		bool		held = is_held(judge, topic) ||
			hold(judge, topic, OUTBOX_HOLD_ERROR, trouble);

		/* without a hold the main stream stops, and tries it again */
		suspect = outbox_suspects_find(judge->suspects, number);
		if (suspect != NULL)
		{
			outbox_suspects_reported(judge->suspects, suspect);
			if (!held)
				stop(judge);
		}
		else if (held)
			judge->replace = true;
		return;
	}
	if (!alone)
	{
		if (trouble->class == FRAME_CLASS_RECORD)
		{
			if (judge->refused_first == 0)
				judge->refused_first = judge->refused_last = number;
			judge->refused_for_size |= trouble->code == MESSAGE_TOO_LARGE;
			judge->refused_first = Min(judge->refused_first, number);
			judge->refused_last = Max(judge->refused_last, number);
		}
		return;
	}

	suspect = outbox_suspects_find(judge->suspects, number);
	if (suspect == NULL)
		return;
	if (trouble->class == FRAME_CLASS_RECORD)
		sentence(judge, suspect, trouble);
	else
	{
		/* no fault of its own: it goes again, to another producer */
		outbox_suspects_reported(judge->suspects, suspect);
		judge->replace = true;
	}
}

/* An event is acknowledged, which may be a suspect. */
void
outbox_judge_acknowledged(OutboxJudge *judge, uint64 number)
{
	OutboxSuspect *suspect = outbox_suspects_find(judge->suspects, number);
	OutboxEventView event;
	char		topic[TOPIC_SIZE];

	if (!judge->suspects->stopped)
		clear_error(judge);
	if (suspect == NULL)
		return;

	outbox_event_view(&event, suspect->frame);
	memcpy(topic, event.topic, event.event.topic_length);
	topic[event.event.topic_length] = '\0';
	(void) hash_search(judge->runs, topic, HASH_REMOVE, NULL);
	outbox_suspects_reported(judge->suspects, suspect);

	/* one was acknowledged between: the one that may kill is next again */
	if (judge->suspects->postponed != 0 && judge->suspects->count == 0)
	{
		judge->suspects->postponed = 0;
		outbox_sender_take_again(judge->sender);
	}
}

/*
 * The producer is dead and reaped.  crashed says that it said nothing before.
 * Returns true if it is known what to do about it, so that the next one may
 * start at once.
 */
bool
outbox_judge_died(OutboxJudge *judge, bool crashed)
{
	OutboxWindow *window = judge->window;
	OutboxSuspects *suspects = judge->suspects;
	bool		known = judge->replace;

	if (judge->refused_first != 0)
	{
		/*
		 * The broker applies a topic's max.message.bytes to the whole producer
		 * batch.  If no event of the last one was too large by itself, smaller
		 * batches are the cure.
		 */
		if (judge->refused_for_size && judge->size_incident && judge->letters == 0)
			judge->batch_size = judge->batch_size == 0 ? FIRST_BATCH_SIZE :
				Max(judge->batch_size / BATCH_SIZE_PARTS, LAST_BATCH_SIZE);
		judge->size_incident = judge->refused_for_size;
		judge->letters = 0;
		outbox_suspects_add(suspects, judge->refused_first, judge->refused_last,
							OUTBOX_MAX_SUSPECTS);
		known = true;
	}
	else if (crashed && window->sent > window->low_water)
	{
		if (judge->deaths == 0 || judge->death_low_water != window->low_water)
			judge->deaths = 0;
		judge->deaths++;
		judge->death_low_water = window->low_water;

		if (suspects->limit == 1 && suspects->count == 1)
		{
			OutboxSuspect *suspect = suspects->suspect;

			while (suspect->number == 0)
				suspect++;
			judge->kills = judge->killer == suspect->number ? judge->kills + 1 : 1;
			judge->killer = suspect->number;
			if (judge->kills >= DEATHS_OF_THE_GUILTY)
			{
				OutboxTrouble trouble = {FRAME_CLASS_CLIENT, 0,
				"three producers died while they had nothing but this event to send"};

				sentence(judge, suspect, &trouble);
				judge->killer = 0;
				judge->kills = 0;
			}
			else
				outbox_suspects_postpone(suspects, suspect);
		}
		else if (judge->deaths >= DEATHS_BEFORE_SUSPICION)
			outbox_suspects_add(suspects, window->low_water + 1, window->sent, 1);
	}
	outbox_judge_forget(judge);
	return known;
}

/* Whether an error is shown that says more than that a producer failed so. */
bool
outbox_judge_explains(const OutboxJudge *judge, int class)
{
	return judge->shown == class;
}

/* Whether an error is shown for what stops the whole stream. */
bool
outbox_judge_shows_error(const OutboxJudge *judge)
{
	return judge->shown != 0;
}

/* What the producer said does not matter for the next one. */
void
outbox_judge_forget(OutboxJudge *judge)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &judge->troubled)
		forget_troubled(judge, dlist_container(TroubledTopic, node, iter.cur));
	judge->refused_first = 0;
	judge->refused_for_size = false;
	judge->replace = false;
}

/*
 * Holds the topics that took no events for too long, or that are in the way of
 * all others.  Returns whether the producer must be replaced: events of a held
 * topic may be under way, and may not be sent again before they are not.
 */
bool
outbox_judge_turn(OutboxJudge *judge, TimestampTz now)
{
	OutboxSuspects *suspects = judge->suspects;
	bool		stuck;
	dlist_mutable_iter iter;

	judge->turned_at = now;
	if (judge->window->low_water != judge->seen_low_water)
	{
		judge->seen_low_water = judge->window->low_water;
		judge->progress_at = now;
	}
	stuck = outbox_sender_is_blocked(judge->sender) &&
		now >= TimestampTzPlusMilliseconds(judge->progress_at, STUCK_TIME);

	dlist_foreach_modify(iter, &judge->troubled)
	{
		TroubledTopic *troubled = dlist_container(TroubledTopic, node, iter.cur);
		OutboxTrouble trouble = {troubled->class, troubled->code, troubled->text};

		if ((troubled->blocks || stuck ||
			 now >= TimestampTzPlusMilliseconds(troubled->since, outbox_topic_timeout)) &&
			hold(judge, troubled->topic, OUTBOX_HOLD_ERROR, &trouble))
			forget_troubled(judge, troubled);
	}

	if (suspects->stopped && suspects->count == 0 && now >= judge->stopped_until)
	{
		suspects->stopped = false;
		outbox_sender_take_again(judge->sender);
	}

	/* nothing but the suspect that kills, or what is of its key, is left */
	if (suspects->postponed != 0 && suspects->count == 0 &&
		suspects->passed_over && !outbox_sender_is_blocked(judge->sender))
	{
		suspects->postponed = 0;
		judge->kills = 0;
		outbox_sender_take_again(judge->sender);
	}
	return judge->replace;
}

/* How large a producer batch may be, in bytes; 0: as configured. */
int
outbox_judge_batch_size(const OutboxJudge *judge)
{
	return judge->batch_size;
}

/* When to call outbox_judge_turn() again; 0: no need. */
TimestampTz
outbox_judge_due(const OutboxJudge *judge)
{
	TimestampTz due = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &unconstify(OutboxJudge *, judge)->troubled)
	{
		TroubledTopic *troubled = dlist_container(TroubledTopic, node, iter.cur);
		TimestampTz at = TimestampTzPlusMilliseconds(troubled->since, outbox_topic_timeout);

		/* one that could not be held is tried again in the turns to come */
		if (at <= judge->turned_at)
			continue;
		due = due == 0 ? at : Min(due, at);
	}
	return due;
}

/* Returns false if it cannot be: too many are held. */
static bool
hold(OutboxJudge *judge, const char *topic, OutboxHoldReason reason, const OutboxTrouble *trouble)
{
	OutboxHolds *holds = judge->source->holds;

	if (holds->topics >= outbox_max_held_topics &&
		outbox_holds_find_exactly(holds, topic, strlen(topic), NULL, 0) == NULL)
	{
		const char *text = psprintf("topic \"%s\" takes no events, and %d topics are held already: %s",
									topic, holds->topics, trouble->text);
		const char *hint = "Mend the topics in outbox.held_topic, or raise outbox.max_held_topics.";

		show_error(judge, trouble->class, text, hint);
		if (!judge->too_many)
			ereport(LOG,
					(errmsg("%s", text),
					 errhint("%s", hint)));
		judge->too_many = true;
		return false;
	}
	judge->too_many = false;
	if (judge->source->hold_topic(judge->source, topic, reason, trouble) == NULL)
		return false;
	clear_error(judge);
	if (outbox_sender_withdraw(judge->sender, false))
		judge->replace = true;
	ereport(LOG,
			(errmsg("topic \"%s\" is held: %s", topic, trouble->text),
			 errdetail("Its events wait in order, and those of other topics go on."),
			 errhint("%s", outbox_trouble_hint(trouble->class, trouble->code))));
	return true;
}

/* No suspect is sent for a while: one of them waits for a person. */
static void
stop(OutboxJudge *judge)
{
	judge->suspects->stopped = true;
	judge->stopped_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), STOP_TIME);
}

static void
show_error(OutboxJudge *judge, int class, const char *text, const char *hint)
{
	outbox_slot_set_error(class, text, hint);
	judge->shown = class;
}

/* The stream goes on; an error that was shown since is not over by that. */
static void
clear_error(OutboxJudge *judge)
{
	if (judge->shown != 0 && outbox_my_slot->error_class == judge->shown)
		outbox_slot_clear_error();
	judge->shown = 0;
}

static bool
is_held(OutboxJudge *judge, const char *topic)
{
	OutboxHold *held = outbox_holds_find_exactly(judge->source->holds, topic, strlen(topic),
												 NULL, 0);

	return held != NULL && held->join == 0;
}

/* The event is guilty. */
static void
sentence(OutboxJudge *judge, OutboxSuspect *suspect, const OutboxTrouble *trouble)
{
	OutboxEventView event;
	const OutboxTopic *setting;
	char	   *frame = suspect->frame;
	int			length;
	OutboxOnRefusal on_refusal = OUTBOX_ON_REFUSAL_PARK;
	OutboxRefusal refusal = OUTBOX_REFUSAL_TOO_MANY;
	char		topic[TOPIC_SIZE];
	uint64		number = suspect->number;

	suspect->frame = palloc(1);	/* the frame is needed for longer */
	outbox_event_view(&event, frame);
	memcpy(topic, event.topic, event.event.topic_length);
	topic[event.event.topic_length] = '\0';
	setting = outbox_topics_find(judge->topics, topic);
	if (setting != NULL)
		on_refusal = setting->on_refusal;

	outbox_suspects_reported(judge->suspects, suspect);
	if (on_refusal == OUTBOX_ON_REFUSAL_STOP)
	{
		const char *text = psprintf("an event of topic \"%s\" was refused, and the topic is set to stop then: %s",
									topic, trouble->text);
		const char *hint = outbox_trouble_hint(trouble->class, trouble->code);

		/* it is tried again and again, and told once */
		if (judge->shown == 0)
			ereport(LOG,
					(errmsg("%s", text),
					 hint ? errhint("%s", hint) : 0));
		show_error(judge, trouble->class, text, hint);
		stop(judge);
		pfree(frame);
		return;
	}

	length = run_length(judge, topic);
	if (length < outbox_dead_letter_limit)
		refusal = judge->source->refuse(judge->source, number, &event,
										on_refusal == OUTBOX_ON_REFUSAL_PARK, trouble);
	switch (refusal)
	{
		case OUTBOX_REFUSAL_IGNORED:
			break;
		case OUTBOX_REFUSAL_SETTLED:
			clear_error(judge);
			/* the first of a run is told: the view has them all */
			ereport(length == 0 ? LOG : DEBUG1,
					(errmsg("an event of topic \"%s\" is a dead letter: %s", topic, trouble->text),
					 errdetail("Its uid is %s.", uid_text(event.event.uid)),
					 errhint("Mend the cause and call outbox_retry(), or call outbox_discard().")));
			outbox_window_leave_out(judge->window, number);
			judge->letters++;
			break;
		case OUTBOX_REFUSAL_TOO_MANY:
			/* when the topic is back, the count starts again */
			(void) hash_search(judge->runs, topic, HASH_REMOVE, NULL);
			if (!hold(judge, topic, OUTBOX_HOLD_REFUSED, trouble))
				stop(judge);
			break;
	}
	pfree(frame);
}

/* How many letters of the topic there were in a row, before this one. */
static int
run_length(OutboxJudge *judge, const char *topic)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		found;
	LetterRun  *run = hash_search(judge->runs, topic, HASH_ENTER, &found);
	int			length;

	if (!found || now > TimestampTzPlusMilliseconds(run->last, RUN_INTERVAL))
		run->count = 0;
	length = run->count++;
	run->last = now;
	return length;
}

static char *
uid_text(const uint8 *uid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, PointerGetDatum(uid)));
}

static void
forget_troubled(OutboxJudge *judge, TroubledTopic *troubled)
{
	dlist_delete(&troubled->node);
	pfree(troubled->text);
	pfree(troubled);
}
