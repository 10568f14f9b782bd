/*-------------------------------------------------------------------------
 *
 * client_setup.c
 *	  The properties of a Kafka client.
 *
 * Puts together what the producer itself wants, what was asked for, and what
 * the kind of client demands, in this order: the last one wins.  What must not
 * be asked for at all was refused when the configuration was read.
 *
 * IDENTIFICATION
 *	  src/producer/client_setup.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "client_setup.h"
#include "kafka_option.h"

/*
 * librdkafka limits the bytes of payloads; what it needs beside them is
 * limited by number.  About half a kilobyte of it belongs to a small event.
 */
#define MESSAGES_PER_KILOBYTE	2

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

	/* no telemetry to the broker's owner unasked (from 2.5.0 on) */
	{"enable.metrics.push", "false"}
};

/* How the client for events sent alone differs, whatever was asked for. */
static const Default client_alone[] = {
	/* a refusal is about one event, and the others go on */
	{"enable.gapless.guarantee", "false"},
	{"batch.num.messages", "1"},

	/*
	 * Whoever sends an event alone wants to know whether the topic takes it:
	 * 5 s is enough for a topic just created to be known to all brokers.
	 */
	{"topic.metadata.propagation.max.ms", "5000"},
	{"linger.ms", "0"}
};

#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

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
		ClientKind kind, char *error, size_t error_size)
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
	 * With more requests in flight, a broker that has refused the first batch
	 * of a partition takes the one behind it: it knows no sequence yet that
	 * this would break.  Before 2.3.0, besides, a timed-out batch in front of
	 * another one is fatal to the idempotent producer.
	 */
	if (!set_own(conf, "max.in.flight", "1", error, error_size))
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

	for (i = 0; kind == CLIENT_ALONE && i < LENGTH_OF(client_alone); i++)
	{
		if (!set_own(conf, client_alone[i].name, client_alone[i].value,
					 error, error_size))
			return false;
	}
	return true;
}

/*
 * The properties of a client of that kind, for rd_kafka_new().  Returns NULL
 * with a text in error that names the property at fault.
 */
rd_kafka_conf_t *
client_setup(const Configuration *configuration, ClientKind kind,
			 char *error, size_t error_size)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	if (!set_all(conf, configuration, kind, error, error_size))
	{
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	return conf;
}
