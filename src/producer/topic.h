/*-------------------------------------------------------------------------
 *
 * topic.h
 *	  The topics met so far, and how old their oldest event is.
 *
 * IDENTIFICATION
 *	  src/producer/topic.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_TOPIC_H
#define OUTBOX_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The producer's two clients: one for the stream of events, whose refusals stop
 * it, and one for events that are sent alone.
 */
typedef enum ClientKind
{
	CLIENT_MAIN,
	CLIENT_ALONE
} ClientKind;

#define CLIENT_KINDS	2

/*
 * Events under way, in either client, are counted in two generations.  The older one takes no new
 * events since `closed`; when it is empty, the younger one becomes the older.
 */
typedef struct Topic
{
	struct Topic *next;			/* in the table's chain */
	struct Topic *next_made;	/* in the table's list of all */
	void	   *handles[CLIENT_KINDS];	/* the clients'; set once, then only
										 * read */
	uint64_t	outstanding[2];
	int64_t		closed;			/* milliseconds */
	int			younger;		/* 0 or 1 */
	int			trouble;		/* error code reported, 0: none */
	bool		blocks;			/* reported to block what is behind it */
	bool		held;			/* the main client refuses its events for now */
	uint32_t	hash;
	size_t		length;
	char		name[];			/* NUL-terminated */
} Topic;

typedef struct TopicTable
{
	Topic	  **buckets;
	size_t		bucket_count;	/* a power of two */
	size_t		count;
	Topic	   *made;
	Topic	   *last;			/* found last: events come in runs */
} TopicTable;

extern void topic_table_init(TopicTable *table);
extern Topic *topic_find(TopicTable *table, const char *name, size_t length);
extern void topic_turn(Topic *topic, int64_t now);
extern int64_t topic_age(const Topic *topic, int64_t now);

#endif							/* OUTBOX_TOPIC_H */
