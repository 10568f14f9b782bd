/*-------------------------------------------------------------------------
 *
 * first_event.h
 *	  The first event of a held topic that waits.
 *
 * IDENTIFICATION
 *	  src/first_event.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_FIRST_EVENT_H
#define OUTBOX_FIRST_EVENT_H

#include "hold.h"

extern char *outbox_first_event(OutboxHolds *holds, OutboxHold *hold, HTAB *letters, bool *gone);

#endif							/* OUTBOX_FIRST_EVENT_H */
