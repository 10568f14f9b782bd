/*-------------------------------------------------------------------------
 *
 * emit_many.c
 *	  SQL functions that store many events in one call.
 *
 * outbox_emit_many() takes arrays, the aggregate outbox_emit_rows() the rows of
 * a query.  Both check each event as outbox_emit() does, and store the rows of
 * many at a time.
 *
 * An aggregate has several states at a time where there are groups, and one
 * writer for all of them.  Nothing waits in it when the executor leaves the
 * aggregate's node, where a cursor may stop, for good or for a savepoint that
 * is rolled back: each time at least one group is finished, and that stores
 * what there is, of all groups.  So a savepoint around the first fetch of a
 * cursor has the events of all its groups.
 *
 * IDENTIFICATION
 *	  src/emit_many.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "argument.h"
#include "emit_arguments.h"
#include "event.h"

PG_FUNCTION_INFO_V1(outbox_emit_many);
PG_FUNCTION_INFO_V1(outbox_emit_rows_transition);
PG_FUNCTION_INFO_V1(outbox_emit_rows_final);

/* Arguments of outbox_emit_many(). */
enum
{
	MANY_TOPIC,
	MANY_PAYLOADS,
	MANY_KEYS,
	MANY_HEADERS,
	MANY_PARTITIONS,
	MANY_TIMESTAMPS
};

/* Arguments of the transition function; there may be fewer. */
enum
{
	ROWS_STATE,
	ROWS_TOPIC,
	ROWS_PAYLOAD,
	ROWS_KEY,
	ROWS_HEADERS,
	ROWS_PARTITION,
	ROWS_TIMESTAMP,
	ROWS_ARGUMENTS
};

/* As many as one array can hold. */
#define MAX_UIDS	((int) ((MaxAllocSize - ARR_OVERHEAD_NONULLS(1)) / UUID_LEN))

/* Room for so many uids of a group at first; it then doubles. */
#define INITIAL_UIDS	16

/* An array that is an argument, or none. */
typedef struct Elements
{
	const char *name;			/* of the argument */
	int			count;			/* -1: none */
	Oid			type;
	ArrayIterator iterator;
} Elements;

/* What the server is at, for the context of an error. */
typedef struct Progress
{
	const char *argument;		/* NULL: no longer at an argument */
	int			event;			/* counted from 1 */
} Progress;

/* One aggregate of one query. */
typedef struct RowsCall
{
	OutboxEventWriter *writer;	/* NULL: nothing waits */
	bool		one_by_one;
	Oid			payload_type;
	Oid			key_type;
} RowsCall;

/* One group. */
typedef struct RowsState
{
	RowsCall   *call;
	pg_uuid_t  *uid;
	int			count;
	int			allocated;
} RowsState;

static ArrayType *
make_uid_array(const pg_uuid_t *uid, int count)
{
	ArrayType  *array;
	Size		size;

	if (count == 0)
		return construct_empty_array(UUIDOID);

	size = ARR_OVERHEAD_NONULLS(1) + (Size) count * UUID_LEN;
	array = palloc(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;		/* no NULLs */
	array->elemtype = UUIDOID;
	ARR_DIMS(array)[0] = count;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), uid, (Size) count * UUID_LEN);
	return array;
}

static void
add_context(void *arg)
{
	const Progress *progress = arg;

	if (progress->argument != NULL)
		errcontext("argument \"%s\" of outbox_emit_many()", progress->argument);
	else if (progress->event > 0)
		errcontext("event %d of outbox_emit_many()", progress->event);
}

/*
 * An argument that is an array.  One that may be declared "any" (declared_type
 * is InvalidOid) may also be the text of an array of text, which is what an
 * untyped parameter becomes.
 */
static void
open_elements(Elements *elements, FunctionCallInfo fcinfo, int argument,
			  const char *name, Oid declared_type, Progress *progress)
{
	Oid			type = InvalidOid;
	ArrayType  *array;

	progress->argument = name;
	elements->name = name;
	elements->count = -1;
	elements->type = declared_type;
	elements->iterator = NULL;

	if (!OidIsValid(declared_type))
	{
		type = outbox_argument_type(fcinfo, argument, name);
		elements->type = type == TEXTOID ? TEXTOID : get_base_element_type(type);
		if (!OidIsValid(elements->type))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("%s must be an array, not %s", name, format_type_be(type)),
					 errhint("outbox_emit() takes a single event.")));
	}
	if (PG_ARGISNULL(argument))
		return;

	if (type == TEXTOID)
		array = DatumGetArrayTypeP(OidFunctionCall3(F_ARRAY_IN,
													CStringGetDatum(text_to_cstring(PG_GETARG_TEXT_PP(argument))),
													ObjectIdGetDatum(TEXTOID),
													Int32GetDatum(-1)));
	else
		array = PG_GETARG_ARRAYTYPE_P(argument);

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s must be an array of one dimension, not of %d",
						name, ARR_NDIM(array))));
	elements->count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	elements->iterator = array_create_iterator(array, 0, NULL);
}

static void
check_count(const Elements *elements, const Elements *payloads)
{
	if (elements->count >= 0 && elements->count != payloads->count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("%s and payloads differ in length: %d and %d",
						elements->name, elements->count, payloads->count),
				 errhint("Pass one element for each event, which may be NULL, or NULL instead of the array.")));
}

static NullableDatum
next_element(Elements *elements)
{
	NullableDatum result = {0};

	if (elements->iterator == NULL ||
		!array_iterate(elements->iterator, &result.value, &result.isnull))
		result.isnull = true;
	return result;
}

/*
 * outbox_emit_many(topic text, payloads text | "any", keys text | "any",
 *					headers jsonb[], partitions integer[], timestamps timestamptz[])
 *
 * Stores events in this transaction and returns their uids, both in the order
 * of the arrays.
 */
Datum
outbox_emit_many(PG_FUNCTION_ARGS)
{
	Elements	payloads;
	Elements	keys;
	Elements	headers;
	Elements	partitions;
	Elements	timestamps;
	OutboxEmitArguments arguments;
	OutboxEventWriter *writer;
	MemoryContext per_event;
	MemoryContext oldcontext;
	Progress	progress = {0};
	ErrorContextCallback callback;
	pg_uuid_t  *uid;
	int			i;

	outbox_prevent_emit("outbox_emit_many()");

	callback.callback = add_context;
	callback.arg = &progress;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	if (PG_ARGISNULL(MANY_PAYLOADS))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("payloads must not be null"),
				 errhint("Pass an empty array for no event, or an array of NULLs for tombstones.")));
	open_elements(&payloads, fcinfo, MANY_PAYLOADS, "payloads", InvalidOid, &progress);
	open_elements(&keys, fcinfo, MANY_KEYS, "keys", InvalidOid, &progress);
	open_elements(&headers, fcinfo, MANY_HEADERS, "headers", JSONBOID, &progress);
	open_elements(&partitions, fcinfo, MANY_PARTITIONS, "partitions", INT4OID, &progress);
	open_elements(&timestamps, fcinfo, MANY_TIMESTAMPS, "timestamps", TIMESTAMPTZOID, &progress);
	progress.argument = NULL;
	check_count(&keys, &payloads);
	check_count(&headers, &payloads);
	check_count(&partitions, &payloads);
	check_count(&timestamps, &payloads);

	arguments.topic = fcinfo->args[MANY_TOPIC];
	arguments.payload_type = payloads.type;
	arguments.key_type = keys.type;
	outbox_emit_arguments_check(&arguments);
	if (payloads.count > MAX_UIDS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events in one call: %d", payloads.count)));
	uid = palloc((Size) payloads.count * UUID_LEN);

	if (payloads.count > 0)
	{
		per_event = AllocSetContextCreate(CurrentMemoryContext, "outbox event",
										  ALLOCSET_DEFAULT_SIZES);
		writer = outbox_event_writer_begin();
		for (i = 0; i < payloads.count; i++)
		{
			OutboxEvent event;

			CHECK_FOR_INTERRUPTS();
			progress.event = i + 1;
			arguments.payload = next_element(&payloads);
			arguments.key = next_element(&keys);
			arguments.headers = next_element(&headers);
			arguments.partition = next_element(&partitions);
			arguments.timestamp = next_element(&timestamps);

			oldcontext = MemoryContextSwitchTo(per_event);
			outbox_emit_arguments_to_event(&arguments, &event);
			MemoryContextSwitchTo(oldcontext);
			outbox_event_writer_add(writer, &event);
			uid[i] = event.uid;
			MemoryContextReset(per_event);
		}
		progress.event = 0;
		outbox_event_writer_end(writer);
		MemoryContextDelete(per_event);
	}

	error_context_stack = callback.previous;
	PG_RETURN_ARRAYTYPE_P(make_uid_array(uid, payloads.count));
}

/* What all groups have in common, made at the first row. */
static RowsCall *
begin_rows(FunctionCallInfo fcinfo)
{
	AggState   *node = castNode(AggState, fcinfo->context);
	RowsCall   *call;

	call = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(RowsCall));
	call->payload_type = outbox_argument_type(fcinfo, ROWS_PAYLOAD, "payload");
	call->key_type = PG_NARGS() > ROWS_KEY ?
		outbox_argument_type(fcinfo, ROWS_KEY, "key") : TEXTOID;

	/*
	 * Of the groups of a hash table that are left when one is finished, those
	 * that are finished first may have no row that the filter lets through, so
	 * no state that leads to the writer.
	 */
	call->one_by_one = AggGetAggref(fcinfo)->aggfilter != NULL &&
		(node->aggstrategy == AGG_HASHED || node->aggstrategy == AGG_MIXED);
	return call;
}

static void
store_rows(RowsCall *call)
{
	OutboxEventWriter *writer = call->writer;

	if (writer == NULL)
		return;
	call->writer = NULL;
	outbox_event_writer_end(writer);
}

static void
append_uid(RowsState *state, const pg_uuid_t *uid, MemoryContext context)
{
	if (state->count == state->allocated)
	{
		if (state->count >= MAX_UIDS)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many events in one call: more than %d", MAX_UIDS)));
		if (state->uid == NULL)
		{
			state->allocated = INITIAL_UIDS;
			state->uid = MemoryContextAlloc(context, INITIAL_UIDS * UUID_LEN);
		}
		else
		{
			state->allocated = Min(2 * state->allocated, MAX_UIDS);
			state->uid = repalloc(state->uid, (Size) state->allocated * UUID_LEN);
		}
	}
	state->uid[state->count++] = *uid;
}

/*
 * Transition function of outbox_emit_rows(topic text, payload "any", key "any",
 * headers jsonb, partition integer, "timestamp" timestamptz).
 */
Datum
outbox_emit_rows_transition(PG_FUNCTION_ARGS)
{
	RowsState  *state = PG_ARGISNULL(ROWS_STATE) ? NULL :
		(RowsState *) PG_GETARG_POINTER(ROWS_STATE);
	RowsCall   *call = fcinfo->flinfo->fn_extra;
	NullableDatum value[ROWS_ARGUMENTS];
	OutboxEmitArguments arguments;
	OutboxEvent event;
	MemoryContext context;
	int			i;

	if (AggCheckCallContext(fcinfo, &context) != AGG_CONTEXT_AGGREGATE)
		elog(ERROR, "outbox_emit_rows_transition called in non-aggregate context");

	outbox_prevent_emit("outbox_emit_rows()");

	if (call == NULL)
		fcinfo->flinfo->fn_extra = call = begin_rows(fcinfo);
	if (state == NULL)
	{
		state = MemoryContextAllocZero(context, sizeof(RowsState));
		state->call = call;
	}

	for (i = ROWS_TOPIC; i < ROWS_ARGUMENTS; i++)
	{
		if (i < PG_NARGS())
			value[i] = fcinfo->args[i];
		else
		{
			value[i].value = (Datum) 0;
			value[i].isnull = true;
		}
	}
	arguments.topic = value[ROWS_TOPIC];
	arguments.payload = value[ROWS_PAYLOAD];
	arguments.key = value[ROWS_KEY];
	arguments.headers = value[ROWS_HEADERS];
	arguments.partition = value[ROWS_PARTITION];
	arguments.timestamp = value[ROWS_TIMESTAMP];
	arguments.payload_type = call->payload_type;
	arguments.key_type = call->key_type;
	outbox_emit_arguments_to_event(&arguments, &event);

	if (call->writer == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		call->writer = outbox_event_writer_begin();
		MemoryContextSwitchTo(oldcontext);
	}
	outbox_event_writer_add(call->writer, &event);
	append_uid(state, &event.uid, context);
	if (call->one_by_one)
		store_rows(call);

	PG_RETURN_POINTER(state);
}

/* Final function: the uids of a group, in the order of its rows. */
Datum
outbox_emit_rows_final(PG_FUNCTION_ARGS)
{
	RowsState  *state;

	if (AggCheckCallContext(fcinfo, NULL) != AGG_CONTEXT_AGGREGATE)
		elog(ERROR, "outbox_emit_rows_final called in non-aggregate context");

	if (PG_ARGISNULL(0))
	{
		/* refused also where there is no row */
		outbox_prevent_emit("outbox_emit_rows()");
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(UUIDOID));
	}
	state = (RowsState *) PG_GETARG_POINTER(0);
	store_rows(state->call);
	PG_RETURN_ARRAYTYPE_P(make_uid_array(state->uid, state->count));
}
