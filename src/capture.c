/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  Triggers that emit the changes of a table.
 *
 * A change is emitted by the transaction that makes it, after the row is
 * locked and before it commits, so events of a key are in the order of its
 * changes.  Whoever may write the table needs no privilege for that: the
 * owner, who had one when the trigger was made, decided.  What a trigger is
 * told stands in its arguments and its WHEN; what follows from that and from
 * the table is kept for the life of the backend, and made anew when the table
 * changes.  Knows nothing of formats and topics, which domain events have.
 *
 * IDENTIFICATION
 *	  src/capture.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "domain_event.h"
#include "json_value.h"
#include "trigger_column.h"

PG_FUNCTION_INFO_V1(outbox_capture_change);
PG_FUNCTION_INFO_V1(outbox_capture_check);
PG_FUNCTION_INFO_V1(outbox_trigger_argument);

/* What the columns in the WHEN are for, see trigger_column.h. */
#define ROLE_KEY			"key"
#define ROLE_COLUMNS		"columns"

/* Tables in use at a time, at first. */
#define CAPTURES			64

typedef struct CapturedColumn
{
	AttrNumber	number;
	bool		is_key;
	bool		by_value;
	int16		length;
	char	   *label;			/* with quotes and colon */
	int			label_length;
	OutboxJsonType *type;
} CapturedColumn;

/* What a trigger emits; all of it is in one memory context. */
typedef struct Capture
{
	MemoryContext context;
	text	   *aggregate_type;
	text	   *topic;			/* NULL: by the aggregate type */
	text	   *format;			/* NULL: by the topic or the aggregate type */
	bool		old;			/* an update has the old row */
	bool		changed_only;	/* an update has the columns that it changes */
	bool		tombstone;		/* a delete has no payload */
	char	   *place;			/* names of schema and table, as members */
	int			columns_count;
	CapturedColumn *columns;	/* to write, in order */
	int			key_count;
	CapturedColumn *key;		/* none for a statement's trigger */
	Oid			key_type;		/* of a key of one column */
} Capture;

/* A capture by its trigger. */
typedef struct CaptureEntry
{
	Oid			trigger;		/* the hash key */
	Oid			table;
	Oid			captured;		/* table that the event names: not a partition */
	bool		valid;
	Capture    *capture;
} CaptureEntry;

static HTAB *captures = NULL;
static MemoryContext captures_context = NULL;

/* Counts the invalidations: those while a capture is made, too. */
static uint64 invalidations = 0;

static void
forget_captures(Oid table)
{
	HASH_SEQ_STATUS status;
	CaptureEntry *entry;

	invalidations++;
	hash_seq_init(&status, captures);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (!OidIsValid(table) || entry->table == table || entry->captured == table)
			entry->valid = false;
	}
}

static void
table_changed(Datum arg, Oid table)
{
	forget_captures(table);
}

/* A schema was renamed, or a cast to json made or dropped. */
static void
catalog_changed(Datum arg, int cache, uint32 hash)
{
	forget_captures(InvalidOid);
}

static void
prepare_captures(void)
{
	HASHCTL		control;

	if (captures != NULL)
		return;

	if (captures_context == NULL)
		captures_context = AllocSetContextCreate(CacheMemoryContext, "outbox captures",
												 ALLOCSET_SMALL_SIZES);
	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(CaptureEntry);
	control.hcxt = captures_context;
	captures = hash_create("outbox captures", CAPTURES, &control,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(CASTSOURCETARGET, catalog_changed, (Datum) 0);
}

/*
 * Drops what is not valid any more.  A caller further up may be using it, when
 * a type's function changes a captured table: so it goes with the transaction.
 */
static void
sweep_captures(void)
{
	HASH_SEQ_STATUS status;
	CaptureEntry *entry;

	hash_seq_init(&status, captures);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->valid)
			continue;
		MemoryContextSetParent(entry->capture->context, TopTransactionContext);
		hash_search(captures, &entry->trigger, HASH_REMOVE, NULL);
	}
}

/*
 * The table that a trigger was made for: if the trigger is a partition's, that
 * of the partitioned table that it was cloned from.
 */
static Oid
find_captured_table(const Trigger *trigger, Relation relation)
{
	Relation	catalog;
	Oid			oid = trigger->tgoid;
	Oid			result = RelationGetRelid(relation);

	if (!trigger->tgisclone)
		return result;

	catalog = table_open(TriggerRelationId, AccessShareLock);
	while (OidIsValid(oid))
	{
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(oid));
		scan = systable_beginscan(catalog, TriggerOidIndexId, true, NULL, 1, &key);
		tuple = systable_getnext(scan);
		oid = InvalidOid;
		if (HeapTupleIsValid(tuple))
		{
			Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);

			result = form->tgrelid;
			oid = form->tgparentid;
		}
		systable_endscan(scan);
	}
	table_close(catalog, AccessShareLock);
	return result;
}

/* The value of "name=value", or NULL if the argument has another name. */
static const char *
argument_value(const char *argument, const char *name)
{
	size_t		length = strlen(name);

	return strncmp(argument, name, length) == 0 && argument[length] == '=' ?
		argument + length + 1 : NULL;
}

static void
read_arguments(Capture *capture, const Trigger *trigger)
{
	int			i;

	for (i = 0; i < trigger->tgnargs; i++)
	{
		const char *argument = trigger->tgargs[i];
		const char *value;

		if ((value = argument_value(argument, "aggregate_type")) != NULL)
			capture->aggregate_type = cstring_to_text(value);
		else if ((value = argument_value(argument, "topic")) != NULL)
			capture->topic = cstring_to_text(value);
		else if ((value = argument_value(argument, "format")) != NULL)
			capture->format = cstring_to_text(value);
		else if (strcmp(argument, "old=true") == 0)
			capture->old = true;
		else if (strcmp(argument, "changed_only=true") == 0)
			capture->changed_only = true;
		else if (strcmp(argument, "tombstone=true") == 0)
			capture->tombstone = true;
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("trigger \"%s\" has an argument that is not known: \"%s\"",
							trigger->tgname, argument),
					 errhint("Have the trigger made by outbox_capture().")));
	}
}

static void
fill_column(CapturedColumn *column, Form_pg_attribute attribute)
{
	StringInfoData label;

	initStringInfo(&label);
	outbox_json_string(&label, NameStr(attribute->attname), strlen(NameStr(attribute->attname)));
	appendStringInfoChar(&label, ':');

	column->number = attribute->attnum;
	column->by_value = attribute->attbyval;
	column->length = attribute->attlen;
	column->label = label.data;
	column->label_length = label.len;
	column->type = outbox_json_type(attribute->atttypid);
}

/* The values of a virtual column are not in the row. */
static bool
has_values(Form_pg_attribute attribute)
{
	return !attribute->attisdropped && !outbox_is_virtual_column(attribute);
}

static void
read_columns(Capture *capture, const Trigger *trigger, Relation relation)
{
	TupleDesc	descriptor = RelationGetDescr(relation);
	OutboxTriggerColumn *named;
	int			count = outbox_trigger_columns_read(trigger->tgqual, &named);
	bool		all = true;
	int			i;
	int			j;

	capture->key = palloc0(count * sizeof(CapturedColumn) + 1);
	capture->columns = palloc0((count + descriptor->natts) * sizeof(CapturedColumn) + 1);
	for (i = 0; i < count; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, named[i].number - 1);

		if (strcmp(named[i].role, ROLE_KEY) == 0)
		{
			capture->key_type = attribute->atttypid;
			fill_column(&capture->key[capture->key_count++], attribute);
		}
		else if (strcmp(named[i].role, ROLE_COLUMNS) == 0)
		{
			all = false;
			fill_column(&capture->columns[capture->columns_count++], attribute);
		}
	}
	for (i = 0; i < descriptor->natts && all; i++)
	{
		if (has_values(TupleDescAttr(descriptor, i)))
			fill_column(&capture->columns[capture->columns_count++], TupleDescAttr(descriptor, i));
	}

	for (i = 0; i < capture->columns_count; i++)
	{
		for (j = 0; j < capture->key_count; j++)
			capture->columns[i].is_key |= (capture->columns[i].number == capture->key[j].number);
	}

	if (TRIGGER_FOR_ROW(trigger->tgtype) && capture->key_count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("trigger \"%s\" names no key in its WHEN", trigger->tgname),
				 errhint("Have the trigger made by outbox_capture().")));
}

/* Makes a capture in a memory context of its own. */
static Capture *
make_capture(const Trigger *trigger, Relation relation, Oid captured)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "outbox capture",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Capture    *capture = palloc0(sizeof(Capture));
	char	   *schema = get_namespace_name(get_rel_namespace(captured));
	char	   *table = get_rel_name(captured);
	StringInfoData place;

	if (schema == NULL || table == NULL)
		elog(ERROR, "cache lookup failed for relation %u", captured);

	capture->context = context;
	read_arguments(capture, trigger);
	if (capture->aggregate_type == NULL)
		capture->aggregate_type = cstring_to_text(table);

	initStringInfo(&place);
	appendStringInfoString(&place, ",\"schema\":");
	outbox_json_string(&place, schema, strlen(schema));
	appendStringInfoString(&place, ",\"table\":");
	outbox_json_string(&place, table, strlen(table));
	capture->place = place.data;

	read_columns(capture, trigger, relation);

	MemoryContextSwitchTo(old);
	return capture;
}

/* What a trigger emits.  The result lasts as long as this call of the trigger. */
static const Capture *
get_capture(const Trigger *trigger, Relation relation)
{
	CaptureEntry *entry;
	Capture    *capture;
	Oid			captured;
	uint64		before;

	prepare_captures();
	entry = hash_search(captures, &trigger->tgoid, HASH_FIND, NULL);
	if (likely(entry != NULL && entry->valid))
		return entry->capture;

	sweep_captures();
	before = invalidations;
	captured = find_captured_table(trigger, relation);
	capture = make_capture(trigger, relation, captured);

	/* what changed meanwhile is for this caller, not for the next */
	if (before != invalidations)
		return capture;

	entry = hash_search(captures, &trigger->tgoid, HASH_ENTER, NULL);
	entry->table = RelationGetRelid(relation);
	entry->captured = captured;
	entry->capture = capture;
	entry->valid = true;
	MemoryContextSetParent(capture->context, captures_context);
	return capture;
}

static Datum
column_value(TupleTableSlot *slot, const CapturedColumn *column, bool *isnull)
{
	*isnull = slot->tts_isnull[column->number - 1];
	return slot->tts_values[column->number - 1];
}

/*
 * Whether two values are the same to the byte.  A value in the TOAST table
 * that an update did not touch is not read for that.
 */
static bool
is_same(const CapturedColumn *column, TupleTableSlot *one, TupleTableSlot *other)
{
	bool		one_isnull;
	bool		other_isnull;
	Datum		one_value = column_value(one, column, &one_isnull);
	Datum		other_value = column_value(other, column, &other_isnull);

	if (one_isnull || other_isnull)
		return one_isnull == other_isnull;

	if (column->length == -1 &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(one_value)) &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(other_value)) &&
		memcmp(DatumGetPointer(one_value), DatumGetPointer(other_value),
			   VARSIZE_EXTERNAL(DatumGetPointer(one_value))) == 0)
		return true;

	return datum_image_eq(one_value, other_value, column->by_value, column->length);
}

static bool
is_same_key(const Capture *capture, TupleTableSlot *one, TupleTableSlot *other)
{
	int			i;

	for (i = 0; i < capture->key_count; i++)
	{
		if (!is_same(&capture->key[i], one, other))
			return false;
	}
	return true;
}

/*
 * Which columns an update changes, in an array of booleans; NULL if it changes
 * none of those that are captured.
 */
static bool *
find_changes(const Capture *capture, TupleTableSlot *old, TupleTableSlot *new)
{
	bool	   *changed = palloc(capture->columns_count * sizeof(bool) + 1);
	bool		any = false;
	int			i;

	for (i = 0; i < capture->columns_count; i++)
	{
		changed[i] = !is_same(&capture->columns[i], old, new);
		any |= changed[i];
	}
	return any ? changed : NULL;
}

/*
 * Writes a row as a member of this name: the columns of the key and those that
 * are marked (NULL: all).
 */
static void
write_row(OutboxJson *json, const char *name, const Capture *capture,
		  TupleTableSlot *row, const bool *marked)
{
	const char *separator = "";
	int			i;

	appendStringInfo(&json->out, ",\"%s\":{", name);
	for (i = 0; i < capture->columns_count; i++)
	{
		const CapturedColumn *column = &capture->columns[i];
		bool		isnull;
		Datum		value;

		if (marked != NULL && !marked[i] && !column->is_key)
			continue;
		value = column_value(row, column, &isnull);
		appendStringInfoString(&json->out, separator);
		appendBinaryStringInfo(&json->out, column->label, column->label_length);
		outbox_json_value(json, column->type, value, isnull);
		separator = ",";
	}
	appendStringInfoChar(&json->out, '}');
}

/* The values of several columns as a JSON array. */
static Datum
compose_key(const Capture *capture, TupleTableSlot *row)
{
	OutboxJson	json;
	int			i;

	outbox_json_begin(&json);
	for (i = 0; i < capture->key_count; i++)
	{
		bool		isnull;
		Datum		value = column_value(row, &capture->key[i], &isnull);

		appendStringInfoChar(&json.out, i == 0 ? '[' : ',');
		outbox_json_value(&json, capture->key[i].type, value, isnull);
	}
	appendStringInfoChar(&json.out, ']');
	return PointerGetDatum(outbox_json_end(&json));
}

/* A domain event of this operation without key and payload. */
static void
init_event(OutboxDomainEvent *event, const Capture *capture, const char *operation)
{
	outbox_domain_event_init(event);
	event->aggregate_type = capture->aggregate_type;
	event->topic = capture->topic;
	event->format = capture->format;
	event->event_type = cstring_to_text(operation);
	event->payload_type = JSONOID;
	if (capture->key_count == 1)
		event->aggregate_id_type = capture->key_type;
}

/*
 * Emits a change.  The key is that of the new row; old or new may be NULL.
 */
static void
emit(const Capture *capture, const char *operation,
	 TupleTableSlot *old, TupleTableSlot *new, const bool *changed)
{
	OutboxDomainEvent event;
	TupleTableSlot *row = new != NULL ? new : old;
	pg_uuid_t	uid;

	init_event(&event, capture, operation);

	if (row != NULL && capture->key_count == 1)
		event.aggregate_id = column_value(row, &capture->key[0], &event.aggregate_id_isnull);
	else if (row != NULL)
	{
		event.aggregate_id = compose_key(capture, row);
		event.aggregate_id_isnull = false;
	}

	if (!(capture->tombstone && old != NULL && new == NULL))
	{
		OutboxJson	json;

		outbox_json_begin(&json);
		appendStringInfo(&json.out, "{\"op\":\"%s\"%s", operation, capture->place);
		if (old != NULL)
			write_row(&json, "old", capture, old, changed);
		if (new != NULL)
			write_row(&json, "new", capture, new, changed);
		appendStringInfoChar(&json.out, '}');
		event.payload = PointerGetDatum(outbox_json_end(&json));
		event.payload_isnull = false;
	}

	outbox_domain_event_emit(&event, &uid);
}

static void
emit_update(const Capture *capture, TupleTableSlot *old, TupleTableSlot *new)
{
	bool	   *changed = NULL;

	/* to those who know the row by its key, another one takes its place */
	if (!is_same_key(capture, old, new))
	{
		emit(capture, "delete", old, NULL, NULL);
		emit(capture, "insert", NULL, new, NULL);
		return;
	}

	if (capture->changed_only)
	{
		changed = find_changes(capture, old, new);
		if (changed == NULL)
			return;
	}
	emit(capture, "update", capture->old ? old : NULL, new, changed);
}

/*
 * outbox_capture_change()
 *
 * Trigger, after a change of a row, or after a truncate: emits it.
 */
Datum
outbox_capture_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleTableSlot *row;
	const Capture *capture;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		TRIGGER_FIRED_FOR_ROW(trigger->tg_event) == TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("outbox_capture_change() must be called as a trigger after a change of each row, or after truncate"),
				 errhint("Have the trigger made by outbox_capture().")));

	capture = get_capture(trigger->tg_trigger, trigger->tg_relation);
	row = trigger->tg_trigslot;

	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		emit(capture, "truncate", NULL, NULL, NULL);
	else
	{
		slot_getallattrs(row);
		if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
			emit(capture, "insert", NULL, row, NULL);
		else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
			emit(capture, "delete", row, NULL, NULL);
		else
		{
			slot_getallattrs(trigger->tg_newslot);
			emit_update(capture, row, trigger->tg_newslot);
		}
	}
	return PointerGetDatum(NULL);
}

/*
 * outbox_capture_check("table" regclass)
 *
 * Has what the triggers of outbox_capture() on a table would emit made, but
 * for its values, and not emitted: ERROR for what would fail at every change.
 */
Datum
outbox_capture_check(PG_FUNCTION_ARGS)
{
	Relation	relation = table_open(PG_GETARG_OID(0), AccessShareLock);
	/* a copy: the relation's own goes when something about it is read anew */
	TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);
	int			i;

	for (i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		FmgrInfo	function;

		fmgr_info(triggers->triggers[i].tgfoid, &function);
		if (function.fn_addr == outbox_capture_change)
		{
			OutboxDomainEvent event;
			OutboxEvent rendered;

			init_event(&event, get_capture(&triggers->triggers[i], relation), "insert");
			event.payload = CStringGetTextDatum("{}");
			event.payload_isnull = false;
			outbox_domain_event_render(&event, &rendered);
		}
	}
	table_close(relation, NoLock);
	PG_RETURN_VOID();
}

/*
 * outbox_trigger_argument(arguments bytea, name text)
 *
 * The value of the argument "name=value" in pg_trigger.tgargs; NULL if there
 * is none.
 */
Datum
outbox_trigger_argument(PG_FUNCTION_ARGS)
{
	bytea	   *arguments = PG_GETARG_BYTEA_PP(0);
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *argument = VARDATA_ANY(arguments);
	const char *end = argument + VARSIZE_ANY_EXHDR(arguments);

	/* each ends with a zero byte; what somebody made by hand may not */
	while (argument < end)
	{
		size_t		length = strnlen(argument, end - argument);
		const char *value;

		if (argument + length == end)
			break;
		value = argument_value(argument, name);
		if (value != NULL)
			PG_RETURN_TEXT_P(cstring_to_text(value));
		argument += length + 1;
	}
	PG_RETURN_NULL();
}
