/*-------------------------------------------------------------------------
 *
 * inquiry.h
 *	  What the brokers are asked about topics, and what follows.
 *
 * IDENTIFICATION
 *	  src/producer/inquiry.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_INQUIRY_H
#define OUTBOX_INQUIRY_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "connection.h"
#include "frame.h"
#include "notice.h"
#include "topic.h"
#include "watcher.h"

/* An event sent alone whose refusal is not believed before a broker confirms. */
typedef struct InquiryDoubt
{
	ClientRefusal refusal;
	bool		asked;			/* the question under way is about it too */
} InquiryDoubt;

typedef struct Inquiry
{
	Notices    *notices;
	Connection *connection;
	TopicTable *topics;
	Watcher    *watcher;
	int			troubled;		/* topics that are reported to be in trouble */
	int64_t		mended;			/* when one was reported to be well last */
	InquiryDoubt doubts[FRAME_MAX_ALONE];
	int			doubt_count;
	WatcherAnswer *questions;	/* room for the next ones */
	int			size;
} Inquiry;

extern void inquiry_init(Inquiry *inquiry, Notices *notices,
						 Connection *connection, TopicTable *topics);
extern bool inquiry_start(Inquiry *inquiry, Client *client, int wake_fd);
extern void inquiry_set_trouble(Inquiry *inquiry, Topic *topic, int code,
								bool blocks);
extern void inquiry_doubt(Inquiry *inquiry, const ClientRefusal *refusal);
extern bool inquiry_is_needed(const Inquiry *inquiry);
extern void inquiry_ask(Inquiry *inquiry, Client *const *clients, int64_t now);
extern void inquiry_take_answers(Inquiry *inquiry);

#endif							/* OUTBOX_INQUIRY_H */
