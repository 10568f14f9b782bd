/*-------------------------------------------------------------------------
 *
 * argument.c
 *	  The types of the arguments of a call.
 *
 * IDENTIFICATION
 *	  src/argument.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/lsyscache.h"

#include "argument.h"

/*
 * The type of an argument that may be declared "any".  A caller without an
 * expression, such as the fast-path protocol, can only call the declaration
 * that names the type.
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
