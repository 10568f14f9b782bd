/*-------------------------------------------------------------------------
 *
 * shifted_clock.c
 *	  A library to be preloaded: the date is off by what a file says.
 *
 * The file named by SHIFTED_CLOCK holds a number of seconds as an int64_t, and
 * is mapped, so that a change is seen by the next question for the time.  Only
 * the date is shifted; the clock for intervals, and all waits, stay as they are.
 * Libraries made for this purpose keep a state of their own around waits, which
 * goes wrong in processes that are forked by a signal handler, as the
 * postmaster's are up to PostgreSQL 15.
 *
 * IDENTIFICATION
 *	  test/lib/shifted_clock.c
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift = NULL;

__attribute__((constructor)) static void
map_shift(void)
{
	const char *path = getenv("SHIFTED_CLOCK");
	int			fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void	   *mapped;

	if (fd < 0)
		return;
	mapped = mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0);
	if (mapped != MAP_FAILED)
		shift = mapped;
	close(fd);
}

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int			result = syscall(SYS_clock_gettime, clock, ts);

	if (result == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ts->tv_sec += *shift;
	return result;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *result)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (result)
		*result = ts.tv_sec;
	return ts.tv_sec;
}
