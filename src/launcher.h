/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The launcher: starts and watches publishers.
 *
 * IDENTIFICATION
 *	  src/launcher.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_LAUNCHER_H
#define OUTBOX_LAUNCHER_H

/* Registers the launcher; only while shared_preload_libraries are loaded. */
extern void outbox_launcher_init(void);

extern PGDLLEXPORT void outbox_launcher_main(Datum main_arg);

#endif							/* OUTBOX_LAUNCHER_H */
