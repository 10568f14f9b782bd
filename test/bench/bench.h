/*-------------------------------------------------------------------------
 *
 * bench.h
 *	  What the benchmark's programs share: records, clock, pace.
 *
 * IDENTIFICATION
 *	  test/bench/bench.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How many keys there are: many per partition, and each comes back often. */
#define BENCH_KEYS		10000

/* A key is "k" and eleven digits, then NUL. */
#define KEY_SIZE		13

/* A payload begins with the event's number, in so many digits. */
#define NUMBER_DIGITS	10

/* A uuid as text, without NUL. */
#define UID_LENGTH		36

static inline void __attribute__((format(printf, 1, 2), noreturn))
fail(const char *format,...)
{
	va_list		arguments;

	fputs("error: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

/* Nanoseconds of a clock that is the same for all processes. */
static inline int64_t
monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static inline void
wait_until(int64_t time)
{
	struct timespec until;

	until.tv_sec = time / 1000000000;
	until.tv_nsec = time % 1000000000;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static inline void
check_bytes(int bytes)
{
	if (bytes < NUMBER_DIGITS || bytes > 100000)
		fail("BYTES must be from %d to 100000", NUMBER_DIGITS);
}

/* key has room for KEY_SIZE bytes. */
static inline void
make_key(char *key, long number)
{
	snprintf(key, KEY_SIZE, "k%011ld", number % BENCH_KEYS);
}

/* payload has room for bytes and the NUL. */
static inline void
make_payload(char *payload, int bytes, long number)
{
	int			i;

	memset(payload, 'x', bytes);
	payload[bytes] = '\0';
	for (i = NUMBER_DIGITS - 1; i >= 0; i--)
	{
		payload[i] = '0' + number % 10;
		number /= 10;
	}
}

/* One line for each event from 1 on: its number and its time. */
static inline void
write_times(const char *file, const int64_t *times, long count)
{
	FILE	   *out = fopen(file, "w");
	long		i;

	if (out == NULL)
		fail("could not create \"%s\": %s", file, strerror(errno));
	for (i = 0; i < count; i++)
		fprintf(out, "%ld %lld\n", i + 1, (long long) times[i]);
	if (fclose(out) != 0)
		fail("could not write \"%s\": %s", file, strerror(errno));
}

/* What write_times() wrote. */
static inline void
read_times(const char *file, int64_t *times, long count)
{
	FILE	   *in = fopen(file, "r");
	long		i;

	if (in == NULL)
		fail("could not open \"%s\": %s", file, strerror(errno));
	for (i = 0; i < count; i++)
	{
		long		number;
		long long	time;

		if (fscanf(in, "%ld %lld", &number, &time) != 2 || number != i + 1)
			fail("\"%s\" does not hold the times of %ld events", file, count);
		times[i] = time;
	}
	fclose(in);
}

#endif							/* BENCH_H */
