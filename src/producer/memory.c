/*-------------------------------------------------------------------------
 *
 * memory.c
 *	  Allocation that does not fail.
 *
 * Without memory the producer can do nothing but end; the publisher sees end
 * of file and starts another.
 *
 * IDENTIFICATION
 *	  src/producer/memory.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "memory.h"

/* realloc() that ends the program instead of returning NULL. */
void *
memory_resize(void *memory, size_t size)
{
	void	   *result = realloc(memory, size);

	if (result == NULL)
	{
		fprintf(stderr, "outbox_producer: out of memory (%zu bytes)\n", size);
		_exit(1);
	}
	return result;
}

/* Zeroed memory of that size. */
void *
memory_zeroed(size_t size)
{
	return memset(memory_resize(NULL, size), 0, size);
}

/* A copy of a NUL-terminated string. */
char *
memory_string(const char *string)
{
	size_t		size = strlen(string) + 1;

	return memcpy(memory_resize(NULL, size), string, size);
}

/* Give memory that is free back to the system, where it is not done anyway. */
void
memory_trim(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
