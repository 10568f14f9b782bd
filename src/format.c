/*-------------------------------------------------------------------------
 *
 * format.c
 *	  The formats of a domain event.
 *
 * A format makes bytes of a domain event, and knows nothing of tables.  The
 * plain one is here, for it needs no more than what all have in common.
 *
 * IDENTIFICATION
 *	  src/format.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "cloudevents.h"
#include "debezium.h"
#include "format.h"
#include "frame.h"
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
outbox_format_time(const OutboxContent *content, char *buffer)
{
	struct pg_tm tm;
	fsec_t		fraction;
	OutboxBytes result = {buffer, OUTBOX_TIME_LENGTH - 1};
	char	   *p = buffer;

	/* without a zone it is in UTC; there are four digits for a year */
	if (timestamp2tm(content->created, NULL, &tm, &fraction, NULL, NULL) != 0 ||
		tm.tm_year > 9999)
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
add_if_there(StringInfo headers, const char *name, OutboxBytes value)
{
	if (value.data != NULL)
		outbox_headers_add(headers, name, value);
}

void
outbox_format_add_trace(const OutboxContent *content, StringInfo headers)
{
	add_if_there(headers, "traceparent", content->traceparent);
	add_if_there(headers, "tracestate", content->tracestate);
	add_if_there(headers, "trace_id", content->trace_id);
}

bool
outbox_format_is_trace(const OutboxContent *content, OutboxBytes name)
{
	return (content->traceparent.data != NULL && outbox_bytes_equal(name, "traceparent")) ||
		(content->tracestate.data != NULL && outbox_bytes_equal(name, "tracestate")) ||
		(content->trace_id.data != NULL && outbox_bytes_equal(name, "trace_id"));
}

void
outbox_format_refuse_member(const OutboxContent *content, OutboxBytes name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("metadata cannot have member \"%s\"",
					outbox_utf8_shown(name.data, name.length)),
			 errdetail("Format %s has a header of this name itself.",
					   outbox_format_options[content->format].name),
			 errhint("Choose another name for this member.")));
}

/* A filter of the metadata. */
static bool
check_plain_member(OutboxBytes name, const void *argument)
{
	const OutboxContent *content = argument;

	if (outbox_bytes_equal(name, "event_type") ||
		outbox_bytes_equal(name, "aggregate_type") ||
		outbox_bytes_equal(name, "aggregate_id") ||
		outbox_bytes_equal(name, "created_at") ||
		outbox_format_is_trace(content, name))
		outbox_format_refuse_member(content, name);
	return true;
}

static void
render_plain(const OutboxContent *content, StringInfo headers, OutboxEvent *event)
{
	char		time[OUTBOX_TIME_LENGTH];

	add_if_there(headers, "event_type", content->event_type);
	outbox_headers_add(headers, "aggregate_type", content->aggregate_type);
	add_if_there(headers, "aggregate_id", content->key);
	outbox_headers_add(headers, "created_at", outbox_format_time(content, time));
	outbox_format_add_trace(content, headers);
	if (content->event->metadata != NULL)
		outbox_headers_add_object(headers, content->event->metadata, "metadata", OUTBOX_HEADERS_NESTED,
								  check_plain_member, content);
	event->payload = content->payload;
}

/* Refuses what only an attribute of a CloudEvent can hold. */
static void
refuse_attributes(const OutboxContent *content)
{
	const OutboxDomainEvent *event = content->event;
	const char *argument = NULL;

	if (event->extensions != NULL)
		argument = "extensions";
	else if (event->subject != NULL)
		argument = "subject";
	else if (event->dataschema != NULL)
		argument = "dataschema";
	else if (event->datacontenttype != NULL)
		argument = "datacontenttype";
	else if (event->source != NULL)
		argument = "source";

	if (argument != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s cannot be given with format %s", argument,
						outbox_format_options[content->format].name),
				 errhint("It belongs to formats cloudevents-binary and cloudevents-structured. In others, use metadata.")));
}

void
outbox_format_render(const OutboxContent *content, OutboxEvent *event)
{
	StringInfoData headers;

	outbox_headers_init(&headers);
	if (content->event->event_id != NULL)
		outbox_headers_add(&headers, FRAME_ID_HEADER, content->id);

	switch (content->format)
	{
		case OUTBOX_FORMAT_PLAIN:
			refuse_attributes(content);
			render_plain(content, &headers, event);
			break;
		case OUTBOX_FORMAT_DEBEZIUM:
			refuse_attributes(content);
			outbox_debezium_render(content, &headers, event);
			break;
		case OUTBOX_FORMAT_CLOUDEVENTS_BINARY:
			outbox_cloudevents_render_binary(content, &headers, event);
			break;
		case OUTBOX_FORMAT_CLOUDEVENTS_STRUCTURED:
			outbox_cloudevents_render_structured(content, &headers, event);
			break;
	}

	event->headers = outbox_headers_finish(&headers);
}
