/*-------------------------------------------------------------------------
 *
 * rotation.h
 *	  Filling the next segment, and emptying those that nobody needs.
 *
 * IDENTIFICATION
 *	  src/rotation.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_ROTATION_H
#define OUTBOX_ROTATION_H

#include "datatype/timestamp.h"

#include "hold.h"

extern bool outbox_rotation_load(void);
extern TimestampTz outbox_rotation_run(TimestampTz now, bool events_read, OutboxHolds *holds);

#endif							/* OUTBOX_ROTATION_H */
