/*-------------------------------------------------------------------------
 *
 * producer_config.h
 *	  What a producer is told at its start, from the settings.
 *
 * IDENTIFICATION
 *	  src/producer_config.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_PRODUCER_CONFIG_H
#define OUTBOX_PRODUCER_CONFIG_H

#include "lib/stringinfo.h"

extern StringInfo outbox_producer_config(int batch_size, MemoryContext context,
										const char **error);
extern StringInfo outbox_producer_config_copy(const StringInfo config, MemoryContext context);
extern bool outbox_producer_config_equal(const StringInfo a, const StringInfo b);
extern void outbox_producer_config_free(StringInfo config);
extern void outbox_producer_config_forget(Oid database);

#endif							/* OUTBOX_PRODUCER_CONFIG_H */
