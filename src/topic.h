/*-------------------------------------------------------------------------
 *
 * topic.h
 *	  What is set for single topics.
 *
 * IDENTIFICATION
 *	  src/topic.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_TOPIC_SETTINGS_H
#define OUTBOX_TOPIC_SETTINGS_H

#include "utils/hsearch.h"

#include "event.h"

/* What follows when the broker refuses an event for its own content. */
typedef enum OutboxOnRefusal
{
	OUTBOX_ON_REFUSAL_PARK,		/* dead letter, its key waits */
	OUTBOX_ON_REFUSAL_SKIP,		/* dead letter, its key goes on */
	OUTBOX_ON_REFUSAL_STOP		/* no dead letter, everything waits */
} OutboxOnRefusal;

typedef struct OutboxTopic
{
	char		topic[OUTBOX_MAX_TOPIC_LENGTH + 1];
	OutboxOnRefusal on_refusal;
	bool		paused;
} OutboxTopic;

extern HTAB *outbox_topics_load(MemoryContext context);
extern const OutboxTopic *outbox_topics_find(HTAB *topics, const char *topic);

#endif							/* OUTBOX_TOPIC_SETTINGS_H */
