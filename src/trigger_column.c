/*-------------------------------------------------------------------------
 *
 * trigger_column.c
 *	  The columns that a trigger of outbox is about.
 *
 * They are kept where PostgreSQL itself looks after columns: in the WHEN of
 * the trigger, as arguments of a function that is never called, for what is
 * behind "true OR" is folded away before the condition is run.  So a column
 * may be renamed, a partition may number its columns differently, a dump has
 * the names of its day, and a column that is needed cannot be dropped.  Knows
 * nothing of what the columns are for.
 *
 * IDENTIFICATION
 *	  src/trigger_column.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "trigger_column.h"

PG_FUNCTION_INFO_V1(outbox_trigger_columns);
PG_FUNCTION_INFO_V1(outbox_trigger_column_names);

/*
 * outbox_trigger_columns(VARIADIC "any")
 *
 * Only stands in the WHEN of a trigger; see outbox_trigger_columns_read().
 */
Datum
outbox_trigger_columns(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}

/* Known by its C function, whatever its name and schema in SQL. */
static bool
is_list(const FuncExpr *call)
{
	FmgrInfo	function;

	fmgr_info(call->funcid, &function);
	return function.fn_addr == outbox_trigger_columns;
}

/* Finds the list (a FuncExpr *), which is the second argument of "true OR". */
static bool
find_list(Node *node, void *list)
{
	if (node == NULL)
		return false;
	if (is_orclause(node))
	{
		List	   *arguments = ((BoolExpr *) node)->args;

		if (list_length(arguments) == 2 &&
			IsA(linitial(arguments), Const) &&
			IsA(lsecond(arguments), FuncExpr) &&
			is_list(lsecond_node(FuncExpr, arguments)))
		{
			*(FuncExpr **) list = lsecond_node(FuncExpr, arguments);
			return true;
		}
	}
	return expression_tree_walker(node, find_list, list);
}

int
outbox_trigger_columns_read(const char *when, OutboxTriggerColumn **columns)
{
	FuncExpr   *list = NULL;
	char	   *role = NULL;
	ListCell   *cell;
	int			count = 0;

	*columns = NULL;
	if (when == NULL || !find_list(stringToNode(when), &list))
		return 0;

	*columns = palloc(list_length(list->args) * sizeof(OutboxTriggerColumn));
	foreach(cell, list->args)
	{
		Node	   *argument = (Node *) lfirst(cell);

		if (IsA(argument, Const) && !castNode(Const, argument)->constisnull &&
			castNode(Const, argument)->consttype == TEXTOID)
			role = TextDatumGetCString(castNode(Const, argument)->constvalue);
		else if (IsA(argument, Var) && castNode(Var, argument)->varattno > 0 &&
				 role != NULL)
		{
			(*columns)[count].role = role;
			(*columns)[count].number = castNode(Var, argument)->varattno;
			count++;
		}
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("the columns of a trigger of outbox must be texts followed by columns"),
					 errhint("Have the trigger made by the functions of outbox.")));
	}
	return count;
}

/*
 * outbox_trigger_column_names("table" oid, condition pg_node_tree, role text)
 *
 * Names of the columns that the WHEN of a trigger of this table names under
 * this role; NULL if there is none.
 */
Datum
outbox_trigger_column_names(PG_FUNCTION_ARGS)
{
	Oid			table = PG_GETARG_OID(0);
	char	   *when = TextDatumGetCString(PG_GETARG_DATUM(1));
	char	   *role = text_to_cstring(PG_GETARG_TEXT_PP(2));
	OutboxTriggerColumn *columns;
	int			count = outbox_trigger_columns_read(when, &columns);
	Datum	   *names = palloc(count * sizeof(Datum) + 1);
	int			found = 0;
	int			i;

	for (i = 0; i < count; i++)
	{
		char	   *name;

		if (strcmp(columns[i].role, role) != 0)
			continue;
		/* a table that is being dropped has none any more */
		name = get_attname(table, columns[i].number, true);
		if (name != NULL)
			names[found++] = CStringGetTextDatum(name);
	}

	if (found == 0)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(construct_array(names, found, TEXTOID, -1, false, TYPALIGN_INT));
}
