/*-------------------------------------------------------------------------
 *
 * cloudevents.c
 *	  The formats of CloudEvents.
 *
 * CloudEvents 1.0 with its Kafka protocol binding: in binary mode attributes are
 * headers and the value is the data, in structured mode all of it is one JSON
 * document.  What the specification does not allow is refused, for consumers
 * would have to.
 *
 * IDENTIFICATION
 *	  src/cloudevents.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "common/base64.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "cloudevents.h"
#include "compat.h"
#include "envelope.h"
#include "header.h"
#include "json_text.h"
#include "template.h"
#include "uri.h"

/* The specification's limit for the name of an attribute. */
#define MAX_NAME_LENGTH		20

/* The most that is written in the name of a header: ce_ and the name. */
#define HEADER_NAME_LENGTH	(3 + MAX_NAME_LENGTH + 1)

#define STRUCTURED_CONTENT_TYPE	"application/cloudevents+json; charset=UTF-8"

/* An event's attributes, and what is known of its data. */
typedef struct CloudEvent
{
	const OutboxContent *content;
	OutboxBytes source;
	OutboxBytes subject;
	OutboxBytes dataschema;
	OutboxBytes datacontenttype;
	OutboxBytes partitionkey;
	bool		has_data;
	bool		is_bytes;		/* the data is no text */
	bool		is_json;		/* the data is JSON */
} CloudEvent;

/* Takes an attribute; quoted: it is a string in JSON, else written as it is. */
typedef void (*AttributeWriter) (StringInfo out, const char *name, OutboxBytes value, bool quoted);

static void
refuse(const char *argument, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s cannot be an attribute of a CloudEvent", argument),
			 errdetail_internal("%s", detail)));
}

/*
 * What is wrong with a string, as a sentence; NULL if nothing: the specification
 * leaves out control characters and those that are none.
 */
static const char *
find_fault(OutboxBytes value)
{
	const unsigned char *p = (const unsigned char *) value.data;
	const unsigned char *end = p + value.length;

	while (p < end)
	{
		int			length;
		pg_wchar	c;

		if (*p >= 0x20 && *p < 0x7F)
		{
			p++;
			continue;
		}
		length = pg_utf_mblen(p);
		if (length > end - p)
			return "It is not valid UTF-8.";
		c = utf8_to_unicode(p);
		if (c < 0x20 || (c >= 0x7F && c <= 0x9F) ||
			(c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE)
			return "It has control characters, or code points that are no characters.";
		p += length;
	}
	return NULL;
}

/* Checks an attribute that must not be empty; none of it is right. */
static OutboxBytes
check_attribute(const char *argument, OutboxBytes value)
{
	const char *fault = NULL;

	if (value.data != NULL)
		fault = value.length == 0 ? "It must not be empty." : find_fault(value);
	if (fault != NULL)
		refuse(argument, fault);
	return value;
}

/* The source of an event by outbox.cloudevents_source. */
static OutboxBytes
make_source(const OutboxContent *content)
{
	/* a database that has sessions keeps its name */
	static char *database = NULL;
	OutboxTemplateName names[2];
	StringInfoData type;
	StringInfoData out;
	OutboxBytes result;

	if (database == NULL)
	{
		initStringInfo(&out);
		outbox_uri_append(&out, outbox_utf8_cstring(get_database_name(MyDatabaseId)));
		database = MemoryContextStrdup(TopMemoryContext, out.data);
	}

	initStringInfo(&type);
	outbox_uri_append(&type, content->aggregate_type);
	names[0].name = "database";
	names[0].value = database;
	names[0].length = strlen(database);
	names[1].name = "aggregate_type";
	names[1].value = type.data;
	names[1].length = type.len;

	initStringInfo(&out);
	outbox_template_expand(&out, outbox_cloudevents_source, names, lengthof(names));
	result.data = out.data;
	result.length = out.len;
	return result;
}

static bool
is_token_character(char c)
{
	return c > ' ' && c < 0x7F && strchr("()<>@,;:\\\\\"/[]?=", c) == NULL;
}

/*
 * Whether bytes are a media type, with parameters or not, and which part of it
 * is the subtype.
 */
static bool
parse_media_type(OutboxBytes value, OutboxBytes *subtype)
{
	const char *p = value.data;
	const char *end = p + value.length;

	while (p < end && is_token_character(*p))
		p++;
	if (p == value.data || p == end || *p++ != '/')
		return false;
	subtype->data = p;
	while (p < end && is_token_character(*p))
		p++;
	subtype->length = p - subtype->data;
	while (p < end && *p == ' ')
		p++;
	if (subtype->length == 0 || (p < end && *p != ';'))
		return false;
	for (; p < end; p++)
	{
		if (*p < ' ' || *p > '~')
			return false;
	}
	return true;
}

static bool
has_prefix(OutboxBytes value, const char *prefix)
{
	int			length = strlen(prefix);

	return value.length >= length && pg_strncasecmp(value.data, prefix, length) == 0;
}

/* Whether a media type is one of JSON, as RFC 6838 names them. */
static bool
is_json_type(OutboxBytes subtype)
{
	if (subtype.length == 4)
		return has_prefix(subtype, "json");
	return subtype.length > 5 &&
		pg_strncasecmp(subtype.data + subtype.length - 5, "+json", 5) == 0;
}

/* The type of the data, and whether the data is of that type. */
static void
set_data_type(CloudEvent *event)
{
	const OutboxContent *content = event->content;
	OutboxKind	kind = outbox_envelope_kind(content->event->payload_type);
	OutboxBytes subtype;
	const char *detail;

	event->has_data = (content->payload != NULL);
	event->is_bytes = (kind == OUTBOX_KIND_BYTES);
	event->datacontenttype = outbox_utf8_text(content->event->datacontenttype);
	if (event->datacontenttype.data == NULL && event->has_data)
		event->datacontenttype =
			outbox_utf8_cstring(event->is_bytes ? "application/octet-stream" : "application/json");
	if (event->datacontenttype.data == NULL)
		return;

	/* consumers would take such an event for one in structured mode */
	if (has_prefix(event->datacontenttype, "application/cloudevents") ||
		!parse_media_type(event->datacontenttype, &subtype))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid datacontenttype \"%s\"",
						outbox_utf8_shown(event->datacontenttype.data, event->datacontenttype.length)),
				 errdetail("It is a media type such as \"application/json\", but none of CloudEvents.")));

	event->is_json = is_json_type(subtype);
	if (event->has_data && event->is_json && kind == OUTBOX_KIND_TEXT &&
		!outbox_json_is_valid(outbox_bytes(content->payload), &detail))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("payload is not valid JSON, as its content type \"%s\" says",
						outbox_utf8_shown(event->datacontenttype.data, event->datacontenttype.length)),
				 errdetail_internal("%s", outbox_utf8_shown(detail, strlen(detail))),
				 errhint("Pass datacontenttype, for example 'text/plain', or pass bytes.")));
}

static void
set_event(CloudEvent *event, const OutboxContent *content)
{
	const OutboxDomainEvent *source = content->event;

	memset(event, 0, sizeof(CloudEvent));
	event->content = content;

	if (content->event_type.data == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("event_type of a domain event must not be null with format %s",
						outbox_format_options[content->format].name),
				 errdetail("It is the attribute \"type\" of the CloudEvent.")));
	check_attribute("event_type", content->event_type);
	check_attribute("event_id", content->id);
	check_attribute("trace_id", content->trace_id);

	event->source = outbox_utf8_text(source->source);
	if (event->source.data == NULL)
		event->source = make_source(content);
	else if (!outbox_uri_is_valid(event->source, true))
		refuse("source", "It is not a URI reference.");

	event->dataschema = outbox_utf8_text(source->dataschema);
	if (event->dataschema.data != NULL && !outbox_uri_is_valid(event->dataschema, false))
		refuse("dataschema", "It is not a URI with a scheme.");

	if (content->key.length > 0 &&
		outbox_envelope_kind(source->aggregate_id_type) != OUTBOX_KIND_BYTES)
		event->partitionkey = check_attribute("aggregate_id", content->key);
	event->subject = source->subject == NULL ? event->partitionkey :
		check_attribute("subject", outbox_utf8_text(source->subject));

	set_data_type(event);
}

static void
check_extension_name(OutboxBytes name)
{
	static const char *const reserved[] = {
		"id", "source", "specversion", "type", "time", "subject", "dataschema",
		"datacontenttype", "data", "partitionkey", "traceparent", "tracestate", "traceid"
	};
	bool		is_valid = name.length >= 1 && name.length <= MAX_NAME_LENGTH;
	int			i;

	for (i = 0; i < name.length && is_valid; i++)
		is_valid = (name.data[i] >= 'a' && name.data[i] <= 'z') ||
			(name.data[i] >= '0' && name.data[i] <= '9');
	if (!is_valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name \"%s\" of an extension",
						outbox_utf8_shown(name.data, name.length)),
				 errdetail("It has 1 to %d letters in lower case and digits.", MAX_NAME_LENGTH)));

	for (i = 0; i < lengthof(reserved); i++)
	{
		if (outbox_bytes_equal(name, reserved[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" cannot be an extension", reserved[i]),
					 errdetail("It is an attribute that is made of the arguments.")));
	}
}

static void
write_extension(StringInfo out, AttributeWriter write, OutboxBytes name, const JsonbValue *value)
{
	char		attribute[MAX_NAME_LENGTH + 1];
	OutboxBytes string;
	int32		number;

	memcpy(attribute, name.data, name.length);
	attribute[name.length] = '\0';
	if (value->type == jbvNull)
		return;
	if (value->type == jbvString)
	{
		const char *fault;

		string = outbox_utf8(value->val.string.val, value->val.string.len);
		fault = find_fault(string);
		if (fault != NULL)
			refuse(psprintf("extension \"%s\"", attribute), fault);
		write(out, attribute, string, true);
	}
	else if (value->type == jbvBool)
		write(out, attribute, outbox_utf8_cstring(value->val.boolean ? "true" : "false"), false);
	else if (outbox_json_int32(value, &number))
		write(out, attribute, outbox_utf8_cstring(psprintf("%d", number)), false);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("extension \"%s\" has no value that an attribute can have", attribute),
				 errdetail("A value is a string, a boolean or an integer of 32 bits.")));
}

static void
write_extensions(Jsonb *extensions, StringInfo out, AttributeWriter write)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;
	OutboxBytes name = {NULL, 0};

	if (!JB_ROOT_IS_OBJECT(extensions))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("extensions must be a JSON object"),
				 errhint("Write them as {\"name\": \"value\"}.")));

	iterator = JsonbIteratorInit(&extensions->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			name = outbox_utf8(item.val.string.val, item.val.string.len);
			check_extension_name(name);
		}
		else if (token == WJB_VALUE)
			write_extension(out, write, name, &item);
	}
}

static void
write_if_there(StringInfo out, AttributeWriter write, const char *name, OutboxBytes value)
{
	if (value.data != NULL)
		write(out, name, value, true);
}

/* All attributes but datacontenttype. */
static void
write_attributes(const CloudEvent *event, StringInfo out, AttributeWriter write)
{
	const OutboxContent *content = event->content;
	char		time[OUTBOX_TIME_LENGTH];

	write(out, "specversion", outbox_utf8_cstring("1.0"), true);
	write(out, "id", content->id, true);
	write(out, "source", event->source, true);
	write(out, "type", content->event_type, true);
	write(out, "time", outbox_format_time(content, time), true);
	write_if_there(out, write, "subject", event->subject);
	write_if_there(out, write, "dataschema", event->dataschema);
	write_if_there(out, write, "partitionkey", event->partitionkey);
	write_if_there(out, write, "traceparent", content->traceparent);
	write_if_there(out, write, "tracestate", content->tracestate);
	write_if_there(out, write, "traceid", content->trace_id);
	if (content->event->extensions != NULL)
		write_extensions(content->event->extensions, out, write);
}

/* An AttributeWriter. */
static void
write_header(StringInfo out, const char *name, OutboxBytes value, bool quoted)
{
	char		header[HEADER_NAME_LENGTH] = "ce_";

	strcpy(header + strlen("ce_"), name);
	outbox_headers_add(out, header, value);
}

/* An AttributeWriter. */
static void
write_member(StringInfo out, const char *name, OutboxBytes value, bool quoted)
{
	outbox_json_append_name(out, outbox_utf8_cstring(name));
	if (quoted)
		outbox_json_append_string(out, value);
	else
		appendBinaryStringInfo(out, value.data, value.length);
}

/* A filter of the metadata: what a consumer would take for attributes. */
static bool
check_member(OutboxBytes name, const void *argument)
{
	if (has_prefix(name, "ce_") ||
		(name.length == strlen("content-type") && has_prefix(name, "content-type")))
		outbox_format_refuse_member(argument, name);
	return true;
}

/*
 * Nulls are left out: the SDK for Python fails on a header with a null value,
 * and its consumers could not read the event at all.
 */
static void
add_metadata(const OutboxContent *content, StringInfo headers)
{
	if (content->event->metadata != NULL)
		outbox_headers_add_object(headers, content->event->metadata, "metadata",
								  OUTBOX_HEADERS_NESTED | OUTBOX_HEADERS_NO_NULLS,
								  check_member, content);
}

void
outbox_cloudevents_render_binary(const OutboxContent *content, StringInfo headers,
								 OutboxEvent *event)
{
	CloudEvent	cloudevent;

	set_event(&cloudevent, content);
	if (cloudevent.datacontenttype.data != NULL)
		outbox_headers_add(headers, "content-type", cloudevent.datacontenttype);
	write_attributes(&cloudevent, headers, write_header);
	add_metadata(content, headers);
	event->payload = content->payload;
}

/* The data as a member of the document. */
static void
write_data(const CloudEvent *event, StringInfo out)
{
	OutboxBytes data = outbox_bytes(event->content->payload);

	if (event->is_bytes)
	{
		int			room = pg_b64_enc_len(data.length);

		outbox_json_append_name(out, outbox_utf8_cstring("data_base64"));
		appendStringInfoCharMacro(out, '"');
		enlargeStringInfo(out, room);
		out->len += pg_b64_encode((void *) unconstify(char *, data.data), data.length,
								  out->data + out->len, room);
		appendStringInfoCharMacro(out, '"');
	}
	else
	{
		outbox_json_append_name(out, outbox_utf8_cstring("data"));
		if (event->is_json)
			appendBinaryStringInfo(out, data.data, data.length);
		else
			outbox_json_append_string(out, data);
	}
}

void
outbox_cloudevents_render_structured(const OutboxContent *content, StringInfo headers,
									 OutboxEvent *event)
{
	CloudEvent	cloudevent;
	StringInfoData document;

	set_event(&cloudevent, content);
	outbox_headers_add(headers, "content-type", outbox_utf8_cstring(STRUCTURED_CONTENT_TYPE));
	add_metadata(content, headers);

	initStringInfo(&document);
	appendStringInfoSpaces(&document, VARHDRSZ);
	appendStringInfoCharMacro(&document, '{');
	write_attributes(&cloudevent, &document, write_member);
	write_if_there(&document, write_member, "datacontenttype", cloudevent.datacontenttype);
	if (cloudevent.has_data)
		write_data(&cloudevent, &document);
	appendStringInfoCharMacro(&document, '}');
	SET_VARSIZE(document.data, document.len);
	event->payload = (bytea *) document.data;
}
