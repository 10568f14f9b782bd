/*-------------------------------------------------------------------------
 *
 * batch_source.h
 *	  Events as snapshot batches from the segments: a source.
 *
 * IDENTIFICATION
 *	  src/batch_source.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_BATCH_SOURCE_H
#define OUTBOX_BATCH_SOURCE_H

#include "source.h"

extern OutboxSource *outbox_batch_source_create(MemoryContext parent);

#endif							/* OUTBOX_BATCH_SOURCE_H */
