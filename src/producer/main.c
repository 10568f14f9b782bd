/*-------------------------------------------------------------------------
 *
 * main.c
 *	  outbox_producer: publishes events to Apache Kafka for one publisher.
 *
 * Started by a publisher with its socket as standard input; the argument is
 * only shown by ps.  What it is told and what it tells is in frame.h.
 *
 * IDENTIFICATION
 *	  src/producer/main.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "frame.h"
#include "process.h"
#include "producer.h"

int
main(int argc, char **argv)
{
	struct stat status;

	/* the label is the name of a database, which may look like an option */
	if (fstat(FRAME_SOCKET_FD, &status) == 0 && S_ISSOCK(status.st_mode))
	{
		process_prepare();
		producer_run(FRAME_SOCKET_FD);
	}

	if (argc > 1 && strcmp(argv[1], "--version") == 0)
	{
		printf("outbox_producer %s (librdkafka %s)\n",
			   OUTBOX_VERSION, client_version_text());
		return 0;
	}
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 ||
					 strcmp(argv[1], "-?") == 0))
	{
		printf("outbox_producer publishes the events of one database to Apache Kafka.\n\n"
			   "It is started by the PostgreSQL extension \"outbox\" and speaks to it\n"
			   "over a socket; it is of no use on its own.\n\n"
			   "Usage:\n"
			   "  outbox_producer [LABEL]    LABEL is shown by ps, and means nothing\n"
			   "  outbox_producer --version\n"
			   "  outbox_producer --help\n");
		return 0;
	}

	fprintf(stderr,
			"outbox_producer: standard input is not a socket\n"
			"This program is started by the PostgreSQL extension \"outbox\".\n");
	return PRODUCER_EXIT_MISUSED;
}
