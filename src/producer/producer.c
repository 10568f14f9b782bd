/*-------------------------------------------------------------------------
 *
 * producer.c
 *	  The producer's loop.
 *
 * One thread, one poll() over the publisher's socket and a pipe that the
 * clients and the watcher write to.  Composes channel, configuration, clients
 * and inquiry; knows what frames mean.
 *
 * There are two clients.  The main one takes the stream of events: after a
 * refusal nothing behind the refused event may be sent, so any refusal ends the
 * program.  The other, made when it is needed first, takes events that are sent
 * alone: a refusal is about one event, the publisher is told, and all others go
 * on.
 *
 * An event is acknowledged only after its delivery report.  An event that the
 * main client does not take stays at the head of the input, and nothing behind
 * it is looked at: so the order in which events are handed to the client is the
 * order in which they came.
 *
 * A refusal by the main client, and any error that a client cannot mend, ends
 * the program in one way: nothing more is read, reports that are due are taken
 * for a bounded time, FRAME_FAILED is sent.  The publisher sends again, to
 * another producer, what was not acknowledged.
 *
 *		GREETING --config--> RUNNING --trouble--> ENDING --reports in, or
 *		time over--> LEAVING --output written, or time over--> exit
 *
 * IDENTIFICATION
 *	  src/producer/producer.c
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE				/* POLLRDHUP */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "client.h"
#include "clock.h"
#include "configuration.h"
#include "connection.h"
#include "error_class.h"
#include "event_frame.h"
#include "inquiry.h"
#include "lock_file.h"
#include "memory.h"
#include "notice.h"
#include "process.h"
#include "producer.h"
#include "topic.h"

/* Where the system does not tell a half-closed socket, reading does. */
#ifndef POLLRDHUP
#define POLLRDHUP 0
#endif

/* How often ages and states are looked at while anything is under way. */
#define TICK_MS				500
/* How long a question to the brokers may be the last word on the connection. */
#define EVIDENCE_MS			10000
/* An event that its topic does not take is tried again so often. */
#define HOLD_RETRY_MS		1000
/* Reports that are due at the end: a broker that is well answers sooner. */
#define ENDING_MS			2000
/* A publisher that is well reads the last frames sooner. */
#define LEAVING_MS			5000
/*
 * After so many events under way at once (some 5 MB) and so long without any,
 * free memory is given back: a backlog is rare, and its memory of use to others.
 */
#define TRIM_EVENTS			10000
#define TRIM_IDLE_MS		5000
/* Lines less severe are not worth a line in a server log (syslog: notice). */
#define LOG_LEVEL			5

typedef enum ProducerState
{
	PRODUCER_GREETING,
	PRODUCER_RUNNING,
	PRODUCER_ENDING,
	PRODUCER_LEAVING
} ProducerState;

typedef struct Producer
{
	ProducerState state;
	Channel		channel;
	Configuration configuration;
	Notices		notices;
	Connection	connection;
	Inquiry		inquiry;
	TopicTable	topics;
	int			wake[2];		/* pipe: read end, write end */

	/* the clients, by ClientKind; NULL until they are made */
	Client	   *clients[CLIENT_KINDS];
	int64_t		progress[CLIENT_KINDS]; /* last report, or start from nothing */
	bool		drain_again;

	/* why the event at the head of the input is still there */
	Client	   *full;			/* this client is, until a report comes */
	Topic	   *held;			/* its topic, until hold_retry */
	int64_t		hold_retry;

	uint64_t	acknowledged;	/* since the start */
	uint64_t	peak;			/* most events under way since memory_trim() */
	int64_t		next_tick;

	/* the end */
	FrameTrouble failure;
	char		failure_text[1024];
	bool		refused;		/* failure is about a refused event */
	int64_t		deadline;
	int			exit_status;
} Producer;

static Producer producer;

/* The publisher is gone: nothing that could be done now is of use to anyone. */
static void
leave(void)
{
	_exit(PRODUCER_EXIT_LEFT);
}

/*
 * Nothing goes on.  The first failure is the one that is told, except that a
 * refused record says more than any other.
 */
static void
fail(FrameClass class, int code, const char *text)
{
	if (producer.state == PRODUCER_ENDING || producer.state == PRODUCER_LEAVING)
		return;
	producer.failure.class = (uint8_t) class;
	producer.failure.code = code;
	snprintf(producer.failure_text, sizeof(producer.failure_text), "%s", text);
	producer.exit_status = PRODUCER_EXIT_FAILED;
	producer.state = PRODUCER_ENDING;
	producer.deadline = clock_now() + ENDING_MS;
	/* an event that waits for its topic would be waited for here */
	if (producer.clients[CLIENT_ALONE] != NULL)
		client_purge(producer.clients[CLIENT_ALONE]);
}

/* The publisher does not keep to the protocol. */
static void
fail_protocol(const char *text)
{
	fail(FRAME_CLASS_CLIENT, CODE_NONE, text);
	producer.exit_status = PRODUCER_EXIT_MISUSED;
	/* nothing it sent before is more certain than this: do not wait for it */
	producer.deadline = clock_now();
}

/* An event of the stream was refused, by the broker or by the client. */
static void
refuse(const ClientRefusal *refusal)
{
	FrameClass	class = error_class_of_event(refusal->code,
											 refusal->partition_given);
	char		where[32] = "";
	char		text[512];

	notice_refused(&producer.notices, refusal->number,
				   refusal->topic->name, class, refusal->code, false);
	if (producer.refused && (producer.failure.class == FRAME_CLASS_RECORD ||
							 class != FRAME_CLASS_RECORD))
		return;
	if (refusal->partition >= 0)
		snprintf(where, sizeof(where), ", partition %d",
				 (int) refusal->partition);
	snprintf(text, sizeof(text), "an event for topic \"%s\"%s was refused: %s",
			 refusal->topic->name, where, client_error_text(refusal->code));
	fail(class, refusal->code, text);
	if (producer.state == PRODUCER_ENDING)
	{
		/* the client's own fatal error may have been told first */
		producer.failure.class = (uint8_t) class;
		producer.failure.code = refusal->code;
		snprintf(producer.failure_text, sizeof(producer.failure_text),
				 "%s", text);
	}
	producer.refused = true;
}

/* An event sent alone was refused, by the broker or by the client. */
static void
refuse_alone(const ClientRefusal *refusal)
{
	FrameClass	class = error_class_of_event(refusal->code,
											 refusal->partition_given);

	if (refusal->code == CODE_UNKNOWN_PARTITION && class == FRAME_CLASS_RECORD)
	{
		inquiry_doubt(&producer.inquiry, refusal);
		producer.next_tick = 0; /* ask now */
	}
	else
		notice_refused(&producer.notices, refusal->number,
					   refusal->topic->name, class, refusal->code, true);
}

/* What the clients tell; the argument is the client in producer.clients. */

static void
on_acknowledged(void *argument, uint64_t number)
{
	notice_acknowledged(&producer.notices, number);
	producer.acknowledged++;
}

static void
on_refused(void *argument, const ClientRefusal *refusal)
{
	Client	  **client = argument;

	/* what is queued behind it must not be sent before it */
	if (!producer.refused)
		client_purge(*client);
	refuse(refusal);
}

static void
on_refused_alone(void *argument, const ClientRefusal *refusal)
{
	refuse_alone(refusal);
}

static void
on_error(void *argument, int code, const char *text)
{
	if (error_class(code) == FRAME_CLASS_CONNECTION)
		connection_error(&producer.connection, code, text);
	else
		notice_log(&producer.notices, error_class(code), code, 4, text);
}

static void
on_fatal(void *argument, int code, const char *text)
{
	/* the client has given up by itself what is queued */
	fail(error_class(code), code, text);
}

static void
on_log(void *argument, int level, const char *text)
{
	if (level <= LOG_LEVEL ||
		configuration_value(&producer.configuration, "debug") != NULL)
		notice_log(&producer.notices, FRAME_CLASS_NONE, CODE_NONE, level, text);
}

static const ClientListener listeners[CLIENT_KINDS] = {
	{on_acknowledged, on_refused, on_error, on_fatal, on_log,
	&producer.clients[CLIENT_MAIN]},
	{on_acknowledged, on_refused_alone, on_error, on_fatal, on_log,
	&producer.clients[CLIENT_ALONE]}
};

/* How many events were taken by the clients and not reported yet. */
static uint64_t
outstanding(void)
{
	uint64_t	count = 0;
	int			kind;

	for (kind = 0; kind < CLIENT_KINDS; kind++)
	{
		if (producer.clients[kind] != NULL)
			count += client_outstanding(producer.clients[kind]);
	}
	return count;
}

/* Take what the clients have, and pass it on at once. */
static void
drain_clients(void)
{
	uint64_t	acknowledged = producer.acknowledged;
	uint64_t	before = outstanding();
	int			kind;

	if (before > producer.peak)
		producer.peak = before;
	producer.drain_again = false;
	for (kind = 0; kind < CLIENT_KINDS; kind++)
	{
		Client	   *client = producer.clients[kind];

		if (client == NULL)
			continue;
		before = client_outstanding(client);
		if (client_drain(client, &listeners[kind]))
			producer.drain_again = true;
		if (client_outstanding(client) == before)
			continue;
		producer.progress[kind] = clock_now();
		if (producer.full == client)
			producer.full = NULL;
	}
	if (producer.acknowledged != acknowledged)
		connection_is_up(&producer.connection);
	notice_flush(&producer.notices);
	if (!channel_write(&producer.channel))
		leave();
}

/* Make a client.  Returns false with a text if there can be none. */
static bool
make_client(ClientKind kind, FrameClass *class, char *error, size_t error_size)
{
	producer.clients[kind] = client_create(&producer.configuration, kind,
										   producer.wake[1], class,
										   error, error_size);
	/* what happened before the wake-up was set up did not wake us */
	producer.drain_again = true;
	return producer.clients[kind] != NULL;
}

/* Wait, but not for longer than the publisher is there. */
static void
wait_for_lock(int milliseconds)
{
	struct pollfd pollfd;

	pollfd.fd = producer.channel.fd;
	pollfd.events = POLLRDHUP;
	if (poll(&pollfd, 1, milliseconds) > 0)
		leave();
}

/* Start with the configuration that came. */
static void
configure(const char *body, size_t length)
{
	FrameClass	class;
	char		error[1024];

	switch (configuration_read(&producer.configuration, body, length,
							   error, sizeof(error)))
	{
		case CONFIGURATION_ACCEPTED:
			break;
		case CONFIGURATION_REFUSED:
			fail(FRAME_CLASS_CONFIGURATION, CODE_NONE, error);
			return;
		case CONFIGURATION_MALFORMED:
			fail_protocol(error);
			return;
	}

	if (!process_has_parent(producer.configuration.publisher_pid))
		leave();

	if (producer.configuration.lock_file != NULL &&
		!lock_file_take(producer.configuration.lock_file, wait_for_lock,
						error, sizeof(error)))
	{
		fail(FRAME_CLASS_CLIENT, CODE_NONE, error);
		return;
	}
	if (!make_client(CLIENT_MAIN, &class, error, sizeof(error)))
	{
		fail(class, CODE_NONE, error);
		return;
	}
	if (!inquiry_start(&producer.inquiry, producer.clients[CLIENT_MAIN],
					   producer.wake[1]))
	{
		fail(FRAME_CLASS_CLIENT, CODE_NONE, "could not start a thread");
		return;
	}
	producer.state = PRODUCER_RUNNING;
	notice_ready(&producer.notices);
}

/* How many events sent alone are under way. */
static uint64_t
alone_under_way(void)
{
	return client_outstanding(producer.clients[CLIENT_ALONE]) +
		producer.inquiry.doubt_count;
}

/*
 * Hand the event in a frame to its client.  Returns false if it must stay at
 * the head of the input.
 */
static bool
take_event(const char *body, size_t length)
{
	EventFrame	frame;
	Client	   *client;
	ClientRefusal refusal;
	Topic	   *topic;
	FrameClass	class;
	char		error[1024];
	int			code;

	if (!event_frame_read(&frame, body, length))
	{
		fail_protocol("the publisher sent a malformed event");
		return false;
	}
	if (producer.clients[frame.kind] == NULL &&
		!make_client(frame.kind, &class, error, sizeof(error)))
	{
		/* the first client had the same settings */
		fail(FRAME_CLASS_CLIENT, CODE_NONE, error);
		return false;
	}
	if (frame.kind == CLIENT_ALONE && alone_under_way() >= FRAME_MAX_ALONE)
	{
		fail_protocol("the publisher sent too many events alone");
		return false;
	}
	client = producer.clients[frame.kind];
	topic = topic_find(&producer.topics, frame.topic, frame.topic_length);
	if (client_outstanding(client) == 0)
		producer.progress[frame.kind] = clock_now();

	refusal.number = frame.event.number;
	refusal.topic = topic;
	refusal.partition = frame.event.partition;
	refusal.partition_given = (frame.event.partition >= 0);
	switch (client_produce(client, topic, &frame.event, &code))
	{
		case CLIENT_TAKEN:
			if (frame.kind == CLIENT_MAIN)
			{
				if (topic->held)
				{
					topic->held = false;
					inquiry_set_trouble(&producer.inquiry, topic, CODE_NONE,
										false);
				}
				producer.held = NULL;
			}
			return true;
		case CLIENT_FULL:
			producer.full = client;
			return false;
		case CLIENT_HELD:
			if (frame.kind == CLIENT_ALONE)
				break;
			topic->held = true;
			producer.held = topic;
			producer.hold_retry = clock_now() + HOLD_RETRY_MS;
			inquiry_set_trouble(&producer.inquiry, topic, code, true);
			return false;
		case CLIENT_REFUSED:
			/* after a fatal error it is not this event's fault */
			if (error_is_purge(code))
			{
				fail(FRAME_CLASS_CLIENT, code, client_error_text(code));
				return false;
			}
			break;
	}
	refusal.code = code;
	if (frame.kind == CLIENT_ALONE)
	{
		refuse_alone(&refusal);
		return true;
	}
	refuse(&refusal);
	return false;
}

/* Whether frames may be looked at now. */
static bool
wants_frames(void)
{
	if (producer.state == PRODUCER_GREETING)
		return true;
	return producer.state == PRODUCER_RUNNING && producer.full == NULL &&
		(producer.held == NULL || clock_now() >= producer.hold_retry) &&
		!notice_is_full(&producer.notices);
}

/* Work through the frames that have been read.  Returns true if all are. */
static bool
take_frames(void)
{
	FrameHeader header;
	const char *body;

	while (wants_frames())
	{
		switch (channel_next(&producer.channel, &header, &body))
		{
			case CHANNEL_WAIT:
				return true;
			case CHANNEL_BAD:
				fail_protocol("the publisher sent a malformed frame");
				return false;
			case CHANNEL_FRAME:
				break;
		}
		if (header.type == FRAME_EVENT && producer.state == PRODUCER_RUNNING)
		{
			if (!take_event(body, header.length))
				return false;
		}
		else if (header.type == FRAME_CONFIG &&
				 producer.state == PRODUCER_GREETING)
			configure(body, header.length);
		else
			fail_protocol("the publisher sent a frame that is not expected");
		channel_consume(&producer.channel, &header);
	}
	return false;
}

/* Whether there is anything that can change without a frame or a report. */
static bool
needs_ticks(void)
{
	return producer.state == PRODUCER_RUNNING &&
		(outstanding() > 0 || producer.full != NULL || producer.held != NULL ||
		 inquiry_is_needed(&producer.inquiry) || producer.peak >= TRIM_EVENTS);
}

/*
 * Whether a client has stopped sending for no reason that is known: brokers
 * answer, it reports nothing, and an event is old whose topic is well.
 */
static bool
is_stalled(ClientKind kind, int64_t now)
{
	int64_t		stall = producer.configuration.stall_timeout * 1000;
	int64_t		since = producer.progress[kind];
	const Topic *topic;

	/* what was kept by a trouble that is over has its time from then on */
	if (since < producer.connection.since)
		since = producer.connection.since;
	if (since < producer.inquiry.mended)
		since = producer.inquiry.mended;
	if (producer.clients[kind] == NULL ||
		client_outstanding(producer.clients[kind]) == 0 ||
		producer.connection.state != CONNECTION_UP ||
		now - producer.connection.evidence >= EVIDENCE_MS ||
		now - since < stall)
		return false;
	for (topic = producer.topics.made; topic != NULL; topic = topic->next_made)
	{
		if (topic->trouble == CODE_NONE && topic_age(topic, now) >= stall)
			return true;
	}
	return false;
}

static void
tick(int64_t now)
{
	inquiry_ask(&producer.inquiry, producer.clients, now);

	if (producer.peak >= TRIM_EVENTS && outstanding() == 0 &&
		now - producer.progress[CLIENT_MAIN] >= TRIM_IDLE_MS)
	{
		memory_trim();
		producer.peak = 0;
	}
	if (is_stalled(CLIENT_MAIN, now) || is_stalled(CLIENT_ALONE, now))
	{
		char		text[128];

		snprintf(text, sizeof(text),
				 "no event was acknowledged for %lld seconds, although the brokers answer",
				 (long long) producer.configuration.stall_timeout);
		fail(FRAME_CLASS_CLIENT, CODE_NONE, text);
		producer.deadline = now;
	}
}

/* The last steps; called when state is PRODUCER_ENDING or PRODUCER_LEAVING. */
static void
go_on_ending(int64_t now)
{
	if (producer.state == PRODUCER_ENDING &&
		(outstanding() == 0 || now >= producer.deadline))
	{
		notice_failed(&producer.notices, (FrameClass) producer.failure.class,
					  producer.failure.code, producer.failure_text);
		producer.state = PRODUCER_LEAVING;
		producer.deadline = now + LEAVING_MS;
	}
	if (producer.state == PRODUCER_LEAVING)
	{
		if (!channel_write(&producer.channel))
			leave();
		if (channel_unwritten(&producer.channel) == 0 ||
			now >= producer.deadline)
			_exit(producer.exit_status);
	}
}

/* Milliseconds that the loop may sleep; -1: until something happens. */
static int
sleep_time(int64_t now)
{
	int64_t		until;

	if (producer.drain_again && producer.state != PRODUCER_LEAVING)
		return 0;
	if (producer.state == PRODUCER_ENDING || producer.state == PRODUCER_LEAVING)
		until = producer.deadline;
	else if (producer.state == PRODUCER_RUNNING && needs_ticks())
	{
		until = producer.next_tick;
		if (producer.held != NULL && producer.hold_retry < until)
			until = producer.hold_retry;
	}
	else
		return -1;
	return until <= now ? 0 : (int) (until - now);
}

/* Wait for something to do.  Returns true if the socket can be read. */
static bool
wait_for_work(bool may_read)
{
	struct pollfd pollfds[2];
	char		bytes[256];

	pollfds[0].fd = producer.channel.fd;
	pollfds[0].events = POLLRDHUP;
	if (may_read)
		pollfds[0].events |= POLLIN;
	if (channel_unwritten(&producer.channel) > 0)
		pollfds[0].events |= POLLOUT;
	pollfds[1].fd = producer.wake[0];
	pollfds[1].events = POLLIN;
	pollfds[0].revents = pollfds[1].revents = 0;
	if (poll(pollfds, 2, sleep_time(clock_now())) < 0 && errno != EINTR)
	{
		perror("outbox_producer: poll");
		_exit(PRODUCER_EXIT_FAILED);
	}
	if (pollfds[0].revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL))
		leave();

	/* before the clients are drained: what comes in between writes again */
	if (pollfds[1].revents & POLLIN)
	{
		while (read(producer.wake[0], bytes, sizeof(bytes)) ==
			   (ssize_t) sizeof(bytes))
			;
		producer.drain_again = true;
	}
	if ((pollfds[0].revents & POLLOUT) && !channel_write(&producer.channel))
		leave();
	return (pollfds[0].revents & POLLIN) != 0;
}

/* Serve the publisher at the other end of a socket until one of us ends. */
void
producer_run(int fd)
{
	bool		parsed = true;	/* no whole frame is left in the input */

	channel_init(&producer.channel, fd);
	notice_init(&producer.notices, &producer.channel, &producer.configuration);
	connection_init(&producer.connection, &producer.notices);
	topic_table_init(&producer.topics);
	inquiry_init(&producer.inquiry, &producer.notices, &producer.connection,
				 &producer.topics);
	if (!process_set_nonblocking(fd) || !process_make_pipe(producer.wake))
	{
		perror("outbox_producer");
		_exit(PRODUCER_EXIT_FAILED);
	}
	notice_hello(&producer.notices);
	if (!channel_write(&producer.channel))
		leave();

	for (;;)
	{
		bool		readable = wait_for_work(parsed && wants_frames());
		int64_t		now;

		if (producer.inquiry.watcher != NULL && producer.drain_again &&
			producer.state != PRODUCER_LEAVING)
		{
			drain_clients();
			inquiry_take_answers(&producer.inquiry);
		}
		if (readable && !channel_read(&producer.channel))
			leave();
		if (readable || !parsed)
			parsed = take_frames();

		now = clock_now();
		if (producer.state == PRODUCER_RUNNING && needs_ticks() &&
			now >= producer.next_tick)
		{
			tick(now);
			producer.next_tick = now + TICK_MS;
		}
		if (producer.state == PRODUCER_ENDING ||
			producer.state == PRODUCER_LEAVING)
			go_on_ending(now);
		if (!channel_write(&producer.channel))
			leave();
	}
}
