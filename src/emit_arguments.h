/*-------------------------------------------------------------------------
 *
 * emit_arguments.h
 *	  What a caller says about one event, checked.
 *
 * IDENTIFICATION
 *	  src/emit_arguments.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_EMIT_ARGUMENTS_H
#define OUTBOX_EMIT_ARGUMENTS_H

#include "fmgr.h"

#include "event.h"

/*
 * The SQL values that make an event; topic text, headers jsonb, partition
 * integer, timestamp timestamptz.
 */
typedef struct OutboxEmitArguments
{
	NullableDatum topic;
	NullableDatum payload;
	NullableDatum key;
	NullableDatum headers;		/* NULL: none */
	NullableDatum partition;	/* NULL: chosen by key */
	NullableDatum timestamp;	/* NULL: now */
	Oid			payload_type;
	Oid			key_type;
} OutboxEmitArguments;

/*
 * Makes an event of them, with a new uid.  The event may point into them, and
 * into the current memory context.  ERROR, with the argument's name, if Kafka
 * would not take it, or outbox.max_event_size does not allow it.
 */
extern void outbox_emit_arguments_to_event(const OutboxEmitArguments *arguments,
										   OutboxEvent *event);

/*
 * The checks that concern all events of a call: the topic, and the types of
 * payload and key.  Errors as above.
 */
extern void outbox_emit_arguments_check(const OutboxEmitArguments *arguments);

/* ERROR if an event cannot be stored now; name: of the function, for the error. */
extern void outbox_prevent_emit(const char *name);

#endif							/* OUTBOX_EMIT_ARGUMENTS_H */
