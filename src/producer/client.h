/*-------------------------------------------------------------------------
 *
 * client.h
 *	  One Kafka client.
 *
 * The only door to librdkafka for the rest of the producer: none of
 * its types appears here.
 *
 * IDENTIFICATION
 *	  src/producer/client.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_CLIENT_H
#define OUTBOX_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "configuration.h"
#include "frame.h"
#include "topic.h"

typedef struct Client Client;

/* The largest number an event can have here: the rest of the word is ours. */
#define CLIENT_MAX_NUMBER	((UINT64_C(1) << 57) - 1)

/* An event, taken apart; pointers into the frame, NULL where it has NULL. */
typedef struct ClientEvent
{
	uint64_t	number;
	int64_t		timestamp;
	uint8_t		uid[16];
	int32_t		partition;
	const char *key;
	size_t		key_length;
	const char *headers;		/* encoded, checked */
	size_t		headers_length;
	const char *payload;
	size_t		payload_length;
} ClientEvent;

typedef enum ClientVerdict
{
	CLIENT_TAKEN,
	CLIENT_FULL,				/* try again when reports have come */
	CLIENT_HELD,				/* the topic takes no events: try later */
	CLIENT_REFUSED				/* the client will never take it, or is dead */
} ClientVerdict;

/* An event that was refused. */
typedef struct ClientRefusal
{
	uint64_t	number;
	Topic	   *topic;
	int32_t		partition;		/* -1: none was chosen yet */
	bool		partition_given;	/* the event asked for that partition */
	int			code;
} ClientRefusal;

/* What client_drain() tells; each is called in the caller's thread. */
typedef struct ClientListener
{
	void		(*acknowledged) (void *argument, uint64_t number);
	void		(*refused) (void *argument, const ClientRefusal *refusal);
	void		(*error) (void *argument, int code, const char *text);
	void		(*fatal) (void *argument, int code, const char *text);
	void		(*log) (void *argument, int level, const char *text);
	void	   *argument;
} ClientListener;

extern Client *client_create(const Configuration *configuration,
							 ClientKind kind, int wake_fd,
							 FrameClass *class,
							 char *error, size_t error_size);
extern ClientVerdict client_produce(Client *client, Topic *topic,
									const ClientEvent *event, int *code);
extern bool client_drain(Client *client, const ClientListener *listener);
extern void client_purge(Client *client);
extern uint64_t client_outstanding(const Client *client);
extern bool client_knows_topic(const Client *client, const Topic *topic);
extern int	client_check_connection(Client *client, int timeout);
extern int	client_check_topic(Client *client, Topic *topic, int timeout,
							   int *partitions);

extern const char *client_error_text(int code);
extern uint32_t client_version(void);
extern const char *client_version_text(void);

#endif							/* OUTBOX_CLIENT_H */
