/*-------------------------------------------------------------------------
 *
 * dead_letter.h
 *	  Events that the broker refuses for their own content.
 *
 * IDENTIFICATION
 *	  src/dead_letter.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_DEAD_LETTER_H
#define OUTBOX_DEAD_LETTER_H

#include "nodes/pg_list.h"
#include "utils/hsearch.h"

#include "event_frame.h"
#include "hold.h"
#include "trouble.h"

/* Parked events of one key that are copied at most. */
#define OUTBOX_MAX_COPIES		10000

/* A dead letter, as far as its scope and order go. */
typedef struct OutboxLetter
{
	uint8		uid[16];
	int64		id;
	bool		parks;
	char	   *topic;
	char	   *key;			/* NULL: none */
	uint32		key_length;
	char	   *frame;			/* NULL: not asked for */
} OutboxLetter;

extern int64 outbox_dead_letter_insert(uint64 locator, bool parks,
									   const OutboxTrouble *trouble);
extern HTAB *outbox_dead_letters_not_passed(const OutboxCursor *main_row,
											OutboxHolds *holds, MemoryContext context);
extern void outbox_dead_letters_park(OutboxHolds *holds, const OutboxCursor *main_row);
extern bool outbox_dead_letter_parks(const char *topic, const char *key, uint32 key_length);
extern List *outbox_dead_letters_discard(const List *except);
extern bool outbox_dead_letters_discards_wait(const List *except);
extern List *outbox_dead_letters_to_retry(const List *except, int limit, uint64 first_number);
extern OutboxLetter *outbox_dead_letters_first_copy(const OutboxHold *hold, uint64 number);
extern bool outbox_dead_letters_copy(const OutboxHold *hold, const OutboxSnapshot *snapshot);
extern bool outbox_dead_letters_are_old(Oid relation);
extern bool outbox_dead_letter_lock(const uint8 *uid);
extern void outbox_dead_letter_published(const uint8 *uid);
extern void outbox_dead_letter_refused(const uint8 *uid, const OutboxTrouble *trouble);
extern void outbox_dead_letter_deadly(const uint8 *uid);
extern void outbox_dead_letters_forget_discarded(int retention);
extern int64 outbox_dead_letters_count(void);
extern bool outbox_dead_letters_have_foreign(void);
extern int64 outbox_dead_letters_adopt(void);

#endif							/* OUTBOX_DEAD_LETTER_H */
