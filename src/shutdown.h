/*-------------------------------------------------------------------------
 *
 * shutdown.h
 *	  How a publisher is asked to end.
 *
 * IDENTIFICATION
 *	  src/shutdown.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SHUTDOWN_H
#define OUTBOX_SHUTDOWN_H

extern void outbox_shutdown_init(void);
extern bool outbox_shutdown_requested(void);
extern void outbox_shutdown_at_once(bool at_once);

#endif							/* OUTBOX_SHUTDOWN_H */
