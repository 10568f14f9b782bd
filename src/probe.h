/*-------------------------------------------------------------------------
 *
 * probe.h
 *	  Trying what is held: the first events of held topics, and dead letters.
 *
 * IDENTIFICATION
 *	  src/probe.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_PROBE_H
#define OUTBOX_PROBE_H

#include "sender.h"
#include "source.h"

/*
 * Numbers of events that are sent outside of the source's order start here;
 * the producer takes numbers below twice this.
 */
#define OUTBOX_PROBE_FIRST_NUMBER	((uint64) 1 << 56)

typedef struct OutboxProbe OutboxProbe;

extern OutboxProbe *outbox_probe_create(OutboxSource *source, OutboxSender *sender,
										MemoryContext parent);
extern bool outbox_probe_requested(OutboxProbe *probe, HTAB *topics);
extern void outbox_probe_turn(OutboxProbe *probe, OutboxCourier *courier, TimestampTz now);
extern void outbox_probe_acknowledged(OutboxProbe *probe, uint64 number);
extern void outbox_probe_refused(OutboxProbe *probe, uint64 number, const OutboxTrouble *trouble);
extern void outbox_probe_forget(OutboxProbe *probe, bool crashed);
extern bool outbox_probe_is_done(const OutboxProbe *probe);
extern bool outbox_probe_changed_letters(OutboxProbe *probe);
extern TimestampTz outbox_probe_due(const OutboxProbe *probe);

#endif							/* OUTBOX_PROBE_H */
