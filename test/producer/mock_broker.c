/*-------------------------------------------------------------------------
 *
 * mock_broker.c
 *	  librdkafka's mock cluster as a process of its own.
 *
 *		mock_broker BROKERS
 *
 * Writes its bootstrap servers as one line, then answers each command read
 * from standard input with "ok" or "error ...":
 *
 *		create TOPIC PARTITIONS
 *		error API CODE...			the next answers to that kind of request
 *		clear API
 *		topicerror TOPIC CODE
 *		leader TOPIC PARTITION BROKER	(-1: none)
 *		down BROKER / up BROKER / delay BROKER MILLISECONDS
 *
 * Ends at the end of its input.
 *
 * IDENTIFICATION
 *	  test/producer/mock_broker.c
 *
 *-------------------------------------------------------------------------
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

/* More errors than any test queues for one kind of request. */
#define MAX_ERRORS	1000

static void
answer(rd_kafka_resp_err_t code)
{
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		printf("ok\n");
	else
		printf("error %s\n", rd_kafka_err2name(code));
	fflush(stdout);
}

static void
execute(rd_kafka_mock_cluster_t *cluster, char *line)
{
	char		topic[256];
	int			a;
	int			b;

	if (sscanf(line, "create %255s %d", topic, &a) == 2)
		answer(rd_kafka_mock_topic_create(cluster, topic, a, 1));
	else if (sscanf(line, "clear %d", &a) == 1)
	{
		rd_kafka_mock_clear_request_errors(cluster, a);
		answer(0);
	}
	else if (sscanf(line, "topicerror %255s %d", topic, &a) == 2)
	{
		rd_kafka_mock_topic_set_error(cluster, topic, a);
		answer(0);
	}
	else if (sscanf(line, "leader %255s %d %d", topic, &a, &b) == 3)
		answer(rd_kafka_mock_partition_set_leader(cluster, topic, a, b));
	else if (sscanf(line, "down %d", &a) == 1)
		answer(rd_kafka_mock_broker_set_down(cluster, a));
	else if (sscanf(line, "up %d", &a) == 1)
		answer(rd_kafka_mock_broker_set_up(cluster, a));
	else if (sscanf(line, "delay %d %d", &a, &b) == 2)
		answer(rd_kafka_mock_broker_set_rtt(cluster, a, b));
	else if (strncmp(line, "error ", 6) == 0)
	{
		rd_kafka_resp_err_t errors[MAX_ERRORS];
		int			count = 0;
		char	   *word = strtok(line + 6, " \n");
		int			api = word ? atoi(word) : 0;

		while (count < MAX_ERRORS && (word = strtok(NULL, " \n")) != NULL)
			errors[count++] = atoi(word);
		rd_kafka_mock_push_request_errors_array(cluster, api, count, errors);
		answer(0);
	}
	else
		answer(RD_KAFKA_RESP_ERR__INVALID_ARG);
}

int
main(int argc, char **argv)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_mock_cluster_t *cluster;
	rd_kafka_t *kafka;
	char		error[512];
	char		line[4096];

	signal(SIGPIPE, SIG_IGN);
	rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
	kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
	if (kafka == NULL)
	{
		fprintf(stderr, "mock_broker: %s\n", error);
		return 1;
	}
	cluster = rd_kafka_mock_cluster_new(kafka, argc > 1 ? atoi(argv[1]) : 1);
	if (cluster == NULL)
	{
		fprintf(stderr, "mock_broker: no cluster\n");
		return 1;
	}
	printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL)
		execute(cluster, line);
	_exit(0);
}
