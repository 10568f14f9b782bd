/*-------------------------------------------------------------------------
 *
 * wakeup.h
 *	  Waking the publisher of this database at commit.
 *
 * IDENTIFICATION
 *	  src/wakeup.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_WAKEUP_H
#define OUTBOX_WAKEUP_H

/* Notes that this transaction emitted so many more events. */
extern void outbox_wakeup_emitted(uint64 count);

/*
 * Notes that this transaction adopted foreign rows: at commit the publisher is
 * told to count again those that are left.
 */
extern void outbox_wakeup_adopted(void);

/*
 * Wakes the publisher of this database now, for events whose number is not
 * known; cheap where it is awake.
 */
extern void outbox_wakeup_now(void);

/* Notes that the publisher of this database must look at requests at commit. */
extern void outbox_wakeup_request_at_commit(void);

/* Notes that outbox_slots_release() is due when this transaction ends. */
extern void outbox_wakeup_release_at_end(void);

/* Notes that the launcher must look for a publisher to start there at commit. */
extern void outbox_wakeup_launcher_at_commit(Oid database);

/*
 * Notes that the publisher must end and come back at commit, since settings
 * of its database changed; InvalidOid: all publishers.
 */
extern void outbox_wakeup_restart_at_commit(Oid database);

#endif							/* OUTBOX_WAKEUP_H */
