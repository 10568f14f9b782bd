/*-------------------------------------------------------------------------
 *
 * producer.c
 *	  The producer's loop.
 *
 * One thread, one poll() over the publisher's socket and a pipe that the
 * client and the watcher write to.  Composes channel, configuration, client
 * and watcher; knows what frames mean.
 *
 * An event is acknowledged only after its delivery report.  An event that the
 * client does not take stays at the head of the input, and nothing behind it
 * is looked at: so the order in which events are handed to the client is the
 * order in which they came.
 *
 * Any refusal, and any error that the client cannot mend, ends the program in
 * one way: nothing more is read, reports that are due are taken for a bounded
 * time, FRAME_FAILED is sent.  The publisher sends again, to another producer,
 * what was not acknowledged.
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
#include "error_class.h"
#include "lock_file.h"
#include "memory.h"
#include "process.h"
#include "producer.h"
#include "repeat.h"
#include "topic.h"
#include "watcher.h"

/* Where the system does not tell a half-closed socket, reading does. */
#ifndef POLLRDHUP
#define POLLRDHUP 0
#endif

/* How often ages and states are looked at while anything is under way. */
#define TICK_MS				500
/* An event that is older is reason to ask what is wrong with its topic. */
#define TOPIC_AGE_MS		2000
/* How long a question to the brokers may be the last word on the connection. */
#define EVIDENCE_MS			10000
/* An event that its topic does not take is tried again so often. */
#define HOLD_RETRY_MS		1000
/* Reports that are due at the end: a broker that is well answers sooner. */
#define ENDING_MS			2000
/* A publisher that is well reads the last frames sooner. */
#define LEAVING_MS			5000
/* Output that waits for the publisher; above it no events are read. */
#define OUTPUT_LIMIT		(1024 * 1024)
/* Acknowledgements in one frame: 256 kB of offsets. */
#define ACKNOWLEDGED_LIMIT	65536
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

typedef enum ConnectionState
{
	CONNECTION_UNKNOWN,
	CONNECTION_UP,
	CONNECTION_DOWN
} ConnectionState;

typedef struct Producer
{
	ProducerState state;
	Channel		channel;
	Configuration configuration;
	Client	   *client;
	Watcher    *watcher;
	TopicTable	topics;
	int			wake[2];		/* pipe: read end, write end */

	/* acknowledgements to send */
	uint64_t	acknowledged[ACKNOWLEDGED_LIMIT];
	uint32_t	acknowledged_count;

	/* why the event at the head of the input is still there */
	bool		full;			/* until a report comes */
	Topic	   *held;			/* its topic, until hold_retry */
	int64_t		hold_retry;
	bool		drain_again;

	/* the connection */
	ConnectionState connection;
	int			connection_code;	/* of the last error told by the client */
	char		connection_text[512];
	int64_t		evidence;		/* when a broker answered last */
	bool		ask_now;		/* the client says that all brokers are down */
	Repeat		connection_repeat;
	Repeat		log_repeat;

	int			troubled_topics;
	int64_t		progress;		/* when the stall clock was reset last */
	uint64_t	acknowledged_total;
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

static void
send_trouble(FrameType type, uint64_t number, FrameClass class, int code,
			 int level, const char *topic, const char *text)
{
	FrameTrouble trouble;
	char		redacted[2048];

	memset(&trouble, 0, sizeof(FrameTrouble));
	trouble.number = number;
	trouble.code = code;
	trouble.class = (uint8_t) class;
	trouble.level = (uint8_t) level;
	snprintf(redacted, sizeof(redacted), "%s", text);
	configuration_redact(&producer.configuration, redacted, sizeof(redacted));
	channel_send_trouble(&producer.channel, type, &trouble, topic, redacted);
}

/* Send what was acknowledged, in as few frames as the offsets allow. */
static void
send_acknowledged(void)
{
	static uint32_t offsets[ACKNOWLEDGED_LIMIT];
	uint32_t	count = producer.acknowledged_count;

	while (count > 0)
	{
		FrameAcknowledged frame;
		uint32_t	left = 0;
		uint32_t	i;

		memset(&frame, 0, sizeof(FrameAcknowledged));
		frame.base = producer.acknowledged[0];
		for (i = 1; i < count; i++)
		{
			if (producer.acknowledged[i] < frame.base)
				frame.base = producer.acknowledged[i];
		}
		for (i = 0; i < count; i++)
		{
			uint64_t	offset = producer.acknowledged[i] - frame.base;

			if (offset <= UINT32_MAX)
				offsets[frame.count++] = (uint32_t) offset;
			else
				producer.acknowledged[left++] = producer.acknowledged[i];
		}
		channel_send(&producer.channel, FRAME_ACKNOWLEDGED,
					 &frame, sizeof(FrameAcknowledged),
					 offsets, frame.count * sizeof(uint32_t));
		count = left;
	}
	producer.acknowledged_count = 0;
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

/* An event was refused, by the broker or by the client. */
static void
refuse(uint64_t number, const Topic *topic, int32_t partition, int code)
{
	FrameClass	class = error_class(code);
	char		where[32] = "";
	char		text[512];

	send_trouble(FRAME_REFUSED, number, class, code, 0, topic->name,
				 client_error_text(code));
	if (producer.refused && (producer.failure.class == FRAME_CLASS_RECORD ||
							 class != FRAME_CLASS_RECORD))
		return;
	if (partition >= 0)
		snprintf(where, sizeof(where), ", partition %d", (int) partition);
	snprintf(text, sizeof(text), "an event for topic \"%s\"%s was refused: %s",
			 topic->name, where, client_error_text(code));
	fail(class, code, text);
	if (producer.state == PRODUCER_ENDING)
	{
		/* the client's own fatal error may have been told first */
		producer.failure.class = (uint8_t) class;
		producer.failure.code = code;
		snprintf(producer.failure_text, sizeof(producer.failure_text),
				 "%s", text);
	}
	producer.refused = true;
}

static void
connection_is_up(void)
{
	producer.evidence = clock_now();
	producer.connection_text[0] = '\0';
	producer.connection_code = CODE_NONE;
	if (producer.connection == CONNECTION_UP)
		return;
	producer.connection = CONNECTION_UP;
	producer.progress = clock_now();
	send_trouble(FRAME_CONNECTION, 0, FRAME_CLASS_NONE, CODE_NONE, 0, NULL, "");
}

static void
connection_is_down(int code, const char *text)
{
	unsigned	dropped;
	bool		changed = (producer.connection != CONNECTION_DOWN);

	producer.connection = CONNECTION_DOWN;
	if (repeat_allows(&producer.connection_repeat, code, text, clock_now(),
					  &dropped) || changed)
		send_trouble(FRAME_CONNECTION, 0, FRAME_CLASS_CONNECTION, code, 0,
					 NULL, text);
}

/* Tell the publisher about a topic, if that is news. */
static void
set_topic_trouble(Topic *topic, int code)
{
	if (topic->trouble == code)
		return;
	producer.troubled_topics += (code != CODE_NONE) -
		(topic->trouble != CODE_NONE);
	topic->trouble = code;
	if (producer.troubled_topics == 0)
		producer.progress = clock_now();
	send_trouble(FRAME_TOPIC, 0,
				 code == CODE_NONE ? FRAME_CLASS_NONE : FRAME_CLASS_TOPIC,
				 code, 0, topic->name,
				 code == CODE_NONE ? "" : client_error_text(code));
}

/* What the client tells. */

static void
on_acknowledged(void *argument, uint64_t number)
{
	if (producer.acknowledged_count == ACKNOWLEDGED_LIMIT)
		send_acknowledged();
	producer.acknowledged[producer.acknowledged_count++] = number;
	producer.acknowledged_total++;
}

static void
on_refused(void *argument, uint64_t number, const Topic *topic,
		   int32_t partition, int code)
{
	/* what is queued behind it must not be sent before it */
	if (!producer.refused)
		client_purge(producer.client);
	refuse(number, topic, partition, code);
}

static void
on_error(void *argument, int code, const char *text)
{
	if (error_class(code) != FRAME_CLASS_CONNECTION)
	{
		if (channel_unwritten(&producer.channel) < OUTPUT_LIMIT)
		{
			unsigned	dropped;

			if (repeat_allows(&producer.log_repeat, code, text, clock_now(),
							  &dropped))
				send_trouble(FRAME_LOG, 0, error_class(code), code, 4, NULL,
							 text);
		}
		return;
	}

	/* which broker and why says more than that all of them are down */
	if (code != CODE_ALL_BROKERS_DOWN || producer.connection_text[0] == '\0')
	{
		producer.connection_code = code;
		snprintf(producer.connection_text, sizeof(producer.connection_text),
				 "%s", text);
	}

	/*
	 * One broker of several, or an idle connection that the broker closed, is
	 * no outage: while the connection is up, ask before saying otherwise.
	 */
	if (producer.connection != CONNECTION_UP)
		connection_is_down(producer.connection_code, producer.connection_text);
	else if (code == CODE_ALL_BROKERS_DOWN)
		producer.ask_now = true;
}

static void
on_fatal(void *argument, int code, const char *text)
{
	client_purge(producer.client);
	fail(error_class(code), code, text);
}

static void
on_log(void *argument, int level, const char *text)
{
	unsigned	dropped;
	char		line[1024];

	if (level > LOG_LEVEL &&
		configuration_value(&producer.configuration, "debug") == NULL)
		return;
	if (channel_unwritten(&producer.channel) >= OUTPUT_LIMIT ||
		!repeat_allows(&producer.log_repeat, level, text, clock_now(),
					   &dropped))
		return;
	if (dropped > 0)
		snprintf(line, sizeof(line), "%s (and %u times more since)",
				 text, dropped);
	else
		snprintf(line, sizeof(line), "%s", text);
	send_trouble(FRAME_LOG, 0, FRAME_CLASS_NONE, CODE_NONE, level, NULL, line);
}

static const ClientListener listener = {
	on_acknowledged, on_refused, on_error, on_fatal, on_log, NULL
};

/* Take what the client has, and pass it on at once. */
static void
drain_client(void)
{
	uint64_t	before = producer.acknowledged_total;
	uint64_t	outstanding = client_outstanding(producer.client);

	if (outstanding > producer.peak)
		producer.peak = outstanding;
	producer.drain_again = client_drain(producer.client, &listener);
	if (producer.acknowledged_total != before)
	{
		producer.progress = clock_now();
		connection_is_up();
	}
	if (client_outstanding(producer.client) < outstanding)
		producer.full = false;
	send_acknowledged();
	if (!channel_write(&producer.channel))
		leave();
}

/* Say what is known to be wrong with this librdkafka, once. */
static void
send_known_faults(void)
{
	uint32_t	version = client_version();
	const char *mechanism;
	char		text[256];

	if (version >= 0x020400ff && version < 0x02090000)
	{
		snprintf(text, sizeof(text),
				 "librdkafka %s can crash when brokers restart; use 2.10.1 or later",
				 client_version_text());
		send_trouble(FRAME_LOG, 0, FRAME_CLASS_NONE, CODE_NONE, 4, NULL, text);
	}
	mechanism = configuration_value(&producer.configuration, "sasl.mechanisms");
	if (mechanism == NULL)
		mechanism = configuration_value(&producer.configuration,
										"sasl.mechanism");
	if (version < 0x020601ff && mechanism != NULL &&
		strncmp(mechanism, "SCRAM", strlen("SCRAM")) == 0)
	{
		snprintf(text, sizeof(text),
				 "librdkafka %s cannot authenticate by SCRAM to current brokers; use 2.6.1 or later",
				 client_version_text());
		send_trouble(FRAME_LOG, 0, FRAME_CLASS_NONE, CODE_NONE, 4, NULL, text);
	}
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
	producer.client = client_create(&producer.configuration, producer.wake[1],
									error, sizeof(error));
	if (producer.client == NULL)
	{
		fail(FRAME_CLASS_CONFIGURATION, CODE_NONE, error);
		return;
	}
	producer.watcher = watcher_start(producer.client, producer.wake[1]);
	if (producer.watcher == NULL)
	{
		fail(FRAME_CLASS_CLIENT, CODE_NONE, "could not start a thread");
		return;
	}

	/* what happened before the wake-up was set up did not wake us */
	producer.drain_again = true;
	producer.state = PRODUCER_RUNNING;
	channel_send(&producer.channel, FRAME_READY, NULL, 0, NULL, 0);
	send_known_faults();
}

/* Whether encoded headers are well-formed. */
static bool
headers_are_sound(const char *headers, size_t length)
{
	const unsigned char *p = (const unsigned char *) headers;
	size_t		left = length;

	while (left > 0)
	{
		size_t		name_length;
		uint32_t	value_length;

		if (left < 2)
			return false;
		name_length = (size_t) p[0] << 8 | p[1];
		p += 2;
		left -= 2;
		if (name_length > INT16_MAX || left < name_length + 4)
			return false;
		p += name_length;
		value_length = (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 |
			(uint32_t) p[2] << 8 | p[3];
		p += 4;
		left -= name_length + 4;
		if (value_length == UINT32_MAX)
			continue;			/* null */
		if (value_length > left)
			return false;
		p += value_length;
		left -= value_length;
	}
	return true;
}

/*
 * Take the body of a FRAME_EVENT apart.  Returns false if anything in it is
 * not as it must be.
 */
static bool
read_event(const char *body, size_t length, FrameEvent *frame,
		   const char **topic, ClientEvent *event)
{
	const char *p = body + sizeof(FrameEvent);
	size_t		key_length;
	size_t		headers_length;
	size_t		payload_length;

	if (length < sizeof(FrameEvent))
		return false;
	memcpy(frame, body, sizeof(FrameEvent));
	if (frame->key_length < -1 || frame->headers_length < -1 ||
		frame->payload_length < -1 || frame->partition < -1 ||
		frame->topic_length < 1 || frame->topic_length > 249 ||
		frame->number < 1 || frame->number > CLIENT_MAX_NUMBER ||
		frame->flags != 0 || frame->unused != 0)
		return false;
	key_length = frame->key_length < 0 ? 0 : frame->key_length;
	headers_length = frame->headers_length < 0 ? 0 : frame->headers_length;
	payload_length = frame->payload_length < 0 ? 0 : frame->payload_length;
	/* each is below 2^31, so the sum cannot wrap where size_t has 64 bits */
	if ((uint64_t) sizeof(FrameEvent) + frame->topic_length + key_length +
		headers_length + payload_length != length)
		return false;

	*topic = p;
	p += frame->topic_length;
	event->key = frame->key_length < 0 ? NULL : p;
	event->key_length = key_length;
	p += key_length;
	event->headers = p;
	event->headers_length = headers_length;
	p += headers_length;
	event->payload = frame->payload_length < 0 ? NULL : p;
	event->payload_length = payload_length;
	event->number = frame->number;
	event->timestamp = frame->timestamp;
	event->uid = frame->uid;
	event->partition = frame->partition;
	return memchr(*topic, '\0', frame->topic_length) == NULL &&
		headers_are_sound(event->headers, headers_length);
}

/*
 * Hand the event in a frame to the client.  Returns false if it must stay at
 * the head of the input.
 */
static bool
take_event(const char *body, size_t length)
{
	FrameEvent	frame;
	ClientEvent event;
	const char *name;
	Topic	   *topic;
	int			code;

	if (!read_event(body, length, &frame, &name, &event))
	{
		fail_protocol("the publisher sent a malformed event");
		return false;
	}
	topic = topic_find(&producer.topics, name, frame.topic_length);
	if (client_outstanding(producer.client) == 0)
		producer.progress = clock_now();
	switch (client_produce(producer.client, topic, &event, &code))
	{
		case CLIENT_TAKEN:
			if (topic->held)
			{
				topic->held = false;
				set_topic_trouble(topic, CODE_NONE);
			}
			producer.held = NULL;
			return true;
		case CLIENT_FULL:
			producer.full = true;
			return false;
		case CLIENT_HELD:
			topic->held = true;
			producer.held = topic;
			producer.hold_retry = clock_now() + HOLD_RETRY_MS;
			set_topic_trouble(topic, code);
			return false;
		case CLIENT_REFUSED:
			/* after a fatal error it is not this event's fault */
			if (!error_is_purge(code))
				refuse(event.number, topic, event.partition, code);
			else
				fail(FRAME_CLASS_CLIENT, code, client_error_text(code));
			return false;
	}
	return false;
}

/* Whether frames may be looked at now. */
static bool
wants_frames(void)
{
	if (producer.state == PRODUCER_GREETING)
		return true;
	return producer.state == PRODUCER_RUNNING && !producer.full &&
		(producer.held == NULL || clock_now() >= producer.hold_retry) &&
		channel_unwritten(&producer.channel) < OUTPUT_LIMIT;
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

/* What the watcher found out. */
static void
take_answers(void)
{
	const WatcherAnswer *answers;
	int			count;
	int			code;
	int			i;

	if (!watcher_answers(producer.watcher, &answers, &count, &code))
		return;
	if (code == CODE_NONE)
		connection_is_up();
	else if (producer.connection_text[0] != '\0')
		connection_is_down(producer.connection_code, producer.connection_text);
	else
		connection_is_down(code, client_error_text(code));

	for (i = 0; i < count; i++)
	{
		/* while the client itself refuses the topic, that is what counts */
		if (error_class(answers[i].code) != FRAME_CLASS_CONNECTION &&
			!answers[i].topic->held)
			set_topic_trouble(answers[i].topic, answers[i].code);
	}
}

/*
 * Ask about the topics whose events are old or that were in trouble, or about
 * the connection alone.
 */
static void
ask_watcher(int64_t now)
{
	static Topic **asked;
	static size_t size;
	Topic	   *topic;
	int			count = 0;

	for (topic = producer.topics.made; topic != NULL; topic = topic->next_made)
	{
		topic_turn(topic, now);
		if (topic->handle == NULL ||
			(topic->trouble == CODE_NONE &&
			 topic_age(topic, now) < TOPIC_AGE_MS))
			continue;
		if ((size_t) count == size)
		{
			size = size == 0 ? 16 : size * 2;
			asked = memory_resize(asked, size * sizeof(Topic *));
		}
		asked[count++] = topic;
	}
	if (!watcher_is_idle(producer.watcher))
		return;
	if (count > 0 || producer.connection != CONNECTION_UP || producer.ask_now)
	{
		producer.ask_now = false;
		watcher_ask(producer.watcher, asked, count);
	}
}

/* Whether there is anything that can change without a frame or a report. */
static bool
needs_ticks(void)
{
	return producer.state == PRODUCER_RUNNING &&
		(client_outstanding(producer.client) > 0 || producer.full ||
		 producer.held != NULL || producer.troubled_topics > 0 ||
		 producer.connection != CONNECTION_UP || producer.ask_now ||
		 producer.peak >= TRIM_EVENTS);
}

static void
tick(int64_t now)
{
	int64_t		stall = producer.configuration.stall_timeout * 1000;

	ask_watcher(now);

	if (producer.peak >= TRIM_EVENTS &&
		client_outstanding(producer.client) == 0 &&
		now - producer.progress >= TRIM_IDLE_MS)
	{
		memory_trim();
		producer.peak = 0;
	}
	if (client_outstanding(producer.client) > 0 &&
		producer.connection == CONNECTION_UP &&
		producer.troubled_topics == 0 &&
		now - producer.evidence < EVIDENCE_MS &&
		now - producer.progress >= stall)
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
		(producer.client == NULL ||
		 client_outstanding(producer.client) == 0 ||
		 now >= producer.deadline))
	{
		send_trouble(FRAME_FAILED, 0, (FrameClass) producer.failure.class,
					 producer.failure.code, 0, NULL, producer.failure_text);
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

static void
send_hello(void)
{
	FrameHello	hello;

	memset(&hello, 0, sizeof(FrameHello));
	hello.protocol = FRAME_PROTOCOL_VERSION;
	hello.kafka_version = client_version();
	snprintf(hello.version, sizeof(hello.version), "%s", OUTBOX_VERSION);
	snprintf(hello.kafka_version_text, sizeof(hello.kafka_version_text), "%s",
			 client_version_text());
	channel_send(&producer.channel, FRAME_HELLO, &hello, sizeof(FrameHello),
				 NULL, 0);
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

	/* before the client is drained: what comes in between writes again */
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
	topic_table_init(&producer.topics);
	if (!process_set_nonblocking(fd) || !process_make_pipe(producer.wake))
	{
		perror("outbox_producer");
		_exit(PRODUCER_EXIT_FAILED);
	}
	send_hello();
	if (!channel_write(&producer.channel))
		leave();

	for (;;)
	{
		bool		readable = wait_for_work(parsed && wants_frames());
		int64_t		now;

		if (producer.client != NULL && producer.drain_again &&
			producer.state != PRODUCER_LEAVING)
		{
			drain_client();
			take_answers();
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
