/*-------------------------------------------------------------------------
 *
 * watcher.c
 *	  Asks the brokers about connection and topics, in a thread of its own.
 *
 * librdkafka tells nothing while the events of a missing topic wait, and
 * nothing when a connection has come up; and asking waits for the answer.  So
 * a second thread asks.  It never touches the channel or a topic's counters:
 * it is given a list of topics and hands back a list of codes.  One question
 * is under way at a time.
 *
 * IDENTIFICATION
 *	  src/producer/watcher.c
 *
 *-------------------------------------------------------------------------
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error_class.h"
#include "memory.h"
#include "watcher.h"

/*
 * How long a broker may take to answer.  A connection being made counts, so
 * much less would call a slow TLS handshake a broken connection.
 */
#define WATCHER_TIMEOUT_MS	2000

typedef enum WatcherState
{
	WATCHER_IDLE,
	WATCHER_ASKED,
	WATCHER_ANSWERED
} WatcherState;

struct Watcher
{
	Client	   *client;			/* asks about the connection */
	int			wake_fd;
	pthread_mutex_t mutex;
	pthread_cond_t asked;
	WatcherState state;			/* guarded by the mutex */

	/* The main thread's but in WATCHER_ASKED, when they are the watcher's. */
	WatcherAnswer *answers;
	int			count;
	int			size;
	int			connection_code;
};

/* Whether a code means that no broker answered at all. */
static bool
is_connection(int code)
{
	return error_class(code) == FRAME_CLASS_CONNECTION;
}

static void
watcher_answer(Watcher *watcher)
{
	int			i;

	watcher->connection_code = watcher->count > 0 ? CODE_NONE :
		client_check_connection(watcher->client, WATCHER_TIMEOUT_MS);
	for (i = 0; i < watcher->count; i++)
	{
		WatcherAnswer *answer = &watcher->answers[i];

		answer->partitions = 0;
		answer->code = watcher->connection_code;
		if (!is_connection(answer->code))
			answer->code = client_check_topic(answer->client, answer->topic,
											  WATCHER_TIMEOUT_MS,
											  &answer->partitions);
		if (is_connection(answer->code))
			watcher->connection_code = answer->code;
	}
}

static void *
watcher_main(void *argument)
{
	Watcher    *watcher = argument;

	for (;;)
	{
		pthread_mutex_lock(&watcher->mutex);
		while (watcher->state != WATCHER_ASKED)
			pthread_cond_wait(&watcher->asked, &watcher->mutex);
		pthread_mutex_unlock(&watcher->mutex);

		watcher_answer(watcher);

		pthread_mutex_lock(&watcher->mutex);
		watcher->state = WATCHER_ANSWERED;
		pthread_mutex_unlock(&watcher->mutex);
		/* a full pipe means that the main thread wakes up anyway */
		if (write(watcher->wake_fd, "w", 1) < 0)
			continue;
	}
	return NULL;
}

/*
 * Start the thread.  A byte is written to wake_fd (not blocking) when there
 * are answers.  Returns NULL if there can be no thread.
 */
Watcher *
watcher_start(Client *client, int wake_fd)
{
	Watcher    *watcher = memory_zeroed(sizeof(Watcher));
	pthread_t	thread;

	watcher->client = client;
	watcher->wake_fd = wake_fd;
	pthread_mutex_init(&watcher->mutex, NULL);
	pthread_cond_init(&watcher->asked, NULL);
	if (pthread_create(&thread, NULL, watcher_main, watcher) != 0)
	{
		free(watcher);
		return NULL;
	}
	pthread_detach(thread);
	return watcher;
}

static WatcherState
watcher_state(Watcher *watcher)
{
	WatcherState state;

	pthread_mutex_lock(&watcher->mutex);
	state = watcher->state;
	pthread_mutex_unlock(&watcher->mutex);
	return state;
}

/* Whether watcher_ask() may be called. */
bool
watcher_is_idle(Watcher *watcher)
{
	return watcher_state(watcher) == WATCHER_IDLE;
}

/* Ask about the connection and so many topics. */
void
watcher_ask(Watcher *watcher, const WatcherAnswer *questions, int count)
{
	if (count > watcher->size)
	{
		watcher->answers = memory_resize(watcher->answers,
										 count * sizeof(WatcherAnswer));
		watcher->size = count;
	}
	if (count > 0)
		memcpy(watcher->answers, questions, count * sizeof(WatcherAnswer));
	watcher->count = count;

	pthread_mutex_lock(&watcher->mutex);
	watcher->state = WATCHER_ASKED;
	pthread_cond_signal(&watcher->asked);
	pthread_mutex_unlock(&watcher->mutex);
}

/*
 * Take the answers, if they are there.  They stay valid until the next
 * watcher_ask().  *connection_code is 0 if a broker answered.  A topic whose
 * code is about the connection is as it was.
 */
bool
watcher_answers(Watcher *watcher, const WatcherAnswer **answers, int *count,
				int *connection_code)
{
	if (watcher_state(watcher) != WATCHER_ANSWERED)
		return false;
	*answers = watcher->answers;
	*count = watcher->count;
	*connection_code = watcher->connection_code;

	pthread_mutex_lock(&watcher->mutex);
	watcher->state = WATCHER_IDLE;
	pthread_mutex_unlock(&watcher->mutex);
	return true;
}
