/*-------------------------------------------------------------------------
 *
 * client.c
 *	  One Kafka client.
 *
 * The only file that includes librdkafka's header.  Everything that happens is
 * fetched as an event in the main thread; librdkafka's own threads run nothing
 * of ours but the making of a socket.  No call made by the main thread waits.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <fcntl.h>

#include <librdkafka/rdkafka.h>

#include "client.h"
#include "error_class.h"
#include "kafka_option.h"
#include "memory.h"

#if RD_KAFKA_VERSION < 0x020002ff
#error "librdkafka 2.0.2 or later is needed"
#endif

/*
 * librdkafka limits the bytes of payloads; what it needs beside them is
 * limited by number.  About half a kilobyte of it belongs to a small event.
 */
#define MESSAGES_PER_KILOBYTE	2

/*
 * The word that comes back with a delivery report: number, size class, and
 * generation of the topic's counter.
 *
 * librdkafka does not count keys and headers in its limit, and does not tell
 * their size in a report.  So that large ones do not fill the memory, they are
 * counted here by powers of two; those up to 256 bytes are part of the half
 * kilobyte above.
 */
#define WORD_GENERATION(word)	((int) ((word) & 1))
#define WORD_SIZE_CLASS(word)	((int) (((word) >> 1) & 31))
#define WORD_NUMBER(word)		((word) >> 6)
#define SIZE_CLASS_SHIFT		8

/* librdkafka events taken in one go, so that input gets its turn. */
#define DRAIN_EVENTS			64

struct Client
{
	rd_kafka_t *kafka;
	rd_kafka_queue_t *queue;	/* everything that happens */
	uint64_t	outstanding;	/* events produced and not reported */
	uint64_t	side_bytes;		/* keys and headers of those, roughly */
	uint64_t	side_limit;
	bool		fatal;			/* the fatal error was told */
};

typedef struct Default
{
	const char *name;
	const char *value;
} Default;

static const Default client_defaults[] = {
	{"client.id", "outbox"},
	{"enable.idempotence", "true"},
	{"acks", "all"},

	/* an event is never given up while its producer lives */
	{"message.timeout.ms", "0"},

	/* after a refused batch nothing behind it may be sent */
	{"enable.gapless.guarantee", "true"},

	/* the same partition for a key as the Java client chooses */
	{"partitioner", "murmur2_random"},

	/*
	 * Events of a missing topic wait, and the watcher tells.  librdkafka takes
	 * up to 3600000, but multiplies by 1000 in an int: 2147483 is the longest
	 * that does not turn negative, which would mean not to wait at all.
	 */
	{"topic.metadata.propagation.max.ms", "2147483"},
	{"reconnect.backoff.ms", "100"},
	{"reconnect.backoff.max.ms", "1000"},

	/* a backlog makes full batches by itself */
	{"linger.ms", "0"},
	{"socket.nagle.disable", "true"},
	{"allow.auto.create.topics", "true"},
	{"log.queue", "true"},

	/* no telemetry to the broker's owner unasked (from 2.5.0 on) */
	{"enable.metrics.push", "false"}
};

#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

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
	return fd;
}

/* Whether a text is a decimal number: digits, and perhaps a fraction. */
static bool
is_decimal(const char *text)
{
	size_t		digits = strspn(text, "0123456789");

	if (digits == 0)
		return false;
	text += digits;
	if (*text == '\0')
		return true;
	return *text == '.' && text[1] != '\0' &&
		strspn(text + 1, "0123456789") == strlen(text + 1);
}

/*
 * The value of an integer property.  Returns false if it has none, is not
 * known or is of another type.
 */
static bool
get_integer(const rd_kafka_conf_t *conf, const char *name, int64_t *result)
{
	char		value[64];
	size_t		size = sizeof(value);

	if (rd_kafka_conf_get(conf, name, value, &size) != RD_KAFKA_CONF_OK ||
		size > sizeof(value))
		return false;
	return kafka_option_integer(value, INT64_MIN, INT64_MAX, result);
}

typedef enum PropertyKind
{
	PROPERTY_TEXT,
	PROPERTY_INTEGER,
	PROPERTY_DECIMAL
} PropertyKind;

/*
 * What a property's values are.  librdkafka does not tell, but a number reads
 * back as one, and only where fractions are allowed does one survive.
 */
static PropertyKind
property_kind(const rd_kafka_conf_t *conf, const char *name)
{
	rd_kafka_conf_t *scratch;
	char		value[64] = "";
	size_t		size = sizeof(value);
	int64_t		number;

	if (!get_integer(conf, name, &number))
	{
		/* it may have been set to a fraction before */
		if (rd_kafka_conf_get(conf, name, value, &size) == RD_KAFKA_CONF_OK &&
			size <= sizeof(value) && is_decimal(value))
			return PROPERTY_DECIMAL;
		return PROPERTY_TEXT;
	}
	scratch = rd_kafka_conf_dup(conf);
	if (rd_kafka_conf_set(scratch, name, "1.5", NULL, 0) != RD_KAFKA_CONF_OK ||
		rd_kafka_conf_get(scratch, name, value, &size) != RD_KAFKA_CONF_OK)
		value[0] = '\0';
	rd_kafka_conf_destroy(scratch);
	return strncmp(value, "1.5", 3) == 0 ? PROPERTY_DECIMAL : PROPERTY_INTEGER;
}

/*
 * Set a property that was asked for.  librdkafka reads "1MB" as 1 and "010" as
 * 8, and wraps what is too large; so where the property is a number, the value
 * must be one, and an integer must be what is read back.
 */
static bool
set_property(rd_kafka_conf_t *conf, const Property *property,
			 char *error, size_t error_size)
{
	const char *name = property->name;
	PropertyKind kind = property_kind(conf, name);
	char		text[512];
	int64_t		wanted = 0;
	int64_t		after;

	if (kind == PROPERTY_INTEGER &&
		!kafka_option_integer(property->value, INT64_MIN, INT64_MAX, &wanted))
	{
		snprintf(error, error_size,
				 "property \"%s\" must be an integer without a unit", name);
		return false;
	}
	if (kind == PROPERTY_DECIMAL && !is_decimal(property->value))
	{
		snprintf(error, error_size,
				 "property \"%s\" must be a number without a unit", name);
		return false;
	}
	switch (rd_kafka_conf_set(conf, name, property->value, text, sizeof(text)))
	{
		case RD_KAFKA_CONF_OK:
			break;
		case RD_KAFKA_CONF_UNKNOWN:
			snprintf(error, error_size,
					 "property \"%s\" is not known to librdkafka %s",
					 name, rd_kafka_version_str());
			return false;
		default:
			if (kafka_option_is_secret(name))
				snprintf(error, error_size,
						 "the value of property \"%s\" is not valid", name);
			else
				snprintf(error, error_size,
						 "the value of property \"%s\" is not valid: %s",
						 name, text);
			return false;
	}
	if (kind == PROPERTY_INTEGER &&
		(!get_integer(conf, name, &after) || after != wanted))
	{
		snprintf(error, error_size,
				 "the value of property \"%s\" is out of range", name);
		return false;
	}
	return true;
}

/* Set what the producer itself wants; what an old version lacks is left out. */
static bool
set_own(rd_kafka_conf_t *conf, const char *name, const char *value,
		char *error, size_t error_size)
{
	char		text[512];

	if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) ==
		RD_KAFKA_CONF_INVALID)
	{
		snprintf(error, error_size, "property \"%s\": %s", name, text);
		return false;
	}
	return true;
}

static bool
set_own_integer(rd_kafka_conf_t *conf, const char *name, int64_t value,
				char *error, size_t error_size)
{
	char		text[32];

	snprintf(text, sizeof(text), "%lld", (long long) value);
	return set_own(conf, name, text, error, error_size);
}

static bool
set_all(rd_kafka_conf_t *conf, const Configuration *configuration,
		char *error, size_t error_size)
{
	int64_t		largest;
	int64_t		kilobytes;
	size_t		i;

	for (i = 0; i < LENGTH_OF(client_defaults); i++)
	{
		if (!set_own(conf, client_defaults[i].name, client_defaults[i].value,
					 error, error_size))
			return false;
	}

	/*
	 * Before 2.3.0 a timed-out batch in front of another one in flight is
	 * fatal to the idempotent producer.
	 */
	if (!set_own(conf, "max.in.flight",
				 rd_kafka_version() < 0x020300ff ? "1" : "5",
				 error, error_size))
		return false;

	/*
	 * Whatever was accepted as an event must pass: the broker decides.  A
	 * header takes fewer than twice its encoded bytes in the record, and 64 kB
	 * is far more than the id, the topic and the record's own fields take.
	 * The queue must hold at least one such event.
	 */
	largest = configuration->max_event_size * 2 + 65536;
	kilobytes = configuration->max_event_size / 1024 + 1;
	if (kilobytes < configuration->queue_size)
		kilobytes = configuration->queue_size;
	if (!set_own_integer(conf, "message.max.bytes", largest,
						 error, error_size) ||
		!set_own_integer(conf, "queue.buffering.max.kbytes", kilobytes,
						 error, error_size) ||
		!set_own_integer(conf, "queue.buffering.max.messages",
						 configuration->queue_size * MESSAGES_PER_KILOBYTE,
						 error, error_size))
		return false;

	/* notices and worse, or all if somebody asks for debugging */
	if (!set_own(conf, "log_level",
				 configuration_value(configuration, "debug") ? "7" : "5",
				 error, error_size))
		return false;

	for (i = 0; i < (size_t) configuration->property_count; i++)
	{
		if (!set_property(conf, &configuration->properties[i],
						  error, error_size))
			return false;
	}
	return true;
}

/*
 * Make a client, which starts to connect.  A byte is written to wake_fd (not
 * blocking) when client_drain() has something to do again.  Returns NULL with
 * a text in error that names the property at fault, if one is.
 */
Client *
client_create(const Configuration *configuration, int wake_fd,
			  char *error, size_t error_size)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *kafka;
	Client	   *client;

	if (!set_all(conf, configuration, error, error_size))
	{
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
							 RD_KAFKA_EVENT_LOG);
	/* lines from before the log queue exists would go to stderr */
	rd_kafka_conf_set_log_cb(conf, NULL);
	rd_kafka_conf_set_socket_cb(conf, make_socket);

	kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, error_size);
	if (kafka == NULL)
	{
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	rd_kafka_set_log_queue(kafka, NULL);

	client = memory_zeroed(sizeof(Client));
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

/* librdkafka's headers: the id, then those of the event, in order. */
static rd_kafka_headers_t *
make_headers(const ClientEvent *event, const char *id)
{
	/* two is what most events have */
	rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
	const char *p = event->headers;
	const char *end = p + event->headers_length;

	rd_kafka_header_add(headers, "id", 2, id, 36);
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
	/*
	 * Not by name in each call: a name not met before costs a second in
	 * versions below 2.10.1.
	 */
	if (topic->handle == NULL)
	{
		rd_kafka_topic_conf_t *conf =
			rd_kafka_default_topic_conf_dup(client->kafka);

		rd_kafka_topic_conf_set_opaque(conf, topic);
		topic->handle = rd_kafka_topic_new(client->kafka, topic->name, conf);
		if (topic->handle == NULL)
		{
			*code = rd_kafka_last_error();
			rd_kafka_topic_conf_destroy(conf);
		}
	}
	return topic->handle;
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
	word = event->number << 6 | (uint64_t) class << 1 | topic->younger;
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
								  RD_KAFKA_V_HEADER("id", id, sizeof(id)),
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
	if (error_class(*code) == FRAME_CLASS_TOPIC)
		return CLIENT_HELD;
	return CLIENT_REFUSED;
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
	else if (!error_is_purge(message->err))
		listener->refused(listener->argument, WORD_NUMBER(word), topic,
						  message->partition, message->err);
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
		case RD_KAFKA_EVENT_LOG:
			{
				const char *facility;
				const char *text;
				int			level;

				/* that gapless is called experimental is no news to anyone */
				if (rd_kafka_event_log(event, &facility, &text, &level) == 0 &&
					!(strcmp(facility, "CONFWARN") == 0 &&
					  strstr(text, "enable.gapless.guarantee") != NULL))
					listener->log(listener->argument, level, text);
				break;
			}
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
 * Ask a broker about a topic.  Waits up to timeout milliseconds: not for the
 * main thread.  Returns 0 if it can take events, else the error code, which
 * is about the topic if its class says so.
 */
int
client_check_topic(Client *client, Topic *topic, int timeout)
{
	const struct rd_kafka_metadata *metadata;
	int			code;
	int			i;
	int			j;

	code = rd_kafka_metadata(client->kafka, 0, topic->handle, &metadata,
							 timeout);
	if (code != CODE_NONE)
		return code;
	for (i = 0; i < metadata->topic_cnt && code == CODE_NONE; i++)
	{
		const struct rd_kafka_metadata_topic *found = &metadata->topics[i];

		if (strcmp(found->topic, topic->name) != 0)
			continue;
		code = found->err;
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
