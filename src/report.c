/*-------------------------------------------------------------------------
 *
 * report.c
 *	  What the producer says, read from its frames.
 *
 * Checks that a frame is what frame.h says: the producer is another process,
 * which may be of another version, or damaged.  Knows nothing of what follows
 * from a report.
 *
 * IDENTIFICATION
 *	  src/report.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "report.h"

static void read_hello(OutboxReport *report, const char *body, uint32 length);
static void read_acknowledged(OutboxReport *report, const char *body, uint32 length);
static void read_trouble(OutboxReport *report, const char *body, uint32 length);

/*
 * Reads a frame.  What it allocates is in the current memory context; offsets
 * are valid as long as the frame.  ERROR (protocol_violation) if the frame is
 * not as it must be.
 */
void
outbox_report_read(OutboxReport *report, const FrameHeader *header, const char *body)
{
	memset(report, 0, sizeof(OutboxReport));
	report->type = (FrameType) header->type;
	report->topic = "";
	switch (report->type)
	{
		case FRAME_HELLO:
			read_hello(report, body, header->length);
			return;
		case FRAME_READY:
			return;
		case FRAME_ACKNOWLEDGED:
			read_acknowledged(report, body, header->length);
			return;
		case FRAME_REFUSED:
		case FRAME_CONNECTION:
		case FRAME_TOPIC:
		case FRAME_LOG:
		case FRAME_FAILED:
			read_trouble(report, body, header->length);
			return;
		case FRAME_CONFIG:
		case FRAME_EVENT:
			break;				/* only the publisher sends them */
	}
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the producer sent a frame that is not understood"),
			 errdetail("Type %u, length %u.", header->type, header->length)));
}

static void
read_hello(OutboxReport *report, const char *body, uint32 length)
{
	FrameHello *hello = &report->hello;

	if (length < sizeof(FrameHello))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the producer introduced itself in %u bytes", length)));
	memcpy(hello, body, sizeof(FrameHello));
	if (hello->protocol != FRAME_PROTOCOL_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("outbox_producer speaks protocol %u, but the server module speaks %u",
						hello->protocol, FRAME_PROTOCOL_VERSION),
				 errhint("Install both from the same build, then restart the server.")));
	hello->version[sizeof(hello->version) - 1] = '\0';
	hello->kafka_version_text[sizeof(hello->kafka_version_text) - 1] = '\0';
}

static void
read_acknowledged(OutboxReport *report, const char *body, uint32 length)
{
	FrameAcknowledged frame;

	if (length < sizeof(frame))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the producer sent an acknowledgement of %u bytes", length)));
	memcpy(&frame, body, sizeof(frame));
	if ((length - sizeof(frame)) / sizeof(uint32) < frame.count)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the producer sent an acknowledgement of %u bytes for %u events",
						length, frame.count)));
	report->base = frame.base;
	report->count = frame.count;
	report->offsets = body + sizeof(frame);
}

static void
read_trouble(OutboxReport *report, const char *body, uint32 length)
{
	FrameTrouble frame;
	char	   *text;
	char	   *p;

	if (length < sizeof(frame))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the producer sent a frame of type %u with %u bytes",
						report->type, length)));
	memcpy(&frame, body, sizeof(frame));
	length -= sizeof(frame);
	text = palloc(length + 1);
	memcpy(text, body + sizeof(frame), length);
	text[length] = '\0';

	/* a topic and a reason, parted by a NUL byte */
	if (report->type == FRAME_TOPIC || report->type == FRAME_REFUSED)
	{
		report->topic = text;
		text += Min(strlen(text) + 1, length);
	}

	/* whatever the server's encoding is, ASCII is right in it */
	for (p = text; *p; p++)
		if (IS_HIGHBIT_SET(*p) || (unsigned char) *p < ' ')
			*p = '?';

	report->number = frame.number;
	report->trouble.class = frame.class;
	report->trouble.code = frame.code;
	report->trouble.text = text;
	report->level = frame.level;
	report->flags = frame.flags;
}
