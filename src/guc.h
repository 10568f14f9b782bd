/*-------------------------------------------------------------------------
 *
 * guc.h
 *	  Settings of outbox.
 *
 * IDENTIFICATION
 *	  src/guc.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_GUC_H
#define OUTBOX_GUC_H

#include "utils/guc.h"

#include "placement.h"

/* The most that outbox.max_event_size can be set to, in kilobytes. */
#define OUTBOX_LARGEST_EVENT	65536

/* How a domain event is written; see format.h. */
typedef enum OutboxFormat
{
	OUTBOX_FORMAT_PLAIN,
	OUTBOX_FORMAT_DEBEZIUM,
	OUTBOX_FORMAT_CLOUDEVENTS_BINARY,
	OUTBOX_FORMAT_CLOUDEVENTS_STRUCTURED
} OutboxFormat;

/* Their names. */
extern const struct config_enum_entry outbox_format_options[];

extern PGDLLIMPORT char *outbox_bootstrap_servers;
extern PGDLLIMPORT char *outbox_kafka_options;
extern PGDLLIMPORT char *outbox_kafka_options_file;
extern PGDLLIMPORT bool outbox_enabled;
extern PGDLLIMPORT char *outbox_publish_on_hosts;	/* "": any host */
extern PGDLLIMPORT int outbox_retention;		/* seconds; -1: for ever */
extern PGDLLIMPORT int outbox_max_event_size;	/* kilobytes */
extern PGDLLIMPORT int outbox_spool_memory;		/* kilobytes */
extern PGDLLIMPORT int outbox_topic_timeout;	/* milliseconds */
extern PGDLLIMPORT int outbox_max_held_topics;
extern PGDLLIMPORT int outbox_dead_letter_limit;
extern PGDLLIMPORT int outbox_max_publishers;
extern PGDLLIMPORT char *outbox_producer_program;
extern PGDLLIMPORT int outbox_format;	/* an OutboxFormat */
extern PGDLLIMPORT char *outbox_topic_template;
extern PGDLLIMPORT bool outbox_debezium_tombstone;
extern PGDLLIMPORT char *outbox_cloudevents_source;
extern PGDLLIMPORT char *outbox_traceparent;	/* these three "": none */
extern PGDLLIMPORT char *outbox_tracestate;
extern PGDLLIMPORT char *outbox_trace_id;

/* outbox.debezium_placement, read. */
extern PGDLLIMPORT const OutboxPlacements *outbox_debezium_placements;

extern void outbox_guc_init(void);

#endif							/* OUTBOX_GUC_H */
