/*-------------------------------------------------------------------------
 *
 * emit_rule.h
 *	  What is set for aggregate types and topics, as an emitter sees it.
 *
 * IDENTIFICATION
 *	  src/emit_rule.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_EMIT_RULE_H
#define OUTBOX_EMIT_RULE_H

#include "guc.h"

/* Nothing is set. */
#define OUTBOX_NO_FORMAT	(-1)

typedef struct OutboxEmitRule
{
	int			format;			/* an OutboxFormat, or OUTBOX_NO_FORMAT */
	text	   *topic;			/* NULL: nothing is set; not toasted */
} OutboxEmitRule;

/*
 * What is set for an aggregate type or for a topic, of which the format only
 * is set.  NULL if nothing is; valid until the next call.  Needs a transaction.
 * Takes AccessShareLock on both tables if one was changed.  ERROR,
 * undefined_object, if outbox is not installed here.
 */
extern const OutboxEmitRule *outbox_emit_rule_of_aggregate_type(const text *aggregate_type);
extern const OutboxEmitRule *outbox_emit_rule_of_topic(const text *topic);

#endif							/* OUTBOX_EMIT_RULE_H */
