/*-------------------------------------------------------------------------
 *
 * frame.h
 *	  The frames that a publisher and its producer exchange.
 *
 * The publisher (a background worker) and the producer (a child program that
 * owns the Kafka connection) talk over one stream socket pair.  This header
 * is the whole contract: both sides include it, and it includes nothing of
 * PostgreSQL and nothing of librdkafka.  Both ends are always on the same
 * machine and come from the same build, so integers are in native byte order
 * and structures are copied as they are; FRAME_PROTOCOL_VERSION must be
 * raised with every change, and a producer that meets another version ends.
 *
 * A frame is a FrameHeader followed by header.length bytes of body.
 *
 *	  publisher -> producer
 *		FRAME_CONFIG		once, first: see below
 *		FRAME_EVENT			FrameEvent, then topic, key, headers, payload
 *
 *	  producer -> publisher
 *		FRAME_HELLO			once, first: FrameHello
 *		FRAME_READY			the configuration is accepted, events may come
 *		FRAME_ACKNOWLEDGED	FrameAcknowledged, then uint32_t offset[count]
 *		FRAME_REFUSED		FrameTrouble, then topic, a NUL byte, and text:
 *							one event was refused.  If it was sent alone, that
 *							is all; else the whole producer batch was refused,
 *							each of its events is told, and FRAME_FAILED follows
 *		FRAME_CONNECTION	FrameTrouble, then text: the broker connection
 *							changed its state
 *		FRAME_TOPIC			FrameTrouble, then topic, a NUL byte, and text:
 *							a topic does not take events (code 0: it does again)
 *		FRAME_LOG			FrameTrouble, then text: a line for the server log
 *		FRAME_FAILED		FrameTrouble, then text: the producer cannot go on
 *							and exits next; everything not acknowledged must
 *							be sent again to another producer
 *
 * The body of FRAME_CONFIG is uint32_t FRAME_PROTOCOL_VERSION, int32_t pid of
 * the publisher, then pairs of NUL-terminated strings, name and value.  A
 * name that starts with "outbox." is the producer's own (see the
 * PRODUCER_OPTION_ names); every other one is a librdkafka property, applied in order
 * over the producer's defaults.  Secrets travel only here, never in argv or
 * the environment.
 *
 * Flow control is the socket itself: a producer whose queue is full stops
 * reading.  End of file on the socket ends the producer at once, with nothing
 * drained.  Texts are UTF-8, without trailing newline, and never hold a key,
 * a payload, a header value or a secret.
 *
 * IDENTIFICATION
 *	  src/frame.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_FRAME_H
#define OUTBOX_FRAME_H

#include <stdint.h>

#define FRAME_PROTOCOL_VERSION	2

/* The producer finds its end of the socket pair at this descriptor. */
#define FRAME_SOCKET_FD			0

/*
 * The largest body that either side accepts: an event of the largest size
 * that outbox.max_event_size allows (64 MB), its topic and the fixed part,
 * with room to spare.
 */
#define FRAME_MAX_BODY			(80 * 1024 * 1024)

typedef enum FrameType
{
	FRAME_CONFIG = 'C',
	FRAME_EVENT = 'E',
	FRAME_HELLO = 'H',
	FRAME_READY = 'Y',
	FRAME_ACKNOWLEDGED = 'A',
	FRAME_REFUSED = 'R',
	FRAME_CONNECTION = 'S',
	FRAME_TOPIC = 'T',
	FRAME_LOG = 'L',
	FRAME_FAILED = 'F'
} FrameType;

/* What an error is about; only a record's own error can make a dead letter. */
typedef enum FrameClass
{
	FRAME_CLASS_NONE = 0,
	FRAME_CLASS_RECORD = 1,
	FRAME_CLASS_TOPIC = 2,
	FRAME_CLASS_CONNECTION = 3,
	FRAME_CLASS_CLIENT = 4,
	FRAME_CLASS_CONFIGURATION = 5,
	FRAME_CLASS_SERVER = 6		/* the publisher's own; never in a frame */
} FrameClass;

typedef struct FrameHeader
{
	uint32_t	length;			/* bytes of body that follow */
	uint8_t		type;			/* a FrameType */
	uint8_t		unused[3];		/* zero */
} FrameHeader;

/*
 * The header that carries the id of the event.  If the first of an event's own
 * headers has its name, that is the id; else the uid is, and no other header
 * may have the name.
 */
#define FRAME_ID_HEADER		"id"

/* Lengths in bytes; -1 means NULL (for payload: a tombstone). */
typedef struct FrameEvent
{
	uint64_t	number;			/* the publisher's running number, from 1 */
	int64_t		timestamp;		/* milliseconds since 1970 */
	uint8_t		uid[16];		/* sent as FRAME_ID_HEADER, 36 characters */
	int32_t		partition;		/* -1: the partitioner decides */
	int32_t		key_length;
	int32_t		headers_length; /* encoded as in the column, see below */
	int32_t		payload_length;
	uint16_t	topic_length;	/* 1 to 249, no NUL at the end */
	uint16_t	flags;			/* FRAME_EVENT_ flags */
	uint32_t	unused;			/* zero */
	uint64_t	locator;		/* the publisher's own: where its row is */
} FrameEvent;

/*
 * The event is sent in a producer batch of its own, by a client whose
 * refusals leave all other events alone.  Only so is a refusal proof that the
 * event itself is at fault.  The publisher has at most FRAME_MAX_ALONE such
 * events under way, and never two of one topic and key; a producer that is sent
 * more ends.
 */
#define FRAME_EVENT_ALONE		1
#define FRAME_MAX_ALONE			64

/*
 * Encoded headers, on disk and on the wire: for each header int16 name length,
 * name, int32 value length (-1 = null), value; integers in network byte order.
 */

typedef struct FrameHello
{
	uint32_t	protocol;		/* FRAME_PROTOCOL_VERSION */
	uint32_t	kafka_version;	/* rd_kafka_version() */
	char		version[32];	/* of outbox_producer, NUL-terminated */
	char		kafka_version_text[32]; /* rd_kafka_version_str() */
} FrameHello;

/* The events acknowledged are number base + offset[i], in no given order. */
typedef struct FrameAcknowledged
{
	uint64_t	base;
	uint32_t	count;
	uint32_t	unused;			/* zero */
} FrameAcknowledged;

typedef struct FrameTrouble
{
	uint64_t	number;			/* event, for FRAME_REFUSED; else 0 */
	int32_t		code;			/* librdkafka's error code; 0: none, it is well */
	uint8_t		class;			/* a FrameClass */
	uint8_t		level;			/* FRAME_LOG: syslog's, 0 to 7; else 0 */
	uint16_t	flags;			/* FRAME_TROUBLE_ flags */
} FrameTrouble;

/* FRAME_REFUSED: the event was sent alone. */
#define FRAME_TROUBLE_ALONE		1
/* FRAME_TOPIC: nothing behind an event of this topic can be taken now. */
#define FRAME_TROUBLE_BLOCKS	2

/* The producer's own options in FRAME_CONFIG. */

/* File to lock before connecting, and to hold locked for life. */
#define PRODUCER_OPTION_LOCK_FILE		"outbox.lock_file"
/* Largest event in bytes: key, headers and payload together. */
#define PRODUCER_OPTION_MAX_EVENT_SIZE	"outbox.max_event_size"
/* What the client may hold in its queue, in kilobytes. */
#define PRODUCER_OPTION_QUEUE_SIZE		"outbox.queue_size"
/* Seconds without any acknowledgement, brokers reachable, before it gives up. */
#define PRODUCER_OPTION_STALL_TIMEOUT	"outbox.stall_timeout"

#endif							/* OUTBOX_FRAME_H */
