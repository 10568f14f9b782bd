/*-------------------------------------------------------------------------
 *
 * cursor.c
 *	  How far events are published, as stored in outbox.cursor.
 *
 * Rows are found once, at start, and then addressed by their ctid: each
 * update leaves a dead version behind, and while some session holds the xmin
 * horizon a search would walk all of them.
 *
 * Every update must hit exactly one row.  If it does not, somebody else
 * wrote here, and publishing stops with an error rather than guess.
 *
 * IDENTIFICATION
 *	  src/cursor.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "compat.h"
#include "cursor.h"
#include "installation.h"

/* A row of outbox.cursor, or of outbox.ancestor, to ask what is published. */
typedef struct Scope
{
	int64		origin;			/* of an ancestor; 0: this installation */
	char	   *topic;			/* NULL: the main row */
	bytea	   *key;			/* NULL: the whole topic */
	OutboxCursor cursor;
} Scope;

struct OutboxScopes
{
	MemoryContext context;
	int			count;
	Scope	   *scope;
};

PG_FUNCTION_INFO_V1(outbox_is_published);

static bool check_xids(const OutboxCursor *cursor, uint64 next);
static OutboxScopes *load_scopes(MemoryContext parent, const char *query);
static int	scope_width(const Scope *scope, const char *topic, int topic_length,
						const bytea *key);
static char *column_text(int row, int column, MemoryContext context);

/*
 * Reads the main row.  The caller is connected to SPI with an active
 * snapshot, and commits, since what is found may have to be written down; if
 * xids_reset is set it must not publish.  The row's snapshots are allocated in
 * context.
 */
void
outbox_cursor_load(OutboxCursor *cursor, MemoryContext context)
{
	FullTransactionId next = ReadNextFullTransactionId();

	if (SPI_execute("SELECT ctid, done::pg_catalog.text, open::pg_catalog.text, position"
					" FROM outbox.cursor WHERE topic IS NULL", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.cursor");
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("outbox.cursor has " UINT64_FORMAT " main rows instead of one",
						(uint64) SPI_processed),
				 errhint("Only the publisher writes to this table. Restore the row, or drop the extension and create it again.")));
	outbox_cursor_read(cursor, SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, context);

	cursor->xids_reset = check_xids(cursor, U64FromFullTransactionId(next));
}

/*
 * Whether transaction ids are, or once were, behind what the cursor has seen,
 * which pg_resetwal does.  What is emitted then looks published, and would go
 * on to do so when the ids have caught up and nothing looks wrong any more: so
 * it is written down.
 */
static bool
check_xids(const OutboxCursor *cursor, uint64 next)
{
	bool		isnull;

	if (SPI_execute("SELECT xids_reset FROM outbox.installation", true, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not read outbox.installation");
	(void) SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		return true;
	if (cursor->done->xmax <= next)
		return false;

	ereport(LOG,
			(errmsg("transaction ids went backwards"),
			 errdetail("outbox.cursor has seen transaction " UINT64_FORMAT ", but the next one is " UINT64_FORMAT ".",
					   cursor->done->xmax, next)));
	if (SPI_execute("UPDATE outbox.installation SET xids_reset = pg_catalog.now()",
					false, 0) != SPI_OK_UPDATE || SPI_processed != 1)
		elog(ERROR, "could not update outbox.installation");
	return true;
}

/*
 * Reads a row of a query whose columns from this one on are ctid, done, open
 * (both as text) and position.  The snapshots are allocated in context.
 */
void
outbox_cursor_read(OutboxCursor *cursor, HeapTuple row, TupleDesc type,
				   int column, MemoryContext context)
{
	char	   *text;
	bool		isnull;
	Datum		tid = SPI_getbinval(row, type, column, &isnull);

	ItemPointerCopy((ItemPointer) DatumGetPointer(tid), &cursor->tid);
	cursor->done = outbox_snapshot_parse(SPI_getvalue(row, type, column + 1), context);
	text = SPI_getvalue(row, type, column + 2);
	cursor->open = text ? outbox_snapshot_parse(text, context) : NULL;
	cursor->position = DatumGetInt64(SPI_getbinval(row, type, column + 3, &isnull));
	if (isnull)
		cursor->position = 0;
}

/* Whether the row says that an event of its scope is published. */
bool
outbox_cursor_covers(const OutboxCursor *cursor, uint64 xid, int64 id)
{
	return outbox_snapshot_sees(cursor->done, xid) ||
		(cursor->open != NULL && id <= cursor->position &&
		 outbox_snapshot_sees(cursor->open, xid));
}

/*
 * Writes a row; open NULL means none, and position is ignored then.  Leaves
 * the cursor's snapshots as they are.  The caller is connected to SPI in a
 * transaction that commits asynchronously: a crash may undo it, and then
 * publishes again what the row said was published (G5), never less.
 */
void
outbox_cursor_store(OutboxCursor *cursor, const OutboxSnapshot *done,
					const OutboxSnapshot *open, int64 position)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[4];
	char		nulls[5] = "    ";
	bool		isnull;
	Datum		tid;

	if (plan == NULL)
	{
		Oid			types[4] = {TIDOID, TEXTOID, TEXTOID, INT8OID};

		plan = SPI_prepare("UPDATE outbox.cursor SET done = $2::pg_catalog.pg_snapshot,"
						   " open = $3::pg_catalog.pg_snapshot, position = $4"
						   " WHERE ctid OPERATOR(pg_catalog.=) $1 RETURNING ctid",
						   4, types);
		if (plan == NULL)
			elog(ERROR, "could not prepare the update of outbox.cursor: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
	}

	values[0] = PointerGetDatum(&cursor->tid);
	values[1] = CStringGetTextDatum(outbox_snapshot_text(done));
	if (open != NULL)
	{
		values[2] = CStringGetTextDatum(outbox_snapshot_text(open));
		values[3] = Int64GetDatum(position);
	}
	else
		nulls[2] = nulls[3] = 'n';

	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_UPDATE_RETURNING)
		elog(ERROR, "could not update outbox.cursor");
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a row of outbox.cursor was changed by somebody else"),
				 errhint("Only the publisher writes to this table.")));
	tid = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	ItemPointerCopy((ItemPointer) DatumGetPointer(tid), &cursor->tid);
}

/*
 * outbox_is_published(xid xid8, id bigint, topic text, key bytea) returns bool
 *
 * Whether outbox.cursor says that the event is published: the narrowest scope
 * that has a row decides.  key NULL means an event without key; NULL for any
 * other argument gives NULL.  The rows are read once per call site of a
 * statement.  The caller needs SELECT on outbox.cursor.
 */
Datum
outbox_is_published(PG_FUNCTION_ARGS)
{
	OutboxScopes *scopes = fcinfo->flinfo->fn_extra;
	uint64		xid;
	text	   *topic;
	bytea	   *key;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	xid = U64FromFullTransactionId(DatumGetFullTransactionId(PG_GETARG_DATUM(0)));
	topic = PG_GETARG_TEXT_PP(2);
	key = PG_ARGISNULL(3) ? NULL : PG_GETARG_BYTEA_PP(3);

	if (scopes == NULL)
	{
		scopes = load_scopes(fcinfo->flinfo->fn_mcxt,
							 "SELECT topic, key, ctid, done::pg_catalog.text, open::pg_catalog.text,"
							 " position, 0::pg_catalog.int8 FROM outbox.cursor");
		fcinfo->flinfo->fn_extra = scopes;
	}
	PG_RETURN_BOOL(outbox_cursor_published(scopes, 0, xid, PG_GETARG_INT64(1), topic, key));
}

/*
 * Reads the cursors of the databases that this one is a copy of, as they were
 * then; origin is ours.  Where no publisher has seen the copy yet, the cursor
 * in it is that of its original.  The caller needs SELECT on the tables.
 */
OutboxScopes *
outbox_cursor_ancestors(int64 origin, MemoryContext parent)
{
	char		query[512];

	snprintf(query, sizeof(query),
			 "SELECT topic, key, ctid, done::pg_catalog.text, open::pg_catalog.text, position, origin"
			 " FROM outbox.ancestor UNION ALL"
			 " SELECT c.topic, c.key, c.ctid, c.done::pg_catalog.text, c.open::pg_catalog.text, c.position, i.origin"
			 " FROM outbox.cursor c, outbox.installation i"
			 " WHERE i.origin OPERATOR(pg_catalog.<>) '" INT64_FORMAT "'::pg_catalog.int8", origin);
	return load_scopes(parent, query);
}

/*
 * Whether the cursor of this origin says that an event is published: the
 * narrowest scope that has a row decides.  key NULL means none.
 */
bool
outbox_cursor_published(const OutboxScopes *scopes, int64 origin, uint64 xid,
						int64 id, const text *topic, const bytea *key)
{
	const Scope *narrowest = NULL;
	int			width = -1;
	int			i;

	for (i = 0; i < scopes->count; i++)
	{
		int			this_width;

		if (scopes->scope[i].origin != origin)
			continue;
		this_width = scope_width(&scopes->scope[i], VARDATA_ANY(topic),
								 VARSIZE_ANY_EXHDR(topic), key);
		if (this_width > width)
		{
			width = this_width;
			narrowest = &scopes->scope[i];
		}
	}
	if (narrowest == NULL)
		return false;
	return outbox_cursor_covers(&narrowest->cursor, xid, id);
}

/*
 * Reads rows of seven columns: topic, key, ctid, done and open as text,
 * position, and origin.
 */
static OutboxScopes *
load_scopes(MemoryContext parent, const char *query)
{
	MemoryContext context;
	OutboxScopes *scopes;
	bool		push_snapshot = !ActiveSnapshotSet();
	int			i;

	context = AllocSetContextCreate(parent, "outbox scopes", ALLOCSET_SMALL_SIZES);
	scopes = MemoryContextAllocZero(context, sizeof(OutboxScopes));
	scopes->context = context;

	SPI_connect();
	if (push_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read cursors");

	scopes->count = (int) SPI_processed;
	scopes->scope = MemoryContextAllocZero(context, sizeof(Scope) * Max(scopes->count, 1));
	for (i = 0; i < scopes->count; i++)
	{
		Scope	   *scope = &scopes->scope[i];
		bool		isnull;
		Datum		value;

		scope->topic = column_text(i, 1, context);
		value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull);
		if (!isnull)
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			scope->key = DatumGetByteaPCopy(value);
			MemoryContextSwitchTo(old);
		}
		outbox_cursor_read(&scope->cursor, SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
						   3, context);
		scope->origin = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i],
													SPI_tuptable->tupdesc, 7, &isnull));
	}

	if (push_snapshot)
		PopActiveSnapshot();
	SPI_finish();
	return scopes;
}

/* How narrowly a scope holds the event: 2 key, 1 topic, 0 main, -1 not at all. */
static int
scope_width(const Scope *scope, const char *topic, int topic_length, const bytea *key)
{
	if (scope->topic == NULL)
		return 0;
	if (strlen(scope->topic) != topic_length ||
		memcmp(scope->topic, topic, topic_length) != 0)
		return -1;
	if (scope->key == NULL)
		return 1;
	if (key == NULL || VARSIZE_ANY_EXHDR(scope->key) != VARSIZE_ANY_EXHDR(key) ||
		memcmp(VARDATA_ANY(scope->key), VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)) != 0)
		return -1;
	return 2;
}

static char *
column_text(int row, int column, MemoryContext context)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return text ? MemoryContextStrdup(context, text) : NULL;
}
