/*-------------------------------------------------------------------------
 *
 * connection.h
 *	  What is known of the connection to the brokers.
 *
 * IDENTIFICATION
 *	  src/producer/connection.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_CONNECTION_H
#define OUTBOX_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "notice.h"
#include "repeat.h"

typedef enum ConnectionState
{
	CONNECTION_UNKNOWN,
	CONNECTION_UP,
	CONNECTION_DOWN
} ConnectionState;

typedef struct Connection
{
	Notices    *notices;
	ConnectionState state;
	int			code;			/* of the last error told by a client */
	char		text[512];		/* and its text; empty: none since it is up */
	int64_t		since;			/* when it came up last */
	int64_t		evidence;		/* when a broker answered last */
	bool		ask_now;		/* a client says that all brokers are down */
	Repeat		repeat;
} Connection;

extern void connection_init(Connection *connection, Notices *notices);
extern void connection_is_up(Connection *connection);
extern void connection_error(Connection *connection, int code,
							 const char *text);
extern void connection_unanswered(Connection *connection, int code);

#endif							/* OUTBOX_CONNECTION_H */
