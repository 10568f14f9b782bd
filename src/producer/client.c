/*-------------------------------------------------------------------------
 *
 * client.c
 *	  One Kafka client.
 *
 * The only file that includes librdkafka's header beside client_setup.c.
 * Everything that happens is fetched as an event in the main thread;
 * librdkafka's own threads run nothing of ours but the making and closing of a
 * socket, and what takes a line of their log.  No call made by the main thread
 * waits.
 *
 * A refused batch is fatal to the client of the stream.  But the next request
 * may be built by then, and librdkafka sends it: the broker, which has no
 * sequence of this producer yet if it refused its first batch, takes it, and an
 * event has passed one of its key that was refused.  The thread that tells of
 * the fatal error is the one that would send it, so it shuts its socket down
 * there and then.
 *
 * The text of a refusal is made from its code: rd_kafka_message_errstr() gives
 * the payload for a delivery report, and rd_kafka_message_produce_errstr()
 * reads freed memory in some versions, so neither may be used.
 *
 * IDENTIFICATION
 *	  src/producer/client.c
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "client.h"
#include "client_setup.h"
#include "error_class.h"
#include "memory.h"

#if RD_KAFKA_VERSION < 0x020002ff
#error "librdkafka 2.0.2 or later is needed"
#endif

/*
 * The word that comes back with a delivery report: number, whether the event
 * asked for its partition, size class, and generation of the topic's counter.
 *
 * librdkafka does not count keys and headers in its limit, and does not tell
 * their size in a report.  So that large ones do not fill the memory, they are
 * counted here by powers of two; those up to 256 bytes are part of the half
 * kilobyte above.
 */
#define WORD_GENERATION(word)	((int) ((word) & 1))
#define WORD_SIZE_CLASS(word)	((int) (((word) >> 1) & 31))
#define WORD_GIVEN(word)		((int) (((word) >> 6) & 1))
#define WORD_NUMBER(word)		((word) >> 7)
#define SIZE_CLASS_SHIFT		8

/* librdkafka events taken in one go, so that input gets its turn. */
#define DRAIN_EVENTS			64

/* Lines of librdkafka's log that wait for the main thread; more are dropped. */
#define LOG_LINES				64

typedef struct LogLine
{
	int			level;
	char		text[512];
} LogLine;

struct Client
{
	ClientKind	kind;
	rd_kafka_t *kafka;
	rd_kafka_queue_t *queue;	/* everything that happens */
	uint64_t	outstanding;	/* events produced and not reported */
	uint64_t	side_bytes;		/* keys and headers of those, roughly */
	uint64_t	side_limit;
	bool		fatal;			/* the fatal error was told */
	int			wake_fd;

	pthread_mutex_t log_mutex;	/* over what follows */
	int			log_count;
	LogLine		log_line[LOG_LINES];
};

/* The socket of a thread that talks to a broker; -1: it has none. */
static _Thread_local int thread_socket = -1;

/*
 * Make a socket that closes with a reset: a producer that dies must not leave
 * a record behind in its socket that arrives after its successor's.
 */
static int
make_socket(int domain, int type, int protocol, void *opaque)
{
	struct linger linger;
	int			fd = socket(domain, type, protocol);

	if (fd < 0)
		return -1;
	(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
	linger.l_onoff = 1;
	linger.l_linger = 0;
	(void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	thread_socket = fd;
	return fd;
}

static int
close_socket(int fd, void *opaque)
{
	if (fd == thread_socket)
		thread_socket = -1;
	return close(fd);
}

/* Takes a line of the log, in a thread of librdkafka. */
static void
take_log_line(const rd_kafka_t *kafka, int level, const char *facility, const char *text)
{
	Client	   *client = kafka == NULL ? NULL : rd_kafka_opaque(kafka);

	if (level == LOG_EMERG && strcmp(facility, "FATAL") == 0 && thread_socket >= 0)
		(void) shutdown(thread_socket, SHUT_RDWR);

	/* that gapless is called experimental is no news to anyone */
	if (client == NULL ||
		(strcmp(facility, "CONFWARN") == 0 &&
		 strstr(text, "enable.gapless.guarantee") != NULL))
		return;
	pthread_mutex_lock(&client->log_mutex);
	if (client->log_count < LOG_LINES)
	{
		LogLine    *line = &client->log_line[client->log_count++];

		line->level = level;
		snprintf(line->text, sizeof(line->text), "%s", text);
	}
	pthread_mutex_unlock(&client->log_mutex);
	/* a full pipe wakes as well */
	if (write(client->wake_fd, "l", 1) < 0)
		return;
}

/* Tell the listener what was logged. */
static void
drain_log(Client *client, const ClientListener *listener)
{
	LogLine		line[LOG_LINES];
	int			count;
	int			i;

	pthread_mutex_lock(&client->log_mutex);
	count = client->log_count;
	memcpy(line, client->log_line, sizeof(LogLine) * count);
	client->log_count = 0;
	pthread_mutex_unlock(&client->log_mutex);
	for (i = 0; i < count; i++)
		listener->log(listener->argument, line[i].level, line[i].text);
}

/*
 * Make a client, which starts to connect.  A byte is written to wake_fd (not
 * blocking) when client_drain() has something to do again.  Returns NULL with
 * a text in error that names the property at fault, if one is, and in class
 * what the error is about.
 */
Client *
client_create(const Configuration *configuration, ClientKind kind, int wake_fd,
			  FrameClass *class, char *error, size_t error_size)
{
	rd_kafka_conf_t *conf;
	rd_kafka_t *kafka;
	Client	   *client;

	*class = FRAME_CLASS_CONFIGURATION;
	conf = client_setup(configuration, kind, error, error_size);
	if (conf == NULL)
		return NULL;
	client = memory_zeroed(sizeof(Client));
	client->kind = kind;
	client->wake_fd = wake_fd;
	pthread_mutex_init(&client->log_mutex, NULL);
	rd_kafka_conf_set_opaque(conf, client);
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
	rd_kafka_conf_set_log_cb(conf, take_log_line);
	rd_kafka_conf_set_socket_cb(conf, make_socket);
	rd_kafka_conf_set_closesocket_cb(conf, close_socket);

	kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, error_size);
	if (kafka == NULL)
	{
		/* a thread that does not start is no fault of the settings */
		if (rd_kafka_last_error() == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE)
			*class = FRAME_CLASS_CLIENT;
		rd_kafka_conf_destroy(conf);
		free(client);
		return NULL;
	}

	client->kafka = kafka;
	client->queue = rd_kafka_queue_get_main(kafka);
	client->side_limit = (uint64_t) configuration->queue_size * 1024;
	rd_kafka_queue_io_event_enable(client->queue, wake_fd, "k", 1);
	return client;
}

/* The size class of so many bytes of key and headers. */
static int
size_class(size_t bytes)
{
	int			class = 0;

	while (class < 31 && bytes > ((size_t) 1 << (SIZE_CLASS_SHIFT + class)))
		class++;
	return class;
}

/* What an event of that class counts. */
static uint64_t
size_class_bytes(int class)
{
	return class == 0 ? 0 : UINT64_C(1) << (SIZE_CLASS_SHIFT + class);
}

/* The text form of a uid, 36 characters, without NUL. */
static void
uid_text(const uint8_t *uid, char *text)
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

/* Read a big-endian integer; the caller has checked that it is there. */
static uint32_t
read_network(const char *p, int bytes)
{
	uint32_t	value = 0;

	while (bytes-- > 0)
		value = (value << 8) | (unsigned char) *p++;
	return value;
}

/* Whether the stored headers begin with an id of their own. */
static int
has_own_id(const ClientEvent *event)
{
	/* the length of the name, the name, the length of the value */
	return event->headers_length >= 8 &&
		memcmp(event->headers, "\0\2id", 4) == 0;
}

/*
 * librdkafka's headers: the id, then those of the event, in order.  An event
 * that was given an id by its application has it as its first header.
 */
static rd_kafka_headers_t *
make_headers(const ClientEvent *event, const char *id)
{
	/* two is what most events have */
	rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
	const char *p = event->headers;
	const char *end = p + event->headers_length;

	if (!has_own_id(event))
		rd_kafka_header_add(headers, FRAME_ID_HEADER, strlen(FRAME_ID_HEADER), id, 36);
	while (p < end)
	{
		int16_t		name_length = (int16_t) read_network(p, 2);
		const char *name = p + 2;
		int32_t		length = (int32_t) read_network(name + name_length, 4);
		const char *value = name + name_length + 4;

		if (length < 0)
		{
			rd_kafka_header_add(headers, name, name_length, NULL, 0);
			p = value;
		}
		else
		{
			rd_kafka_header_add(headers, name, name_length, value, length);
			p = value + length;
		}
	}
	return headers;
}

/* librdkafka's handle of a topic; NULL with a code if it makes none. */
static rd_kafka_topic_t *
topic_handle(Client *client, Topic *topic, int *code)
{
	void	  **handle = &topic->handles[client->kind];

	/*
	 * Not by name in each call: a name not met before costs a second in
	 * versions below 2.10.1.
	 */
	if (*handle == NULL)
	{
		rd_kafka_topic_conf_t *conf =
			rd_kafka_default_topic_conf_dup(client->kafka);

		rd_kafka_topic_conf_set_opaque(conf, topic);
		*handle = rd_kafka_topic_new(client->kafka, topic->name, conf);
		if (*handle == NULL)
		{
			*code = rd_kafka_last_error();
			rd_kafka_topic_conf_destroy(conf);
		}
	}
	return *handle;
}

/*
 * Hand an event to librdkafka, which copies it.  On any other verdict than
 * CLIENT_TAKEN nothing was kept, and *code is librdkafka's error.
 */
ClientVerdict
client_produce(Client *client, Topic *topic, const ClientEvent *event,
			   int *code)
{
	rd_kafka_topic_t *handle = topic_handle(client, topic, code);
	int			class = size_class(event->key_length + event->headers_length);
	uint64_t	word;
	int64_t		timestamp;
	char		id[36];

	if (handle == NULL)
		return CLIENT_REFUSED;
	if (client->side_bytes + size_class_bytes(class) > client->side_limit &&
		client->outstanding > 0)
	{
		*code = CODE_QUEUE_FULL;
		return CLIENT_FULL;
	}

	uid_text(event->uid, id);
	word = event->number << 7 | (uint64_t) (event->partition >= 0) << 6 |
		(uint64_t) class << 1 | topic->younger;
	/* librdkafka takes 0 for "now": the nearest that it can send is 1 */
	timestamp = event->timestamp == 0 ? 1 : event->timestamp;

	if (event->headers_length == 0)
		*code = rd_kafka_producev(client->kafka,
								  RD_KAFKA_V_RKT(handle),
								  RD_KAFKA_V_PARTITION(event->partition),
								  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
								  RD_KAFKA_V_KEY(event->key,
												 event->key_length),
								  RD_KAFKA_V_VALUE((void *) event->payload,
												   event->payload_length),
								  RD_KAFKA_V_TIMESTAMP(timestamp),
								  RD_KAFKA_V_HEADER(FRAME_ID_HEADER, id, sizeof(id)),
								  RD_KAFKA_V_OPAQUE((void *) (uintptr_t) word),
								  RD_KAFKA_V_END);
	else
	{
		rd_kafka_headers_t *headers = make_headers(event, id);

		*code = rd_kafka_producev(client->kafka,
								  RD_KAFKA_V_RKT(handle),
								  RD_KAFKA_V_PARTITION(event->partition),
								  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
								  RD_KAFKA_V_KEY(event->key,
												 event->key_length),
								  RD_KAFKA_V_VALUE((void *) event->payload,
												   event->payload_length),
								  RD_KAFKA_V_TIMESTAMP(timestamp),
								  RD_KAFKA_V_HEADERS(headers),
								  RD_KAFKA_V_OPAQUE((void *) (uintptr_t) word),
								  RD_KAFKA_V_END);
		if (*code != CODE_NONE)
			rd_kafka_headers_destroy(headers);
	}

	if (*code == CODE_NONE)
	{
		client->outstanding++;
		client->side_bytes += size_class_bytes(class);
		topic->outstanding[topic->younger]++;
		return CLIENT_TAKEN;
	}
	if (*code == CODE_QUEUE_FULL)
		return CLIENT_FULL;
	if (error_class_of_event(*code, event->partition >= 0) == FRAME_CLASS_TOPIC)
		return CLIENT_HELD;
	return CLIENT_REFUSED;
}

/*
 * Whether a client for events sent alone is dead, so that its reports say
 * nothing of the events.  The main client's death can be due to a refusal.
 */
static bool
died_alone(Client *client)
{
	char		text[512];
	int			code;

	code = rd_kafka_fatal_error(client->kafka, text, sizeof(text));
	return client->kind == CLIENT_ALONE && code != CODE_NONE;
}

/* One delivery report. */
static void
take_report(Client *client, const rd_kafka_message_t *message,
			const ClientListener *listener)
{
	uint64_t	word = (uint64_t) (uintptr_t) message->_private;
	Topic	   *topic = rd_kafka_topic_opaque(message->rkt);

	client->outstanding--;
	client->side_bytes -= size_class_bytes(WORD_SIZE_CLASS(word));
	topic->outstanding[WORD_GENERATION(word)]--;
	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		listener->acknowledged(listener->argument, WORD_NUMBER(word));
	else if (!error_is_purge(message->err) && !died_alone(client))
	{
		ClientRefusal refusal;

		refusal.number = WORD_NUMBER(word);
		refusal.topic = topic;
		refusal.partition = message->partition;
		refusal.partition_given = WORD_GIVEN(word);
		refusal.code = message->err;
		listener->refused(listener->argument, &refusal);
	}
}

static void
take_event(Client *client, rd_kafka_event_t *event,
		   const ClientListener *listener)
{
	switch (rd_kafka_event_type(event))
	{
		case RD_KAFKA_EVENT_DR:
			{
				const rd_kafka_message_t *message;

				while ((message = rd_kafka_event_message_next(event)) != NULL)
					take_report(client, message, listener);
				break;
			}
		case RD_KAFKA_EVENT_ERROR:
			if (rd_kafka_event_error_is_fatal(event))
			{
				char		text[512];
				int			code;

				code = rd_kafka_fatal_error(client->kafka, text, sizeof(text));
				client->fatal = true;
				listener->fatal(listener->argument, code, text);
			}
			else
				listener->error(listener->argument,
								rd_kafka_event_error(event),
								rd_kafka_event_error_string(event));
			break;
		default:
			break;
	}
}

/*
 * Tell the listener what has happened.  Returns true if there may be more:
 * then it must be called again without waiting for the wake-up, which is
 * written only when the queue was empty before.
 */
bool
client_drain(Client *client, const ClientListener *listener)
{
	int			i;

	for (i = 0; i < DRAIN_EVENTS; i++)
	{
		rd_kafka_event_t *event = rd_kafka_queue_poll(client->queue, 0);

		if (event == NULL)
			break;
		take_event(client, event, listener);
		rd_kafka_event_destroy(event);
	}
	if (!client->fatal)
	{
		char		text[512];
		int			code;

		code = rd_kafka_fatal_error(client->kafka, text, sizeof(text));
		if (code != CODE_NONE)
		{
			client->fatal = true;
			listener->fatal(listener->argument, code, text);
		}
	}
	drain_log(client, listener);
	return i == DRAIN_EVENTS;
}

/* Give up what is queued and not sent yet; what is in flight goes on. */
void
client_purge(Client *client)
{
	(void) rd_kafka_purge(client->kafka,
						  RD_KAFKA_PURGE_F_QUEUE |
						  RD_KAFKA_PURGE_F_NON_BLOCKING);
}

/* Whether the client has met a topic, so that it can be asked about it. */
bool
client_knows_topic(const Client *client, const Topic *topic)
{
	return topic->handles[client->kind] != NULL;
}

/* How many events were taken and not reported yet. */
uint64_t
client_outstanding(const Client *client)
{
	return client->outstanding;
}

/*
 * Ask any broker for nothing in particular.  Waits up to timeout milliseconds:
 * not for the main thread.  Returns 0 if one answered, else the error code.
 */
int
client_check_connection(Client *client, int timeout)
{
	const struct rd_kafka_metadata *metadata;
	int			code;

	code = rd_kafka_metadata(client->kafka, 0, NULL, &metadata, timeout);
	if (code == CODE_NONE)
		rd_kafka_metadata_destroy(metadata);
	return code;
}

/*
 * Ask a broker about a topic that the client has met.  Waits up to timeout
 * milliseconds: not for the main thread.  Returns 0 if it can take events, else
 * the error code, which is about the topic if its class says so.  *partitions
 * is how many it has, 0 if that is not known.  The client itself learns what
 * the broker says.
 */
int
client_check_topic(Client *client, Topic *topic, int timeout, int *partitions)
{
	const struct rd_kafka_metadata *metadata;
	int			code;
	int			i;
	int			j;

	*partitions = 0;
	code = rd_kafka_metadata(client->kafka, 0, topic->handles[client->kind],
							 &metadata, timeout);
	if (code != CODE_NONE)
		return code;
	for (i = 0; i < metadata->topic_cnt && code == CODE_NONE; i++)
	{
		const struct rd_kafka_metadata_topic *found = &metadata->topics[i];

		if (strcmp(found->topic, topic->name) != 0)
			continue;
		code = found->err;
		if (code == CODE_NONE)
			*partitions = found->partition_cnt;
		for (j = 0; j < found->partition_cnt && code == CODE_NONE; j++)
		{
			if (found->partitions[j].leader < 0)
				code = CODE_LEADER_NOT_AVAILABLE;
		}
	}
	rd_kafka_metadata_destroy(metadata);
	return code;
}

/* librdkafka's text for an error code. */
const char *
client_error_text(int code)
{
	return rd_kafka_err2str((rd_kafka_resp_err_t) code);
}

/* The version of the library that is running, as rd_kafka_version() has it. */
uint32_t
client_version(void)
{
	return (uint32_t) rd_kafka_version();
}

const char *
client_version_text(void)
{
	return rd_kafka_version_str();
}
