/*-------------------------------------------------------------------------
 *
 * lock_file.h
 *	  The lock that makes sure that there is only one producer.
 *
 * IDENTIFICATION
 *	  src/producer/lock_file.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_LOCK_FILE_H
#define OUTBOX_LOCK_FILE_H

#include <stdbool.h>
#include <stddef.h>

extern bool lock_file_take(const char *path, void (*wait) (int milliseconds),
						   char *error, size_t error_size);

#endif							/* OUTBOX_LOCK_FILE_H */
