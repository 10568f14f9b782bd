/*-------------------------------------------------------------------------
 *
 * publisher_lock.c
 *	  A function that takes a publisher's advisory lock.
 *
 * Its class is none that SQL functions can name, so that no session can take
 * it by accident; with this function a session can pass for a publisher.
 *
 * IDENTIFICATION
 *	  test/lib/publisher_lock.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"

/* as in publisher.c */
#define ADVISORY_LOCK_CLASS	57

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(publisher_lock);

/* Waits for the lock of this database, and keeps it until the session ends. */
Datum
publisher_lock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, ADVISORY_LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
	PG_RETURN_VOID();
}
