/*-------------------------------------------------------------------------
 *
 * cloudevents.h
 *	  The formats of CloudEvents.
 *
 * IDENTIFICATION
 *	  src/cloudevents.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_CLOUDEVENTS_H
#define OUTBOX_CLOUDEVENTS_H

#include "format.h"

/* As outbox_format_render(), but for the id among the headers. */
extern void outbox_cloudevents_render_binary(const OutboxContent *content,
											 StringInfo headers, OutboxEvent *event);
extern void outbox_cloudevents_render_structured(const OutboxContent *content,
												 StringInfo headers, OutboxEvent *event);

#endif							/* OUTBOX_CLOUDEVENTS_H */
