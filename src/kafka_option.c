/*-------------------------------------------------------------------------
 *
 * kafka_option.c
 *	  Option strings and rules about librdkafka's properties.
 *
 * Holds the parser of option strings (libpq's syntax), the list of properties
 * that users may not set, with a reason for each, and the list of those whose
 * values are secret.  No error text made here holds any part of a value: what
 * looks like a name can be the tail of an unquoted password, so a syntax error
 * is told by its place.  Nothing of PostgreSQL and nothing of librdkafka.
 *
 * IDENTIFICATION
 *	  src/kafka_option.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_option.h"

typedef struct DeniedOption
{
	const char *name;			/* ends in "*": every name that starts so */
	const char *reason;
} DeniedOption;

#define REASON_OWNED		"the producer sets it itself"
#define REASON_SIZE			"it follows from the sizes configured for the extension"
#define REASON_LIBRARY		"it loads code into the producer"
#define REASON_COMMAND		"it runs a shell command"
#define REASON_PROGRAM		"it can only be set by a program"
#define REASON_CONSUMER		"it is for consumers"
#define REASON_ORDER		"it would weaken the order or safety of events"

static const DeniedOption denied_options[] = {
	/* first-class settings */
	{"bootstrap.servers", "it is set by outbox.bootstrap_servers"},
	{"metadata.broker.list", "it is set by outbox.bootstrap_servers"},

	/* what at-least-once, in order, rests on */
	{"acks", REASON_ORDER},
	{"request.required.acks", REASON_ORDER},
	{"enable.idempotence", REASON_ORDER},
	{"enable.gapless.guarantee", REASON_ORDER},
	{"message.timeout.ms", REASON_ORDER},
	{"delivery.timeout.ms", REASON_ORDER},
	{"max.in.flight", REASON_ORDER},
	{"max.in.flight.requests.per.connection", REASON_ORDER},
	{"retries", REASON_ORDER},
	{"message.send.max.retries", REASON_ORDER},
	{"queuing.strategy", REASON_ORDER},
	{"queue.buffering.backpressure.threshold", REASON_OWNED},
	{"delivery.report.only.error", REASON_OWNED},
	{"produce.offset.report", REASON_OWNED},
	{"transactional.id", REASON_OWNED},
	{"transaction.timeout.ms", REASON_OWNED},
	{"topic.metadata.propagation.max.ms", REASON_OWNED},
	{"topic.blacklist", REASON_OWNED},

	/* memory */
	{"queue.buffering.max.kbytes", REASON_SIZE},
	{"queue.buffering.max.messages", REASON_SIZE},
	{"message.max.bytes", REASON_SIZE},

	/* the event loop */
	{"log.queue", REASON_OWNED},
	{"log_level", REASON_OWNED},
	{"log.thread.name", REASON_OWNED},
	{"enabled_events", REASON_OWNED},
	{"statistics.interval.ms", REASON_OWNED},
	{"internal.termination.signal", REASON_OWNED},
	{"enable.random.seed", REASON_OWNED},

	/* other people's code */
	{"plugin.library.paths", REASON_LIBRARY},
	{"ssl.engine.location", REASON_LIBRARY},
	{"ssl.engine.id", REASON_LIBRARY},
	{"ssl.providers", REASON_LIBRARY},
	{"sasl.kerberos.kinit.cmd", REASON_COMMAND},

	/* pointers */
	{"opaque", REASON_PROGRAM},
	{"interceptors", REASON_PROGRAM},
	{"default_topic_conf", REASON_PROGRAM},
	{"ssl_key", REASON_PROGRAM},
	{"ssl_certificate", REASON_PROGRAM},
	{"ssl_ca", REASON_PROGRAM},
	{"ssl_engine_callback_data", REASON_PROGRAM},
	{"background_event_cb", REASON_PROGRAM},
	{"error_cb", REASON_PROGRAM},
	{"throttle_cb", REASON_PROGRAM},
	{"stats_cb", REASON_PROGRAM},
	{"log_cb", REASON_PROGRAM},
	{"socket_cb", REASON_PROGRAM},
	{"connect_cb", REASON_PROGRAM},
	{"closesocket_cb", REASON_PROGRAM},
	{"open_cb", REASON_PROGRAM},
	{"resolve_cb", REASON_PROGRAM},
	{"dr_cb", REASON_PROGRAM},
	{"dr_msg_cb", REASON_PROGRAM},
	{"partitioner_cb", REASON_PROGRAM},
	{"ssl.certificate.verify_cb", REASON_PROGRAM},
	{"oauthbearer_token_refresh_cb", REASON_PROGRAM},

	/* not a producer's */
	{"group.*", REASON_CONSUMER},
	{"partition.assignment.strategy", REASON_CONSUMER},
	{"session.timeout.ms", REASON_CONSUMER},
	{"heartbeat.interval.ms", REASON_CONSUMER},

	{"test.*", "it is for librdkafka's own tests"}
};

static const char *const secret_options[] = {
	"ssl.key.location",
	"ssl.key.password",
	"ssl.key.pem",
	"ssl.ca.pem",
	"ssl.certificate.pem",
	"ssl.keystore.password",
	"sasl.username",
	"sasl.password",
	"sasl.jaas.config",
	"sasl.oauthbearer.config",
	"sasl.oauthbearer.client.secret",
	"sasl.oauthbearer.client.credentials.client.secret",
	"sasl.oauthbearer.assertion.private.key.file",
	"sasl.oauthbearer.assertion.private.key.passphrase",
	"sasl.oauthbearer.assertion.private.key.pem"
};

/* Properties of later versions are secret too where their names say so. */
static const char *const secret_words[] = {
	"secret", "password", "passphrase", ".pem", "private.key"
};

#define LENGTH_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Independent of the locale, unlike isspace(). */
static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_name_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

/*
 * Parse an option string: name=value pairs separated by white space, values
 * quoted by ' where they are empty or hold white space, backslash before a
 * quote or a backslash.  Spaces around "=" are allowed.
 *
 * Returns false with a reason in error (which never holds a part of a value)
 * at the first fault, or when the callback returns false.  Options before the
 * fault have been given to the callback.  NULL and "" hold no options.
 */
bool
kafka_option_parse(const char *text, KafkaOptionCallback callback,
				   void *argument, char *error, size_t error_size)
{
	const char *p = text;
	char	   *buffer;
	bool		ok = false;

	if (text == NULL)
		return true;

	/* A name, a value and a NUL after each never need more than this. */
	buffer = malloc(strlen(text) + 3);
	if (buffer == NULL)
	{
		snprintf(error, error_size, "out of memory");
		return false;
	}

	for (;;)
	{
		char	   *name = buffer;
		char	   *out = buffer;
		char	   *value;

		while (is_space(*p))
			p++;
		if (*p == '\0')
		{
			ok = true;
			break;
		}

		while (is_name_character(*p))
			*out++ = *p++;
		if (out == name)
		{
			snprintf(error, error_size,
					 "an option name is expected at character %d",
					 (int) (p - text) + 1);
			break;
		}
		*out++ = '\0';

		while (is_space(*p))
			p++;
		if (*p != '=')
		{
			snprintf(error, error_size, "\"=\" is expected at character %d",
					 (int) (p - text) + 1);
			break;
		}
		p++;
		while (is_space(*p))
			p++;

		value = out;
		if (*p == '\'')
		{
			const char *quote = p++;

			while (*p != '\0' && *p != '\'')
			{
				if (*p == '\\' && p[1] != '\0')
					p++;
				*out++ = *p++;
			}
			if (*p != '\'')
			{
				snprintf(error, error_size,
						 "the quote at character %d is not closed",
						 (int) (quote - text) + 1);
				break;
			}
			p++;
			if (*p != '\0' && !is_space(*p))
			{
				snprintf(error, error_size,
						 "white space is expected after the quoted value at character %d",
						 (int) (p - text) + 1);
				break;
			}
		}
		else
		{
			while (*p != '\0' && !is_space(*p))
			{
				if (*p == '\\' && p[1] != '\0')
					p++;
				*out++ = *p++;
			}
		}
		*out = '\0';

		if (!callback(name, value, argument, error, error_size))
			break;
	}

	/* The values may be secret: leave nothing behind in the heap. */
	memset(buffer, 0, strlen(text) + 3);
	free(buffer);
	return ok;
}

/*
 * Why a property may not be set by users, or not to this value: a clause that
 * ends the sentence "... cannot be set, because", or NULL if it may be set.
 * value NULL asks about the name alone.
 */
const char *
kafka_option_denied(const char *name, const char *value)
{
	size_t		i;

	if (strcmp(name, "partitioner") == 0 && value != NULL &&
		strcmp(value, "random") == 0)
		return "it would spread the events of one key over all partitions";

	for (i = 0; i < LENGTH_OF(denied_options); i++)
	{
		const char *denied = denied_options[i].name;
		size_t		length = strlen(denied);

		if (denied[length - 1] == '*' ?
			strncmp(name, denied, length - 1) == 0 :
			strcmp(name, denied) == 0)
			return denied_options[i].reason;
	}
	return NULL;
}

/* Whether the value of a property must never be shown. */
bool
kafka_option_is_secret(const char *name)
{
	size_t		i;

	for (i = 0; i < LENGTH_OF(secret_options); i++)
	{
		if (strcmp(name, secret_options[i]) == 0)
			return true;
	}
	for (i = 0; i < LENGTH_OF(secret_words); i++)
	{
		if (strstr(name, secret_words[i]) != NULL)
			return true;
	}
	return false;
}

/* Whether a denied property is one that our own tests may set. */
bool
kafka_option_is_test(const char *name)
{
	return strncmp(name, "test.mock.", strlen("test.mock.")) == 0;
}

/*
 * Read a decimal integer from min to max: digits with an optional minus and
 * nothing else.  Returns false and leaves *result alone if it is not one.
 */
bool
kafka_option_integer(const char *text, int64_t min, int64_t max,
					 int64_t *result)
{
	const char *p = text;
	bool		negative = (*p == '-');
	int64_t		value = 0;

	if (negative)
		p++;
	if (*p == '\0')
		return false;
	for (; *p != '\0'; p++)
	{
		if (*p < '0' || *p > '9')
			return false;
		/* 10^17 keeps the product and the sum far from overflow */
		if (value >= INT64_C(100000000000000000))
			return false;
		value = value * 10 + (*p - '0');
	}
	if (negative)
		value = -value;
	if (value < min || value > max)
		return false;
	*result = value;
	return true;
}
