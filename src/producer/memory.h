/*-------------------------------------------------------------------------
 *
 * memory.h
 *	  Allocation that does not fail.
 *
 * IDENTIFICATION
 *	  src/producer/memory.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_MEMORY_H
#define OUTBOX_MEMORY_H

#include <stddef.h>

extern void *memory_resize(void *memory, size_t size);
extern void *memory_zeroed(size_t size);
extern char *memory_string(const char *string);
extern void memory_trim(void);

#endif							/* OUTBOX_MEMORY_H */
