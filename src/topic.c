/*-------------------------------------------------------------------------
 *
 * topic.c
 *	  What is set for single topics.
 *
 * IDENTIFICATION
 *	  src/topic.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"

#include "topic.h"

/*
 * Reads outbox.topic into a table in context.  The caller is connected to SPI,
 * with a snapshot.
 */
HTAB *
outbox_topics_load(MemoryContext context)
{
	HASHCTL		control = {0};
	HTAB	   *topics;
	uint64		i;

	if (SPI_execute("SELECT topic, on_refusal, paused FROM outbox.topic",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read outbox.topic");

	control.keysize = OUTBOX_MAX_TOPIC_LENGTH + 1;
	control.entrysize = sizeof(OutboxTopic);
	control.hcxt = context;
	topics = hash_create("outbox topics", Max(SPI_processed, 16), &control,
						 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	for (i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		char	   *on_refusal = SPI_getvalue(row, SPI_tuptable->tupdesc, 2);
		bool		isnull;
		OutboxTopic *topic = hash_search(topics, SPI_getvalue(row, SPI_tuptable->tupdesc, 1),
										 HASH_ENTER, NULL);

		topic->on_refusal = strcmp(on_refusal, "skip") == 0 ? OUTBOX_ON_REFUSAL_SKIP :
			strcmp(on_refusal, "stop") == 0 ? OUTBOX_ON_REFUSAL_STOP : OUTBOX_ON_REFUSAL_PARK;
		topic->paused = DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &isnull));
	}
	return topics;
}

/* What is set for a topic; NULL: nothing. */
const OutboxTopic *
outbox_topics_find(HTAB *topics, const char *topic)
{
	return hash_search(topics, topic, HASH_FIND, NULL);
}
