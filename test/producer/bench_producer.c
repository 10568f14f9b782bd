/*-------------------------------------------------------------------------
 *
 * bench_producer.c
 *	  How fast the producer is, and what its socket costs.
 *
 *		bench_producer PROGRAM BOOTSTRAP TOPIC EVENTS BYTES [NAME=VALUE...]
 *
 * Sends EVENTS events with a payload of BYTES through the producer PROGRAM
 * (or, if that is "-", through librdkafka in this process with the same
 * properties), waits for all acknowledgements, and prints one line: events
 * per second, and CPU per event of the side that owns librdkafka and of the
 * side that feeds it.  NAME=VALUE are further librdkafka properties.
 *
 * IDENTIFICATION
 *	  test/producer/bench_producer.c
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "frame.h"

/* How much is written at once: what a publisher's output buffer holds. */
#define OUTPUT_SIZE	(256 * 1024)

static const char *topic;
static long events;
static int	payload_length;
static char **properties;
static int	property_count;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static double
cpu(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 +
		usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6;
}

static void
report(const char *name, double elapsed, double client, double feeder)
{
	printf("%s: %.0f events/s, client %.2f us/event, feeder %.2f us/event\n",
		   name, events / elapsed, client * 1e6 / events,
		   feeder * 1e6 / events);
}

static int
start_producer(const char *program, const char *bootstrap, pid_t *pid)
{
	int			sockets[2];
	char		body[4096];
	size_t		length = 8;
	FrameHeader header;
	int			i;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0)
		die("socketpair");
	*pid = fork();
	if (*pid == 0)
	{
		dup2(sockets[1], 0);
		execl(program, program, "bench", (char *) NULL);
		die(program);
	}
	close(sockets[1]);

	*(uint32_t *) body = FRAME_PROTOCOL_VERSION;
	*(int32_t *) (body + 4) = getpid();
	length += sprintf(body + length, "bootstrap.servers") + 1;
	length += sprintf(body + length, "%s", bootstrap) + 1;
	for (i = 0; i < property_count; i++)
	{
		char	   *equals = strchr(properties[i], '=');

		length += sprintf(body + length, "%.*s",
						  (int) (equals - properties[i]), properties[i]) + 1;
		length += sprintf(body + length, "%s", equals + 1) + 1;
	}
	memset(&header, 0, sizeof(header));
	header.length = length;
	header.type = FRAME_CONFIG;
	if (write(sockets[0], &header, sizeof(header)) < 0 ||
		write(sockets[0], body, length) < 0)
		die("write");
	return sockets[0];
}

/* The next event's frame at p; returns its length. */
static size_t
make_frame(char *p, uint64_t number)
{
	FrameHeader header;
	FrameEvent	event;
	char		key[13];

	memset(&header, 0, sizeof(header));
	memset(&event, 0, sizeof(event));
	snprintf(key, sizeof(key), "k%011d", (int) (number % 1000));
	event.number = number;
	event.timestamp = 1700000000000;
	memcpy(event.uid, &number, sizeof(number));
	event.partition = -1;
	event.key_length = 12;
	event.headers_length = -1;
	event.payload_length = payload_length;
	event.topic_length = strlen(topic);
	header.type = FRAME_EVENT;
	header.length = sizeof(event) + event.topic_length + 12 + payload_length;
	memcpy(p, &header, sizeof(header));
	p += sizeof(header);
	memcpy(p, &event, sizeof(event));
	p += sizeof(event);
	memcpy(p, topic, event.topic_length);
	p += event.topic_length;
	memcpy(p, key, 12);
	memset(p + 12, 'x', payload_length);
	return sizeof(header) + header.length;
}

static void
through_producer(const char *program, const char *bootstrap)
{
	static char in[1 << 20];
	char	   *out = malloc(OUTPUT_SIZE + (size_t) payload_length + 1024);
	size_t		in_length = 0;
	size_t		out_start = 0;
	size_t		out_end = 0;
	long		made = 0;
	long		acknowledged = 0;
	bool		ready = false;
	double		start = 0;
	double		feeder = 0;
	double		elapsed;
	struct rusage usage;
	pid_t		pid;
	int			fd = start_producer(program, bootstrap, &pid);
	int			status;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (acknowledged < events)
	{
		struct pollfd pollfd = {fd, POLLIN, 0};
		ssize_t		n;
		size_t		at = 0;

		if (ready && out_start == out_end && made < events)
		{
			out_start = out_end = 0;
			while (out_end < OUTPUT_SIZE && made < events)
				out_end += make_frame(out + out_end, ++made);
		}
		if (out_start < out_end)
		{
			n = write(fd, out + out_start, out_end - out_start);
			if (n > 0)
				out_start += n;
			else if (errno != EAGAIN)
				die("write");
			if (out_start < out_end)
				pollfd.events |= POLLOUT;
		}
		if (poll(&pollfd, 1, ready && out_start == out_end &&
				 made < events ? 0 : -1) < 0)
			die("poll");
		if ((pollfd.revents & (POLLIN | POLLHUP)) == 0)
			continue;
		n = read(fd, in + in_length, sizeof(in) - in_length);
		if (n <= 0)
			die("the producer ended");
		in_length += n;
		while (in_length - at >= sizeof(FrameHeader))
		{
			FrameHeader header;

			memcpy(&header, in + at, sizeof(header));
			if (in_length - at < sizeof(header) + header.length)
				break;
			if (header.type == FRAME_READY)
			{
				ready = true;
				start = seconds();
				feeder = cpu(RUSAGE_SELF);
			}
			else if (header.type == FRAME_ACKNOWLEDGED)
			{
				FrameAcknowledged frame;

				memcpy(&frame, in + at + sizeof(header), sizeof(frame));
				acknowledged += frame.count;
			}
			else if (header.type == FRAME_FAILED)
			{
				fprintf(stderr, "%.*s\n",
						(int) (header.length - sizeof(FrameTrouble)),
						in + at + sizeof(header) + sizeof(FrameTrouble));
				exit(1);
			}
			at += sizeof(header) + header.length;
		}
		memmove(in, in + at, in_length - at);
		in_length -= at;
	}
	elapsed = seconds() - start;
	feeder = cpu(RUSAGE_SELF) - feeder;
	close(fd);
	wait4(pid, &status, 0, &usage);
	report("producer", elapsed, cpu(RUSAGE_CHILDREN), feeder);
}

static void
through_librdkafka(const char *bootstrap)
{
	static const char *const defaults[] = {
		"enable.idempotence", "true", "message.timeout.ms", "0",
		"enable.gapless.guarantee", "true", "partitioner", "murmur2_random",
		"linger.ms", "0", "queue.buffering.max.kbytes", "65536",
		"queue.buffering.max.messages", "131072", "max.in.flight", "1",
		"log_level", "0", NULL
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *kafka;
	rd_kafka_topic_t *handle;
	rd_kafka_queue_t *queue;
	char		error[512];
	char	   *payload = malloc(payload_length + 1);
	long		made = 0;
	long		acknowledged = 0;
	double		start;
	int			i;

	memset(payload, 'x', payload_length);
	rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, NULL, 0);
	for (i = 0; defaults[i] != NULL; i += 2)
		rd_kafka_conf_set(conf, defaults[i], defaults[i + 1], NULL, 0);
	if (rd_kafka_version() >= 0x020300ff)
		rd_kafka_conf_set(conf, "max.in.flight", "5", NULL, 0);
	for (i = 0; i < property_count; i++)
	{
		char	   *name = strdup(properties[i]);
		char	   *equals = strchr(name, '=');

		*equals = '\0';
		rd_kafka_conf_set(conf, name, equals + 1, NULL, 0);
	}
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
	kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
	if (kafka == NULL)
		die(error);
	handle = rd_kafka_topic_new(kafka, topic, NULL);
	queue = rd_kafka_queue_get_main(kafka);

	start = seconds();
	while (acknowledged < events)
	{
		rd_kafka_event_t *event;

		while (made < events)
		{
			char		key[13];
			char		id[37];

			snprintf(key, sizeof(key), "k%011d", (int) ((made + 1) % 1000));
			memset(id, '0', 36);
			if (rd_kafka_producev(kafka, RD_KAFKA_V_RKT(handle),
								  RD_KAFKA_V_PARTITION(-1),
								  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
								  RD_KAFKA_V_KEY(key, 12),
								  RD_KAFKA_V_VALUE(payload, payload_length),
								  RD_KAFKA_V_HEADER("id", id, 36),
								  RD_KAFKA_V_END) != 0)
				break;
			made++;
		}
		event = rd_kafka_queue_poll(queue, 100);
		if (event != NULL)
		{
			acknowledged += rd_kafka_event_message_count(event);
			rd_kafka_event_destroy(event);
		}
	}
	report("librdkafka", seconds() - start, cpu(RUSAGE_SELF), 0);
	fflush(stdout);
	_exit(0);
}

int
main(int argc, char **argv)
{
	if (argc < 6)
	{
		fprintf(stderr, "usage: bench_producer PROGRAM|- BOOTSTRAP TOPIC EVENTS BYTES [NAME=VALUE...]\n");
		return 2;
	}
	topic = argv[3];
	events = atol(argv[4]);
	payload_length = atoi(argv[5]);
	properties = argv + 6;
	property_count = argc - 6;
	if (strcmp(argv[1], "-") == 0)
		through_librdkafka(argv[2]);
	else
		through_producer(argv[1], argv[2]);
	return 0;
}
