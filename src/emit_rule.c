/*-------------------------------------------------------------------------
 *
 * emit_rule.c
 *	  What is set for aggregate types and topics, as an emitter sees it.
 *
 * Read once per backend and after a change, so that an emit reads no table.  A
 * statement trigger on the tables makes every change known, in the way in which
 * changes of a table itself are: to others at the commit, to the session at its
 * next command, and again if it is undone.
 *
 * IDENTIFICATION
 *	  src/emit_rule.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "emit_rule.h"
#include "format.h"
#include "installation.h"

PG_FUNCTION_INFO_V1(outbox_forget_rules);

/* Columns of outbox.aggregate_type. */
#define Anum_aggregate_type_name	1
#define Anum_aggregate_type_topic	2
#define Anum_aggregate_type_format	3

/* Columns of outbox.topic. */
#define Anum_topic_name				1
#define Anum_topic_format			4

typedef struct NamedRule
{
	text	   *name;
	OutboxEmitRule rule;
} NamedRule;

/* Sorted by name. */
typedef struct RuleList
{
	NamedRule  *rules;
	int			count;
} RuleList;

static MemoryContext rules_context = NULL;
static RuleList aggregate_types;
static RuleList topics;

/* The tables of which they are, and whether they are those of the tables. */
static Oid	aggregate_type_table = InvalidOid;
static Oid	topic_table = InvalidOid;
static bool rules_valid = false;

/* Counts the invalidations that concern us: those during a reading, too. */
static uint64 invalidations = 0;

static void
forget_rules(Datum arg, Oid relid)
{
	if (!rules_valid || !OidIsValid(relid) ||
		relid == aggregate_type_table || relid == topic_table)
	{
		rules_valid = false;
		invalidations++;
	}
}

/* An order of names, of no other meaning. */
static int
compare_names(const text *a, const text *b)
{
	int			length_a = VARSIZE_ANY_EXHDR(a);
	int			length_b = VARSIZE_ANY_EXHDR(b);

	if (length_a != length_b)
		return length_a < length_b ? -1 : 1;
	return memcmp(VARDATA_ANY(a), VARDATA_ANY(b), length_a);
}

static int
compare_rules(const void *a, const void *b)
{
	return compare_names(((const NamedRule *) a)->name, ((const NamedRule *) b)->name);
}

/* A column of text, detoasted, in the current memory context; NULL for NULL. */
static text *
get_text(HeapTuple tuple, int column, TupleDesc descriptor)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, descriptor, &isnull);

	return isnull ? NULL : DatumGetTextPCopy(value);
}

/*
 * Reads the rules of a table; topic_column is 0 where it has none.  By a
 * snapshot of its own, as a catalog is read: a rule applies from its commit on,
 * whatever the transaction sees.
 */
static RuleList
read_rules(Oid table, int name_column, int topic_column, int format_column)
{
	RuleList	list = {NULL, 0};
	int			room = 0;
	Relation	relation = try_table_open(table, AccessShareLock);
	TupleDesc	descriptor;
	SysScanDesc scan;
	HeapTuple	tuple;

	/* dropped meanwhile, as the insert will say */
	if (relation == NULL)
		return list;

	descriptor = RelationGetDescr(relation);
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		MemoryContext caller = MemoryContextSwitchTo(rules_context);
		text	   *format = get_text(tuple, format_column, descriptor);
		text	   *topic = topic_column == 0 ? NULL : get_text(tuple, topic_column, descriptor);

		if (format != NULL || topic != NULL)
		{
			NamedRule  *rule;

			if (list.count == room)
			{
				room = Max(16, 2 * room);
				list.rules = list.rules == NULL ? palloc(room * sizeof(NamedRule)) :
					repalloc(list.rules, room * sizeof(NamedRule));
			}
			rule = &list.rules[list.count++];
			rule->name = get_text(tuple, name_column, descriptor);
			rule->rule.topic = topic;
			rule->rule.format = format == NULL ? OUTBOX_NO_FORMAT :
				outbox_format_find(VARDATA(format), VARSIZE(format) - VARHDRSZ);
		}
		MemoryContextSwitchTo(caller);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);

	qsort(list.rules, list.count, sizeof(NamedRule), compare_rules);
	return list;
}

/* Sees to it that the rules are those of the tables. */
static void
load_rules(void)
{
	static bool callback_registered = false;
	const OutboxInstallation *installation;
	uint64		before;

	if (likely(rules_valid))
		return;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(forget_rules, (Datum) 0);
		callback_registered = true;
	}
	if (rules_context == NULL)
		rules_context = AllocSetContextCreate(CacheMemoryContext, "outbox emit rules",
											  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(rules_context);
	aggregate_types.count = topics.count = 0;

	before = invalidations;
	installation = outbox_installation_get(false);
	aggregate_type_table = installation->aggregate_type;
	topic_table = installation->topic;
	aggregate_types = read_rules(aggregate_type_table, Anum_aggregate_type_name,
								 Anum_aggregate_type_topic, Anum_aggregate_type_format);
	topics = read_rules(topic_table, Anum_topic_name, 0, Anum_topic_format);

	/* what changed while they were read is for this event, not for the next */
	rules_valid = (before == invalidations);
}

static const OutboxEmitRule *
find_rule(const RuleList *list, const text *name)
{
	NamedRule	wanted;
	NamedRule  *found;

	if (list->count == 0)
		return NULL;
	wanted.name = unconstify(text *, name);
	found = bsearch(&wanted, list->rules, list->count, sizeof(NamedRule), compare_rules);
	return found == NULL ? NULL : &found->rule;
}

const OutboxEmitRule *
outbox_emit_rule_of_aggregate_type(const text *aggregate_type)
{
	load_rules();
	return find_rule(&aggregate_types, aggregate_type);
}

const OutboxEmitRule *
outbox_emit_rule_of_topic(const text *topic)
{
	load_rules();
	return find_rule(&topics, topic);
}

/*
 * Trigger, after any statement that changes rows of one of the tables: has
 * every session read the rules again.
 */
Datum
outbox_forget_rules(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("outbox_forget_rules() must be called as a trigger after a statement")));

	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}
