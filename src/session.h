/*-------------------------------------------------------------------------
 *
 * session.h
 *	  The publisher's database session: pinned settings, short transactions.
 *
 * IDENTIFICATION
 *	  src/session.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_SESSION_H
#define OUTBOX_SESSION_H

/* How the commit of a transaction of the publisher is made durable. */
typedef enum OutboxCommit
{
	OUTBOX_COMMIT_READ_ONLY,	/* it wrote nothing */
	OUTBOX_COMMIT_ASYNCHRONOUS, /* a crash may undo it */
	OUTBOX_COMMIT_LOCAL			/* flushed here, no standby is waited for */
} OutboxCommit;

extern void outbox_session_pin(void);
extern bool outbox_session_begin(OutboxCommit how);
extern void outbox_session_commit(void);
extern void outbox_session_abort(void);
extern void outbox_session_use_snapshot(void);

#endif							/* OUTBOX_SESSION_H */
