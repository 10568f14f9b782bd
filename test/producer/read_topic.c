/*-------------------------------------------------------------------------
 *
 * read_topic.c
 *	  Reads a topic from its beginning and prints its records exactly.
 *
 *		read_topic BOOTSTRAP TOPIC PARTITIONS COUNT
 *
 * One line for each of COUNT records: partition, offset, timestamp, key,
 * payload, then name=value of each header; bytes in hexadecimal, NULL as "-".
 * Fails if they are not there within 20 seconds.
 *
 * IDENTIFICATION
 *	  test/producer/read_topic.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#define PATIENCE_S	20

static void
print_bytes(const void *data, size_t length)
{
	const unsigned char *p = data;

	if (p == NULL)
	{
		printf("-");
		return;
	}
	while (length-- > 0)
		printf("%02x", *p++);
}

int
main(int argc, char **argv)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_t *kafka;
	char		error[512];
	time_t		end = time(NULL) + PATIENCE_S;
	int			wanted;
	int			i;

	if (argc != 5)
		return 2;
	wanted = atoi(argv[4]);
	rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], NULL, 0);
	rd_kafka_conf_set(conf, "group.id", "read_topic", NULL, 0);
	rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
	rd_kafka_conf_set(conf, "enable.auto.commit", "false", NULL, 0);
	kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
	if (kafka == NULL)
		return 1;
	rd_kafka_poll_set_consumer(kafka);
	list = rd_kafka_topic_partition_list_new(1);
	for (i = 0; i < atoi(argv[3]); i++)
		rd_kafka_topic_partition_list_add(list, argv[2], i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(kafka, list);

	while (wanted > 0 && time(NULL) < end)
	{
		rd_kafka_message_t *message = rd_kafka_consumer_poll(kafka, 100);
		rd_kafka_headers_t *headers;

		if (message == NULL)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		{
			const char *name;
			const void *value;
			size_t		length;
			size_t		index = 0;

			printf("%d %lld %lld ", message->partition,
				   (long long) message->offset,
				   (long long) rd_kafka_message_timestamp(message, NULL));
			print_bytes(message->key, message->key_len);
			printf(" ");
			print_bytes(message->payload, message->len);
			if (rd_kafka_message_headers(message, &headers) == 0)
			{
				while (rd_kafka_header_get_all(headers, index++, &name,
											   &value, &length) == 0)
				{
					printf(" ");
					print_bytes(name, strlen(name));
					printf("=");
					print_bytes(value, length);
				}
			}
			printf("\n");
			wanted--;
		}
		rd_kafka_message_destroy(message);
	}
	fflush(stdout);
	_exit(wanted > 0);
}
