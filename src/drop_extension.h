/*-------------------------------------------------------------------------
 *
 * drop_extension.h
 *	  What comes before the extension is dropped.
 *
 * IDENTIFICATION
 *	  src/drop_extension.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_DROP_EXTENSION_H
#define OUTBOX_DROP_EXTENSION_H

#include "nodes/parsenodes.h"

#include "installation.h"

/*
 * Whether the statement will drop the extension of this database, and the
 * current user may do so.  If so, the installation is copied to *installation.
 */
extern bool outbox_drops_extension(Node *statement, OutboxInstallation *installation);

/*
 * Takes the locks that the statement, which drops this installation, needs,
 * without a deadlock with those who emit or look on.  Returns the number of
 * events that will never be published if it succeeds.  The publisher must be
 * away: it would wait for the locks.
 */
extern int64 outbox_before_drop(Node *statement, const OutboxInstallation *installation);

/* Warns of them, when it has. */
extern void outbox_after_drop(int64 count);

#endif							/* OUTBOX_DROP_EXTENSION_H */
