/*-------------------------------------------------------------------------
 *
 * notice.c
 *	  What the publisher is told.
 *
 * One function for each kind of frame that the producer sends; each puts it
 * into the channel's output, and none waits.  Acknowledgements are collected
 * and go out in bulk.  No text leaves the producer but through here, where
 * secrets are taken out of it.
 *
 * IDENTIFICATION
 *	  src/producer/notice.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "clock.h"
#include "error_class.h"
#include "notice.h"

/* Output that waits for the publisher; above it there is no hurry for more. */
#define OUTPUT_LIMIT		(1024 * 1024)

void
notice_init(Notices *notices, Channel *channel,
			const Configuration *configuration)
{
	memset(notices, 0, sizeof(Notices));
	notices->channel = channel;
	notices->configuration = configuration;
}

/* Whether so much waits for the publisher that nothing should add to it. */
bool
notice_is_full(const Notices *notices)
{
	return channel_unwritten(notices->channel) >= OUTPUT_LIMIT;
}

static void
send_trouble(Notices *notices, FrameType type, FrameTrouble *trouble,
			 const char *topic, const char *text)
{
	char		redacted[2048];

	snprintf(redacted, sizeof(redacted), "%s", text);
	configuration_redact(notices->configuration, redacted, sizeof(redacted));
	channel_send_trouble(notices->channel, type, trouble, topic, redacted);
}

void
notice_hello(Notices *notices)
{
	FrameHello	hello;

	memset(&hello, 0, sizeof(FrameHello));
	hello.protocol = FRAME_PROTOCOL_VERSION;
	hello.kafka_version = client_version();
	snprintf(hello.version, sizeof(hello.version), "%s", OUTBOX_VERSION);
	snprintf(hello.kafka_version_text, sizeof(hello.kafka_version_text), "%s",
			 client_version_text());
	channel_send(notices->channel, FRAME_HELLO, &hello, sizeof(FrameHello),
				 NULL, 0);
}

/* Say what is known to be wrong with this librdkafka. */
static void
tell_known_faults(Notices *notices)
{
	uint32_t	version = client_version();
	const char *mechanism;
	char		text[256];

	if (version >= 0x020400ff && version < 0x020a01ff)
	{
		snprintf(text, sizeof(text),
				 "librdkafka %s can crash when brokers restart; use 2.10.1 or later",
				 client_version_text());
		notice_log(notices, FRAME_CLASS_NONE, CODE_NONE, 4, text);
	}
	mechanism = configuration_value(notices->configuration, "sasl.mechanisms");
	if (mechanism == NULL)
		mechanism = configuration_value(notices->configuration,
										"sasl.mechanism");
	if (version < 0x020601ff && mechanism != NULL &&
		strncmp(mechanism, "SCRAM", strlen("SCRAM")) == 0)
	{
		snprintf(text, sizeof(text),
				 "librdkafka %s cannot authenticate by SCRAM to current brokers; use 2.6.1 or later",
				 client_version_text());
		notice_log(notices, FRAME_CLASS_NONE, CODE_NONE, 4, text);
	}
}

/* The configuration is accepted. */
void
notice_ready(Notices *notices)
{
	channel_send(notices->channel, FRAME_READY, NULL, 0, NULL, 0);
	tell_known_faults(notices);
}

/* An event was acknowledged; told at the next notice_flush(), or before. */
void
notice_acknowledged(Notices *notices, uint64_t number)
{
	if (notices->acknowledged_count == NOTICE_ACKNOWLEDGED)
		notice_flush(notices);
	notices->acknowledged[notices->acknowledged_count++] = number;
}

/* Send what was acknowledged, in as few frames as the offsets allow. */
void
notice_flush(Notices *notices)
{
	static uint32_t offsets[NOTICE_ACKNOWLEDGED];
	uint64_t   *numbers = notices->acknowledged;
	uint32_t	count = notices->acknowledged_count;

	while (count > 0)
	{
		FrameAcknowledged frame;
		uint32_t	left = 0;
		uint32_t	i;

		memset(&frame, 0, sizeof(FrameAcknowledged));
		frame.base = numbers[0];
		for (i = 1; i < count; i++)
		{
			if (numbers[i] < frame.base)
				frame.base = numbers[i];
		}
		for (i = 0; i < count; i++)
		{
			uint64_t	offset = numbers[i] - frame.base;

			if (offset <= UINT32_MAX)
				offsets[frame.count++] = (uint32_t) offset;
			else
				numbers[left++] = numbers[i];
		}
		channel_send(notices->channel, FRAME_ACKNOWLEDGED,
					 &frame, sizeof(FrameAcknowledged),
					 offsets, frame.count * sizeof(uint32_t));
		count = left;
	}
	notices->acknowledged_count = 0;
}

/* An event was refused.  The text is made from the code. */
void
notice_refused(Notices *notices, uint64_t number, const char *topic,
			   FrameClass class, int code, bool alone)
{
	FrameTrouble trouble;

	memset(&trouble, 0, sizeof(FrameTrouble));
	trouble.number = number;
	trouble.code = code;
	trouble.class = (uint8_t) class;
	trouble.flags = alone ? FRAME_TROUBLE_ALONE : 0;
	send_trouble(notices, FRAME_REFUSED, &trouble, topic,
				 client_error_text(code));
}

/* The connection has that error; code 0: it is well. */
void
notice_connection(Notices *notices, int code, const char *text)
{
	FrameTrouble trouble;

	memset(&trouble, 0, sizeof(FrameTrouble));
	trouble.code = code;
	trouble.class = code == CODE_NONE ? FRAME_CLASS_NONE : FRAME_CLASS_CONNECTION;
	send_trouble(notices, FRAME_CONNECTION, &trouble, NULL, text);
}

/*
 * A topic does not take events; code 0: it does again.  blocks: so nothing
 * behind one of its events can be taken.
 */
void
notice_topic(Notices *notices, const char *topic, int code, bool blocks)
{
	FrameTrouble trouble;

	memset(&trouble, 0, sizeof(FrameTrouble));
	trouble.code = code;
	trouble.class = code == CODE_NONE ? FRAME_CLASS_NONE : FRAME_CLASS_TOPIC;
	trouble.flags = blocks ? FRAME_TROUBLE_BLOCKS : 0;
	send_trouble(notices, FRAME_TOPIC, &trouble, topic,
				 code == CODE_NONE ? "" : client_error_text(code));
}

/*
 * A line for the server log, with syslog's level.  Left out if it was there a
 * moment ago, or if much waits for the publisher: it is only a line.
 */
void
notice_log(Notices *notices, FrameClass class, int code, int level,
		   const char *text)
{
	FrameTrouble trouble;
	unsigned	dropped;
	char		line[1024];

	if (notice_is_full(notices) ||
		!repeat_allows(&notices->log_repeat, code == CODE_NONE ? level : code,
					   text, clock_now(), &dropped))
		return;
	if (dropped > 0)
		snprintf(line, sizeof(line), "%s (and %u times more since)",
				 text, dropped);
	else
		snprintf(line, sizeof(line), "%s", text);
	memset(&trouble, 0, sizeof(FrameTrouble));
	trouble.code = code;
	trouble.class = (uint8_t) class;
	trouble.level = (uint8_t) level;
	send_trouble(notices, FRAME_LOG, &trouble, NULL, line);
}

/* The producer cannot go on: the last frame. */
void
notice_failed(Notices *notices, FrameClass class, int code, const char *text)
{
	FrameTrouble trouble;

	memset(&trouble, 0, sizeof(FrameTrouble));
	trouble.code = code;
	trouble.class = (uint8_t) class;
	send_trouble(notices, FRAME_FAILED, &trouble, NULL, text);
}
