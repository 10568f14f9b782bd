/*-------------------------------------------------------------------------
 *
 * event_frame.c
 *	  The row of an event as a frame for the producer, and back.
 *
 * Rows come from the segments and from outbox.dead_letter; frame.h says what a
 * frame is.
 *
 * IDENTIFICATION
 *	  src/event_frame.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "event.h"
#include "event_frame.h"

/*
 * Takes a row apart whose columns are OUTBOX_EVENT_COLUMNS.  What is detoasted
 * is left in the current memory context.  locator may be 0 where the event is
 * never asked for by it.
 */
void
outbox_event_parts(OutboxEventParts *parts, TupleTableSlot *slot,
				   uint64 number, uint64 locator)
{
	static const int columns[4] = {
		Anum_outbox_event_topic, Anum_outbox_event_key, Anum_outbox_event_headers,
		Anum_outbox_event_payload
	};
	int32		length[4];
	int			i;

	memset(&parts->event, 0, sizeof(FrameEvent));
	parts->length = sizeof(FrameHeader) + sizeof(FrameEvent);
	for (i = 0; i < 4; i++)
	{
		parts->value[i] = NULL;
		length[i] = -1;
		if (slot->tts_isnull[columns[i] - 1])
			continue;
		parts->value[i] = PG_DETOAST_DATUM_PACKED(slot->tts_values[columns[i] - 1]);
		length[i] = VARSIZE_ANY_EXHDR(parts->value[i]);
		parts->length += length[i];
	}

	parts->event.number = number;
	parts->event.locator = locator;
	parts->event.timestamp =
		DatumGetTimestampTz(slot->tts_values[Anum_outbox_event_created - 1]) / 1000 +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY * 1000;
	memcpy(parts->event.uid,
		   DatumGetUUIDP(slot->tts_values[Anum_outbox_event_uid - 1])->data, UUID_LEN);
	parts->event.partition = slot->tts_isnull[Anum_outbox_event_partition - 1] ? -1 :
		DatumGetInt32(slot->tts_values[Anum_outbox_event_partition - 1]);
	parts->event.topic_length = length[0];
	parts->event.key_length = length[1];
	parts->event.headers_length = length[2];
	parts->event.payload_length = length[3];
}

/* Writes the frame, parts->length bytes. */
void
outbox_event_frame_write(const OutboxEventParts *parts, char *frame)
{
	FrameHeader header = {0};
	int			i;

	header.type = FRAME_EVENT;
	header.length = parts->length - sizeof(FrameHeader);
	memcpy(frame, &header, sizeof(header));
	frame += sizeof(header);
	memcpy(frame, &parts->event, sizeof(FrameEvent));
	frame += sizeof(FrameEvent);
	for (i = 0; i < 4; i++)
	{
		Size		length;

		if (parts->value[i] == NULL)
			continue;
		length = VARSIZE_ANY_EXHDR(parts->value[i]);
		memcpy(frame, VARDATA_ANY(parts->value[i]), length);
		frame += length;
	}
}

/* Reads a frame that outbox_event_frame_write() wrote. */
void
outbox_event_view(OutboxEventView *view, const char *frame)
{
	frame += sizeof(FrameHeader);
	memcpy(&view->event, frame, sizeof(FrameEvent));
	frame += sizeof(FrameEvent);
	view->topic = frame;
	view->key = view->event.key_length < 0 ? NULL : frame + view->event.topic_length;
}

void
outbox_event_frame_set_flags(char *frame, uint16 flags)
{
	memcpy(frame + sizeof(FrameHeader) + offsetof(FrameEvent, flags), &flags, sizeof(flags));
}

void
outbox_event_frame_set_number(char *frame, uint64 number)
{
	memcpy(frame + sizeof(FrameHeader) + offsetof(FrameEvent, number), &number, sizeof(number));
}
