/*-------------------------------------------------------------------------
 *
 * debezium.c
 *	  The format of Debezium's outbox event router.
 *
 * Byte for byte what the router makes with Kafka Connect's StringConverter (or
 * ByteArrayConverter for values) and its default converter of headers, the
 * domain event being the row of the outbox table and members of the metadata
 * its additional columns.
 *
 * IDENTIFICATION
 *	  src/debezium.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "debezium.h"
#include "envelope.h"
#include "header.h"
#include "json_text.h"
#include "placement.h"

/* Kafka Connect's text of a Struct. */
#define ENVELOPE_START		"Struct{"

/* Bytes as Kafka Connect shows them where text is asked for. */
static OutboxBytes
encode_base64(OutboxBytes value)
{
	OutboxBytes result;
	int			room = pg_b64_enc_len(value.length);
	char	   *buffer = palloc(room + 1);

	result.length = pg_b64_encode((void *) unconstify(char *, value.data), value.length,
								  buffer, room);
	result.data = buffer;
	return result;
}

/* The timestamp column: microseconds since 1970, as the connector reads it. */
static OutboxBytes
timestamp_text(const OutboxContent *content)
{
	OutboxBytes result;
	char	   *buffer = palloc(MAXINT8LEN + 1);

	result.length = pg_lltoa(content->created +
							 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY, buffer);
	result.data = buffer;
	return result;
}

/* A member of the metadata; false if it is not there or null. */
static bool
find_member(const OutboxContent *content, const char *name, JsonbValue *value)
{
	Jsonb	   *metadata = content->event->metadata;

	return metadata != NULL && JB_ROOT_IS_OBJECT(metadata) &&
		getKeyJsonValueFromContainer(&metadata->root, name, strlen(name), value) != NULL &&
		value->type != jbvNull;
}

/* A member of the metadata as the text of a column. */
static OutboxBytes
member_text(const OutboxContent *content, const char *name)
{
	OutboxBytes none = {NULL, 0};
	JsonbValue	value;

	if (!find_member(content, name, &value))
		return none;
	switch (value.type)
	{
		case jbvString:
			return outbox_utf8(value.val.string.val, value.val.string.len);
		case jbvNumeric:
			return outbox_utf8_cstring(DatumGetCString(DirectFunctionCall1(numeric_out,
																		   NumericGetDatum(value.val.numeric))));
		case jbvBool:
			return outbox_utf8_cstring(value.val.boolean ? "true" : "false");
		case jbvBinary:
			return outbox_utf8_cstring(JsonbToCString(NULL, value.val.binary.data,
													  value.val.binary.len));
		default:
			elog(ERROR, "unexpected type %d of a member of the metadata", (int) value.type);
	}
	return none;				/* keep compiler quiet */
}

/* What a column holds, as text. */
static OutboxBytes
column_text(const OutboxContent *content, const OutboxPlacement *placement)
{
	OutboxBytes value;

	switch (placement->column)
	{
		case OUTBOX_COLUMN_ID:
			return content->id;
		case OUTBOX_COLUMN_AGGREGATETYPE:
			return content->aggregate_type;
		case OUTBOX_COLUMN_AGGREGATEID:
			value = content->key;
			if (value.data != NULL &&
				outbox_envelope_kind(content->event->aggregate_id_type) == OUTBOX_KIND_BYTES)
				value = encode_base64(value);
			return value;
		case OUTBOX_COLUMN_TYPE:
			return content->event_type;
		case OUTBOX_COLUMN_TIMESTAMP:
			return timestamp_text(content);
		case OUTBOX_COLUMN_PAYLOAD:
			value = outbox_bytes(content->payload);
			if (value.data != NULL && outbox_envelope_kind(content->event->payload_type) == OUTBOX_KIND_BYTES)
				value = encode_base64(value);
			return value;
		case OUTBOX_COLUMN_METADATA:
			break;
	}
	return member_text(content, placement->name);
}

/* The partition that a member of the metadata says; -1 for none. */
static int32
member_partition(const OutboxContent *content, const char *name)
{
	JsonbValue	value;
	int32		result;
	bool		found;

	if (!find_member(content, name, &value))
		return -1;

	/* forwarding makes text of a column */
	found = value.type == jbvString ?
		outbox_text_int32(pnstrdup(value.val.string.val, value.val.string.len), &result) :
		outbox_json_int32(&value, &result);
	if (!found || result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("member \"%s\" of metadata is not the number of a partition", name),
				 errdetail("outbox.debezium_placement makes it the partition of the record.")));
	return result;
}

/* Whether Java's trim() leaves nothing of it. */
static bool
is_blank(OutboxBytes value)
{
	int			i;

	for (i = 0; i < value.length; i++)
	{
		if ((unsigned char) value.data[i] > ' ')
			return false;
	}
	return true;
}

/* Adds a field of the envelope, in which nothing stands for null. */
static void
add_field(StringInfo out, OutboxBytes name, OutboxBytes value)
{
	if (value.data == NULL)
		return;
	if (out->len > VARHDRSZ + (int) strlen(ENVELOPE_START))
		appendStringInfoCharMacro(out, ',');
	appendBinaryStringInfo(out, name.data, name.length);
	appendStringInfoCharMacro(out, '=');
	appendBinaryStringInfo(out, value.data, value.length);
}

/* The envelope as the text of a Struct. */
static bytea *
make_envelope(const OutboxContent *content)
{
	StringInfoData out;
	int			i;

	if (outbox_envelope_kind(content->event->payload_type) == OUTBOX_KIND_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("payload of type bytea cannot be in an envelope"),
				 errdetail("outbox.debezium_placement has a column in the envelope, which is text."),
				 errhint("Place the columns in headers, or pass text.")));

	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	appendStringInfoString(&out, ENVELOPE_START);
	add_field(&out, outbox_utf8_cstring("payload"), outbox_bytes(content->payload));
	for (i = 0; i < outbox_debezium_placements->count; i++)
	{
		const OutboxPlacement *placement = &outbox_debezium_placements->item[i];

		if (placement->place == OUTBOX_PLACE_ENVELOPE)
			add_field(&out, outbox_utf8_cstring(placement->alias),
					  column_text(content, placement));
	}
	appendStringInfoCharMacro(&out, '}');
	SET_VARSIZE(out.data, out.len);
	return (bytea *) out.data;
}

/*
 * A filter of the metadata: what is placed goes where it is placed, the rest
 * into headers of its own, which must not be there twice.
 */
static bool
check_member(OutboxBytes name, const void *argument)
{
	const OutboxContent *content = argument;
	bool		clashes = outbox_format_is_trace(content, name);
	int			i;

	for (i = 0; i < outbox_debezium_placements->count; i++)
	{
		const OutboxPlacement *placement = &outbox_debezium_placements->item[i];

		if (placement->column == OUTBOX_COLUMN_METADATA &&
			outbox_bytes_equal(name, outbox_utf8_cstring(placement->name).data))
			return false;
		if (placement->place == OUTBOX_PLACE_HEADER &&
			outbox_bytes_equal(name, outbox_utf8_cstring(placement->alias).data))
			clashes = true;
	}
	if (clashes)
		outbox_format_refuse_member(content, name);
	return true;
}

void
outbox_debezium_render(const OutboxContent *content, StringInfo headers, OutboxEvent *event)
{
	int32		partition = -1;
	int			i;

	for (i = 0; i < outbox_debezium_placements->count; i++)
	{
		const OutboxPlacement *placement = &outbox_debezium_placements->item[i];

		if (placement->place == OUTBOX_PLACE_HEADER)
			outbox_headers_add(headers, outbox_utf8_cstring(placement->alias).data,
							   column_text(content, placement));
		else if (placement->place == OUTBOX_PLACE_PARTITION)
			partition = member_partition(content, placement->name);
	}
	outbox_format_add_trace(content, headers);
	if (content->event->metadata != NULL)
		outbox_headers_add_object(headers, content->event->metadata, "metadata", OUTBOX_HEADERS_NESTED,
								  check_member, content);

	/* the argument of the call has the last word */
	if (event->partition < 0)
		event->partition = partition;

	/* bytes are never blank there */
	if (outbox_debezium_tombstone &&
		(content->payload == NULL ||
		 (outbox_envelope_kind(content->event->payload_type) != OUTBOX_KIND_BYTES &&
		  is_blank(outbox_bytes(content->payload)))))
		event->payload = NULL;
	else if (outbox_debezium_placements->has_envelope)
		event->payload = make_envelope(content);
	else
		event->payload = content->payload;
}
