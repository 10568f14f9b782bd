/*-------------------------------------------------------------------------
 *
 * configuration.c
 *	  What the publisher asked for, read and checked.
 *
 * Takes FRAME_CONFIG apart: the producer's own options are checked here, the
 * others are kept in order for the client, without those that nobody may set.
 * Keeps secrets out of every text that leaves the producer.
 *
 * IDENTIFICATION
 *	  src/producer/configuration.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "configuration.h"
#include "frame.h"
#include "kafka_option.h"
#include "memory.h"

/* Room in a frame beside the event itself: topic, fixed part, headers' frame. */
#define LARGEST_EVENT	(64 * 1024 * 1024)

static ConfigurationResult
refuse(char *error, size_t error_size, const char *name, const char *reason)
{
	snprintf(error, error_size, "option \"%s\" %s", name, reason);
	return CONFIGURATION_REFUSED;
}

/* Take one of the producer's own options. */
static ConfigurationResult
read_own_option(Configuration *configuration, const char *name,
				const char *value, char *error, size_t error_size)
{
	int64_t		number;

	if (strcmp(name, PRODUCER_OPTION_LOCK_FILE) == 0)
	{
		free(configuration->lock_file);
		configuration->lock_file =
			value[0] == '\0' ? NULL : memory_string(value);
	}
	else if (strcmp(name, PRODUCER_OPTION_MAX_EVENT_SIZE) == 0)
	{
		if (!kafka_option_integer(value, 1, LARGEST_EVENT,
								  &configuration->max_event_size))
			return refuse(error, error_size, name,
						  "must be a number of bytes from 1 to 67108864");
	}
	else if (strcmp(name, PRODUCER_OPTION_QUEUE_SIZE) == 0)
	{
		/* 1 GB: librdkafka's own default; above it memory is the issue */
		if (!kafka_option_integer(value, 1, 1024 * 1024,
								  &configuration->queue_size))
			return refuse(error, error_size, name,
						  "must be a number of kilobytes from 1 to 1048576");
	}
	else if (strcmp(name, PRODUCER_OPTION_STALL_TIMEOUT) == 0)
	{
		if (!kafka_option_integer(value, 1, 86400,
								  &configuration->stall_timeout))
			return refuse(error, error_size, name,
						  "must be a number of seconds from 1 to 86400");
	}
	else if (strcmp(name, PRODUCER_OPTION_ALLOW_TEST) == 0)
	{
		if (!kafka_option_integer(value, 0, 1, &number))
			return refuse(error, error_size, name, "must be 0 or 1");
		configuration->allow_test = (number == 1);
	}
	else
		return refuse(error, error_size, name, "is not known");
	return CONFIGURATION_ACCEPTED;
}

/*
 * Read the body of a FRAME_CONFIG.  On any other result than
 * CONFIGURATION_ACCEPTED the reason is in error, which never holds a value.
 */
ConfigurationResult
configuration_read(Configuration *configuration,
				   const char *body, size_t length,
				   char *error, size_t error_size)
{
	const char *p;
	const char *end = body + length;
	uint32_t	version;
	int			i;

	memset(configuration, 0, sizeof(Configuration));
	configuration->max_event_size = LARGEST_EVENT;
	configuration->queue_size = 64 * 1024;
	configuration->stall_timeout = 120;

	if (length < sizeof(uint32_t) + sizeof(int32_t))
	{
		snprintf(error, error_size, "the configuration is too short");
		return CONFIGURATION_MALFORMED;
	}
	memcpy(&version, body, sizeof(uint32_t));
	if (version != FRAME_PROTOCOL_VERSION)
	{
		snprintf(error, error_size,
				 "the publisher speaks protocol version %u, this producer %u",
				 version, FRAME_PROTOCOL_VERSION);
		return CONFIGURATION_MALFORMED;
	}
	memcpy(&configuration->publisher_pid, body + sizeof(uint32_t),
		   sizeof(int32_t));
	p = body + sizeof(uint32_t) + sizeof(int32_t);
	if (p < end && end[-1] != '\0')
	{
		snprintf(error, error_size, "the configuration is not terminated");
		return CONFIGURATION_MALFORMED;
	}

	while (p < end)
	{
		const char *name = p;
		const char *value = name + strlen(name) + 1;

		if (value >= end)
		{
			snprintf(error, error_size,
					 "the configuration ends in a name without a value");
			return CONFIGURATION_MALFORMED;
		}
		p = value + strlen(value) + 1;

		if (strncmp(name, "outbox.", strlen("outbox.")) == 0)
		{
			ConfigurationResult result;

			result = read_own_option(configuration, name, value,
									 error, error_size);
			if (result != CONFIGURATION_ACCEPTED)
				return result;
		}
		else
		{
			Property   *property;
			int			count = configuration->property_count;

			configuration->properties =
				memory_resize(configuration->properties,
							  (count + 1) * sizeof(Property));
			property = &configuration->properties[count];
			property->name = memory_string(name);
			property->value = memory_string(value);
			configuration->property_count++;
		}
	}

	/*
	 * The publisher itself sets the one property that users set by another
	 * setting.
	 */
	for (i = 0; i < configuration->property_count; i++)
	{
		const char *name = configuration->properties[i].name;
		const char *reason = kafka_option_denied(name, configuration->properties[i].value);

		if (reason == NULL || strcmp(name, "bootstrap.servers") == 0 ||
			(configuration->allow_test && kafka_option_is_test(name)))
			continue;
		snprintf(error, error_size,
				 "property \"%s\" cannot be set, because %s", name, reason);
		return CONFIGURATION_REFUSED;
	}
	if (configuration_value(configuration, "bootstrap.servers") == NULL &&
		!configuration->allow_test)
	{
		/* librdkafka would wait for ever */
		snprintf(error, error_size,
				 "property \"bootstrap.servers\" is not set");
		return CONFIGURATION_REFUSED;
	}
	return CONFIGURATION_ACCEPTED;
}

/* The value last given for a property, or NULL. */
const char *
configuration_value(const Configuration *configuration, const char *name)
{
	int			i;

	for (i = configuration->property_count - 1; i >= 0; i--)
	{
		if (strcmp(configuration->properties[i].name, name) == 0)
			return configuration->properties[i].value;
	}
	return NULL;
}

/*
 * Replace every secret value in a text by "***", in place.  The text may get
 * longer, and is cut at text_size bytes then.
 */
void
configuration_redact(const Configuration *configuration,
					 char *text, size_t text_size)
{
	static const char stars[] = "***";
	const size_t stars_length = sizeof(stars) - 1;
	int			i;

	for (i = 0; i < configuration->property_count; i++)
	{
		const Property *property = &configuration->properties[i];
		size_t		length = strlen(property->value);
		char	   *p = text;

		if (length == 0 || !kafka_option_is_secret(property->name))
			continue;
		while ((p = strstr(p, property->value)) != NULL)
		{
			size_t		offset = p - text;
			size_t		tail = strlen(p + length);

			if (offset + stars_length >= text_size)
			{
				*p = '\0';
				break;
			}
			if (offset + stars_length + tail >= text_size)
				tail = text_size - 1 - offset - stars_length;
			memmove(p + stars_length, p + length, tail);
			memcpy(p, stars, stars_length);
			p += stars_length;
			p[tail] = '\0';
		}
	}
}
