/*-------------------------------------------------------------------------
 *
 * client_setup.h
 *	  The properties of a Kafka client.
 *
 * For client.c alone: the result is librdkafka's.
 *
 * IDENTIFICATION
 *	  src/producer/client_setup.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_CLIENT_SETUP_H
#define OUTBOX_CLIENT_SETUP_H

#include <stddef.h>

#include "configuration.h"
#include "topic.h"

extern struct rd_kafka_conf_s *client_setup(const Configuration *configuration,
											ClientKind kind,
											char *error, size_t error_size);

#endif							/* OUTBOX_CLIENT_SETUP_H */
