/*-------------------------------------------------------------------------
 *
 * event_check.h
 *	  What Kafka takes of an event.
 *
 * IDENTIFICATION
 *	  src/event_check.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_EVENT_CHECK_H
#define OUTBOX_EVENT_CHECK_H

#include "event.h"

/* A sentence of a detail; takes OUTBOX_MAX_TOPIC_LENGTH. */
#define OUTBOX_TOPIC_RULE \
	"Kafka allows 1 to %d characters out of a-z, A-Z, 0-9, \".\", \"_\" and \"-\", but not \".\" and \"..\"."

extern bool outbox_topic_is_valid(const char *name, int length);

/*
 * Each returns, or raises an error with invalid_parameter_value
 * (program_limit_exceeded for the size).  Nothing is NULL.
 */
extern void outbox_check_topic(const text *topic);
extern void outbox_check_partition(int32 partition);
extern void outbox_check_timestamp(TimestampTz timestamp);
extern void outbox_check_headers(const bytea *headers);

/* Key, headers and payload together against outbox.max_event_size. */
extern void outbox_check_size(const OutboxEvent *event);

#endif							/* OUTBOX_EVENT_CHECK_H */
