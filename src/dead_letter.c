/*-------------------------------------------------------------------------
 *
 * dead_letter.c
 *	  Events that the broker refuses for their own content.
 *
 * The rows of outbox.dead_letter.  Each keeps a copy of its event, so that the
 * segment of the event may be emptied; and so do, where a segment is to be
 * emptied, those that wait behind a letter of their key: these are parked, and
 * are sent one by one, in order, before the key comes back.  Only the publisher
 * inserts and deletes here; what people ask for stands in the column request until it is done.
 * Letters of another origin came by a restore: nothing is done with them
 * before they are adopted.
 *
 * Every function needs a connection to SPI, with a snapshot; those that write
 * do it in a transaction that commits asynchronously.
 *
 * IDENTIFICATION
 *	  src/dead_letter.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "dead_letter.h"
#include "event.h"
#include "installation.h"

/* Discarded at a time, so that a transaction stays short. */
#define DISCARD_LIMIT		1000

/* Columns that letter_from() reads. */
#define LETTER_COLUMNS		"uid, id, parks, topic, key"

/*
 * The newest transaction that made a copy of an event; at start any that ran
 * before may have.
 */
static TransactionId newest_copy = InvalidTransactionId;

static OutboxLetter *letter_from(HeapTuple row, TupleDesc type);
static List *letters_that_park(void);
static List *letters_with_frames(uint64 first_number);
static Datum uid_array(const List *letters);

/*
 * Makes a dead letter of the event that is there.  parks says whether later
 * events of its key wait.  Returns the id of the event.
 */
int64
outbox_dead_letter_insert(uint64 locator, bool parks, const OutboxTrouble *trouble)
{
	Oid			types[5] = {TIDOID, BOOLOID, TEXTOID, INT4OID, TEXTOID};
	Datum		values[5];
	ItemPointerData tid;
	char		query[1024];
	bool		isnull;

	outbox_locator_tid(locator, &tid);
	values[0] = PointerGetDatum(&tid);
	values[1] = BoolGetDatum(parks);
	values[2] = CStringGetTextDatum(outbox_trouble_class_name(trouble->class));
	values[3] = Int32GetDatum(trouble->code);
	values[4] = CStringGetTextDatum(trouble->text);

	/* one that was there comes from before a crash that undid the cursor */
	snprintf(query, sizeof(query),
			 "INSERT INTO outbox.dead_letter AS d (" OUTBOX_EVENT_COLUMNS
			 ", parks, error_class, error_code, error) SELECT " OUTBOX_EVENT_COLUMNS
			 ", $2, $3, $4, $5 FROM outbox.event_%d WHERE ctid OPERATOR(pg_catalog.=) $1"
			 " ON CONFLICT (uid) DO UPDATE SET state = 'dead', parks = excluded.parks,"
			 " error_class = excluded.error_class, error_code = excluded.error_code,"
			 " error = excluded.error, attempts = d.attempts + 1, last_refused = pg_catalog.now(),"
			 " discarded = NULL, id = excluded.id, xid = excluded.xid, origin = excluded.origin"
			 " RETURNING id",
			 outbox_locator_segment(locator));
	if (SPI_execute_with_args(query, 5, types, values, NULL, false, 0) != SPI_OK_INSERT_RETURNING ||
		SPI_processed != 1)
		elog(ERROR, "could not insert into outbox.dead_letter");
	newest_copy = GetTopTransactionId();
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/*
 * The uids of letters whose events the cursor does not call published: who
 * starts must not send them with the stream.  NULL: none.
 */
HTAB *
outbox_dead_letters_not_passed(const OutboxCursor *main_row, OutboxHolds *holds,
							   MemoryContext context)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1];
	HASHCTL		control = {0};
	HTAB	   *result = NULL;
	uint64		i;

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	if (SPI_execute_with_args("SELECT " LETTER_COLUMNS ", xid FROM outbox.dead_letter"
							  " WHERE origin = $1", 1, types, values, NULL,
							  true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.dead_letter");

	control.keysize = UUID_LEN;
	control.entrysize = UUID_LEN;
	control.hcxt = context;
	for (i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		OutboxLetter *letter = letter_from(row, SPI_tuptable->tupdesc);
		const OutboxHold *hold = outbox_holds_find(holds, letter->topic, strlen(letter->topic),
												   letter->key, letter->key_length);
		bool		isnull;
		Datum		xid = SPI_getbinval(row, SPI_tuptable->tupdesc, 6, &isnull);

		if (outbox_cursor_covers(hold ? &hold->cursor : main_row,
								 U64FromFullTransactionId(DatumGetFullTransactionId(xid)),
								 letter->id))
			continue;
		if (result == NULL)
			result = hash_create("outbox letters", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		(void) hash_search(result, letter->uid, HASH_ENTER, NULL);
	}
	return result;
}

/*
 * One OutboxLetter for each topic and key that a letter parks, or of which
 * there are copies; a letter that parks comes before those.
 */
static List *
letters_that_park(void)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1];
	List	   *result = NIL;
	uint64		i;

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	if (SPI_execute_with_args("SELECT DISTINCT ON (topic, key) " LETTER_COLUMNS
							  " FROM outbox.dead_letter"
							  " WHERE (state = 'parked' OR (state = 'dead' AND parks))"
							  " AND key IS NOT NULL AND origin = $1"
							  " ORDER BY topic, key, parks DESC, id",
							  1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.dead_letter");
	for (i = 0; i < SPI_processed; i++)
		result = lappend(result, letter_from(SPI_tuptable->vals[i], SPI_tuptable->tupdesc));
	return result;
}

/*
 * Makes the hold rows fit the letters, at start.  A key of which a dead letter
 * came by a restore has no row yet: what follows the letter must wait behind it
 * all the same.  A key whose letter is settled comes back.
 */
void
outbox_dead_letters_park(OutboxHolds *holds, const OutboxCursor *main_row)
{
	List	   *letters;
	ListCell   *lc;
	dlist_iter	iter;

	letters = letters_that_park();

	/* a row whose letter is settled comes back; this says which have one */
	dlist_foreach(iter, &holds->list)
	{
		OutboxHold *hold = dlist_container(OutboxHold, node, iter.cur);

		hold->settled_letter = hold->key != NULL;
	}
	foreach(lc, letters)
	{
		OutboxLetter *letter = lfirst(lc);
		OutboxHold *hold = outbox_holds_find_exactly(holds, letter->topic, strlen(letter->topic),
													 letter->key, letter->key_length);

		if (hold == NULL)
			hold = outbox_hold_insert(holds, letter->topic, strlen(letter->topic),
									  letter->key, letter->key_length, OUTBOX_HOLD_DEAD_LETTER,
									  main_row, NULL);
		/* copies whose letter was settled before a dump go as they would have */
		hold->settled_letter = !letter->parks;
	}

	if (SPI_execute("SELECT FROM outbox.dead_letter LIMIT 1", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.dead_letter");
	if (SPI_processed > 0)
		newest_copy = GetTopTransactionId();
}

/*
 * The first of the copies of events parked with the key, with a frame of that
 * number; NULL: there is none.
 */
OutboxLetter *
outbox_dead_letters_first_copy(const OutboxHold *hold, uint64 number)
{
	Oid			types[3] = {INT8OID, TEXTOID, BYTEAOID};
	Datum		values[3];
	List	   *letters;

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	values[1] = CStringGetTextDatum(hold->topic);
	values[2] = PointerGetDatum(cstring_to_text_with_len(hold->key, hold->key_length));
	if (SPI_execute_with_args("SELECT " OUTBOX_EVENT_COLUMNS ", true FROM outbox.dead_letter"
							  " WHERE topic = $2 AND key = $3 AND state = 'parked' AND origin = $1"
							  " ORDER BY id LIMIT 1",
							  3, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.dead_letter");
	letters = letters_with_frames(number);
	return letters != NIL ? linitial(letters) : NULL;
}

/*
 * Copies the events parked with the key that are visible in the snapshot.
 * Returns false, and copies nothing, if there are too many.  After it, in the
 * same transaction, the key's row must say that they are published: from then
 * on they are these copies.
 */
bool
outbox_dead_letters_copy(const OutboxHold *hold, const OutboxSnapshot *snapshot)
{
	const OutboxCursor *cursor = &hold->cursor;
	Oid			types[7] = {INT8OID, TEXTOID, BYTEAOID, TEXTOID, TEXTOID, TEXTOID, INT8OID};
	Datum		values[7];
	char		nulls[8] = "       ";
	bool		isnull;
	int64		count;

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	values[1] = CStringGetTextDatum(hold->topic);
	values[2] = PointerGetDatum(cstring_to_text_with_len(hold->key, hold->key_length));
	values[3] = CStringGetTextDatum(outbox_snapshot_text(snapshot));
	values[4] = CStringGetTextDatum(outbox_snapshot_text(cursor->done));
	if (cursor->open != NULL)
	{
		values[5] = CStringGetTextDatum(outbox_snapshot_text(cursor->open));
		values[6] = Int64GetDatum(cursor->position);
	}
	else
		nulls[5] = nulls[6] = 'n';

#define PARKED_EVENTS \
	" FROM outbox.event e WHERE topic = $2 AND key = $3 AND origin = $1" \
	" AND (xid >= pg_catalog.pg_snapshot_xmax($5::pg_catalog.pg_snapshot)" \
	" OR xid = ANY (ARRAY(SELECT pg_catalog.pg_snapshot_xip($5::pg_catalog.pg_snapshot))))" \
	" AND pg_catalog.pg_visible_in_snapshot(xid, $4::pg_catalog.pg_snapshot)" \
	" AND NOT coalesce(pg_catalog.pg_visible_in_snapshot(xid, $6::pg_catalog.pg_snapshot) AND id <= $7, false)" \
	" AND NOT EXISTS (SELECT FROM outbox.dead_letter d WHERE d.uid = e.uid)"

	if (SPI_execute_with_args("SELECT (SELECT pg_catalog.count(*)" PARKED_EVENTS ") +"
							  " (SELECT pg_catalog.count(*) FROM outbox.dead_letter"
							  " WHERE topic = $2 AND key = $3 AND state = 'parked')",
							  7, types, values, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not count parked events");
	count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (count > OUTBOX_MAX_COPIES)
		return false;

	if (SPI_execute_with_args("INSERT INTO outbox.dead_letter (" OUTBOX_EVENT_COLUMNS
							  ", state, parks, attempts, first_refused, last_refused)"
							  " SELECT " OUTBOX_EVENT_COLUMNS ", 'parked', false, 0, NULL, NULL"
							  PARKED_EVENTS,
							  7, types, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert into outbox.dead_letter");
	newest_copy = GetTopTransactionId();
	return true;
}

/*
 * Whether every snapshot sees the copies that have been made: who has an older
 * one, pg_dump say, must still find the events in their segments, of which
 * relation is one.
 */
bool
outbox_dead_letters_are_old(Oid oid)
{
	Relation	relation;
	TransactionId oldest;

	if (!TransactionIdIsNormal(newest_copy))
		return true;
	relation = table_open(oid, AccessShareLock);
	oldest = GetOldestNonRemovableTransactionId(relation);
	table_close(relation, NoLock);
	if (!TransactionIdPrecedes(newest_copy, oldest))
		return false;

	/* the id would be compared wrongly when ids have wrapped around */
	newest_copy = InvalidTransactionId;
	return true;
}

/* Whether a letter parks the key, as this transaction has left it. */
bool
outbox_dead_letter_parks(const char *topic, const char *key, uint32 key_length)
{
	Oid			types[3] = {INT8OID, TEXTOID, BYTEAOID};
	Datum		values[3];

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	values[1] = CStringGetTextDatum(topic);
	values[2] = PointerGetDatum(cstring_to_text_with_len(key, key_length));
	if (SPI_execute_with_args("SELECT FROM outbox.dead_letter WHERE topic = $2 AND key = $3"
							  " AND state = 'dead' AND parks AND origin = $1 LIMIT 1",
							  3, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.dead_letter");
	return SPI_processed > 0;
}

/*
 * Discards letters for which it was asked, but not those in except (a list of
 * OutboxLetter), which are being sent, nor those whose rows somebody has
 * locked.  Returns those discarded.
 */
List *
outbox_dead_letters_discard(const List *except)
{
	Oid			types[3] = {INT8OID, UUIDARRAYOID, INT8OID};
	Datum		values[3];
	List	   *result = NIL;
	uint64		i;

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	values[1] = uid_array(except);
	values[2] = Int64GetDatum(DISCARD_LIMIT);
	if (SPI_execute_with_args("UPDATE outbox.dead_letter SET state = 'discarded', request = NULL,"
							  " discarded = pg_catalog.now()"
							  " WHERE uid IN (SELECT uid FROM outbox.dead_letter"
							  " WHERE request IS NOT NULL AND request = 'discard'"
							  " AND state = 'dead' AND origin = $1 AND uid <> ALL ($2) LIMIT $3"
							  " FOR UPDATE SKIP LOCKED)"
							  " RETURNING " LETTER_COLUMNS,
							  3, types, values, NULL, false, 0) != SPI_OK_UPDATE_RETURNING)
		elog(ERROR, "could not update outbox.dead_letter");
	for (i = 0; i < SPI_processed; i++)
		result = lappend(result, letter_from(SPI_tuptable->vals[i], SPI_tuptable->tupdesc));
	return result;
}

/* Whether such letters are left: somebody has locked their rows. */
bool
outbox_dead_letters_discards_wait(const List *except)
{
	Oid			types[2] = {INT8OID, UUIDARRAYOID};
	Datum		values[2];

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	values[1] = uid_array(except);
	if (SPI_execute_with_args("SELECT FROM outbox.dead_letter"
							  " WHERE request IS NOT NULL AND request = 'discard'"
							  " AND state = 'dead' AND origin = $1 AND uid <> ALL ($2) LIMIT 1",
							  2, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.dead_letter");
	return SPI_processed > 0;
}

/*
 * Up to limit letters that are to be sent again, oldest first, but not those
 * in except, with frames numbered from first_number.
 */
List *
outbox_dead_letters_to_retry(const List *except, int limit, uint64 first_number)
{
	Oid			types[3] = {INT8OID, UUIDARRAYOID, INT8OID};
	Datum		values[3];

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	values[1] = uid_array(except);
	values[2] = Int64GetDatum(limit);
	if (SPI_execute_with_args("SELECT " OUTBOX_EVENT_COLUMNS ", parks FROM outbox.dead_letter"
							  " WHERE request IS NOT NULL AND request = 'retry'"
							  " AND state = 'dead' AND origin = $1 AND uid <> ALL ($2)"
							  " ORDER BY id LIMIT $3",
							  3, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.dead_letter");

	return letters_with_frames(first_number);
}

/*
 * Locks the letter for this transaction.  Returns false if somebody else has
 * it: a session that asked for something and has not committed may stay so for
 * hours, and nothing waits for it (G8).  True also if the letter is gone.
 */
bool
outbox_dead_letter_lock(const uint8 *uid)
{
	Oid			types[1] = {UUIDOID};
	Datum		values[1];

	values[0] = PointerGetDatum(uid);
	if (SPI_execute_with_args("SELECT FROM outbox.dead_letter WHERE uid = $1 FOR UPDATE SKIP LOCKED",
							  1, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not lock a row of outbox.dead_letter");
	if (SPI_processed > 0)
		return true;
	if (SPI_execute_with_args("SELECT FROM outbox.dead_letter WHERE uid = $1",
							  1, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.dead_letter");
	return SPI_processed == 0;
}

/*
 * The letter, which is locked, was sent again and acknowledged: it is no dead
 * letter any more.
 */
void
outbox_dead_letter_published(const uint8 *uid)
{
	Oid			types[1] = {UUIDOID};
	Datum		values[1];

	values[0] = PointerGetDatum(uid);
	if (SPI_execute_with_args("DELETE FROM outbox.dead_letter WHERE uid = $1",
							  1, types, values, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete from outbox.dead_letter");
}

/* The letter, which is locked, was sent again and refused again. */
void
outbox_dead_letter_refused(const uint8 *uid, const OutboxTrouble *trouble)
{
	Oid			types[4] = {UUIDOID, TEXTOID, INT4OID, TEXTOID};
	Datum		values[4];

	values[0] = PointerGetDatum(uid);
	values[1] = CStringGetTextDatum(outbox_trouble_class_name(trouble->class));
	values[2] = Int32GetDatum(trouble->code);
	values[3] = CStringGetTextDatum(trouble->text);
	if (SPI_execute_with_args("UPDATE outbox.dead_letter SET error_class = $2, error_code = $3,"
							  " error = $4, attempts = attempts + 1, state = 'dead',"
							  " parks = parks OR state = 'parked',"
							  " first_refused = coalesce(first_refused, pg_catalog.now()),"
							  " last_refused = pg_catalog.now(),"
							  " request = nullif(request, 'retry')"
							  " WHERE uid = $1",
							  4, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not update outbox.dead_letter");
}

/*
 * The producer died while the letter was sent again: it is not sent once more
 * before somebody asks again.
 */
void
outbox_dead_letter_deadly(const uint8 *uid)
{
	Oid			types[1] = {UUIDOID};
	Datum		values[1];

	values[0] = PointerGetDatum(uid);
	if (SPI_execute_with_args("UPDATE outbox.dead_letter SET attempts = attempts + 1, request = NULL,"
							  " error_class = 'client', error_code = 0,"
							  " error = 'the producer died while the event was sent again'"
							  " WHERE uid = $1 AND request = 'retry'",
							  1, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not update outbox.dead_letter");
}

/*
 * Deletes letters that were discarded so many seconds ago, but none whose event
 * a row of the cursor, as it is stored, may have sent again: the letter is all
 * that says that it is not to be.
 */
void
outbox_dead_letters_forget_discarded(int retention)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1];

	values[0] = Int64GetDatum(retention);
	if (SPI_execute_with_args("DELETE FROM outbox.dead_letter WHERE uid IN"
							  " (SELECT uid FROM outbox.dead_letter d WHERE state = 'discarded'"
							  " AND discarded < pg_catalog.now() - pg_catalog.make_interval(secs => $1)"
							  " AND NOT EXISTS (SELECT FROM outbox.cursor c"
							  " WHERE (c.topic IS NULL OR c.topic = d.topic)"
							  " AND (c.key IS NULL OR c.key = d.key)"
							  " AND NOT pg_catalog.pg_visible_in_snapshot(d.xid, c.done)"
							  " AND NOT coalesce(pg_catalog.pg_visible_in_snapshot(d.xid, c.open)"
							  " AND d.id <= c.position, false))"
							  " FOR UPDATE SKIP LOCKED)",
							  1, types, values, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete from outbox.dead_letter");
}

/* How many letters are dead. */
int64
outbox_dead_letters_count(void)
{
	bool		isnull;

	if (SPI_execute("SELECT pg_catalog.count(*) FROM outbox.dead_letter WHERE state = 'dead'",
					true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read outbox.dead_letter");
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Whether there are letters of another origin. */
bool
outbox_dead_letters_have_foreign(void)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1];

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	if (SPI_execute_with_args("SELECT FROM outbox.dead_letter"
							  " WHERE origin OPERATOR(pg_catalog.<>) $1 LIMIT 1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.dead_letter");
	return SPI_processed > 0;
}

/*
 * Makes letters of another origin letters of this installation; what was asked
 * for them elsewhere is forgotten.  Returns how many.
 */
int64
outbox_dead_letters_adopt(void)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1];

	values[0] = Int64GetDatum(outbox_installation_get(false)->origin);
	if (SPI_execute_with_args("UPDATE outbox.dead_letter SET origin = $1, request = NULL"
							  " WHERE origin OPERATOR(pg_catalog.<>) $1",
							  1, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not update outbox.dead_letter");
	return SPI_processed;
}

/*
 * Letters from what SPI has just read, with frames to be sent alone, numbered
 * from first_number: OUTBOX_EVENT_COLUMNS, and whether it parks its key.
 */
static List *
letters_with_frames(uint64 first_number)
{
	List	   *result = NIL;
	TupleTableSlot *slot;
	uint64		i;

	slot = MakeSingleTupleTableSlot(SPI_tuptable->tupdesc, &TTSOpsHeapTuple);
	for (i = 0; i < SPI_processed; i++)
	{
		OutboxLetter *letter = palloc0(sizeof(OutboxLetter));
		OutboxEventParts parts;

		ExecStoreHeapTuple(SPI_tuptable->vals[i], slot, false);
		slot_getallattrs(slot);
		outbox_event_parts(&parts, slot, first_number + i, 0);
		letter->frame = palloc(parts.length);
		outbox_event_frame_write(&parts, letter->frame);
		outbox_event_frame_set_flags(letter->frame, FRAME_EVENT_ALONE);
		memcpy(letter->uid, parts.event.uid, UUID_LEN);
		letter->id = DatumGetInt64(slot->tts_values[Anum_outbox_event_id - 1]);
		letter->parks = DatumGetBool(slot->tts_values[Natts_outbox_event]);
		letter->topic = text_to_cstring((text *) parts.value[0]);
		if (parts.value[1] != NULL)
		{
			letter->key_length = VARSIZE_ANY_EXHDR(parts.value[1]);
			letter->key = palloc(letter->key_length + 1);
			memcpy(letter->key, VARDATA_ANY(parts.value[1]), letter->key_length);
		}
		result = lappend(result, letter);
	}
	ExecDropSingleTupleTableSlot(slot);
	return result;
}

static OutboxLetter *
letter_from(HeapTuple row, TupleDesc type)
{
	OutboxLetter *letter = palloc0(sizeof(OutboxLetter));
	bool		isnull;
	Datum		value;

	value = SPI_getbinval(row, type, 1, &isnull);
	memcpy(letter->uid, DatumGetUUIDP(value)->data, UUID_LEN);
	letter->id = DatumGetInt64(SPI_getbinval(row, type, 2, &isnull));
	letter->parks = DatumGetBool(SPI_getbinval(row, type, 3, &isnull));
	letter->topic = SPI_getvalue(row, type, 4);
	value = SPI_getbinval(row, type, 5, &isnull);
	if (!isnull)
	{
		bytea	   *key = DatumGetByteaPP(value);

		letter->key_length = VARSIZE_ANY_EXHDR(key);
		letter->key = palloc(letter->key_length + 1);
		memcpy(letter->key, VARDATA_ANY(key), letter->key_length);
	}
	return letter;
}

static Datum
uid_array(const List *letters)
{
	Datum	   *uids = palloc(sizeof(Datum) * Max(list_length(letters), 1));
	ListCell   *lc;
	int			count = 0;

	foreach(lc, letters)
		uids[count++] = PointerGetDatum(((OutboxLetter *) lfirst(lc))->uid);
	return PointerGetDatum(construct_array(uids, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}
