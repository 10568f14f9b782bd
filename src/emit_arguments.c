/*-------------------------------------------------------------------------
 *
 * emit_arguments.c
 *	  What a caller says about one event, checked.
 *
 * What can be wrong about an event is refused here, in the session that knows
 * why, so that the publisher hardly ever meets a bad one.  All functions that
 * emit come this way, so that none of them takes what another refuses.
 *
 * IDENTIFICATION
 *	  src/emit_arguments.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "emit_arguments.h"
#include "envelope.h"
#include "guc.h"

void
outbox_prevent_emit(const char *name)
{
	/* a standby's transactions are read-only, too: name the true reason */
	PreventCommandDuringRecovery(name);
	PreventCommandIfReadOnly(name);
	PreventCommandIfParallelMode(name);
}

/*
 * A caller without an expression, such as the fast-path protocol, can only
 * call the declaration that names the type.
 */
Oid
outbox_argument_type(FunctionCallInfo fcinfo, int argument, const char *name)
{
	Oid			result = get_fn_expr_argtype(fcinfo->flinfo, argument);

	if (unlikely(!OidIsValid(result)))
	{
		if (fcinfo->flinfo != NULL && OidIsValid(fcinfo->flinfo->fn_oid))
		{
			Oid		   *declared;
			int			count;

			get_func_signature(fcinfo->flinfo->fn_oid, &declared, &count);
			if (argument < count)
				result = declared[argument];
		}
		if (!OidIsValid(result) || result == ANYOID)
			ereport(ERROR,
					(errcode(ERRCODE_INDETERMINATE_DATATYPE),
					 errmsg("could not determine the type of argument \"%s\"", name),
					 errhint("Call the function in an SQL statement, or cast the argument to text.")));
	}
	return result;
}

void
outbox_check_topic(const text *topic)
{
	const char *name = VARDATA_ANY(topic);
	int			length = VARSIZE_ANY_EXHDR(topic);
	bool		valid;
	int			i;

	if (length > OUTBOX_MAX_TOPIC_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("topic name is too long"),
				 errdetail("It has %d bytes, Kafka allows %d.",
						   length, OUTBOX_MAX_TOPIC_LENGTH)));

	valid = length > 0 &&
		!(length == 1 && name[0] == '.') &&
		!(length == 2 && name[0] == '.' && name[1] == '.');
	for (i = 0; i < length && valid; i++)
		valid = (name[i] >= 'a' && name[i] <= 'z') ||
			(name[i] >= 'A' && name[i] <= 'Z') ||
			(name[i] >= '0' && name[i] <= '9') ||
			name[i] == '.' || name[i] == '_' || name[i] == '-';
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid topic name \"%.*s\"", length, name),
				 errdetail("Kafka allows 1 to %d characters out of a-z, A-Z, 0-9, \".\", \"_\" and \"-\", but not \".\" and \"..\".",
						   OUTBOX_MAX_TOPIC_LENGTH)));
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

static int32
check_partition(int32 partition)
{
	if (partition < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partition of an event must not be negative: %d", partition),
				 errhint("Pass NULL to have it chosen by the key.")));
	return partition;
}

static TimestampTz
check_timestamp(TimestampTz timestamp)
{
	/* Kafka counts milliseconds since 1970 and reads a negative one as none */
	if (TIMESTAMP_NOT_FINITE(timestamp) || timestamp < SetEpochTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timestamp of an event must be finite and not before 1970"),
				 errhint("Pass NULL for the time of the emit.")));
	return timestamp;
}

/* The topic, if it can be one. */
static text *
get_topic(const OutboxEmitArguments *arguments)
{
	text	   *result;

	if (arguments->topic.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("topic of an event must not be null")));
	result = DatumGetTextPP(arguments->topic.value);
	outbox_check_topic(result);
	return result;
}

void
outbox_emit_arguments_check(const OutboxEmitArguments *arguments)
{
	(void) get_topic(arguments);
	(void) outbox_envelope_payload((Datum) 0, true, arguments->payload_type);
	(void) outbox_envelope_key((Datum) 0, true, arguments->key_type);
}

void
outbox_emit_arguments_to_event(const OutboxEmitArguments *arguments, OutboxEvent *event)
{
	outbox_event_init(event);
	event->topic = get_topic(arguments);

	event->payload = outbox_envelope_payload(arguments->payload.value,
											 arguments->payload.isnull,
											 arguments->payload_type);
	event->key = outbox_envelope_key(arguments->key.value, arguments->key.isnull,
									 arguments->key_type);
	if (!arguments->headers.isnull)
		event->headers = outbox_envelope_headers(DatumGetJsonbP(arguments->headers.value));
	if (!arguments->partition.isnull)
		event->partition = check_partition(DatumGetInt32(arguments->partition.value));
	if (!arguments->timestamp.isnull)
		event->created = check_timestamp(DatumGetTimestampTz(arguments->timestamp.value));

	outbox_check_size(event);
}
