/*-------------------------------------------------------------------------
 *
 * error_class.c
 *	  What an error code of librdkafka is about.
 *
 * One table from code to class.  A code that is not in it is the client's:
 * the publisher then tries again with another producer, for ever, and nothing
 * becomes a dead letter.  So a code may be missing here, but one that is not
 * certainly the record's own fault must never be listed as such.
 *
 * IDENTIFICATION
 *	  src/producer/error_class.c
 *
 *-------------------------------------------------------------------------
 */
#include "error_class.h"

/* The class of an error code; FRAME_CLASS_NONE for 0. */
FrameClass
error_class(int code)
{
	switch (code)
	{
		case CODE_NONE:
			return FRAME_CLASS_NONE;

			/*
			 * The broker refuses what is in the record.  It refuses the whole
			 * batch with it, so only a record that was sent alone is guilty.
			 */
		case CODE_INVALID_MSG_SIZE:
		case CODE_MSG_SIZE_TOO_LARGE:
		case CODE_RECORD_LIST_TOO_LARGE:
		case CODE_INVALID_TIMESTAMP:
		case CODE_POLICY_VIOLATION:
		case CODE_INVALID_RECORD:
			return FRAME_CLASS_RECORD;

			/*
			 * The broker does not take the topic, whatever is in the record.
			 * A topic exception is an invalid name, a name that collides with
			 * that of another topic, or a topic of the broker's own.
			 */
		case CODE_TOPIC_EXCEPTION:
		case CODE_UNKNOWN_TOPIC:
		case CODE_UNKNOWN_PARTITION:
		case CODE_UNKNOWN_TOPIC_OR_PARTITION:
		case CODE_LEADER_NOT_AVAILABLE:
		case CODE_NOT_LEADER:
		case CODE_REPLICA_NOT_AVAILABLE:
		case CODE_NOT_ENOUGH_REPLICAS:
		case CODE_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
		case CODE_TOPIC_AUTHORIZATION_FAILED:
		case CODE_STORAGE_ERROR:
		case CODE_UNKNOWN_TOPIC_ID:
			return FRAME_CLASS_TOPIC;

		case CODE_TRANSPORT:
		case CODE_RESOLVE:
		case CODE_ALL_BROKERS_DOWN:
		case CODE_UNKNOWN_BROKER:
		case CODE_SSL:
		case CODE_AUTHENTICATION:
		case CODE_TIMED_OUT:
		case CODE_MSG_TIMED_OUT:
		case CODE_TIMED_OUT_QUEUE:
		case CODE_REQUEST_TIMED_OUT:
		case CODE_BROKER_NOT_AVAILABLE:
		case CODE_NETWORK_EXCEPTION:
		case CODE_UNSUPPORTED_SASL_MECHANISM:
		case CODE_ILLEGAL_SASL_STATE:
		case CODE_SECURITY_DISABLED:
		case CODE_SASL_AUTHENTICATION_FAILED:
		case CODE_REBOOTSTRAP_REQUIRED:
			return FRAME_CLASS_CONNECTION;

		case CODE_INVALID_REQUIRED_ACKS:
		case CODE_CLUSTER_AUTHORIZATION_FAILED:
		case CODE_UNSUPPORTED_VERSION:
		case CODE_UNSUPPORTED_FOR_MESSAGE_FORMAT:
		case CODE_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
		case CODE_UNSUPPORTED_COMPRESSION_TYPE:
		case CODE_UNSUPPORTED_FEATURE:
		case CODE_NOT_CONFIGURED:
			return FRAME_CLASS_CONFIGURATION;

		default:
			return FRAME_CLASS_CLIENT;
	}
}

/*
 * The class of an error that an event met.  partition_given: the event asked
 * for its partition, so that not to have it is not the topic's fault; that the
 * topic lacks it is certain only when a broker has just said so, because the
 * client can remember an older number of partitions, and says the same of a
 * topic that was deleted.
 */
FrameClass
error_class_of_event(int code, bool partition_given)
{
	if (code == CODE_UNKNOWN_PARTITION && partition_given)
		return FRAME_CLASS_RECORD;
	return error_class(code);
}

/*
 * Whether a delivery report only says that the client gave the event up after
 * an error elsewhere: it says nothing about the event.
 */
bool
error_is_purge(int code)
{
	return code == CODE_PURGE_QUEUE || code == CODE_PURGE_INFLIGHT ||
		code == CODE_FATAL;
}
