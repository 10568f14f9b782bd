/*-------------------------------------------------------------------------
 *
 * event_check.c
 *	  What Kafka takes of an event.
 *
 * What can be wrong about an event is refused in the session that emits it, so
 * that the publisher hardly ever meets a bad one.
 *
 * IDENTIFICATION
 *	  src/event_check.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "event_check.h"
#include "guc.h"
#include "header.h"

bool
outbox_topic_is_valid(const char *name, int length)
{
	int			i;

	if (length < 1 || length > OUTBOX_MAX_TOPIC_LENGTH ||
		(length == 1 && name[0] == '.') ||
		(length == 2 && name[0] == '.' && name[1] == '.'))
		return false;
	for (i = 0; i < length; i++)
	{
		if (!(name[i] >= 'a' && name[i] <= 'z') &&
			!(name[i] >= 'A' && name[i] <= 'Z') &&
			!(name[i] >= '0' && name[i] <= '9') &&
			name[i] != '.' && name[i] != '_' && name[i] != '-')
			return false;
	}
	return true;
}

void
outbox_check_topic(const text *topic)
{
	const char *name = VARDATA_ANY(topic);
	int			length = VARSIZE_ANY_EXHDR(topic);

	if (length > OUTBOX_MAX_TOPIC_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("topic name is too long"),
				 errdetail("It has %d bytes, Kafka allows %d.",
						   length, OUTBOX_MAX_TOPIC_LENGTH)));
	if (!outbox_topic_is_valid(name, length))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid topic name \"%.*s\"", length, name),
				 errdetail(OUTBOX_TOPIC_RULE, OUTBOX_MAX_TOPIC_LENGTH)));
}

void
outbox_check_partition(int32 partition)
{
	if (partition < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partition of an event must not be negative: %d", partition),
				 errhint("Pass NULL to have it chosen by the key.")));
}

void
outbox_check_timestamp(TimestampTz timestamp)
{
	/* Kafka counts milliseconds since 1970 and reads a negative one as none */
	if (TIMESTAMP_NOT_FINITE(timestamp) || timestamp < SetEpochTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timestamp of an event must be finite and not before 1970"),
				 errhint("Pass NULL for the time of the emit.")));
}

void
outbox_check_headers(const bytea *headers)
{
	OutboxBytes left = outbox_bytes(headers);
	OutboxBytes name;
	OutboxBytes value;
	OutboxHeaderFound found;

	while ((found = outbox_headers_next(&left, &name, &value)) == OUTBOX_HEADER_FOUND)
		;
	if (found == OUTBOX_HEADER_MALFORMED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers of an event are not as outbox stores them"),
				 errhint("Pass NULL, or the headers of an event that was emitted.")));
}

/* Bytes of a column's value, uncompressed, which may be toasted; 0 for NULL. */
static int64
raw_size(const bytea *value)
{
	if (value == NULL)
		return 0;
	return (int64) toast_raw_datum_size(PointerGetDatum(value)) - VARHDRSZ;
}

void
outbox_check_size(const OutboxEvent *event)
{
	int64		key = raw_size(event->key);
	int64		headers = raw_size(event->headers);
	int64		payload = raw_size(event->payload);
	int64		limit = (int64) outbox_max_event_size * 1024;

	if (unlikely(key + headers + payload > limit))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event is too large: %lld bytes, outbox.max_event_size allows %lld",
						(long long) (key + headers + payload), (long long) limit),
				 errdetail("The key has %lld, the headers have %lld, the payload has %lld bytes.",
						   (long long) key, (long long) headers, (long long) payload),
				 errhint("Send a reference instead of the data, or raise outbox.max_event_size together with max.message.bytes of the topic.")));
}
