/*-------------------------------------------------------------------------
 *
 * raw.c
 *	  librdkafka without outbox: what the benchmark compares with.
 *
 *		raw memory BOOTSTRAP TOPIC EVENTS BYTES [NAME=VALUE ...]
 *		raw copy BOOTSTRAP TOPIC EVENTS BYTES [NAME=VALUE ...]
 *		raw pace BOOTSTRAP TOPIC EVENTS BYTES SCHEDULE FILE [NAME=VALUE ...]
 *
 * "memory" produces EVENTS records that it makes up, with a payload of BYTES;
 * "copy" takes them from the output of COPY (SELECT uid, key, payload ...) in
 * binary format on its standard input.  Both print one JSON object: the
 * seconds from the first to the last acknowledgement with the number of events
 * acknowledged in between, the seconds from the first call to the last
 * acknowledgement, and the CPU seconds of the latter time.
 *
 * "pace" produces one at a time, at the intervals of the times in the file
 * SCHEDULE, and writes to FILE for each record its number and the monotonic
 * clock in nanoseconds at the call.
 *
 * The client has the properties that outbox's producer sets, and the records
 * are like those of outbox: id header, key, payload.  All connections are
 * there before the clock starts, and one record has gone to the topic
 * "bench.warm".  NAME=VALUE are further properties.
 *
 * IDENTIFICATION
 *	  test/bench/raw.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "bench.h"

/* Reports are looked at after so many records, and when the queue is full. */
#define REPORT_INTERVAL		1024

/* What the producer sets, as far as it can matter to speed. */
static const char *const properties[][2] = {
	{"enable.idempotence", "true"},
	{"acks", "all"},
	{"message.timeout.ms", "0"},
	{"enable.gapless.guarantee", "true"},
	{"partitioner", "murmur2_random"},
	{"linger.ms", "0"},
	{"socket.nagle.disable", "true"},
	{"message.max.bytes", "2064384"},
	{"queue.buffering.max.kbytes", "65536"},
	{"queue.buffering.max.messages", "131072"},
	{"enable.metrics.push", "false"},
	{"log_level", "2"}
};

typedef struct Run
{
	rd_kafka_t *kafka;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue;
	long		produced;
	long		acknowledged;
	long		at_first;		/* acknowledged by the first report */
	int64_t		started;
	int64_t		first;
	int64_t		last;
	double		cpu;
} Run;

static double
cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 +
		usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6;
}

/* Take the reports that are there, or wait up to timeout milliseconds. */
static void
take_reports(Run *run, int timeout)
{
	rd_kafka_event_t *event;

	while ((event = rd_kafka_queue_poll(run->queue, timeout)) != NULL)
	{
		const rd_kafka_message_t *message;
		long		count = 0;

		while ((message = rd_kafka_event_message_next(event)) != NULL)
		{
			if (message->err != 0)
				fail("a record was refused: %s", rd_kafka_err2str(message->err));
			count++;
		}
		rd_kafka_event_destroy(event);
		if (count > 0)
		{
			run->last = monotonic();
			if (run->acknowledged == 0)
			{
				run->first = run->last;
				run->at_first = count;
			}
			run->acknowledged += count;
		}
		timeout = 0;
	}
}

/* Hand a record to librdkafka, waiting for room. */
static void
produce(Run *run, rd_kafka_topic_t *topic, const char *id,
		const char *key, size_t key_length,
		const char *payload, size_t payload_length)
{
	for (;;)
	{
		rd_kafka_resp_err_t error;

		error = rd_kafka_producev(run->kafka,
								  RD_KAFKA_V_RKT(topic),
								  RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
								  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
								  RD_KAFKA_V_KEY((void *) key, key_length),
								  RD_KAFKA_V_VALUE((void *) payload, payload_length),
								  RD_KAFKA_V_HEADER("id", id, UID_LENGTH),
								  RD_KAFKA_V_END);
		if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
			break;
		if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			fail("could not produce: %s", rd_kafka_err2str(error));
		take_reports(run, 100);
	}
	if (++run->produced % REPORT_INTERVAL == 0)
		take_reports(run, 0);
}

/* The text form of 16 bytes as a uuid, without NUL. */
static void
uid_text(const unsigned char *uid, char *text)
{
	static const char digits[] = "0123456789abcdef";
	int			i;

	for (i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		*text++ = digits[uid[i] >> 4];
		*text++ = digits[uid[i] & 15];
	}
}

static void
numbered_uid(long number, char *text)
{
	unsigned char uid[16] = {0};

	memcpy(uid, &number, sizeof(number));
	uid_text(uid, text);
}

static void
set_property(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		error[512];

	/* an old version lacks some: so it is in the producer */
	if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) ==
		RD_KAFKA_CONF_INVALID)
		fail("property \"%s\": %s", name, error);
}

static void
start(Run *run, const char *bootstrap, const char *topic, char **more)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_t *warm;
	const struct rd_kafka_metadata *metadata;
	char		id[UID_LENGTH];
	char		error[512];
	size_t		i;

	memset(run, 0, sizeof(Run));
	set_property(conf, "bootstrap.servers", bootstrap);
	for (i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		set_property(conf, properties[i][0], properties[i][1]);
	set_property(conf, "max.in.flight",
				 rd_kafka_version() < 0x020300ff ? "1" : "5");
	for (; *more != NULL; more++)
	{
		char	   *equals = strchr(*more, '=');

		if (equals == NULL)
			fail("not NAME=VALUE: %s", *more);
		*equals = '\0';
		set_property(conf, *more, equals + 1);
	}
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
	run->kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
	if (run->kafka == NULL)
		fail("%s", error);
	run->queue = rd_kafka_queue_get_main(run->kafka);

	warm = rd_kafka_topic_new(run->kafka, "bench.warm", NULL);
	numbered_uid(0, id);
	produce(run, warm, id, "k", 1, "warm", 4);
	while (run->acknowledged < 1)
		take_reports(run, 100);
	run->produced = 0;
	run->acknowledged = 0;

	run->topic = rd_kafka_topic_new(run->kafka, topic, NULL);
	if (rd_kafka_metadata(run->kafka, 0, run->topic, &metadata, 10000) != 0)
		fail("there is no metadata of topic \"%s\"", topic);
	rd_kafka_metadata_destroy(metadata);

	run->cpu = cpu_seconds();
	run->started = monotonic();
}

static void
finish(Run *run, long events)
{
	while (run->acknowledged < run->produced)
		take_reports(run, 100);
	if (run->produced != events)
		fail("%ld records instead of %ld", run->produced, events);
	printf("{\"seconds\": %.6f, \"events\": %ld, \"whole\": %.6f, \"cpu\": %.6f}\n",
		   (run->last - run->first) / 1e9, run->acknowledged - run->at_first,
		   (run->last - run->started) / 1e9, cpu_seconds() - run->cpu);
	fflush(stdout);
	/* destroying the client takes time that nobody wants to wait for */
	_exit(0);
}

static void
from_memory(Run *run, long events, int bytes)
{
	char	   *payload = malloc(bytes + 1);
	char		(*keys)[KEY_SIZE] = malloc(BENCH_KEYS * KEY_SIZE);
	long		number;

	for (number = 0; number < BENCH_KEYS; number++)
		make_key(keys[number], number);
	make_payload(payload, bytes, 0);
	for (number = 1; number <= events; number++)
	{
		char		id[UID_LENGTH];

		numbered_uid(number, id);
		produce(run, run->topic, id, keys[number % BENCH_KEYS], KEY_SIZE - 1,
				payload, bytes);
	}
	finish(run, events);
}

/* ---- the binary format of COPY ---- */

static char input[1024 * 1024];
static size_t input_start;
static size_t input_end;

/* The next length bytes, valid until the next call. */
static const char *
take(size_t length)
{
	const char *result;

	while (input_end - input_start < length)
	{
		ssize_t		n;

		if (input_start > 0)
		{
			memmove(input, input + input_start, input_end - input_start);
			input_end -= input_start;
			input_start = 0;
		}
		if (length > sizeof(input))
			fail("a row is too large");
		n = read(STDIN_FILENO, input + input_end, sizeof(input) - input_end);
		if (n <= 0)
			fail("the output of COPY ends too early");
		input_end += n;
	}
	result = input + input_start;
	input_start += length;
	return result;
}

static uint32_t
network(const char *p, int bytes)
{
	uint32_t	value = 0;

	while (bytes-- > 0)
		value = (value << 8) | (unsigned char) *p++;
	return value;
}

static void
from_copy(Run *run, long events)
{
	static const char signature[] = "PGCOPY\n\377\r\n";

	if (memcmp(take(11), signature, 11) != 0)
		fail("this is not the output of COPY in binary format");
	take(4);
	take(network(take(4), 4));
	for (;;)
	{
		uint32_t	columns = network(take(2), 2);
		char		id[UID_LENGTH];
		char		key[256];
		uint32_t	key_length;
		uint32_t	length;

		if (columns == 0xffff)
			break;
		if (columns != 3 || network(take(4), 4) != 16)
			fail("the columns are not uid, key, payload");
		uid_text((const unsigned char *) take(16), id);
		key_length = network(take(4), 4);
		if (key_length > sizeof(key))
			fail("a key is too long");
		memcpy(key, take(key_length), key_length);
		length = network(take(4), 4);
		produce(run, run->topic, id, key, key_length, take(length), length);
	}
	finish(run, events);
}

static void
paced(Run *run, long events, int bytes, const char *schedule, const char *file)
{
	int64_t    *when = malloc(events * sizeof(int64_t));
	int64_t    *times = malloc(events * sizeof(int64_t));
	char	   *payload = malloc(bytes + 1);
	int64_t		begin;
	long		i;

	read_times(schedule, when, events);
	begin = monotonic();
	for (i = 0; i < events; i++)
	{
		char		id[UID_LENGTH];
		char		key[KEY_SIZE];

		make_payload(payload, bytes, i + 1);
		make_key(key, i % BENCH_KEYS);
		numbered_uid(i + 1, id);
		wait_until(begin + when[i] - when[0]);
		times[i] = monotonic();
		produce(run, run->topic, id, key, KEY_SIZE - 1, payload, bytes);
	}
	write_times(file, times, events);
	finish(run, events);
}

int
main(int argc, char **argv)
{
	Run			run;
	long		events;
	int			bytes;
	bool		pace;

	pace = argc >= 2 && strcmp(argv[1], "pace") == 0;
	if (argc < (pace ? 8 : 6))
		fail("usage: raw memory|copy|pace BOOTSTRAP TOPIC EVENTS BYTES [SCHEDULE FILE] [NAME=VALUE ...]");
	events = atol(argv[4]);
	bytes = atoi(argv[5]);
	check_bytes(bytes);
	start(&run, argv[2], argv[3], argv + (pace ? 8 : 6));
	if (pace)
		paced(&run, events, bytes, argv[6], argv[7]);
	else if (strcmp(argv[1], "copy") == 0)
		from_copy(&run, events);
	else
		from_memory(&run, events, bytes);
	return 0;
}
