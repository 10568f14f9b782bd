/*-------------------------------------------------------------------------
 *
 * event.c
 *	  Events: the row and its insert.
 *
 * Rules are kept here on which the order and completeness of publishing rest:
 * the top-level transaction has its xid before the event gets its id; the row
 * carries the xid of the top-level transaction also inside a savepoint; and an
 * event gets its id at the call that emits it, also where its row is stored
 * later together with others.
 *
 * IDENTIFICATION
 *	  src/event.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "event.h"
#include "installation.h"
#include "segment.h"
#include "segment_writer.h"
#include "wakeup.h"

/* Random bytes are fetched for this many uids at once: a system call each. */
#define UIDS_PER_RESEED		64

/* Events of one statement on their way. */
struct OutboxEventWriter
{
	OutboxInstallation installation;
	FullTransactionId xid;
	Relation	segment;
	OutboxSegmentWriter *rows;
	uint64		count;
};

#define UNIX_EPOCH_OFFSET_USECS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/*
 * Makes a UUID version 7: 48 bits of milliseconds since 1970, 12 bits that
 * count 4096ths of a millisecond, and 62 random bits.
 *
 * The random bytes are not shared with another process: nothing makes uids
 * before the fork.
 */
static void
make_uid(TimestampTz now, pg_uuid_t *uid)
{
	static uint64 random[UIDS_PER_RESEED];
	static int	unused = 0;
	static int64 last = 0;
	int64		microseconds = now + UNIX_EPOCH_OFFSET_USECS;
	int64		tick;
	uint64		high;
	uint64		low;

	if (unused == 0)
	{
		if (!pg_strong_random(random, sizeof(random)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		unused = UIDS_PER_RESEED;
	}
	low = random[--unused];

	/* a microsecond is about 4 of these, so there is room between two */
	tick = (microseconds / 1000) * 4096 + (microseconds % 1000) * 4096 / 1000;

	/*
	 * Uids of one session ascend.  A clock that was set back by more than a
	 * millisecond is followed, for the uid tells when the event was emitted.
	 */
	if (tick <= last && last - tick < 4096)
		tick = last + 1;
	last = tick;

	high = ((uint64) tick >> 12) << 16 | 0x7000 | ((uint64) tick & 0xFFF);
	low = (low & UINT64CONST(0x3FFFFFFFFFFFFFFF)) | UINT64CONST(0x8000000000000000);

	high = pg_hton64(high);
	low = pg_hton64(low);
	memcpy(uid->data, &high, sizeof(high));
	memcpy(uid->data + sizeof(high), &low, sizeof(low));
}

/*
 * Opens the segment to fill.  Returns what is known of the installation in
 * *installation; it may be outdated when something else is opened.
 */
static Relation
open_segment(OutboxInstallation *installation)
{
	for (;;)
	{
		Relation	segment;

		*installation = *outbox_installation_get(false);
		segment = outbox_segment_open(installation);
		if (segment != NULL)
			return segment;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Of the top-level transaction, with which all its subtransactions become
 * visible.  To be taken before the id, so that most transactions that are older
 * have lower ids, and rows of a batch are nearly in order as they lie.
 */
static FullTransactionId
emitter_xid(void)
{
	return GetTopFullTransactionId();
}

/*
 * Gives a row what tells it from a foreign one: the next id, which is drawn at
 * the call that emits the event, so that events of a key have ids in the order
 * of the calls; xid and origin.
 */
static void
make_ours(Datum *values, bool *isnull, FullTransactionId xid,
		  const OutboxInstallation *installation)
{
	values[Anum_outbox_event_id - 1] =
		Int64GetDatum(nextval_internal(installation->sequence, false));
	isnull[Anum_outbox_event_id - 1] = false;
	values[Anum_outbox_event_xid - 1] = FullTransactionIdGetDatum(xid);
	isnull[Anum_outbox_event_xid - 1] = false;
	values[Anum_outbox_event_origin - 1] = Int64GetDatum(installation->origin);
	isnull[Anum_outbox_event_origin - 1] = false;
}

/*
 * Stores an event whose columns are complete but for id, xid and origin.
 */
static void
insert_ours(Datum *values, bool *isnull)
{
	OutboxInstallation installation;
	Relation	segment;
	FullTransactionId xid;

	xid = emitter_xid();
	segment = open_segment(&installation);
	make_ours(values, isnull, xid, &installation);
	outbox_segment_write(segment, values, isnull);
	table_close(segment, NoLock);

	outbox_wakeup_emitted(1);
}

void
outbox_event_init(OutboxEvent *event)
{
	memset(event, 0, sizeof(OutboxEvent));
	event->partition = -1;
	event->created = GetCurrentTimestamp();
	make_uid(event->created, &event->uid);
}

/* The columns of an event but for id, xid and origin. */
static void
set_columns(Datum *values, bool *isnull, const OutboxEvent *event)
{
	values[Anum_outbox_event_uid - 1] = UUIDPGetDatum(&event->uid);
	isnull[Anum_outbox_event_uid - 1] = false;
	values[Anum_outbox_event_created - 1] = TimestampTzGetDatum(event->created);
	isnull[Anum_outbox_event_created - 1] = false;
	values[Anum_outbox_event_partition - 1] = Int32GetDatum(event->partition);
	isnull[Anum_outbox_event_partition - 1] = (event->partition < 0);
	values[Anum_outbox_event_topic - 1] = PointerGetDatum(event->topic);
	isnull[Anum_outbox_event_topic - 1] = false;
	values[Anum_outbox_event_key - 1] = PointerGetDatum(event->key);
	isnull[Anum_outbox_event_key - 1] = (event->key == NULL);
	values[Anum_outbox_event_headers - 1] = PointerGetDatum(event->headers);
	isnull[Anum_outbox_event_headers - 1] = (event->headers == NULL);
	values[Anum_outbox_event_payload - 1] = PointerGetDatum(event->payload);
	isnull[Anum_outbox_event_payload - 1] = (event->payload == NULL);
}

void
outbox_event_insert(const OutboxEvent *event)
{
	Datum		values[Natts_outbox_event];
	bool		isnull[Natts_outbox_event];

	set_columns(values, isnull, event);
	insert_ours(values, isnull);
}

OutboxEventWriter *
outbox_event_writer_begin(void)
{
	OutboxEventWriter *writer = palloc(sizeof(OutboxEventWriter));

	writer->xid = emitter_xid();
	writer->segment = open_segment(&writer->installation);
	writer->rows = outbox_segment_writer_begin(writer->segment);
	writer->count = 0;
	return writer;
}

void
outbox_event_writer_add(OutboxEventWriter *writer, const OutboxEvent *event)
{
	Datum		values[Natts_outbox_event];
	bool		isnull[Natts_outbox_event];

	set_columns(values, isnull, event);
	make_ours(values, isnull, writer->xid, &writer->installation);
	outbox_segment_writer_add(writer->rows, values, isnull);
	writer->count++;
}

void
outbox_event_writer_end(OutboxEventWriter *writer)
{
	outbox_segment_writer_end(writer->rows);
	table_close(writer->segment, NoLock);
	if (writer->count > 0)
		outbox_wakeup_emitted(writer->count);
	pfree(writer);
}

void
outbox_event_insert_adopted(Datum *values, bool *isnull)
{
	insert_ours(values, isnull);
}

void
outbox_event_make_foreign(Datum *values, bool *isnull)
{
	values[Anum_outbox_event_xid - 1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	isnull[Anum_outbox_event_xid - 1] = false;
	values[Anum_outbox_event_origin - 1] = Int64GetDatum(0);
	isnull[Anum_outbox_event_origin - 1] = false;
}

void
outbox_event_insert_foreign(Datum *values, bool *isnull)
{
	OutboxInstallation installation;
	Relation	segment;
	int			i;

	segment = open_segment(&installation);

	for (i = 0; i < Natts_outbox_event; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(segment), i);

		if (attribute->attnotnull && isnull[i])
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("null value in column \"%s\" of an event",
							NameStr(attribute->attname)),
					 errtablecol(segment, i + 1)));
	}

	outbox_segment_write(segment, values, isnull);
	table_close(segment, NoLock);
}
