/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Settings of outbox.
 *
 * Every setting with its unit, range, default and context.  What a database
 * may have for itself is PGC_SUSET, the widest context that both a reload and
 * ALTER DATABASE SET can change.  Values of Kafka options are checked for
 * their syntax only, since librdkafka is not in the server: the producer has
 * the last word.  No message made here holds a value that may be secret.
 *
 * IDENTIFICATION
 *	  src/guc.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "guc.h"
#include "host.h"
#include "kafka_option.h"
#include "placement.h"
#include "template.h"
#include "trace_context.h"
#include "uri.h"

/* The longest reason that an option string is refused for. */
#define REASON_LENGTH	256

char	   *outbox_bootstrap_servers = NULL;
char	   *outbox_kafka_options = NULL;
char	   *outbox_kafka_options_file = NULL;
bool		outbox_enabled = true;
char	   *outbox_publish_on_hosts = NULL;
int			outbox_retention = 86400;
int			outbox_max_event_size = 976;
int			outbox_spool_memory = 16384;
int			outbox_topic_timeout = 5000;
int			outbox_max_held_topics = 1000;
int			outbox_dead_letter_limit = 100;
int			outbox_max_publishers = 32;
char	   *outbox_producer_program = NULL;
int			outbox_format = OUTBOX_FORMAT_PLAIN;
char	   *outbox_topic_template = NULL;
static char *debezium_placement = NULL;
const OutboxPlacements *outbox_debezium_placements = NULL;
bool		outbox_debezium_tombstone = false;
char	   *outbox_cloudevents_source = NULL;
char	   *outbox_traceparent = NULL;
char	   *outbox_tracestate = NULL;
char	   *outbox_trace_id = NULL;

const struct config_enum_entry outbox_format_options[] = {
	{"plain", OUTBOX_FORMAT_PLAIN, false},
	{"debezium", OUTBOX_FORMAT_DEBEZIUM, false},
	{"cloudevents-binary", OUTBOX_FORMAT_CLOUDEVENTS_BINARY, false},
	{"cloudevents-structured", OUTBOX_FORMAT_CLOUDEVENTS_STRUCTURED, false},
	{NULL, 0, false}
};

typedef struct OptionCheck
{
	bool		refuse_secrets;
	bool		found_secret;	/* that is why it was refused */
} OptionCheck;

/* A callback of the parser: checks one option. */
static bool
check_kafka_option(const char *name, const char *value, void *argument,
				   char *error, size_t error_size)
{
	OptionCheck *check = argument;
	const char *denied = kafka_option_denied(name, value);

	if (denied != NULL && !kafka_option_is_test(name))
	{
		snprintf(error, error_size,
				 "Option \"%s\" cannot be set, because %s.", name, denied);
		return false;
	}

	if (check->refuse_secrets && kafka_option_is_secret(name))
	{
		check->found_secret = true;
		snprintf(error, error_size,
				 "Option \"%s\" is secret, and every role can read what is set for a database or a role.",
				 name);
		return false;
	}

	return true;
}

/*
 * Whether a value from this source is stored in pg_db_role_setting, or is
 * about to be.
 */
static bool
source_is_catalog(GucSource source)
{
	switch (source)
	{
		case PGC_S_GLOBAL:
		case PGC_S_DATABASE:
		case PGC_S_USER:
		case PGC_S_DATABASE_USER:
		case PGC_S_TEST:
			return true;
		default:
			return false;
	}
}

static bool
check_kafka_options(char **newval, void **extra, GucSource source)
{
	OptionCheck check = {source_is_catalog(source), false};
	char		error[REASON_LENGTH] = "";
	int			length;

	if (kafka_option_parse(*newval, check_kafka_option, &check,
						   error, sizeof(error)))
		return true;

	/* the server's own message would show the value */
	GUC_check_errmsg("invalid value for parameter \"%s\"", "outbox.kafka_options");

	/* the parser's reasons are clauses, ours are sentences */
	length = strlen(error);
	if (length > 0 && error[length - 1] == '.')
		GUC_check_errdetail("%s", error);
	else
		GUC_check_errdetail("Syntax error: %s.", error);
	if (check.found_secret)
		GUC_check_errhint("Write secrets in the file named by \"outbox.kafka_options_file\".");
	return false;
}

static bool
check_publish_on_hosts(char **newval, void **extra, GucSource source)
{
	const char *item;
	int			length;

	if (outbox_host_list_is_valid(*newval, &item, &length))
		return true;

	if (length == 0)
		GUC_check_errdetail("A host name is missing.");
	else
		GUC_check_errdetail("\"%.*s\" is not a host name.", length, item);
	GUC_check_errhint("Write names as the command \"hostname\" gives them, separated by commas.");
	return false;
}

/* The names in a template are checked here, its result where it is used. */
static bool
check_topic_template(char **newval, void **extra, GucSource source)
{
	const OutboxTemplateName name = {"aggregate_type", NULL, 0};
	const char *error = "it is empty";

	if (**newval != '\0' && outbox_template_check(*newval, &name, 1, &error))
		return true;

	GUC_check_errdetail("Syntax error: %s.", error);
	GUC_check_errhint("Write the name of a topic in which \"{aggregate_type}\" stands for the aggregate type.");
	return false;
}

static bool
check_debezium_placement(char **newval, void **extra, GucSource source)
{
	const char *error;

	*extra = outbox_placements_parse(*newval, &error);
	if (*extra == NULL && error != NULL)
	{
		GUC_check_errdetail("%s", error);
		GUC_check_errhint("Write it as Debezium's table.fields.additional.placement.");
	}
	return *extra != NULL;
}

static void
assign_debezium_placement(const char *newval, void *extra)
{
	outbox_debezium_placements = extra;
}

/* With a letter for each name: what takes their places is data in any part. */
static bool
check_cloudevents_source(char **newval, void **extra, GucSource source)
{
	const OutboxTemplateName names[] = {{"database", "x", 1}, {"aggregate_type", "x", 1}};
	const char *error = "it is no URI reference";
	StringInfoData expanded;
	bool		valid = false;

	if (outbox_template_check(*newval, names, lengthof(names), &error))
	{
		OutboxBytes value;

		initStringInfo(&expanded);
		outbox_template_expand(&expanded, *newval, names, lengthof(names));
		value.data = expanded.data;
		value.length = expanded.len;
		valid = outbox_uri_is_valid(value, true);
		pfree(expanded.data);
	}
	if (valid)
		return true;

	GUC_check_errdetail("Syntax error: %s.", error);
	GUC_check_errhint("Write a URI reference in which \"{database}\" and \"{aggregate_type}\" stand for these, and other characters are percent-encoded.");
	return false;
}

/* As it is in the encoding of the server: only ASCII is asked for. */
static OutboxBytes
setting_bytes(const char *value)
{
	OutboxBytes result;

	result.data = value;
	result.length = strlen(value);
	return result;
}

static bool
check_traceparent(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' || outbox_traceparent_is_valid(setting_bytes(*newval)))
		return true;
	GUC_check_errdetail(OUTBOX_TRACEPARENT_RULE);
	return false;
}

static bool
check_tracestate(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' || outbox_tracestate_is_valid(setting_bytes(*newval)))
		return true;
	GUC_check_errdetail(OUTBOX_TRACESTATE_RULE);
	return false;
}

static bool
check_trace_id(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' || outbox_trace_id_is_valid(setting_bytes(*newval)))
		return true;
	GUC_check_errdetail(OUTBOX_TRACE_ID_RULE);
	return false;
}

/*
 * Defines the settings.  What must be known when the server starts can be
 * defined as such only then; a library that is loaded later still knows the
 * names, so that lines in postgresql.conf raise no complaint in each session.
 */
void
outbox_guc_init(void)
{
	GucContext	at_start = process_shared_preload_libraries_in_progress ?
		PGC_POSTMASTER : PGC_SIGHUP;

	DefineCustomStringVariable("outbox.bootstrap_servers",
							   "Kafka brokers to connect to first, as host:port, separated by commas.",
							   "Nothing is published while it is empty.",
							   &outbox_bootstrap_servers,
							   "",
							   PGC_SUSET,
							   0,
							   NULL, NULL, NULL);

	DefineCustomStringVariable("outbox.kafka_options",
							   "Properties of the Kafka client, as name=value pairs separated by white space.",
							   "Values that are empty or hold white space are written in single quotes.",
							   &outbox_kafka_options,
							   "",
							   PGC_SUSET,
							   GUC_SUPERUSER_ONLY,
							   check_kafka_options, NULL, NULL);

	DefineCustomStringVariable("outbox.kafka_options_file",
							   "File with more properties of the Kafka client, in the syntax of \"outbox.kafka_options\".",
							   "A relative name is taken from the data directory.",
							   &outbox_kafka_options_file,
							   "",
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);

	DefineCustomBoolVariable("outbox.enabled",
							 "Publishes events.",
							 "Events are stored all the same while it is off.",
							 &outbox_enabled,
							 true,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomStringVariable("outbox.publish_on_hosts",
							   "Hosts that publish, by their names, separated by commas.",
							   "Empty: any. A server on another host stores events and publishes none.",
							   &outbox_publish_on_hosts,
							   "",
							   PGC_SIGHUP,
							   GUC_LIST_INPUT,
							   check_publish_on_hosts, NULL, NULL);

	DefineCustomIntVariable("outbox.retention",
							"How long published events are kept.",
							"0 removes them soon after they are published, -1 keeps them for ever.",
							&outbox_retention,
							86400,	/* one day */
							-1, INT_MAX,
							PGC_SUSET,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	/* a million bytes, Kafka's own limit for a message, less its framing */
	DefineCustomIntVariable("outbox.max_event_size",
							"Largest event that can be emitted: key, headers and payload together.",
							"Must not be larger than what the brokers accept.",
							&outbox_max_event_size,
							976,
							1, OUTBOX_LARGEST_EVENT,	/* 64 MB: see FRAME_MAX_BODY */
							PGC_SUSET,
							GUC_UNIT_KB,
							NULL, NULL, NULL);

	DefineCustomIntVariable("outbox.spool_memory",
							"Memory for the events that a publisher has in flight, before it uses a file.",
							NULL,
							&outbox_spool_memory,
							16384,
							1024, MAX_KILOBYTES,
							PGC_SUSET,
							GUC_UNIT_KB,
							NULL, NULL, NULL);

	DefineCustomIntVariable("outbox.topic_timeout",
							"How long a topic may take no events before it is held.",
							"Events of a held topic wait, while those of other topics are published.",
							&outbox_topic_timeout,
							5000,
							0, 3600000, /* an hour: then somebody has looked */
							PGC_SUSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);

	DefineCustomIntVariable("outbox.max_held_topics",
							"Largest number of topics that are held at a time.",
							"When one more takes no events, publishing stops.",
							&outbox_max_held_topics,
							1000,
							0, 1000000, /* each takes a row and some memory */
							PGC_SUSET,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("outbox.dead_letter_limit",
							"Number of dead letters in a row after which their topic is held.",
							NULL,
							&outbox_dead_letter_limit,
							100,
							1, 1000000, /* each is a transaction */
							PGC_SUSET,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("outbox.max_publishers",
							"Largest number of databases that have a publisher.",
							"Each publisher takes one of \"max_worker_processes\".",
							&outbox_max_publishers,
							32,
							1, 1024,
							at_start,
							0,
							NULL, NULL, NULL);

	DefineCustomStringVariable("outbox.producer_program",
							   "Program that publishers run to connect to Kafka, for tests.",
							   "Empty: outbox_producer in the directory of the server's own program.",
							   &outbox_producer_program,
							   "",
							   at_start,
							   GUC_NOT_IN_SAMPLE | GUC_NO_SHOW_ALL | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);

	DefineCustomEnumVariable("outbox.format",
							 "Format of domain events for which no other is set.",
							 NULL,
							 &outbox_format,
							 OUTBOX_FORMAT_PLAIN,
							 outbox_format_options,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomStringVariable("outbox.topic_template",
							   "Topic of domain events for whose aggregate type none is set.",
							   "\"{aggregate_type}\" stands for the aggregate type.",
							   &outbox_topic_template,
							   "outbox.event.{aggregate_type}",
							   PGC_USERSET,
							   0,
							   check_topic_template, NULL, NULL);

	DefineCustomStringVariable("outbox.debezium_placement",
							   "Columns that domain events in format debezium have beside key and payload.",
							   "As column:placement[:alias], separated by commas.",
							   &debezium_placement,
							   "",
							   PGC_USERSET,
							   0,
							   check_debezium_placement, assign_debezium_placement, NULL);

	DefineCustomBoolVariable("outbox.debezium_tombstone",
							 "Makes tombstones of domain events in format debezium that have an empty payload.",
							 NULL,
							 &outbox_debezium_tombstone,
							 false,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomStringVariable("outbox.cloudevents_source",
							   "Source of CloudEvents for which no other is given.",
							   "\"{database}\" and \"{aggregate_type}\" stand for these.",
							   &outbox_cloudevents_source,
							   "/{database}",
							   PGC_USERSET,
							   0,
							   check_cloudevents_source, NULL, NULL);

	DefineCustomStringVariable("outbox.traceparent",
							   "Trace that domain events of the session belong to, as W3C's traceparent.",
							   "Empty: none.",
							   &outbox_traceparent,
							   "",
							   PGC_USERSET,
							   0,
							   check_traceparent, NULL, NULL);

	DefineCustomStringVariable("outbox.tracestate",
							   "What belongs to \"outbox.traceparent\", as W3C's tracestate.",
							   "Empty: none.",
							   &outbox_tracestate,
							   "",
							   PGC_USERSET,
							   0,
							   check_tracestate, NULL, NULL);

	DefineCustomStringVariable("outbox.trace_id",
							   "Trace that domain events of the session belong to, as any text.",
							   "Empty: none.",
							   &outbox_trace_id,
							   "",
							   PGC_USERSET,
							   0,
							   check_trace_id, NULL, NULL);

	/* last: from here on an unknown name is refused */
	MarkGUCPrefixReserved("outbox");
}
