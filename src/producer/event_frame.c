/*-------------------------------------------------------------------------
 *
 * event_frame.c
 *	  Taking the body of a FRAME_EVENT apart.
 *
 * Every length and every flag is checked here, so that whoever gets the event
 * need not: nothing that came over the socket is believed.  Copies nothing.
 *
 * IDENTIFICATION
 *	  src/producer/event_frame.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <string.h>

#include "event_frame.h"
#include "frame.h"

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
 * Take a body of so many bytes apart.  Returns false if anything in it is not
 * as it must be.
 */
bool
event_frame_read(EventFrame *frame, const char *body, size_t length)
{
	FrameEvent	fixed;
	ClientEvent *event = &frame->event;
	const char *p = body + sizeof(FrameEvent);
	size_t		key_length;
	size_t		headers_length;
	size_t		payload_length;

	if (length < sizeof(FrameEvent))
		return false;
	memcpy(&fixed, body, sizeof(FrameEvent));
	if (fixed.key_length < -1 || fixed.headers_length < -1 ||
		fixed.payload_length < -1 || fixed.partition < -1 ||
		fixed.topic_length < 1 || fixed.topic_length > 249 ||
		fixed.number < 1 || fixed.number > CLIENT_MAX_NUMBER ||
		(fixed.flags & ~FRAME_EVENT_ALONE) != 0 || fixed.unused != 0)
		return false;
	key_length = fixed.key_length < 0 ? 0 : fixed.key_length;
	headers_length = fixed.headers_length < 0 ? 0 : fixed.headers_length;
	payload_length = fixed.payload_length < 0 ? 0 : fixed.payload_length;
	/* each is below 2^31, so the sum cannot wrap where size_t has 64 bits */
	if ((uint64_t) sizeof(FrameEvent) + fixed.topic_length + key_length +
		headers_length + payload_length != length)
		return false;

	frame->topic = p;
	frame->topic_length = fixed.topic_length;
	frame->kind = (fixed.flags & FRAME_EVENT_ALONE) ? CLIENT_ALONE : CLIENT_MAIN;
	p += fixed.topic_length;
	event->key = fixed.key_length < 0 ? NULL : p;
	event->key_length = key_length;
	p += key_length;
	event->headers = p;
	event->headers_length = headers_length;
	p += headers_length;
	event->payload = fixed.payload_length < 0 ? NULL : p;
	event->payload_length = payload_length;
	event->number = fixed.number;
	event->timestamp = fixed.timestamp;
	memcpy(event->uid, fixed.uid, sizeof(event->uid));
	event->partition = fixed.partition;
	return memchr(frame->topic, '\0', frame->topic_length) == NULL &&
		headers_are_sound(event->headers, headers_length);
}
