/*-------------------------------------------------------------------------
 *
 * event_frame.h
 *	  Taking the body of a FRAME_EVENT apart.
 *
 * IDENTIFICATION
 *	  src/producer/event_frame.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_EVENT_FRAME_H
#define OUTBOX_EVENT_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#include "client.h"
#include "topic.h"

/* An event that came, taken apart; valid for as long as the frame's body is. */
typedef struct EventFrame
{
	const char *topic;			/* no NUL at the end */
	size_t		topic_length;
	ClientKind	kind;			/* the client that is to send it */
	ClientEvent event;
} EventFrame;

extern bool event_frame_read(EventFrame *frame, const char *body, size_t length);

#endif							/* OUTBOX_EVENT_FRAME_H */
