/*-------------------------------------------------------------------------
 *
 * forward.c
 *	  Rows of an application's own outbox table, emitted as domain events.
 *
 * A trigger made by outbox_forward() emits each row in the transaction that
 * inserts it, so it is published if, and only if, the row was committed.  All
 * that is known of it stands in the trigger's arguments; but what each column is
 * for, in the WHEN of a second trigger, which is disabled: to prepare such a
 * condition for each statement would take longer than to emit a row.  Nothing
 * is kept elsewhere, and nothing known of formats.
 *
 * IDENTIFICATION
 *	  src/forward.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "domain_event.h"
#include "envelope.h"
#include "event_check.h"
#include "format.h"
#include "template.h"
#include "trace_context.h"
#include "trigger_column.h"

PG_FUNCTION_INFO_V1(outbox_forward_row);
PG_FUNCTION_INFO_V1(outbox_forward_rows);
PG_FUNCTION_INFO_V1(outbox_forward_columns);

/* Rows that are taken over at a time; so many are in memory. */
#define ROWS_PER_FETCH		100

/* Role of a column that becomes a header; its name follows. */
#define HEADER_ROLE			"header "

/* Arguments of triggers: rows are removed; this is the one with the columns. */
#define KEEP_FALSE			"keep=false"
#define HAS_COLUMNS			"columns=here"

/* What a column may be for. */
typedef enum Role
{
	ROLE_ID,
	ROLE_AGGREGATE_TYPE,
	ROLE_AGGREGATE_ID,
	ROLE_EVENT_TYPE,
	ROLE_PAYLOAD,
	ROLE_METADATA,
	ROLE_CREATED,
	ROLE_TOPIC,
	ROLE_PARTITION,
	ROLE_TRACE_CONTEXT,
	ROLE_TRACEPARENT,
	ROLE_TRACESTATE,
	ROLE_TRACE_ID,
	ROLE_SOURCE,
	ROLE_SUBJECT,
	ROLE_DATASCHEMA,
	ROLE_DATACONTENTTYPE,
	ROLE_EXTENSIONS,
	ROLES
} Role;

static const char *const role_names[ROLES] = {
	"id", "aggregate_type", "aggregate_id", "event_type", "payload",
	"metadata", "created", "topic", "partition", "trace_context",
	"traceparent", "tracestate", "trace_id", "source", "subject",
	"dataschema", "datacontenttype", "extensions"
};

/* A column; number 0 is none. */
typedef struct Column
{
	AttrNumber	number;
	Oid			type;			/* not a domain, unless over a type of its own */
	char	   *header;			/* name of the header it becomes; else NULL */
} Column;

/* What is known of a trigger, and so of the rows that it emits. */
typedef struct Forward
{
	Column		column[ROLES];
	Column	   *headers;
	int			header_count;
	int			last;			/* highest number of a column */
	/* arguments of the trigger; NULL: not given */
	text	   *aggregate_type;
	text	   *event_type;
	char	   *topic;
	text	   *format;
	bool		keep;
} Forward;

/* What is known of a trigger of this session, for as long as it is valid. */
typedef struct CachedForward
{
	Oid			trigger;		/* key */
	Oid			table;
	bool		valid;
	MemoryContext context;		/* of *forward */
	Forward    *forward;
} CachedForward;

static HTAB *cache = NULL;

/* Counts the changes of tables that this session was told of. */
static uint64 invalidations = 0;

/* What an error is about, for its context. */
typedef struct Subject
{
	Relation	relation;
	const char *role;			/* with column; NULL: a row */
	AttrNumber	column;
} Subject;

static void
describe_subject(void *argument)
{
	Subject    *subject = (Subject *) argument;

	if (subject->role != NULL)
		errcontext("column \"%s\" of table \"%s\", forwarded as %s",
				   NameStr(TupleDescAttr(RelationGetDescr(subject->relation),
										 subject->column - 1)->attname),
				   RelationGetRelationName(subject->relation), subject->role);
	else
		errcontext("forwarding of a row of table \"%s\"",
				   RelationGetRelationName(subject->relation));
}

static void
push_subject(ErrorContextCallback *callback, Subject *subject)
{
	callback->callback = describe_subject;
	callback->arg = subject;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

static void
refuse_type(Oid type, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column cannot be of type %s", format_type_be(type)),
			 errdetail("It must be %s.", wanted)));
}

/* Refuses a column of a type that its role cannot take. */
static void
check_type(int role, Oid type)
{
	switch (role)
	{
		case ROLE_PAYLOAD:
			(void) outbox_envelope_payload((Datum) 0, true, type);
			break;
		case ROLE_AGGREGATE_ID:
			(void) outbox_envelope_aggregate_id((Datum) 0, true, type, false);
			break;
		case ROLE_METADATA:
		case ROLE_EXTENSIONS:
			if (type != JSONBOID && type != JSONOID)
				refuse_type(type, "jsonb or json");
			break;
		case ROLE_CREATED:
			if (type != TIMESTAMPTZOID && type != TIMESTAMPOID)
				refuse_type(type, "timestamp with or without time zone");
			break;
		case ROLE_PARTITION:
			if (type != INT4OID && type != INT2OID)
				refuse_type(type, "integer or smallint");
			break;
		default:
			/* a header may be JSON */
			if (role == ROLES && (type == JSONBOID || type == JSONOID))
				break;
			if (type == BYTEAOID)
				refuse_type(type, "text, or a scalar");
			(void) outbox_envelope_key((Datum) 0, true, type);
			break;
	}
}

static void
set_column(Forward *forward, Relation relation, const OutboxTriggerColumn *named)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), named->number - 1);
	Column	   *column = NULL;
	Subject		subject = {relation, named->role, named->number};
	ErrorContextCallback callback;
	int			role;

	for (role = 0; role < ROLES; role++)
	{
		if (strcmp(named->role, role_names[role]) == 0)
			break;
	}

	if (role < ROLES)
		column = &forward->column[role];
	else if (strncmp(named->role, HEADER_ROLE, strlen(HEADER_ROLE)) == 0)
	{
		column = &forward->headers[forward->header_count++];
		column->header = named->role + strlen(HEADER_ROLE);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("table \"%s\" has a column forwarded as \"%s\", which means nothing",
						RelationGetRelationName(relation), named->role),
				 errhint("Have the trigger made by outbox_forward().")));

	column->number = named->number;
	column->type = getBaseType(attribute->atttypid);
	forward->last = Max(forward->last, named->number);

	push_subject(&callback, &subject);
	check_type(role, column->type);
	error_context_stack = callback.previous;
}

/* The value of "name=value", if that is the name. */
static const char *
option_value(const char *argument, const char *name)
{
	size_t		length = strlen(name);

	if (strncmp(argument, name, length) == 0 && argument[length] == '=')
		return argument + length + 1;
	return NULL;
}

/* The topic given, with the aggregate type where the template has a place. */
static text *
expand_topic(const char *topic, const char *aggregate_type, int length)
{
	const OutboxTemplateName name = {"aggregate_type", aggregate_type, length};
	StringInfoData expanded;

	initStringInfo(&expanded);
	appendStringInfoSpaces(&expanded, VARHDRSZ);
	outbox_template_expand(&expanded, topic, &name, 1);
	SET_VARSIZE(expanded.data, expanded.len);
	return (text *) expanded.data;
}

/* Refuses a topic that no aggregate type makes a valid one. */
static void
check_topic(const char *topic)
{
	const OutboxTemplateName name = {"aggregate_type", "", 0};
	const char *error;

	if (!outbox_template_check(topic, &name, 1, &error))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid topic \"%s\": %s", topic, error),
				 errhint("Write {aggregate_type} where the aggregate type is to stand.")));
	/* a letter stands for any type that makes it valid */
	outbox_check_topic(expand_topic(topic, "a", 1));
}

static void
set_option(Forward *forward, Relation relation, const char *argument)
{
	const char *value;

	if ((value = option_value(argument, "aggregate_type")) != NULL)
		forward->aggregate_type = cstring_to_text(value);
	else if ((value = option_value(argument, "event_type")) != NULL)
		forward->event_type = cstring_to_text(value);
	else if ((value = option_value(argument, "topic")) != NULL)
	{
		check_topic(value);
		forward->topic = pstrdup(value);
	}
	else if ((value = option_value(argument, "format")) != NULL)
	{
		(void) outbox_format_find(value, strlen(value));
		forward->format = cstring_to_text(value);
	}
	else if (strcmp(argument, KEEP_FALSE) == 0)
		forward->keep = false;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("table \"%s\" is forwarded with the option \"%s\", which means nothing",
						RelationGetRelationName(relation), argument),
				 errhint("Have the trigger made by outbox_forward().")));
}

/* Whether a trigger is not to be called, but has the columns of another. */
static bool
is_list_of_columns(const Trigger *trigger)
{
	return trigger->tgnargs == 1 && strcmp(trigger->tgargs[0], HAS_COLUMNS) == 0;
}

/* The trigger that has the columns of this one; ERROR if somebody dropped it. */
static const Trigger *
find_list_of_columns(Relation relation, const Trigger *trigger)
{
	int			i;

	for (i = 0; i < relation->trigdesc->numtriggers; i++)
	{
		const Trigger *other = &relation->trigdesc->triggers[i];

		if (other->tgfoid == trigger->tgfoid && is_list_of_columns(other))
			return other;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("table \"%s\" is forwarded without columns",
					RelationGetRelationName(relation)),
			 errdetail("A trigger that outbox_forward() made is gone."),
			 errhint("Call outbox_unforward(), and outbox_forward() again.")));
	return NULL;				/* keep compiler quiet */
}

/* What a trigger says, in the current memory context. */
static Forward *
read_trigger(Relation relation, const Trigger *trigger)
{
	Forward    *forward = palloc0(sizeof(Forward));
	OutboxTriggerColumn *columns;
	int			count = outbox_trigger_columns_read(find_list_of_columns(relation, trigger)->tgqual,
													&columns);
	int			i;

	forward->keep = true;
	forward->headers = palloc0(sizeof(Column) * Max(count, 1));
	for (i = 0; i < count; i++)
		set_column(forward, relation, &columns[i]);
	for (i = 0; i < trigger->tgnargs; i++)
		set_option(forward, relation, trigger->tgargs[i]);
	return forward;
}

/*
 * A table changed, and with it its triggers perhaps.  What is in use is not
 * freed here.
 */
static void
forget_table(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	CachedForward *entry;

	invalidations++;
	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (!OidIsValid(relid) || entry->table == relid)
			entry->valid = false;
	}
}

static void
make_cache(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(CachedForward);
	/* a session inserts into few such tables, or into their partitions */
	cache = hash_create("outbox forwarded tables", 16, &control, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(forget_table, (Datum) 0);
}

/*
 * Removes what is not valid any more, also of triggers that are gone.  A
 * caller further up may be using it: so it goes with the transaction.
 */
static void
sweep_cache(void)
{
	HASH_SEQ_STATUS status;
	CachedForward *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->valid)
			continue;
		MemoryContextSetParent(entry->context, TopTransactionContext);
		hash_search(cache, &entry->trigger, HASH_REMOVE, NULL);
	}
}

/*
 * What a trigger says.  Reading it takes longer than emitting a row does, so
 * it is kept beyond the statement.
 */
static const Forward *
find_forward(Relation relation, const Trigger *trigger)
{
	CachedForward *entry;
	MemoryContext context;
	MemoryContext old;
	Forward    *forward;
	uint64		before;

	if (cache == NULL)
		make_cache();
	entry = hash_search(cache, &trigger->tgoid, HASH_FIND, NULL);
	if (entry != NULL && entry->valid)
		return entry->forward;

	sweep_cache();
	before = invalidations;
	context = AllocSetContextCreate(CurrentMemoryContext, "outbox forwarded table",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	forward = read_trigger(relation, trigger);
	MemoryContextSwitchTo(old);

	/* what changed meanwhile is for this caller, not for the next */
	if (before != invalidations)
		return forward;

	entry = hash_search(cache, &trigger->tgoid, HASH_ENTER, NULL);
	entry->table = RelationGetRelid(relation);
	entry->context = context;
	entry->forward = forward;
	entry->valid = true;
	MemoryContextSetParent(context, CacheMemoryContext);
	return forward;
}

/* A scalar as text, in a form that no setting changes. */
static text *
scalar_text(Datum value, Oid type)
{
	bytea	   *bytes;
	char	   *converted;

	if (type == TEXTOID || type == VARCHAROID)
		return DatumGetTextPP(value);

	/* in UTF-8 */
	bytes = outbox_envelope_key(value, false, type);
	converted = pg_any_to_server(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), PG_UTF8);
	if (converted == VARDATA_ANY(bytes))
		return (text *) bytes;
	return cstring_to_text(converted);
}

/* A header's value as text. */
static text *
header_text(Datum value, Oid type)
{
	if (type == JSONBOID)
		return cstring_to_text(DatumGetCString(DirectFunctionCall1(jsonb_out, value)));
	if (type == JSONOID)
		return DatumGetTextPP(value);
	return scalar_text(value, type);
}

/* NULL for the null of JSON, which many mappers write for want of a value. */
static Jsonb *
json_of_column(Datum value, Oid type)
{
	Jsonb	   *jsonb;
	JsonbValue	scalar;

	if (type == JSONOID)
		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(TextDatumGetCString(value)));
	jsonb = DatumGetJsonbP(value);
	if (JB_ROOT_IS_SCALAR(jsonb) &&
		JsonbExtractScalar(&jsonb->root, &scalar) && scalar.type == jbvNull)
		return NULL;
	return jsonb;
}

/* A text object: {name: value}, all values being strings or null. */
static Datum
make_text_object(Datum *names, Datum *values, bool *isnull, int count)
{
	int			dimension = count;
	int			bound = 1;
	ArrayType  *name_array = construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT);
	ArrayType  *value_array = construct_md_array(values, isnull, 1, &dimension, &bound,
												 TEXTOID, -1, false, TYPALIGN_INT);

	return DirectFunctionCall2(jsonb_object_two_arg,
							   PointerGetDatum(name_array), PointerGetDatum(value_array));
}

/* Metadata, with the columns that become headers; they win over its members. */
static Jsonb *
add_headers(const Forward *forward, Jsonb *metadata, const Datum *values, const bool *isnull)
{
	int			count = forward->header_count;
	Datum	   *names = palloc(sizeof(Datum) * count);
	Datum	   *texts = palloc(sizeof(Datum) * count);
	bool	   *nulls = palloc(sizeof(bool) * count);
	Datum		object;
	int			i;

	for (i = 0; i < count; i++)
	{
		const Column *column = &forward->headers[i];

		names[i] = CStringGetTextDatum(column->header);
		nulls[i] = isnull[column->number - 1];
		texts[i] = nulls[i] ? (Datum) 0 :
			PointerGetDatum(header_text(values[column->number - 1], column->type));
	}

	object = make_text_object(names, texts, nulls, count);
	/* what is no object does not become one, and is refused further on */
	if (metadata != NULL)
		object = DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(metadata), object);
	return DatumGetJsonbP(object);
}

/*
 * The value of a line "name=value" of a text as java.util.Properties writes
 * it, with a backslash before some characters; NULL if there is none.
 */
static char *
property(const char *lines, const char *name)
{
	const char *line = lines;

	while (*line != '\0')
	{
		size_t		length = strcspn(line, "\r\n");
		const char *value = option_value(line, name);

		if (value != NULL)
		{
			char	   *result = palloc(length + 1);
			char	   *to = result;
			const char *from;

			for (from = value; from < line + length; from++)
			{
				if (*from == '\\' && from + 1 < line + length)
					from++;
				*to++ = *from;
			}
			*to = '\0';
			return result;
		}
		line += length;
		line += strspn(line, "\r\n");
	}
	return NULL;
}

/*
 * The trace context that Debezium's tracing leaves in a column.  What is no
 * trace context is passed over, as by Debezium: it is no reason to refuse the
 * application's row.
 */
static void
set_trace_context(OutboxDomainEvent *event, const char *properties)
{
	char	   *traceparent = property(properties, "traceparent");
	char	   *tracestate = property(properties, "tracestate");

	if (traceparent == NULL ||
		!outbox_traceparent_is_valid(outbox_utf8_cstring(traceparent)))
		return;
	event->traceparent = cstring_to_text(traceparent);
	if (tracestate != NULL && tracestate[0] != '\0' &&
		outbox_tracestate_is_valid(outbox_utf8_cstring(tracestate)))
		event->tracestate = cstring_to_text(tracestate);
}

/*
 * Emits a row, whose columns are given by their numbers in the table.
 * Allocates in the current memory context and frees nothing.
 */
static void
emit_row(const Forward *forward, Relation relation, const Datum *values, const bool *isnull)
{
	OutboxDomainEvent event;
	pg_uuid_t	uid;
	Subject		subject = {relation, NULL, 0};
	ErrorContextCallback callback;
	const Column *column;

#define HAS(role) \
	((column = &forward->column[role])->number != 0 && !isnull[column->number - 1])
#define VALUE()		(values[column->number - 1])
#define TEXT()		scalar_text(VALUE(), column->type)

	push_subject(&callback, &subject);
	outbox_domain_event_init(&event);

	event.aggregate_type = forward->aggregate_type;
	if (HAS(ROLE_AGGREGATE_TYPE))
		event.aggregate_type = TEXT();
	else if (event.aggregate_type == NULL && column->number != 0)
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("null value in column \"%s\" of table \"%s\", which is forwarded",
						NameStr(TupleDescAttr(RelationGetDescr(relation),
											  column->number - 1)->attname),
						RelationGetRelationName(relation)),
				 errdetail("The column holds the aggregate type, and an event must have one."),
				 errtablecol(relation, column->number)));
	else if (event.aggregate_type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("table \"%s\" is forwarded without an aggregate type",
						RelationGetRelationName(relation)),
				 errhint("Have the trigger made by outbox_forward().")));

	if (HAS(ROLE_AGGREGATE_ID))
	{
		event.aggregate_id = VALUE();
		event.aggregate_id_isnull = false;
	}
	if (column->number != 0)
		event.aggregate_id_type = column->type;

	if (HAS(ROLE_PAYLOAD))
	{
		event.payload = VALUE();
		event.payload_isnull = false;
	}
	if (column->number != 0)
		event.payload_type = column->type;

	event.event_type = forward->event_type;
	if (HAS(ROLE_EVENT_TYPE))
		event.event_type = TEXT();
	if (HAS(ROLE_ID))
		event.event_id = TEXT();
	/* one without time zone is in UTC, as Debezium takes it */
	if (HAS(ROLE_CREATED))
	{
		/* -infinity and -1 stand for none from here on */
		event.created = DatumGetTimestampTz(VALUE());
		outbox_check_timestamp(event.created);
	}
	if (HAS(ROLE_PARTITION))
	{
		event.partition = column->type == INT2OID ?
			DatumGetInt16(VALUE()) : DatumGetInt32(VALUE());
		outbox_check_partition(event.partition);
	}

	if (HAS(ROLE_METADATA))
		event.metadata = json_of_column(VALUE(), column->type);
	if (forward->header_count > 0)
		event.metadata = add_headers(forward, event.metadata, values, isnull);
	if (HAS(ROLE_EXTENSIONS))
		event.extensions = json_of_column(VALUE(), column->type);

	if (HAS(ROLE_TRACE_CONTEXT))
		set_trace_context(&event, text_to_cstring(TEXT()));
	if (HAS(ROLE_TRACEPARENT))
		event.traceparent = TEXT();
	if (HAS(ROLE_TRACESTATE))
		event.tracestate = TEXT();
	if (HAS(ROLE_TRACE_ID))
		event.trace_id = TEXT();

	if (HAS(ROLE_SOURCE))
		event.source = TEXT();
	if (HAS(ROLE_SUBJECT))
		event.subject = TEXT();
	if (HAS(ROLE_DATASCHEMA))
		event.dataschema = TEXT();
	if (HAS(ROLE_DATACONTENTTYPE))
		event.datacontenttype = TEXT();

	if (HAS(ROLE_TOPIC))
		event.topic = TEXT();
	else if (forward->topic != NULL)
		event.topic = expand_topic(forward->topic,
								   VARDATA_ANY(event.aggregate_type),
								   VARSIZE_ANY_EXHDR(event.aggregate_type));
	event.format = forward->format;

#undef HAS
#undef VALUE
#undef TEXT

	outbox_domain_event_emit(&event, &uid);
	error_context_stack = callback.previous;
}

/*
 * Deletes the row just inserted; one that another trigger has changed or
 * deleted by now is left as it is.  Triggers are not fired, so there must be
 * none that should have been.
 */
static void
remove_row(FunctionCallInfo fcinfo, Relation relation, TupleTableSlot *slot)
{
	static char ended;
	TriggerDesc *triggers = relation->trigdesc;

	/* a foreign table may have become a partition; what is far cannot be deleted here */
	if (relation->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot remove the rows of table \"%s\" as they are forwarded",
						RelationGetRelationName(relation)),
				 errdetail("It is a foreign table."),
				 errhint("Detach it, or forward the partitioned table with keep => true.")));
	/* also what a foreign key of another table has here */
	if (triggers->trig_delete_before_row || triggers->trig_delete_after_row)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot remove the rows of table \"%s\" as they are forwarded",
						RelationGetRelationName(relation)),
				 errdetail("A trigger or a foreign key wants to know of deleted rows."),
				 errhint("Drop it, or forward the table with keep => true.")));
	CheckCmdReplicaIdentity(relation, CMD_DELETE);

	if (!table_tuple_satisfies_snapshot(relation, slot, SnapshotSelf))
		return;

	/*
	 * The rows must have been inserted by an earlier command than the one that
	 * deletes them.  Once for a statement, as long as which the function's own
	 * place lasts: each pair of commands takes memory until the transaction
	 * ends.
	 */
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		CommandCounterIncrement();
		fcinfo->flinfo->fn_extra = &ended;
	}
	simple_table_tuple_delete(relation, &slot->tts_tid, GetActiveSnapshot());
}

/*
 * Trigger, after insert for each row: emits the row.
 */
Datum
outbox_forward_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleTableSlot *slot;
	const Forward *forward;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("outbox_forward_row() must be called as a trigger after insert for each row")));

	forward = find_forward(trigger->tg_relation, trigger->tg_trigger);
	slot = trigger->tg_trigslot;
	slot_getsomeattrs(slot, forward->last);
	emit_row(forward, trigger->tg_relation, slot->tts_values, slot->tts_isnull);
	if (!forward->keep)
		remove_row(fcinfo, trigger->tg_relation, slot);

	return PointerGetDatum(NULL);
}

/*
 * The trigger of a table that forwards it, or NULL.  triggers are a copy of
 * the relation's: those are replaced when the relation is read again.
 */
static const Trigger *
find_trigger(const TriggerDesc *triggers)
{
	int			i;

	for (i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];
		FmgrInfo	function;

		/* by its C function, whatever its name and schema in SQL */
		fmgr_info(trigger->tgfoid, &function);
		if (function.fn_addr == outbox_forward_row && !is_list_of_columns(trigger))
			return trigger;
	}
	return NULL;
}

/* Appends the columns that are forwarded; returns their numbers, and how many. */
static int
append_columns(StringInfo query, Relation relation, const Forward *forward,
			   AttrNumber *numbers)
{
	bool	   *wanted = palloc0(sizeof(bool) * (forward->last + 1));
	int			count = 0;
	int			i;

	for (i = 0; i < ROLES; i++)
		wanted[forward->column[i].number] = true;
	for (i = 0; i < forward->header_count; i++)
		wanted[forward->headers[i].number] = true;

	for (i = 1; i <= forward->last; i++)
	{
		if (!wanted[i])
			continue;
		appendStringInfo(query, "%snew.%s", count > 0 ? ", " : " ",
						 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(relation),
																i - 1)->attname)));
		numbers[count++] = i;
	}
	return count;
}

/* Emits what the query gives; returns how many rows. */
static int64
emit_query(const Forward *forward, Relation relation, const char *query,
		   const AttrNumber *numbers, int count)
{
	Datum	   *values = palloc0(sizeof(Datum) * forward->last);
	bool	   *isnull = palloc0(sizeof(bool) * forward->last);
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "outbox forwarded row",
													  ALLOCSET_DEFAULT_SIZES);
	SPIPlanPtr	plan;
	Portal		portal;
	int64		rows = 0;

	plan = SPI_prepare_cursor(query, 0, NULL, CURSOR_OPT_NO_SCROLL);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", query, SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);

	for (;;)
	{
		uint64		i;

		SPI_cursor_fetch(portal, true, ROWS_PER_FETCH);
		if (SPI_processed == 0)
			break;
		for (i = 0; i < SPI_processed; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row_context);
			int			j;

			CHECK_FOR_INTERRUPTS();
			for (j = 0; j < count; j++)
				values[numbers[j] - 1] = SPI_getbinval(SPI_tuptable->vals[i],
													   SPI_tuptable->tupdesc, j + 1,
													   &isnull[numbers[j] - 1]);
			emit_row(forward, relation, values, isnull);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_context);
		}
		rows += SPI_processed;
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	return rows;
}

/*
 * outbox_forward_rows("table" regclass, condition text, ordering text)
 *
 * Checks what the trigger of a table says, and emits the rows that are in
 * the table already, for which the condition holds (NULL: all), in this order;
 * none if ordering is NULL.  Returns how many.  In both, which are SQL, "new"
 * is the row.
 *
 * Takes ShareRowExclusiveLock: nobody inserts between the rows that are read
 * and the first one for which the trigger fires.
 */
Datum
outbox_forward_rows(PG_FUNCTION_ARGS)
{
	Oid			table = PG_GETARG_OID(0);
	char	   *condition = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *ordering = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	Relation	relation;
	const Trigger *trigger;
	Forward    *forward;
	int64		rows = 0;

	relation = table_open(table, ShareRowExclusiveLock);
	if (!outbox_owns_table(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, RelationGetRelationName(relation));
	trigger = find_trigger(CopyTriggerDesc(relation->trigdesc));
	if (trigger == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" is not forwarded", RelationGetRelationName(relation))));

	forward = read_trigger(relation, trigger);
	if (ordering != NULL)
	{
		StringInfoData query;
		AttrNumber *numbers;
		int			count;

		/* the transaction's snapshot may be older than the lock */
		if (IsolationUsesXactSnapshot())
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
					 errmsg("rows cannot be taken over in a transaction with isolation level repeatable read or serializable"),
					 errhint("Call outbox_forward() in a transaction with isolation level read committed.")));

		initStringInfo(&query);
		appendStringInfoString(&query, "SELECT");
		numbers = palloc(sizeof(AttrNumber) * (forward->last + 1));
		count = append_columns(&query, relation, forward, numbers);
		appendStringInfo(&query, " FROM %s%s AS new",
						 relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
						 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
													RelationGetRelationName(relation)));
		/* a comment at its end must not run on */
		if (condition != NULL)
			appendStringInfo(&query, " WHERE (%s\n)", condition);
		appendStringInfo(&query, " ORDER BY %s", ordering);

		SPI_connect();
		rows = emit_query(forward, relation, query.data, numbers, count);
		SPI_finish();
	}

	table_close(relation, NoLock);
	PG_RETURN_INT64(rows);
}

/*
 * outbox_forward_columns("table" oid, condition pg_node_tree)
 *
 * What each column is for, {role: column}, from the WHEN of the trigger that
 * has them.
 */
Datum
outbox_forward_columns(PG_FUNCTION_ARGS)
{
	Oid			table = PG_GETARG_OID(0);
	OutboxTriggerColumn *columns;
	int			count = outbox_trigger_columns_read(TextDatumGetCString(PG_GETARG_DATUM(1)), &columns);
	Datum	   *roles = palloc(sizeof(Datum) * Max(count, 1));
	Datum	   *names = palloc(sizeof(Datum) * Max(count, 1));
	bool	   *isnull = palloc0(sizeof(bool) * Max(count, 1));
	int			i;

	for (i = 0; i < count; i++)
	{
		/* a table that is being dropped has none any more */
		char	   *name = get_attname(table, columns[i].number, true);

		roles[i] = CStringGetTextDatum(columns[i].role);
		isnull[i] = (name == NULL);
		if (name != NULL)
			names[i] = CStringGetTextDatum(name);
	}
	PG_RETURN_DATUM(make_text_object(roles, names, isnull, count));
}
