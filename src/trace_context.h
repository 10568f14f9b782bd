/*-------------------------------------------------------------------------
 *
 * trace_context.h
 *	  What tracing says about a call.
 *
 * IDENTIFICATION
 *	  src/trace_context.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_TRACE_CONTEXT_H
#define OUTBOX_TRACE_CONTEXT_H

#include "utf8.h"

/* Whether bytes are a traceparent, a tracestate or any trace id. */
extern bool outbox_traceparent_is_valid(OutboxBytes value);
extern bool outbox_tracestate_is_valid(OutboxBytes value);
extern bool outbox_trace_id_is_valid(OutboxBytes value);

/* Sentences for those that are not. */
#define OUTBOX_TRACEPARENT_RULE \
	"It is 00-, 32 hexadecimal digits, -, 16 hexadecimal digits, - and two more, in lower case and not all zero."
#define OUTBOX_TRACESTATE_RULE \
	"It is up to 32 pairs of the form key=value in printable ASCII, separated by commas."
#define OUTBOX_TRACE_ID_RULE \
	"It has no control characters."

#endif							/* OUTBOX_TRACE_CONTEXT_H */
