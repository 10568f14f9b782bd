/*-------------------------------------------------------------------------
 *
 * json_value.c
 *	  A column's value as JSON.
 *
 * The same value is the same text in every session: dates, times and numbers
 * are written below their output functions, which ask for DateStyle, TimeZone
 * and extra_float_digits, and a type that may ask for such a setting is
 * written while the settings are pinned.  Numbers keep all their digits; what
 * JSON has no number for is a string.  Knows nothing of tables.
 *
 * IDENTIFICATION
 *	  src/json_value.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "common/shortest_dec.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "json_text.h"
#include "json_value.h"

typedef enum
{
	KIND_BOOL,
	KIND_INT2,
	KIND_INT4,
	KIND_INT8,
	KIND_FLOAT4,
	KIND_FLOAT8,
	KIND_NUMERIC,
	KIND_TEXT,
	KIND_BYTEA,
	KIND_JSON,
	KIND_JSONB,
	KIND_DATETIME,
	KIND_ARRAY,
	KIND_ROW,
	KIND_CAST,					/* by its cast to json */
	KIND_STABLE,				/* its text, which nothing that is set changes */
	KIND_OTHER					/* its text, under pinned settings */
} OutboxJsonKind;

/* The columns of a row type, as they were when they were looked up. */
typedef struct OutboxJsonRow
{
	uint64		identifier;		/* of the tuple descriptor, typcache.h */
	MemoryContext context;		/* has the columns; NULL: there are none yet */
	int			count;
	OutboxJsonType **columns;	/* NULL for a dropped one */
	char	  **labels;			/* with quotes and colon */
} OutboxJsonRow;

struct OutboxJsonType
{
	OutboxJsonKind kind;
	Oid			type;			/* not a domain */
	MemoryContext context;
	FmgrInfo	function;		/* output function */
	Oid			cast;			/* function that casts to json */
	OutboxJsonType *element;	/* of an array; NULL before the first is met */
	OutboxJsonRow row;
};

/* What the text of some types depends on, and the one form they get here. */
static const struct
{
	const char *name;
	const char *value;
}			pinned_settings[] =
{
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "iso_8601"},
	{"TimeZone", "UTC"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"},
	{"quote_all_identifiers", "off"},
	/* has the names that regclass and its like give qualified */
	{"search_path", "pg_catalog"},
};

static OutboxJsonKind
kind_of_type(Oid type, Oid *function)
{
	bool		is_varlena;

	*function = InvalidOid;
	switch (type)
	{
		case BOOLOID:
			return KIND_BOOL;
		case INT2OID:
			return KIND_INT2;
		case INT4OID:
			return KIND_INT4;
		case INT8OID:
			return KIND_INT8;
		case FLOAT4OID:
			return KIND_FLOAT4;
		case FLOAT8OID:
			return KIND_FLOAT8;
		case NUMERICOID:
			*function = F_NUMERIC_OUT;
			return KIND_NUMERIC;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return KIND_TEXT;
		case BYTEAOID:
			return KIND_BYTEA;
		case JSONOID:
			return KIND_JSON;
		case JSONBOID:
			return KIND_JSONB;
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return KIND_DATETIME;
		default:
			break;
	}

	if (OidIsValid(get_element_type(type)))
		return KIND_ARRAY;
	if (type_is_rowtype(type))
		return KIND_ROW;

	/* as to_json() has it */
	if (type >= FirstNormalObjectId &&
		find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, function) == COERCION_PATH_FUNC)
		return KIND_CAST;

	getTypeOutputInfo(type, function, &is_varlena);
	switch (type)
	{
		case NAMEOID:
		case CHAROID:
		case OIDOID:
		case XIDOID:
		case XID8OID:
		case UUIDOID:
		case BITOID:
		case VARBITOID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case MACADDR8OID:
		case LSNOID:
		case TSVECTOROID:
		case TSQUERYOID:
		case XMLOID:
		case INT4RANGEOID:
		case INT8RANGEOID:
		case NUMRANGEOID:
		case INT4MULTIRANGEOID:
		case INT8MULTIRANGEOID:
		case NUMMULTIRANGEOID:
			return KIND_STABLE;
		default:
			return get_typtype(type) == TYPTYPE_ENUM ? KIND_STABLE : KIND_OTHER;
	}
}

OutboxJsonType *
outbox_json_type(Oid type)
{
	OutboxJsonType *result = palloc0(sizeof(OutboxJsonType));
	Oid			function;

	/* a domain is what it is made of */
	result->type = getBaseType(type);
	result->context = CurrentMemoryContext;
	result->kind = kind_of_type(result->type, &function);
	/*
	 * A cast is looked up for each value.  What a function in SQL leaves behind
	 * when it fails must not meet the next call, after a ROLLBACK TO SAVEPOINT;
	 * and whose rights it has may change.
	 */
	if (result->kind == KIND_CAST)
		result->cast = function;
	else if (OidIsValid(function))
		fmgr_info_cxt(function, &result->function, result->context);
	return result;
}

static void
pin_settings(OutboxJson *json)
{
	int			i;

	if (json->settings != 0)
		return;
	json->settings = NewGUCNestLevel();
	for (i = 0; i < lengthof(pinned_settings); i++)
		(void) set_config_option(pinned_settings[i].name, pinned_settings[i].value,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

static void
unpin_settings(OutboxJson *json)
{
	if (json->settings != 0)
		AtEOXact_GUC(true, json->settings);
	json->settings = 0;
}

/*
 * In no encoding of a server a character that is not ASCII has bytes that are: so
 * all of them are escaped as UTF-8 is.
 */
void
outbox_json_string(StringInfo out, const char *string, int length)
{
	OutboxBytes bytes = {string, length};

	outbox_json_append_string(out, bytes);
}

static void
write_cstring(StringInfo out, const char *string)
{
	outbox_json_string(out, string, strlen(string));
}

/* A number, or in quotes: NaN, Infinity. */
static void
write_number(StringInfo out, const char *number, int length)
{
	char		last = number[length - 1];

	if (likely(last >= '0' && last <= '9'))
		appendBinaryStringInfo(out, number, length);
	else
		outbox_json_string(out, number, length);
}

static void
write_integer(StringInfo out, int64 value)
{
	enlargeStringInfo(out, MAXINT8LEN + 1);
	out->len += pg_lltoa(value, out->data + out->len);
}

static void
write_bytea(StringInfo out, Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);
	int			room = pg_b64_enc_len(VARSIZE_ANY_EXHDR(bytes));
	int			length;

	appendStringInfoCharMacro(out, '"');
	enlargeStringInfo(out, room);
	length = pg_b64_encode((void *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes),
						   out->data + out->len, room);
	if (length < 0)
		elog(ERROR, "could not encode %d bytes", (int) VARSIZE_ANY_EXHDR(bytes));
	out->len += length;
	appendStringInfoCharMacro(out, '"');
}

/* ISO 8601, with time zone in UTC. */
static void
write_datetime(StringInfo out, Oid type, Datum value)
{
	char		buffer[MAXDATELEN + 1];
	const int	utc = 0;

	JsonEncodeDateTime(buffer, value, type, type == TIMESTAMPTZOID ? &utc : NULL);
	write_cstring(out, buffer);
}

/*
 * Writes one dimension of an array, and those in it.  *next is the element to
 * write next.
 */
static void
write_dimension(OutboxJson *json, OutboxJsonType *element, int dimensions, const int *sizes,
				Datum *values, bool *isnull, int *next)
{
	int			i;

	appendStringInfoCharMacro(&json->out, '[');
	for (i = 0; i < sizes[0]; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(&json->out, ',');
		if (dimensions > 1)
			write_dimension(json, element, dimensions - 1, sizes + 1, values, isnull, next);
		else
		{
			outbox_json_value(json, element, values[*next], isnull[*next]);
			(*next)++;
		}
	}
	appendStringInfoCharMacro(&json->out, ']');
}

static void
write_array(OutboxJson *json, OutboxJsonType *type, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Oid			element_type = ARR_ELEMTYPE(array);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *values;
	bool	   *isnull;
	int			count;
	int			next = 0;

	if (type->element == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(type->context);

		type->element = outbox_json_type(element_type);
		MemoryContextSwitchTo(old);
	}

	get_typlenbyvalalign(element_type, &length, &by_value, &align);
	deconstruct_array(array, element_type, length, by_value, align, &values, &isnull, &count);
	if (count == 0)
		appendBinaryStringInfo(&json->out, "[]", 2);
	else
		write_dimension(json, type->element, ARR_NDIM(array), ARR_DIMS(array),
						values, isnull, &next);
}

/*
 * Looks the columns of a row type up.  A caller further up may be writing by the
 * old ones, when a cast changes the type: so they go with the transaction.
 */
static void
look_up_row(OutboxJsonType *type, TupleDesc descriptor, uint64 identifier)
{
	OutboxJsonRow *row = &type->row;
	MemoryContext old;
	int			i;

	if (row->context != NULL)
		MemoryContextSetParent(row->context, TopTransactionContext);
	memset(row, 0, sizeof(*row));
	row->context = AllocSetContextCreate(type->context, "outbox row type", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(row->context);

	row->columns = palloc0(descriptor->natts * sizeof(OutboxJsonType *) + 1);
	row->labels = palloc0(descriptor->natts * sizeof(char *) + 1);
	for (i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		StringInfoData label;

		if (attribute->attisdropped)
			continue;
		initStringInfo(&label);
		write_cstring(&label, NameStr(attribute->attname));
		appendStringInfoChar(&label, ':');
		row->labels[i] = label.data;
		row->columns[i] = outbox_json_type(attribute->atttypid);
	}
	row->count = descriptor->natts;
	MemoryContextSwitchTo(old);

	/* last: after an error they are looked up again */
	row->identifier = identifier;
}

static void
write_row(OutboxJson *json, OutboxJsonType *type, Datum value)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	Oid			row_type = HeapTupleHeaderGetTypeId(header);
	int32		typmod = HeapTupleHeaderGetTypMod(header);
	uint64		identifier = assign_record_type_identifier(row_type, typmod);
	TupleDesc	descriptor = lookup_rowtype_tupdesc_copy(row_type, typmod);
	HeapTupleData tuple;
	OutboxJsonRow row;
	Datum	   *values = palloc(descriptor->natts * sizeof(Datum) + 1);
	bool	   *isnull = palloc(descriptor->natts * sizeof(bool) + 1);
	char		separator = '{';
	int			i;

	if (type->row.identifier != identifier)
		look_up_row(type, descriptor, identifier);
	row = type->row;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, descriptor, values, isnull);

	for (i = 0; i < row.count; i++)
	{
		if (row.columns[i] == NULL)
			continue;
		appendStringInfoCharMacro(&json->out, separator);
		appendStringInfoString(&json->out, row.labels[i]);
		outbox_json_value(json, row.columns[i], values[i], isnull[i]);
		separator = ',';
	}
	if (separator == '{')
		appendStringInfoCharMacro(&json->out, '{');
	appendStringInfoCharMacro(&json->out, '}');
}

static void
write_value(OutboxJson *json, OutboxJsonType *type, Datum value)
{
	StringInfo	out = &json->out;

	switch (type->kind)
	{
		case KIND_BOOL:
			appendStringInfoString(out, DatumGetBool(value) ? "true" : "false");
			break;
		case KIND_INT2:
			write_integer(out, DatumGetInt16(value));
			break;
		case KIND_INT4:
			write_integer(out, DatumGetInt32(value));
			break;
		case KIND_INT8:
			write_integer(out, DatumGetInt64(value));
			break;
		case KIND_FLOAT4:
			{
				char		buffer[FLOAT_SHORTEST_DECIMAL_LEN];

				write_number(out, buffer,
							 float_to_shortest_decimal_buf(DatumGetFloat4(value), buffer));
				break;
			}
		case KIND_FLOAT8:
			{
				char		buffer[DOUBLE_SHORTEST_DECIMAL_LEN];

				write_number(out, buffer,
							 double_to_shortest_decimal_buf(DatumGetFloat8(value), buffer));
				break;
			}
		case KIND_NUMERIC:
			{
				char	   *number = OutputFunctionCall(&type->function, value);

				write_number(out, number, strlen(number));
				break;
			}
		case KIND_TEXT:
			{
				text	   *packed = DatumGetTextPP(value);

				outbox_json_string(out, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
				break;
			}
		case KIND_BYTEA:
			write_bytea(out, value);
			break;
		case KIND_JSON:
			{
				text	   *packed = DatumGetTextPP(value);

				appendBinaryStringInfo(out, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
				break;
			}
		case KIND_JSONB:
			{
				Jsonb	   *jsonb = DatumGetJsonbP(value);

				(void) JsonbToCString(out, &jsonb->root, VARSIZE(jsonb));
				break;
			}
		case KIND_DATETIME:
			write_datetime(out, type->type, value);
			break;
		case KIND_ARRAY:
			write_array(json, type, value);
			break;
		case KIND_ROW:
			write_row(json, type, value);
			break;
		case KIND_CAST:
			{
				text	   *packed;

				/* somebody's function, perhaps in SQL, needs its search_path */
				unpin_settings(json);
				packed = DatumGetTextPP(OidFunctionCall1(type->cast, value));
				appendBinaryStringInfo(out, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
				break;
			}
		case KIND_STABLE:
			write_cstring(out, OutputFunctionCall(&type->function, value));
			break;
		case KIND_OTHER:
			pin_settings(json);
			write_cstring(out, OutputFunctionCall(&type->function, value));
			break;
	}
}

void
outbox_json_value(OutboxJson *json, OutboxJsonType *type, Datum value, bool isnull)
{
	/* a row type may have arrays of row types, and so on */
	check_stack_depth();

	if (isnull)
		appendBinaryStringInfo(&json->out, "null", 4);
	else
		write_value(json, type, value);
}

void
outbox_json_begin(OutboxJson *json)
{
	initStringInfo(&json->out);
	appendStringInfoSpaces(&json->out, VARHDRSZ);
	json->settings = 0;
}

text *
outbox_json_end(OutboxJson *json)
{
	unpin_settings(json);
	SET_VARSIZE(json->out.data, json->out.len);
	return (text *) json->out.data;
}
