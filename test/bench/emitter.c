/*-------------------------------------------------------------------------
 *
 * emitter.c
 *	  One session that emits events, or inserts the same into a table.
 *
 *		emitter bulk CONNINFO STATEMENT TOPIC BYTES PER_TRANSACTION EVENTS SECONDS
 *		emitter pace CONNINFO STATEMENT TOPIC BYTES RATE EVENTS FILE
 *
 * STATEMENT takes topic, payload and key as its parameters, is prepared once,
 * and executed for each event.
 *
 * "bulk" does so as fast as it can, PER_TRANSACTION times in each transaction
 * (pipelined if more than once), until EVENTS are stored or SECONDS are over
 * (0: no limit).  Prints one JSON object: events and seconds measured, CPU
 * seconds of the session's server process, and the events stored in all: some
 * are stored before the measurement begins.
 *
 * "pace" stores RATE events per second, each in a transaction, and writes to
 * FILE for each its number and the monotonic clock in nanoseconds at which the
 * client knew that it was committed.
 *
 * IDENTIFICATION
 *	  test/bench/emitter.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdbool.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "bench.h"

/* Enough for the server to have settled on its plan and filled its caches. */
#define WARM_UP		1000

typedef struct Session
{
	PGconn	   *connection;
	const char *topic;
	char	   *payload;
	int			bytes;
	long		stored;
} Session;

static void
check(Session *session, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK &&
		status != PGRES_PIPELINE_SYNC)
		fail("%s", PQerrorMessage(session->connection));
	PQclear(result);
}

static void
prepare(Session *session, const char *name, const char *statement)
{
	check(session, PQprepare(session->connection, name, statement, 0, NULL));
}

static void
connect_session(Session *session, const char *conninfo, const char *statement,
				const char *topic, int bytes)
{
	session->connection = PQconnectdb(conninfo);
	if (PQstatus(session->connection) != CONNECTION_OK)
		fail("%s", PQerrorMessage(session->connection));
	session->topic = topic;
	session->payload = malloc(bytes + 1);
	session->bytes = bytes;
	session->stored = 0;
	prepare(session, "event", statement);
	prepare(session, "begin", "BEGIN");
	prepare(session, "commit", "COMMIT");
}

/* The parameters of the next event; key has room for KEY_SIZE bytes. */
static void
next_event(Session *session, char *key, const char **values)
{
	session->stored++;
	make_payload(session->payload, session->bytes, session->stored);
	make_key(key, session->stored);
	values[0] = session->topic;
	values[1] = session->payload;
	values[2] = key;
}

static void
store_one(Session *session)
{
	const char *values[3];
	char		key[KEY_SIZE];

	next_event(session, key, values);
	check(session, PQexecPrepared(session->connection, "event", 3, values,
								  NULL, NULL, 0));
}

static void
queue_statement(Session *session, const char *name,
				int count, const char *const *values)
{
	if (!PQsendQueryPrepared(session->connection, name, count, values,
							 NULL, NULL, 0))
		fail("%s", PQerrorMessage(session->connection));
}

/* A transaction of so many events in one round trip. */
static void
store_many(Session *session, int count)
{
	int			i;

	queue_statement(session, "begin", 0, NULL);
	for (i = 0; i < count; i++)
	{
		const char *values[3];
		char		key[KEY_SIZE];

		next_event(session, key, values);
		queue_statement(session, "event", 3, values);
	}
	queue_statement(session, "commit", 0, NULL);
	if (!PQpipelineSync(session->connection))
		fail("%s", PQerrorMessage(session->connection));
	/* each command's result is followed by a NULL; the sync's is not */
	for (i = 0; i < count + 2; i++)
	{
		check(session, PQgetResult(session->connection));
		if (PQgetResult(session->connection) != NULL)
			fail("the statement gives more than one result");
	}
	check(session, PQgetResult(session->connection));
}

/*
 * CPU seconds of a process with one thread.  The scheduler's own figure has
 * nanoseconds; where the kernel does not keep it, there are clock ticks.
 */
static double
process_cpu(int pid)
{
	char		path[64];
	FILE	   *file;
	unsigned long long nanoseconds = 0;
	unsigned long user;
	unsigned long system;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	file = fopen(path, "r");
	if (file != NULL)
	{
		if (fscanf(file, "%llu", &nanoseconds) != 1)
			nanoseconds = 0;
		fclose(file);
		if (nanoseconds > 0)
			return nanoseconds / 1e9;
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (file == NULL ||
		fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			   &user, &system) != 2)
		fail("the CPU time of the server process cannot be read from %s", path);
	fclose(file);
	return (double) (user + system) / sysconf(_SC_CLK_TCK);
}

static void
bulk(Session *session, int per_transaction, long events, double seconds)
{
	int			pid = PQbackendPID(session->connection);
	long		before;
	int64_t		begin;
	int64_t		end;
	double		cpu;
	double		elapsed;
	bool		measuring = false;

	if (per_transaction > 1 && !PQenterPipelineMode(session->connection))
		fail("%s", PQerrorMessage(session->connection));
	begin = end = before = 0;
	cpu = 0;
	for (;;)
	{
		if (!measuring && session->stored >= WARM_UP)
		{
			before = session->stored;
			cpu = process_cpu(pid);
			begin = monotonic();
			end = begin + (int64_t) (seconds * 1e9);
			measuring = true;
		}
		if (measuring &&
			(session->stored - before >= events ||
			 (seconds > 0 && monotonic() >= end)))
			break;
		if (per_transaction > 1)
			store_many(session, per_transaction);
		else
			store_one(session);
	}
	elapsed = (monotonic() - begin) / 1e9;
	cpu = process_cpu(pid) - cpu;
	printf("{\"events\": %ld, \"seconds\": %.6f, \"cpu\": %.9f, \"stored\": %ld}\n",
		   session->stored - before, elapsed, cpu, session->stored);
}

static void
pace(Session *session, double rate, long events, const char *file)
{
	int64_t    *times = malloc(events * sizeof(int64_t));
	int64_t		begin = monotonic();
	long		i;

	for (i = 0; i < events; i++)
	{
		wait_until(begin + (int64_t) (i / rate * 1e9));
		store_one(session);
		times[i] = monotonic();
	}
	puts("{}");
	write_times(file, times, events);
}

int
main(int argc, char **argv)
{
	Session		session;

	if (argc != 9)
		fail("usage: emitter bulk|pace CONNINFO STATEMENT TOPIC BYTES ...");
	check_bytes(atoi(argv[5]));
	connect_session(&session, argv[2], argv[3], argv[4], atoi(argv[5]));
	if (strcmp(argv[1], "pace") == 0)
		pace(&session, atof(argv[6]), atol(argv[7]), argv[8]);
	else
		bulk(&session, atoi(argv[6]), atol(argv[7]), atof(argv[8]));
	PQfinish(session.connection);
	return 0;
}
