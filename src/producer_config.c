/*-------------------------------------------------------------------------
 *
 * producer_config.c
 *	  What a producer is told at its start, from the settings.
 *
 * Composes the body of FRAME_CONFIG.  It may hold secrets, so it goes through
 * the socket only, and is wiped when it is freed.
 *
 * IDENTIFICATION
 *	  src/producer_config.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "frame.h"
#include "guc.h"
#include "kafka_option.h"
#include "producer_config.h"

/* An options file is a few lines; a larger one is some other file. */
#define MAX_FILE_SIZE		(1024 * 1024)

/*
 * What the client may hold in its queue, in kilobytes: half a second and more
 * of the fastest drain, the bound of the producer's memory, and a little more
 * than the largest event.
 */
#define QUEUE_SIZE			(OUTBOX_LARGEST_EVENT + 4096)

static void lock_file_name(char *path, Oid database);
static char *read_options_file(const char *name, const char **error);
static bool append_options(StringInfo config, const char *options, const char *what,
						   const char **error);
static bool append_option(const char *name, const char *value, void *argument,
						  char *error, size_t error_size);
static void append_pair(StringInfo config, const char *name, const char *value);
static void wipe(char *data, Size length);

/*
 * The configuration that the settings give now, allocated in context.  NULL
 * if they give none; error then says why, without any value, in the current
 * memory context.
 */
StringInfo
outbox_producer_config(int batch_size, MemoryContext context, const char **error)
{
	MemoryContext old_context;
	StringInfo	config;
	uint32		protocol = FRAME_PROTOCOL_VERSION;
	int32		pid = MyProcPid;
	char		lock_file[MAXPGPATH];
	bool		good;

	old_context = MemoryContextSwitchTo(context);
	config = makeStringInfo();
	MemoryContextSwitchTo(old_context);

	appendBinaryStringInfo(config, (char *) &protocol, sizeof(protocol));
	appendBinaryStringInfo(config, (char *) &pid, sizeof(pid));

	lock_file_name(lock_file, MyDatabaseId);
	append_pair(config, PRODUCER_OPTION_LOCK_FILE, lock_file);

	/*
	 * Not what outbox.max_event_size says here and now: the sessions that
	 * emitted may have had a larger limit.  The broker decides.
	 */
	append_pair(config, PRODUCER_OPTION_MAX_EVENT_SIZE,
				psprintf("%d", OUTBOX_LARGEST_EVENT * 1024));
	append_pair(config, PRODUCER_OPTION_QUEUE_SIZE, psprintf("%d", QUEUE_SIZE));
	append_pair(config, "bootstrap.servers", outbox_bootstrap_servers);
	good = append_options(config, outbox_kafka_options, "outbox.kafka_options", error);
	if (good && outbox_kafka_options_file != NULL && outbox_kafka_options_file[0] != '\0')
	{
		char	   *options = read_options_file(outbox_kafka_options_file, error);

		good = options != NULL &&
			append_options(config, options, "the file of outbox.kafka_options_file", error);
		if (options != NULL)
		{
			wipe(options, strlen(options));
			pfree(options);
		}
	}

	/* last: whatever was set has turned out to be too large for a topic */
	if (batch_size > 0)
		append_pair(config, "batch.size", psprintf("%d", batch_size));

	if (!good)
	{
		outbox_producer_config_free(config);
		return NULL;
	}
	return config;
}

StringInfo
outbox_producer_config_copy(const StringInfo config, MemoryContext context)
{
	MemoryContext old_context;
	StringInfo	copy;

	if (config == NULL)
		return NULL;
	old_context = MemoryContextSwitchTo(context);
	copy = makeStringInfo();
	appendBinaryStringInfo(copy, config->data, config->len);
	MemoryContextSwitchTo(old_context);
	return copy;
}

bool
outbox_producer_config_equal(const StringInfo a, const StringInfo b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* Wipes and frees a configuration; NULL is allowed. */
void
outbox_producer_config_free(StringInfo config)
{
	if (config == NULL)
		return;
	wipe(config->data, config->maxlen);
	pfree(config->data);
	pfree(config);
}

/*
 * Removes what the producers of a database leave in the data directory.  For
 * a database that has no publisher and will have none.
 */
void
outbox_producer_config_forget(Oid database)
{
	char		lock_file[MAXPGPATH];

	lock_file_name(lock_file, database);
	(void) unlink(lock_file);
}

/*
 * One lock file per database: it keeps an orphan of an earlier publisher from
 * sending beside its successor.
 */
static void
lock_file_name(char *path, Oid database)
{
	snprintf(path, MAXPGPATH, "%s/outbox_producer.%u.lock", DataDir, database);
}

static char *
read_options_file(const char *name, const char **error)
{
	FILE	   *file = AllocateFile(name, "r");
	struct stat info;
	char	   *options;
	size_t		length;

	if (file == NULL)
	{
		*error = psprintf("could not open the file of outbox.kafka_options_file: %m");
		return NULL;
	}
	if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode) ||
		info.st_size > MAX_FILE_SIZE)
	{
		FreeFile(file);
		*error = "the file of outbox.kafka_options_file is not a regular file of at most 1 MB";
		return NULL;
	}
	options = palloc(info.st_size + 1);
	length = fread(options, 1, info.st_size, file);
	options[length] = '\0';
	FreeFile(file);
	return options;
}

static bool
append_options(StringInfo config, const char *options, const char *what, const char **error)
{
	char		reason[256];

	if (kafka_option_parse(options, append_option, config, reason, sizeof(reason)))
		return true;
	*error = psprintf("%s: %s", what, reason);
	return false;
}

/*
 * Denied options were refused when the setting was set; those of a file are
 * met here first.
 */
static bool
append_option(const char *name, const char *value, void *argument,
			  char *error, size_t error_size)
{
	const char *denied = kafka_option_denied(name, value);

	if (denied != NULL && !kafka_option_is_test(name))
	{
		snprintf(error, error_size, "option \"%s\" cannot be set, because %s", name, denied);
		return false;
	}
	append_pair(argument, name, value);
	return true;
}

static void
append_pair(StringInfo config, const char *name, const char *value)
{
	appendBinaryStringInfo(config, name, strlen(name) + 1);
	appendBinaryStringInfo(config, value, strlen(value) + 1);
}

static void
wipe(char *data, Size length)
{
	volatile char *p = data;

	while (length-- > 0)
		*p++ = '\0';
}
