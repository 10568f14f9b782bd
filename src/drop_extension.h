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
 * without a deadlock with those who emit or look on, and warns of the events
 * that will never be published.  The publisher must be away: it would wait
 * for the locks.
 */
extern void outbox_before_drop(Node *statement, const OutboxInstallation *installation);

#endif							/* OUTBOX_DROP_EXTENSION_H */
