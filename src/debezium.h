/*-------------------------------------------------------------------------
 *
 * debezium.h
 *	  The format of Debezium's outbox event router.
 *
 * IDENTIFICATION
 *	  src/debezium.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_DEBEZIUM_H
#define OUTBOX_DEBEZIUM_H

#include "format.h"

/* As outbox_format_render(), but for the id among the headers. */
extern void outbox_debezium_render(const OutboxContent *content, StringInfo headers,
								   OutboxEvent *event);

#endif							/* OUTBOX_DEBEZIUM_H */
