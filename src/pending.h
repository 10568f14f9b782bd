/*-------------------------------------------------------------------------
 *
 * pending.h
 *	  Events of the current database that are not published yet.
 *
 * IDENTIFICATION
 *	  src/pending.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_PENDING_H
#define OUTBOX_PENDING_H

#include "installation.h"

/*
 * The number of events that are not published, foreign ones included.  Reads
 * all of them; needs a transaction.
 */
extern int64 outbox_pending_count(const OutboxInstallation *installation);

/*
 * The milliseconds since 1970 at which the oldest event that waits was
 * emitted, or -1 if none waits, or a table is locked.  Reads all that wait;
 * needs a transaction.
 */
extern int64 outbox_pending_oldest(const OutboxInstallation *installation);

#endif							/* OUTBOX_PENDING_H */
