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
#include "emit_rule.h"
#include "envelope.h"
#include "event.h"
#include "event_check.h"
#include "format.h"
#include "guc.h"
#include "template.h"
#include "trace_context.h"

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

/*
 * The topic of an aggregate type by outbox.topic_template.
 */
static text *
expand_topic(const text *aggregate_type)
{
	const OutboxTemplateName name = {
		"aggregate_type", VARDATA_ANY(aggregate_type), VARSIZE_ANY_EXHDR(aggregate_type)
	};
	StringInfoData topic;

	initStringInfo(&topic);
	appendStringInfoSpaces(&topic, VARHDRSZ);
	outbox_template_expand(&topic, outbox_topic_template, &name, 1);
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

/* The topic of an event of this aggregate type, and the format it is to have. */
static void
apply_rules(const OutboxDomainEvent *source, const text *aggregate_type,
			text **topic, OutboxFormat *format)
{
	const OutboxEmitRule *rule = NULL;
	int			type_format = OUTBOX_NO_FORMAT;
	text	   *given = detoast(source->format);

	*topic = detoast(source->topic);
	if (*topic != NULL)
		outbox_check_topic(*topic);

	if (*topic == NULL || given == NULL)
	{
		rule = outbox_emit_rule_of_aggregate_type(aggregate_type);
		if (rule != NULL)
			type_format = rule->format;
	}
	if (*topic == NULL)
		*topic = rule != NULL && rule->topic != NULL ?
			(text *) pg_detoast_datum_copy((struct varlena *) rule->topic) :
			expand_topic(aggregate_type);

	if (given != NULL)
		*format = outbox_format_find(VARDATA_ANY(given), VARSIZE_ANY_EXHDR(given));
	else
	{
		rule = outbox_emit_rule_of_topic(*topic);
		if (rule != NULL)
			*format = rule->format;
		else
			*format = type_format != OUTBOX_NO_FORMAT ? type_format : outbox_format;
	}
}

static void
refuse_trace(const char *argument, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s", argument),
			 errdetail_internal("%s", detail)));
}

/* An argument of the trace; none if it is empty. */
static OutboxBytes
trace_argument(const text *value)
{
	OutboxBytes result = outbox_utf8_text(value);

	if (result.length == 0)
		result.data = NULL;
	return result;
}

/* A setting of the trace; none if it is empty. */
static OutboxBytes
trace_setting(const char *value)
{
	OutboxBytes none = {NULL, 0};

	return value[0] == '\0' ? none : outbox_utf8_cstring(value);
}

static bool
metadata_has(const OutboxDomainEvent *source, const char *name)
{
	JsonbValue	value;

	return source->metadata != NULL && JB_ROOT_IS_OBJECT(source->metadata) &&
		getKeyJsonValueFromContainer(&source->metadata->root, name, strlen(name), &value) != NULL;
}

/*
 * The trace: of the arguments if one of them is given, even as empty; else of
 * the session, unless the metadata has one.
 */
static void
set_trace(const OutboxDomainEvent *source, OutboxContent *content)
{
	memset(&content->traceparent, 0, sizeof(OutboxBytes));
	content->trace_id = content->tracestate = content->traceparent;

	if (source->traceparent != NULL || source->tracestate != NULL || source->trace_id != NULL)
	{
		content->traceparent = trace_argument(source->traceparent);
		content->tracestate = trace_argument(source->tracestate);
		content->trace_id = trace_argument(source->trace_id);

		if (content->traceparent.data != NULL &&
			!outbox_traceparent_is_valid(content->traceparent))
			refuse_trace("traceparent", OUTBOX_TRACEPARENT_RULE);
		if (content->tracestate.data != NULL)
		{
			if (content->traceparent.data == NULL)
				refuse_trace("tracestate", "There is no traceparent, to which it belongs.");
			if (!outbox_tracestate_is_valid(content->tracestate))
				refuse_trace("tracestate", OUTBOX_TRACESTATE_RULE);
		}
		if (content->trace_id.data != NULL && !outbox_trace_id_is_valid(content->trace_id))
			refuse_trace("trace_id", OUTBOX_TRACE_ID_RULE);
		return;
	}

	if (outbox_traceparent[0] != '\0' && !metadata_has(source, "traceparent"))
	{
		content->traceparent = trace_setting(outbox_traceparent);
		if (!metadata_has(source, "tracestate"))
			content->tracestate = trace_setting(outbox_tracestate);
	}
	if (outbox_trace_id[0] != '\0' && !metadata_has(source, "trace_id"))
		content->trace_id = trace_setting(outbox_trace_id);
}

void
outbox_domain_event_render(const OutboxDomainEvent *source, OutboxEvent *event)
{
	OutboxContent content;
	text	   *aggregate_type = detoast(source->aggregate_type);
	char		uid[UID_TEXT_LENGTH];

	if (aggregate_type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("aggregate_type of a domain event must not be null")));
	if (VARSIZE_ANY_EXHDR(aggregate_type) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("aggregate_type of a domain event must not be empty")));

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
	apply_rules(source, aggregate_type, &event->topic, &content.format);

	/* Debezium's string converter leaves the quotes of JSON alone */
	event->key = outbox_envelope_aggregate_id(source->aggregate_id,
											  source->aggregate_id_isnull,
											  source->aggregate_id_type,
											  content.format == OUTBOX_FORMAT_DEBEZIUM);

	content.event = source;
	content.aggregate_type = outbox_utf8_text(aggregate_type);
	content.event_type = outbox_utf8_text(source->event_type);
	content.key = outbox_bytes(event->key);
	content.payload = outbox_envelope_payload(source->payload, source->payload_isnull,
											  source->payload_type);
	content.created = event->created;
	content.id = outbox_utf8_text(source->event_id);
	if (content.id.data == NULL)
		content.id = uid_text(&event->uid, uid);
	else if (content.id.length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event_id of a domain event must not be empty")));
	set_trace(source, &content);

	outbox_format_render(&content, event);
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
