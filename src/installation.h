/*-------------------------------------------------------------------------
 *
 * installation.h
 *	  The installed objects of outbox in the current database.
 *
 * IDENTIFICATION
 *	  src/installation.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_INSTALLATION_H
#define OUTBOX_INSTALLATION_H

#define OUTBOX_EXTENSION_NAME	"outbox"

/* The ring has this many segments, outbox.event_0 and on. */
#define OUTBOX_SEGMENTS		4

typedef struct OutboxInstallation
{
	Oid			extension;		/* of pg_extension */
	Oid			namespace;		/* schema "outbox" */
	Oid			event;			/* parent of the segments */
	Oid			segment[OUTBOX_SEGMENTS];
	Oid			sequence;		/* outbox.event_id_seq */
	Oid			cursor;
	Oid			topic;
	Oid			aggregate_type;
	int64		origin;			/* never 0: 0 marks a foreign row */
} OutboxInstallation;

/*
 * Returns the installation of the current database, or NULL if missing_ok and
 * there is none (else ERROR, undefined_object).  Needs a transaction.  The
 * result is cached; it is valid until the next call that may process
 * invalidation messages, so copy what must last.
 */
extern const OutboxInstallation *outbox_installation_get(bool missing_ok);

#endif							/* OUTBOX_INSTALLATION_H */
