/*-------------------------------------------------------------------------
 *
 * trouble.c
 *	  What the producer said is wrong, and what a person can do about it.
 *
 * IDENTIFICATION
 *	  src/trouble.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "frame.h"
#include "trouble.h"

/*
 * What a person can do about an error: by its code, where that says more than
 * its class.  Codes are those of Kafka's protocol, and librdkafka's own, which
 * are negative.
 */
const char *
outbox_trouble_hint(int class, int code)
{
	switch (code)
	{
		case -190:				/* unknown partition */
			if (class == FRAME_CLASS_RECORD)
				return "The event asks for a partition that the topic does not have; add partitions to the topic.";
			break;
		case 10:				/* message size too large */
			return "Raise max.message.bytes of the topic, or message.max.bytes of the brokers.";
		case 29:				/* topic authorization failed */
			return "Grant the Kafka user permission to write to its topics; publishing goes on by itself.";
		case 31:				/* cluster authorization failed */
			return "Grant the Kafka user IDEMPOTENT_WRITE on the cluster, which brokers before Kafka 2.8 ask for; publishing goes on by itself.";
		case 32:				/* invalid timestamp */
			return "Raise message.timestamp.after.max.ms or message.timestamp.before.max.ms of the topic.";
	}
	switch (class)
	{
		case FRAME_CLASS_RECORD:
			return "The broker or topic limits what a record may be; change the configuration of the topic.";
		case FRAME_CLASS_TOPIC:
			return "Create the topic, or grant the Kafka user write permission on it; publishing goes on by itself.";
		case FRAME_CLASS_CONNECTION:
			return "Check outbox.bootstrap_servers, outbox.kafka_options and the brokers; publishing goes on by itself.";
		case FRAME_CLASS_CONFIGURATION:
			return "Correct outbox.bootstrap_servers, outbox.kafka_options or outbox.kafka_options_file, and reload.";
		default:
			return NULL;
	}
}

/* The name of a class of errors in views and tables; NULL for none. */
const char *
outbox_trouble_class_name(int class)
{
	switch (class)
	{
		case FRAME_CLASS_RECORD:
			return "record";
		case FRAME_CLASS_TOPIC:
			return "topic";
		case FRAME_CLASS_CONNECTION:
			return "connection";
		case FRAME_CLASS_CLIENT:
			return "client";
		case FRAME_CLASS_CONFIGURATION:
			return "configuration";
		case FRAME_CLASS_SERVER:
			return "server";
		default:
			return NULL;
	}
}
