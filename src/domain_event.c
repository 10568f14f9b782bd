/*-------------------------------------------------------------------------
 *
 * domain_event.c
 *	  A domain event, and its way into an event.
 *
 * Decides which topic and format apply, and has the format make the bytes, so
 * that neither the publisher nor a consumer of outbox.event needs to know of
 * domain events.
 *
 * IDENTIFICATION
 *	  src/domain_event.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "compat.h"
#include "domain_event.h"
#include "envelope.h"
#include "event.h"
#include "event_check.h"
#include "format.h"
#include "guc.h"
#include "template.h"

/* The text form of a UUID, without its terminating zero. */
#define UID_TEXT_LENGTH		36

void
outbox_domain_event_init(OutboxDomainEvent *event)
{
	memset(event, 0, sizeof(OutboxDomainEvent));
	event->aggregate_id_isnull = true;
	event->payload_isnull = true;
	event->aggregate_id_type = TEXTOID;
	event->payload_type = TEXTOID;
	event->partition = -1;
	event->created = DT_NOBEGIN;
}

/* Detoasts; NULL stays. */
static text *
detoast(text *value)
{
	return value == NULL ? NULL : (text *) PG_DETOAST_DATUM_PACKED(PointerGetDatum(value));
}

static OutboxBytes
uid_text(const pg_uuid_t *uid, char *buffer)
{
	static const char digits[] = "0123456789abcdef";
	OutboxBytes result = {buffer, UID_TEXT_LENGTH};
	int			i;

	for (i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*buffer++ = '-';
		*buffer++ = digits[uid->data[i] >> 4];
		*buffer++ = digits[uid->data[i] & 0xF];
	}
	return result;
}

/* The topic of an aggregate type by a template. */
static text *
expand_topic(const char *template, const text *aggregate_type)
{
	const OutboxTemplateName name = {
		"aggregate_type", VARDATA_ANY(aggregate_type), VARSIZE_ANY_EXHDR(aggregate_type)
	};
	StringInfoData topic;

	initStringInfo(&topic);
	appendStringInfoSpaces(&topic, VARHDRSZ);
	outbox_template_expand(&topic, template, &name, 1);
	SET_VARSIZE(topic.data, topic.len);

	if (!outbox_topic_is_valid(topic.data + VARHDRSZ, topic.len - VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("aggregate type \"%.*s\" gives no valid topic name",
						name.length, name.value),
				 errdetail("By outbox.topic_template it would be \"%.*s\". " OUTBOX_TOPIC_RULE,
						   topic.len - VARHDRSZ, topic.data + VARHDRSZ,
						   OUTBOX_MAX_TOPIC_LENGTH),
				 errhint("Pass a topic, or set that of the aggregate type by outbox_set_aggregate_type().")));
	return (text *) topic.data;
}

void
outbox_domain_event_render(const OutboxDomainEvent *source, OutboxEvent *event)
{
	OutboxContent content;
	text	   *aggregate_type = detoast(source->aggregate_type);
	text	   *format = detoast(source->format);
	char		uid[UID_TEXT_LENGTH];

	if (aggregate_type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("aggregate_type of a domain event must not be null")));

	outbox_event_init(event);
	if (source->partition != -1)
	{
		outbox_check_partition(source->partition);
		event->partition = source->partition;
	}
	if (source->created != DT_NOBEGIN)
	{
		outbox_check_timestamp(source->created);
		event->created = source->created;
	}

	if (source->topic != NULL)
	{
		event->topic = detoast(source->topic);
		outbox_check_topic(event->topic);
	}
	else
		event->topic = expand_topic(outbox_topic_template, aggregate_type);

	event->key = outbox_envelope_aggregate_id(source->aggregate_id,
											  source->aggregate_id_isnull,
											  source->aggregate_id_type);

	content.event = source;
	content.aggregate_type = outbox_utf8_text(aggregate_type);
	content.event_type = outbox_utf8_text(source->event_type);
	content.key = outbox_bytes(event->key);
	content.payload = outbox_envelope_payload(source->payload, source->payload_isnull,
											  source->payload_type);
	content.id = source->event_id != NULL ? outbox_utf8_text(source->event_id) :
		uid_text(&event->uid, uid);
	content.created = event->created;

	outbox_format_render(format == NULL ? outbox_format :
						 outbox_format_find(VARDATA_ANY(format), VARSIZE_ANY_EXHDR(format)),
						 &content, event);
	outbox_check_size(event);
}

void
outbox_domain_event_emit(const OutboxDomainEvent *source, pg_uuid_t *uid)
{
	OutboxEvent event;

	outbox_domain_event_render(source, &event);
	outbox_event_insert(&event);
	*uid = event.uid;
}
