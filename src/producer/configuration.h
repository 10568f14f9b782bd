/*-------------------------------------------------------------------------
 *
 * configuration.h
 *	  What the publisher asked for, read and checked.
 *
 * IDENTIFICATION
 *	  src/producer/configuration.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_CONFIGURATION_H
#define OUTBOX_CONFIGURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "1" lets the properties of librdkafka's mock broker through, for tests. */
#define PRODUCER_OPTION_ALLOW_TEST	"outbox.allow_test_options"

typedef struct Property
{
	char	   *name;
	char	   *value;
} Property;

typedef struct Configuration
{
	int32_t		publisher_pid;
	char	   *lock_file;		/* NULL: none */
	int64_t		max_event_size; /* bytes */
	int64_t		queue_size;		/* kilobytes */
	int64_t		stall_timeout;	/* seconds */
	bool		allow_test;
	Property   *properties;		/* for librdkafka, in order */
	int			property_count;
} Configuration;

typedef enum ConfigurationResult
{
	CONFIGURATION_ACCEPTED,
	CONFIGURATION_REFUSED,		/* error names the option */
	CONFIGURATION_MALFORMED		/* the frame itself is wrong */
} ConfigurationResult;

extern ConfigurationResult configuration_read(Configuration *configuration,
											  const char *body, size_t length,
											  char *error, size_t error_size);
extern const char *configuration_value(const Configuration *configuration,
									   const char *name);
extern void configuration_redact(const Configuration *configuration,
								 char *text, size_t text_size);

#endif							/* OUTBOX_CONFIGURATION_H */
