/*-------------------------------------------------------------------------
 *
 * topic.c
 *	  The topics met so far, and how old their oldest event is.
 *
 * A hash table by name.  Entries live as long as the program, so pointers to
 * them may be kept, also by librdkafka and by the watcher's thread.
 *
 * IDENTIFICATION
 *	  src/producer/topic.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "topic.h"

/* Most databases publish to fewer topics; the table doubles as needed. */
#define TOPIC_FIRST_BUCKETS	64

void
topic_table_init(TopicTable *table)
{
	memset(table, 0, sizeof(TopicTable));
	table->bucket_count = TOPIC_FIRST_BUCKETS;
	table->buckets = memory_zeroed(table->bucket_count * sizeof(Topic *));
}

/* FNV-1a */
static uint32_t
topic_hash(const char *name, size_t length)
{
	uint32_t	hash = 2166136261u;
	size_t		i;

	for (i = 0; i < length; i++)
		hash = (hash ^ (unsigned char) name[i]) * 16777619u;
	return hash;
}

static void
topic_table_grow(TopicTable *table)
{
	Topic	   *topic;

	free(table->buckets);
	table->bucket_count *= 2;
	table->buckets = memory_zeroed(table->bucket_count * sizeof(Topic *));
	for (topic = table->made; topic != NULL; topic = topic->next_made)
	{
		Topic	  **bucket =
			&table->buckets[topic->hash & (table->bucket_count - 1)];

		topic->next = *bucket;
		*bucket = topic;
	}
}

/* The topic of that name, which is made if it is new. */
Topic *
topic_find(TopicTable *table, const char *name, size_t length)
{
	Topic	   *topic = table->last;
	uint32_t	hash;

	if (topic != NULL && topic->length == length &&
		memcmp(topic->name, name, length) == 0)
		return topic;

	hash = topic_hash(name, length);
	for (topic = table->buckets[hash & (table->bucket_count - 1)];
		 topic != NULL; topic = topic->next)
	{
		if (topic->hash == hash && topic->length == length &&
			memcmp(topic->name, name, length) == 0)
			break;
	}
	if (topic == NULL)
	{
		Topic	  **bucket;

		if (table->count >= table->bucket_count)
			topic_table_grow(table);
		bucket = &table->buckets[hash & (table->bucket_count - 1)];
		topic = memory_zeroed(sizeof(Topic) + length + 1);
		topic->hash = hash;
		topic->length = length;
		memcpy(topic->name, name, length);
		topic->next = *bucket;
		*bucket = topic;
		topic->next_made = table->made;
		table->made = topic;
		table->count++;
	}
	table->last = topic;
	return topic;
}

/* Start a new generation if the older one is empty. */
void
topic_turn(Topic *topic, int64_t now)
{
	if (topic->outstanding[1 - topic->younger] == 0)
	{
		topic->younger = 1 - topic->younger;
		topic->closed = now;
	}
}

/* Milliseconds that the oldest event under way is at least old; 0: none is. */
int64_t
topic_age(const Topic *topic, int64_t now)
{
	if (topic->outstanding[1 - topic->younger] == 0)
		return 0;
	return now - topic->closed;
}
