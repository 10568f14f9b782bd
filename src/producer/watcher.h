/*-------------------------------------------------------------------------
 *
 * watcher.h
 *	  Asks the brokers about connection and topics, in a thread of its own.
 *
 * IDENTIFICATION
 *	  src/producer/watcher.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_WATCHER_H
#define OUTBOX_WATCHER_H

#include <stdbool.h>

#include "client.h"
#include "topic.h"

typedef struct Watcher Watcher;

/* A question about a topic, and its answer. */
typedef struct WatcherAnswer
{
	Client	   *client;			/* asks, and has met the topic */
	Topic	   *topic;
	int			code;			/* 0: it can take events */
	int			partitions;		/* 0: not known */
} WatcherAnswer;

extern Watcher *watcher_start(Client *client, int wake_fd);
extern bool watcher_is_idle(Watcher *watcher);
extern void watcher_ask(Watcher *watcher, const WatcherAnswer *questions,
						int count);
extern bool watcher_answers(Watcher *watcher, const WatcherAnswer **answers,
							int *count, int *connection_code);

#endif							/* OUTBOX_WATCHER_H */
