/*-------------------------------------------------------------------------
 *
 * event.h
 *	  Events: the row and its insert.
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
	pg_uuid_t	uid;
} OutboxEvent;

/*
 * An event without content, emitted now: with a new uid, the time of the call
 * and no partition.
 */
extern void outbox_event_init(OutboxEvent *event);

/*
 * Stores an event in this transaction and has the publisher woken at its
 * commit.  The event must be valid: nothing is checked.
 * Takes RowExclusiveLock on one segment until the end of the transaction.
 * ERROR if outbox is not installed here or a segment was altered.
 */
extern void outbox_event_insert(const OutboxEvent *event);

/*
 * The same for many events: each has its id when _add() returns, and may be
 * freed then, but for what it points to out of line; all are stored when _end()
 * does.  All of it in one subtransaction; others may come and go in between.
 * The segment stays open meanwhile.  The writer is made in the current memory
 * context; after an error nothing is to be done.
 */
typedef struct OutboxEventWriter OutboxEventWriter;

extern OutboxEventWriter *outbox_event_writer_begin(void);
extern void outbox_event_writer_add(OutboxEventWriter *writer, const OutboxEvent *event);
extern void outbox_event_writer_end(OutboxEventWriter *writer);

/*
 * Makes the columns of a row that came by SQL those of a foreign row: no
 * origin, and the xid of this transaction.  Id and uid stay.
 */
extern void outbox_event_make_foreign(Datum *values, bool *isnull);

/* Stores such a row, with lock and errors as outbox_event_insert(). */
extern void outbox_event_insert_foreign(Datum *values, bool *isnull);

/*
 * Stores a foreign row as an event of this installation: with an id, the xid
 * and the origin that outbox_event_insert() would give it; all else stays.
 * Lock, errors and wake-up as there.  The values are overwritten.
 */
extern void outbox_event_insert_adopted(Datum *values, bool *isnull);

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
