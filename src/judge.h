/*-------------------------------------------------------------------------
 *
 * judge.h
 *	  Deciding what a refusal, a topic's trouble or a death means.
 *
 * IDENTIFICATION
 *	  src/judge.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_JUDGE_H
#define OUTBOX_JUDGE_H

#include "sender.h"
#include "source.h"
#include "suspects.h"
#include "topic.h"
#include "window.h"

typedef struct OutboxJudge OutboxJudge;

extern OutboxJudge *outbox_judge_create(OutboxSource *source, OutboxWindow *window,
										OutboxSender *sender, OutboxSuspects *suspects,
										MemoryContext parent);
extern void outbox_judge_topics(OutboxJudge *judge, HTAB *topics);
extern void outbox_judge_topic(OutboxJudge *judge, const char *topic,
							   const OutboxTrouble *trouble, bool blocks);
extern void outbox_judge_refused(OutboxJudge *judge, uint64 number, const char *topic,
								 const OutboxTrouble *trouble, bool alone);
extern void outbox_judge_acknowledged(OutboxJudge *judge, uint64 number);
extern bool outbox_judge_died(OutboxJudge *judge, bool crashed);
extern void outbox_judge_forget(OutboxJudge *judge);
extern int	outbox_judge_batch_size(const OutboxJudge *judge);
extern bool outbox_judge_explains(const OutboxJudge *judge, int class);
extern bool outbox_judge_shows_error(const OutboxJudge *judge);
extern bool outbox_judge_turn(OutboxJudge *judge, TimestampTz now);
extern TimestampTz outbox_judge_due(const OutboxJudge *judge);

#endif							/* OUTBOX_JUDGE_H */
