/*-------------------------------------------------------------------------
 *
 * format.c
 *	  The formats of a domain event.
 *
 * A format makes bytes of a domain event and knows nothing of tables.  Here is
 * the plain one.
 *
 * IDENTIFICATION
 *	  src/format.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "format.h"
#include "header.h"

OutboxFormat
outbox_format_find(const char *name, int length)
{
	const struct config_enum_entry *option;

	for (option = outbox_format_options; option->name != NULL; option++)
	{
		if (length == (int) strlen(option->name) && memcmp(name, option->name, length) == 0)
			return option->val;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown format \"%.*s\"", length, name),
			 errhint("Formats are plain, debezium, cloudevents-binary and cloudevents-structured.")));
	return OUTBOX_FORMAT_PLAIN; /* keep compiler quiet */
}

OutboxBytes
outbox_format_time(TimestampTz time, char *buffer)
{
	struct pg_tm tm;
	fsec_t		fraction;
	OutboxBytes result = {buffer, OUTBOX_TIME_LENGTH - 1};
	char	   *p = buffer;

	/* without a zone it is in UTC */
	if (timestamp2tm(time, NULL, &tm, &fraction, NULL, NULL) != 0 || tm.tm_year > 9999)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timestamp of a domain event must not be after the year 9999")));

	p = pg_ultostr_zeropad(p, tm.tm_year, 4);
	*p++ = '-';
	p = pg_ultostr_zeropad(p, tm.tm_mon, 2);
	*p++ = '-';
	p = pg_ultostr_zeropad(p, tm.tm_mday, 2);
	*p++ = 'T';
	p = pg_ultostr_zeropad(p, tm.tm_hour, 2);
	*p++ = ':';
	p = pg_ultostr_zeropad(p, tm.tm_min, 2);
	*p++ = ':';
	p = pg_ultostr_zeropad(p, tm.tm_sec, 2);
	*p++ = '.';
	p = pg_ultostr_zeropad(p, fraction, 6);
	*p++ = 'Z';
	*p = '\0';
	return result;
}

static void
render_plain(const OutboxContent *content, StringInfo headers)
{
	char		buffer[OUTBOX_TIME_LENGTH];

	if (content->event_type.data != NULL)
		outbox_headers_add(headers, "event_type", content->event_type);
	outbox_headers_add(headers, "aggregate_type", content->aggregate_type);
	if (content->key.data != NULL)
		outbox_headers_add(headers, "aggregate_id", content->key);
	outbox_headers_add(headers, "created_at", outbox_format_time(content->created, buffer));
	if (content->event->metadata != NULL)
		outbox_headers_add_object(headers, content->event->metadata, "metadata", NULL, NULL);
}

void
outbox_format_render(OutboxFormat format, const OutboxContent *content, OutboxEvent *event)
{
	StringInfoData headers;

	outbox_headers_init(&headers);
	if (content->event->event_id != NULL)
		outbox_headers_add(&headers, OUTBOX_UID_HEADER, content->id);

	switch (format)
	{
		case OUTBOX_FORMAT_PLAIN:
			render_plain(content, &headers);
			event->payload = content->payload;
			break;
		default:
			elog(ERROR, "format %d is not there yet", (int) format);
	}

	event->headers = outbox_headers_finish(&headers);
}
