/*-------------------------------------------------------------------------
 *
 * connection.c
 *	  What is known of the connection to the brokers.
 *
 * librdkafka tells when a broker cannot be reached, but not when one can, and
 * the loss of one broker of several, or of an idle connection that the broker
 * closed, is no outage.  So errors are put together here with the answers of
 * brokers; the publisher is told what changed, and of a lasting outage now and
 * then.
 *
 * IDENTIFICATION
 *	  src/producer/connection.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "clock.h"
#include "connection.h"
#include "error_class.h"

void
connection_init(Connection *connection, Notices *notices)
{
	memset(connection, 0, sizeof(Connection));
	connection->notices = notices;
}

/* A broker has answered. */
void
connection_is_up(Connection *connection)
{
	connection->evidence = clock_now();
	connection->text[0] = '\0';
	connection->code = CODE_NONE;
	if (connection->state == CONNECTION_UP)
		return;
	connection->state = CONNECTION_UP;
	connection->since = connection->evidence;
	notice_connection(connection->notices, CODE_NONE, "");
}

static void
connection_is_down(Connection *connection, int code, const char *text)
{
	unsigned	dropped;
	bool		changed = (connection->state != CONNECTION_DOWN);

	connection->state = CONNECTION_DOWN;
	if (repeat_allows(&connection->repeat, code, text, clock_now(), &dropped) ||
		changed)
		notice_connection(connection->notices, code, text);
}

/* A client tells an error of the class FRAME_CLASS_CONNECTION. */
void
connection_error(Connection *connection, int code, const char *text)
{
	/* which broker and why says more than that all of them are down */
	if (code != CODE_ALL_BROKERS_DOWN || connection->text[0] == '\0')
	{
		connection->code = code;
		snprintf(connection->text, sizeof(connection->text), "%s", text);
	}

	/* while the connection is up, ask before saying otherwise */
	if (connection->state != CONNECTION_UP)
		connection_is_down(connection, connection->code, connection->text);
	else if (code == CODE_ALL_BROKERS_DOWN)
		connection->ask_now = true;
}

/* No broker has answered a question; the code says why. */
void
connection_unanswered(Connection *connection, int code)
{
	if (connection->text[0] != '\0')
		connection_is_down(connection, connection->code, connection->text);
	else
		connection_is_down(connection, code, client_error_text(code));
}
