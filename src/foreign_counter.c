/*-------------------------------------------------------------------------
 *
 * foreign_counter.c
 *	  How many foreign rows there are.
 *
 * Foreign rows are met once, in a batch, and then are behind the cursor, so
 * their number is kept in the table: it is stored with the cursor that moves
 * past them.  Rotation and outbox.status go by it.
 *
 * IDENTIFICATION
 *	  src/foreign_counter.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "port/atomics.h"
#include "utils/timestamp.h"

#include "foreign.h"
#include "foreign_counter.h"
#include "session.h"
#include "shmem.h"

/*
 * While foreign rows are counted, this often (ms) it is looked whether they
 * are still there.  It can cost a scan of their segments.
 */
#define FOREIGN_CHECK_INTERVAL	60000

/* Reads the numbers.  The caller is connected to SPI, with a snapshot. */
void
outbox_foreign_counter_load(OutboxForeignCounter *counter)
{
	uint64		row;

	if (SPI_execute("SELECT number, foreign_rows FROM outbox.segment", true, 0) != SPI_OK_SELECT ||
		SPI_processed != OUTBOX_SEGMENTS)
		elog(ERROR, "could not read outbox.segment");
	counter->stored = 0;
	for (row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		int			number = DatumGetInt16(SPI_getbinval(SPI_tuptable->vals[row],
														 SPI_tuptable->tupdesc, 1, &isnull));
		int64		count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[row],
														SPI_tuptable->tupdesc, 2, &isnull));

		counter->segment[number] = count;
		counter->stored += count;
	}
	outbox_slot_set_foreign_rows(counter->stored);
}

/*
 * Adds what was met in batches, in the transaction that moves the cursor past
 * them.
 */
void
outbox_foreign_counter_store(OutboxForeignCounter *counter)
{
	Oid			types[2] = {INT2OID, INT8OID};
	bool		changed = false;
	int			i;

	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		Datum		values[2];

		if (counter->waiting[i] == 0)
			continue;
		values[0] = Int16GetDatum(i);
		values[1] = Int64GetDatum(counter->waiting[i]);
		if (SPI_execute_with_args("UPDATE outbox.segment SET foreign_rows = foreign_rows + $2"
								  " WHERE number = $1", 2, types, values, NULL,
								  false, 0) != SPI_OK_UPDATE || SPI_processed != 1)
			elog(ERROR, "could not update outbox.segment");
		counter->segment[i] += counter->waiting[i];
		counter->stored += counter->waiting[i];
		counter->waiting[i] = 0;
		changed = true;
	}
	if (changed)
		outbox_slot_set_foreign_rows(counter->stored);
}

/*
 * The number of foreign rows is too high after some were adopted, or deleted:
 * corrects it.  Never to less than there are, for rotation goes by it: rows
 * that "done" of the cursor does not see are left to the batch that moves
 * past them, and those that it sees were counted before.
 *
 * After an adoption they are counted once, as soon as the batches that were
 * read before it, and have counted the adopted rows too, are closed and
 * stored.  Otherwise it is looked now and then only whether any are left,
 * which takes no time while they are, and a scan once when they are gone.
 *
 * done is what the main row of the cursor has; nothing_waits says that all
 * batches that are closed are stored.  Returns false if the database has no
 * outbox extension any more.  Runs a short transaction of its own.
 */
bool
outbox_foreign_counter_check(OutboxForeignCounter *counter, const OutboxSnapshot *done,
							 bool nothing_waits, TimestampTz now)
{
	OutboxInstallation installation;
	OutboxForeign *foreign;
	bool		count;
	int			i;

	if (counter->stored == 0)
		return true;
	if (pg_atomic_read_u32(&outbox_my_slot->adopted) != 0)
	{
		/* before the snapshot that counts */
		(void) pg_atomic_exchange_u32(&outbox_my_slot->adopted, 0);
		counter->recount = true;
		counter->recount_after = counter->batches_begun;
	}
	count = counter->recount && counter->batches_closed >= counter->recount_after &&
		nothing_waits;
	if (!count &&
		now < TimestampTzPlusMilliseconds(counter->checked_at, FOREIGN_CHECK_INTERVAL))
		return true;

	if (!outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
		return false;
	outbox_session_use_snapshot();
	installation = *outbox_installation_get(false);
	foreign = outbox_foreign_load();
	for (i = 0; i < OUTBOX_SEGMENTS; i++)
	{
		char		query[128];
		int64		found;

		if (counter->segment[i] == 0)
			continue;
		found = outbox_foreign_count(foreign, installation.segment[i], done,
									 count ? PG_INT64_MAX : 1);
		if (!count && found > 0)
			continue;
		snprintf(query, sizeof(query), "UPDATE outbox.segment SET foreign_rows = " INT64_FORMAT
				 " WHERE number = %d", found, i);
		if (SPI_execute(query, false, 0) != SPI_OK_UPDATE || SPI_processed != 1)
			elog(ERROR, "could not update outbox.segment");
	}
	outbox_session_use_snapshot();
	outbox_foreign_counter_load(counter);
	outbox_session_commit();

	if (count)
		counter->recount = false;
	counter->checked_at = now;
	return true;
}
