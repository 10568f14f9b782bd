/*-------------------------------------------------------------------------
 *
 * publisher.h
 *	  The publisher: the background worker of one database.
 *
 * IDENTIFICATION
 *	  src/publisher.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_PUBLISHER_H
#define OUTBOX_PUBLISHER_H

extern PGDLLEXPORT void outbox_publisher_main(Datum main_arg);

#endif							/* OUTBOX_PUBLISHER_H */
