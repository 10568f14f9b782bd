/*-------------------------------------------------------------------------
 *
 * inquiry.c
 *	  What the brokers are asked about topics, and what follows.
 *
 * Decides what the watcher asks and when: about topics whose events are old or
 * that were in trouble, about the connection alone if there are none.  The
 * publisher is told about a topic when that is news.
 *
 * An event that was sent alone and asked for a partition which its topic does
 * not have becomes a dead letter.  But a client says the same of a partition
 * that was added since it asked last, and of a topic that is being deleted.  So
 * such a refusal waits here as a doubt until a broker has said how many
 * partitions there are.
 *
 * IDENTIFICATION
 *	  src/producer/inquiry.c
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "clock.h"
#include "error_class.h"
#include "inquiry.h"
#include "memory.h"

/* An event that is older is reason to ask what is wrong with its topic. */
#define TOPIC_AGE_MS		2000

void
inquiry_init(Inquiry *inquiry, Notices *notices, Connection *connection,
			 TopicTable *topics)
{
	memset(inquiry, 0, sizeof(Inquiry));
	inquiry->notices = notices;
	inquiry->connection = connection;
	inquiry->topics = topics;
}

/*
 * Start to ask, about the connection by this client.  Returns false if there
 * can be no thread.
 */
bool
inquiry_start(Inquiry *inquiry, Client *client, int wake_fd)
{
	inquiry->watcher = watcher_start(client, wake_fd);
	return inquiry->watcher != NULL;
}

/*
 * Tell the publisher about a topic, if that is news.  code 0: it takes events;
 * blocks: an event of it is at the head of the input, and stays there.
 */
void
inquiry_set_trouble(Inquiry *inquiry, Topic *topic, int code, bool blocks)
{
	if (topic->trouble == code && (topic->blocks || !blocks))
		return;
	inquiry->troubled += (code != CODE_NONE) - (topic->trouble != CODE_NONE);
	topic->trouble = code;
	topic->blocks = blocks;
	if (code == CODE_NONE)
		inquiry->mended = clock_now();
	notice_topic(inquiry->notices, topic->name, code, blocks);
}

/* Keep the refusal of an event sent alone until a broker confirms it. */
void
inquiry_doubt(Inquiry *inquiry, const ClientRefusal *refusal)
{
	InquiryDoubt *doubt = &inquiry->doubts[inquiry->doubt_count++];

	doubt->refusal = *refusal;
	doubt->asked = false;
}

/* Whether there is anything to ask about beside topics with old events. */
bool
inquiry_is_needed(const Inquiry *inquiry)
{
	return inquiry->troubled > 0 || inquiry->doubt_count > 0 ||
		inquiry->connection->state != CONNECTION_UP ||
		inquiry->connection->ask_now;
}

static void
add_question(Inquiry *inquiry, int *count, Client *client, Topic *topic)
{
	if (*count == inquiry->size)
	{
		inquiry->size = inquiry->size == 0 ? 16 : inquiry->size * 2;
		inquiry->questions = memory_resize(inquiry->questions,
										   inquiry->size * sizeof(WatcherAnswer));
	}
	memset(&inquiry->questions[*count], 0, sizeof(WatcherAnswer));
	inquiry->questions[*count].client = client;
	inquiry->questions[*count].topic = topic;
	(*count)++;
}

/*
 * Ask what there is to ask, unless a question is under way.  The clients are
 * by ClientKind; NULL for one that was not made yet.
 */
void
inquiry_ask(Inquiry *inquiry, Client *const *clients, int64_t now)
{
	Topic	   *topic;
	int			count = 0;
	int			i;

	for (topic = inquiry->topics->made; topic != NULL; topic = topic->next_made)
	{
		Client	   *client = clients[CLIENT_MAIN];

		topic_turn(topic, now);
		if (topic->trouble == CODE_NONE && topic_age(topic, now) < TOPIC_AGE_MS)
			continue;
		if (!client_knows_topic(client, topic))
			client = clients[CLIENT_ALONE];
		add_question(inquiry, &count, client, topic);
	}
	if (!watcher_is_idle(inquiry->watcher))
		return;

	/* by the client that refused it: it learns what the broker says, too */
	for (i = 0; i < inquiry->doubt_count; i++)
	{
		int			j = i;

		topic = inquiry->doubts[i].refusal.topic;
		while (--j >= 0 && inquiry->doubts[j].refusal.topic != topic)
			;
		if (j < 0)
			add_question(inquiry, &count, clients[CLIENT_ALONE], topic);
		inquiry->doubts[i].asked = true;
	}
	if (count > 0 || inquiry->connection->state != CONNECTION_UP ||
		inquiry->connection->ask_now)
	{
		inquiry->connection->ask_now = false;
		watcher_ask(inquiry->watcher, inquiry->questions, count);
	}
}

/*
 * Tell the refusal that was doubted, as it is now known.  A partition that is
 * there after all makes it the topic's: sent again, the event will pass.
 */
static void
tell_doubted(Inquiry *inquiry, const ClientRefusal *refusal,
			 const WatcherAnswer *answer)
{
	FrameClass	class = FRAME_CLASS_TOPIC;
	int			code = refusal->code;

	if (answer->partitions > 0)
	{
		if (refusal->partition >= answer->partitions)
			class = FRAME_CLASS_RECORD;
	}
	else if (answer->code != CODE_NONE)
	{
		code = answer->code;
		class = error_class(code);
	}
	notice_refused(inquiry->notices, refusal->number, refusal->topic->name,
				   class, code, true);
}

/* Resolve the doubts that these answers are about; the others stay. */
static void
resolve_doubts(Inquiry *inquiry, const WatcherAnswer *answers, int count)
{
	int			kept = 0;
	int			i;

	for (i = 0; i < inquiry->doubt_count; i++)
	{
		InquiryDoubt *doubt = &inquiry->doubts[i];
		int			j;

		/* questions about doubts are the last ones */
		for (j = count - 1; doubt->asked && j >= 0; j--)
		{
			if (answers[j].topic == doubt->refusal.topic)
				break;
		}
		if (doubt->asked && j >= 0 &&
			error_class(answers[j].code) != FRAME_CLASS_CONNECTION)
			tell_doubted(inquiry, &doubt->refusal, &answers[j]);
		else
		{
			doubt->asked = false;
			inquiry->doubts[kept++] = *doubt;
		}
	}
	inquiry->doubt_count = kept;
}

/* Take the brokers' answers, if they are there. */
void
inquiry_take_answers(Inquiry *inquiry)
{
	const WatcherAnswer *answers;
	int			count;
	int			code;
	int			i;

	if (!watcher_answers(inquiry->watcher, &answers, &count, &code))
		return;
	if (code == CODE_NONE)
		connection_is_up(inquiry->connection);
	else
		connection_unanswered(inquiry->connection, code);

	for (i = 0; i < count; i++)
	{
		/* while the client itself refuses the topic, that is what counts */
		if (error_class(answers[i].code) != FRAME_CLASS_CONNECTION &&
			!answers[i].topic->held)
			inquiry_set_trouble(inquiry, answers[i].topic, answers[i].code,
								false);
	}
	resolve_doubts(inquiry, answers, count);
}
