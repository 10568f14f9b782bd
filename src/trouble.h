/*-------------------------------------------------------------------------
 *
 * trouble.h
 *	  What the producer said is wrong, and what a person can do about it.
 *
 * IDENTIFICATION
 *	  src/trouble.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_TROUBLE_H
#define OUTBOX_TROUBLE_H

typedef struct OutboxTrouble
{
	int			class;			/* a FrameClass */
	int			code;			/* Kafka's error code; negative: librdkafka's */
	const char *text;			/* ASCII */
} OutboxTrouble;

extern const char *outbox_trouble_hint(int class, int code);
extern const char *outbox_trouble_class_name(int class);

#endif							/* OUTBOX_TROUBLE_H */
