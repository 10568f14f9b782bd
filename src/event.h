/*-------------------------------------------------------------------------
 *
 * event.h
 *	  One event: the row and its insert.
 *
 * IDENTIFICATION
 *	  src/event.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_EVENT_H
#define OUTBOX_EVENT_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* Columns of outbox.event and of every segment, in order. */
#define Anum_outbox_event_id			1
#define Anum_outbox_event_xid			2
#define Anum_outbox_event_uid			3
#define Anum_outbox_event_origin		4
#define Anum_outbox_event_created		5
#define Anum_outbox_event_partition		6
#define Anum_outbox_event_topic			7
#define Anum_outbox_event_key			8
#define Anum_outbox_event_headers		9
#define Anum_outbox_event_payload		10
#define Natts_outbox_event				10

/* Kafka's limit for the name of a topic. */
#define OUTBOX_MAX_TOPIC_LENGTH		249

/*
 * An event to store.  The varlena pointers hold the final bytes; NULL means
 * none (payload: a tombstone).
 */
typedef struct OutboxEvent
{
	text	   *topic;
	bytea	   *key;
	bytea	   *headers;
	bytea	   *payload;
	int32		partition;		/* -1: chosen by key */
	TimestampTz created;		/* timestamp of the record */
} OutboxEvent;

extern void outbox_event_insert(const OutboxEvent *event, pg_uuid_t *uid);

/* Milliseconds since 1970 at which the event with this uid was emitted. */
static inline int64
outbox_uid_milliseconds(const unsigned char *uid)
{
	int64		result = 0;
	int			i;

	/* UUID version 7: the first 48 bits, big-endian */
	for (i = 0; i < 6; i++)
		result = (result << 8) | uid[i];
	return result;
}

#endif							/* OUTBOX_EVENT_H */
