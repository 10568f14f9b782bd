/*-------------------------------------------------------------------------
 *
 * kafka_option.h
 *	  Option strings and rules about librdkafka's properties.
 *
 * Used by the server module, to check settings when they are set, and by the
 * producer, which has the last word.  It knows nothing of PostgreSQL and
 * nothing of librdkafka.
 *
 * IDENTIFICATION
 *	  src/kafka_option.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_KAFKA_OPTION_H
#define OUTBOX_KAFKA_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Called once for each option, in the order of the string.  Returning false
 * ends the parse; the callback has then written the reason to error.  It must
 * return: a jump out of it leaks the parser's memory.
 */
typedef bool (*KafkaOptionCallback) (const char *name, const char *value,
									 void *argument,
									 char *error, size_t error_size);

extern bool kafka_option_parse(const char *text, KafkaOptionCallback callback,
							   void *argument,
							   char *error, size_t error_size);
extern const char *kafka_option_denied(const char *name, const char *value);
extern bool kafka_option_is_secret(const char *name);
extern bool kafka_option_is_test(const char *name);
extern bool kafka_option_integer(const char *text, int64_t min, int64_t max,
								 int64_t *result);

#endif							/* OUTBOX_KAFKA_OPTION_H */
