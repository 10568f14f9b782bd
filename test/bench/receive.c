/*-------------------------------------------------------------------------
 *
 * receive.c
 *	  A consumer that notes when each record arrives.
 *
 *		receive BOOTSTRAP TOPIC PARTITIONS EVENTS FILE
 *
 * Reads TOPIC, which must be empty at the start, until EVENTS different events
 * have arrived, and writes to FILE for each its number and the monotonic clock
 * in nanoseconds.  Prints "ready" when it is connected and waits.
 *
 * IDENTIFICATION
 *	  test/bench/receive.c
 *
 *-------------------------------------------------------------------------
 */
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "bench.h"

static void
set_property(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		error[512];

	if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) !=
		RD_KAFKA_CONF_OK)
		fail("property \"%s\": %s", name, error);
}

int
main(int argc, char **argv)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *kafka;
	rd_kafka_topic_partition_list_t *partitions;
	char		error[512];
	char		number[NUMBER_DIGITS + 1] = "";
	int64_t    *times;
	int			partition_count;
	int			ended = 0;
	long		events;
	long		received = 0;
	int			i;

	if (argc != 6)
		fail("usage: receive BOOTSTRAP TOPIC PARTITIONS EVENTS FILE");
	partition_count = atoi(argv[3]);
	events = atol(argv[4]);
	times = calloc(events, sizeof(int64_t));

	set_property(conf, "bootstrap.servers", argv[1]);
	set_property(conf, "group.id", "bench");
	set_property(conf, "enable.auto.commit", "false");
	set_property(conf, "auto.offset.reset", "earliest");
	set_property(conf, "enable.partition.eof", "true");
	set_property(conf, "log_level", "2");
	kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
	if (kafka == NULL)
		fail("%s", error);
	rd_kafka_poll_set_consumer(kafka);
	partitions = rd_kafka_topic_partition_list_new(partition_count);
	for (i = 0; i < partition_count; i++)
		rd_kafka_topic_partition_list_add(partitions, argv[2], i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	if (rd_kafka_assign(kafka, partitions) != 0)
		fail("could not read topic \"%s\"", argv[2]);

	while (received < events)
	{
		rd_kafka_message_t *message = rd_kafka_consumer_poll(kafka, 1000);
		int64_t		now = monotonic();

		if (message == NULL)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		{
			if (++ended == partition_count)
			{
				puts("ready");
				fflush(stdout);
			}
		}
		else if (message->err == 0)
		{
			long		n;

			if (message->len < NUMBER_DIGITS)
				fail("this is no event of the benchmark");
			memcpy(number, message->payload, NUMBER_DIGITS);
			n = atol(number);
			if (n < 1 || n > events)
				fail("there is no event with the number %ld", n);
			if (times[n - 1] == 0)
			{
				times[n - 1] = now;
				received++;
			}
		}
		else
			fail("%s", rd_kafka_err2str(message->err));
		rd_kafka_message_destroy(message);
	}
	write_times(argv[5], times, events);
	fflush(stdout);
	/* leaving the cluster in an orderly way takes time for nothing */
	_exit(0);
}
