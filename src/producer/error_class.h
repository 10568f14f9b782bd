/*-------------------------------------------------------------------------
 *
 * error_class.h
 *	  What an error code of librdkafka is about.
 *
 * IDENTIFICATION
 *	  src/producer/error_class.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_ERROR_CLASS_H
#define OUTBOX_ERROR_CLASS_H

#include <stdbool.h>

#include "frame.h"

/*
 * The codes that the producer decides by.  They are part of librdkafka's
 * interface and of Kafka's protocol, so they never change; a literal can name
 * a code that the installed header does not know yet.
 */
enum
{
	CODE_TRANSPORT = -195,
	CODE_RESOLVE = -193,
	CODE_MSG_TIMED_OUT = -192,
	CODE_UNKNOWN_PARTITION = -190,
	CODE_UNKNOWN_TOPIC = -188,
	CODE_ALL_BROKERS_DOWN = -187,
	CODE_TIMED_OUT = -185,
	CODE_QUEUE_FULL = -184,
	CODE_SSL = -181,
	CODE_AUTHENTICATION = -169,
	CODE_TIMED_OUT_QUEUE = -166,
	CODE_UNSUPPORTED_FEATURE = -165,
	CODE_PURGE_QUEUE = -152,
	CODE_PURGE_INFLIGHT = -151,
	CODE_FATAL = -150,
	CODE_GAPLESS_GUARANTEE = -148,
	CODE_UNKNOWN_BROKER = -146,
	CODE_NOT_CONFIGURED = -145,
	CODE_FAIL = -196,
	CODE_NONE = 0,
	CODE_UNKNOWN_TOPIC_OR_PARTITION = 3,
	CODE_INVALID_MSG_SIZE = 4,
	CODE_LEADER_NOT_AVAILABLE = 5,
	CODE_NOT_LEADER = 6,
	CODE_REQUEST_TIMED_OUT = 7,
	CODE_BROKER_NOT_AVAILABLE = 8,
	CODE_REPLICA_NOT_AVAILABLE = 9,
	CODE_MSG_SIZE_TOO_LARGE = 10,
	CODE_NETWORK_EXCEPTION = 13,
	CODE_TOPIC_EXCEPTION = 17,
	CODE_RECORD_LIST_TOO_LARGE = 18,
	CODE_NOT_ENOUGH_REPLICAS = 19,
	CODE_NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20,
	CODE_INVALID_REQUIRED_ACKS = 21,
	CODE_TOPIC_AUTHORIZATION_FAILED = 29,
	CODE_CLUSTER_AUTHORIZATION_FAILED = 31,
	CODE_INVALID_TIMESTAMP = 32,
	CODE_UNSUPPORTED_SASL_MECHANISM = 33,
	CODE_ILLEGAL_SASL_STATE = 34,
	CODE_UNSUPPORTED_VERSION = 35,
	CODE_UNSUPPORTED_FOR_MESSAGE_FORMAT = 43,
	CODE_POLICY_VIOLATION = 44,
	CODE_TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
	CODE_SECURITY_DISABLED = 54,
	CODE_STORAGE_ERROR = 56,
	CODE_SASL_AUTHENTICATION_FAILED = 58,
	CODE_UNSUPPORTED_COMPRESSION_TYPE = 76,
	CODE_INVALID_RECORD = 87,
	CODE_UNKNOWN_TOPIC_ID = 100,
	CODE_REBOOTSTRAP_REQUIRED = 129
};

extern FrameClass error_class(int code);
extern FrameClass error_class_of_event(int code, bool partition_given);
extern bool error_is_purge(int code);

#endif							/* OUTBOX_ERROR_CLASS_H */
