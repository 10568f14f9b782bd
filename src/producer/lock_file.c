/*-------------------------------------------------------------------------
 *
 * lock_file.c
 *	  The lock that makes sure that there is only one producer.
 *
 * A producer that has lost its publisher but still runs (stopped, or on its
 * way out of a slow system call) could send old events behind new ones.  So
 * every producer locks a file before it connects, holds the lock as long as it
 * lives, and writes its pid there; one that finds the file locked kills the
 * holder.  The file stays: removing it would let two hold "the" lock.
 *
 * IDENTIFICATION
 *	  src/producer/lock_file.c
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "clock.h"
#include "kafka_option.h"
#include "lock_file.h"

/* A holder that is about to end by itself gets so long. */
#define LOCK_PATIENCE_MS	1000
/* A killed one is gone as soon as the kernel has freed its memory. */
#define LOCK_KILLED_MS		5000
/* Short beside a start, long beside a system call. */
#define LOCK_RETRY_MS		10

/* What the kernel calls a process of this program (at most 15 bytes). */
#define LOCK_COMMAND		"outbox_producer"

/* The pid in the file, or 0. */
static pid_t
read_holder(int fd)
{
	char		text[32];
	ssize_t		n = pread(fd, text, sizeof(text) - 1, 0);
	int64_t		pid;

	if (n <= 0)
		return 0;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (!kafka_option_integer(text, 2, INT32_MAX, &pid))
		return 0;
	return (pid_t) pid;
}

/*
 * Whether a process is a producer.  Where the system does not tell the names
 * of processes, the lock that it holds must do.
 */
static bool
is_producer(pid_t pid)
{
	char		path[64];
	char		command[32];
	ssize_t		n;
	int			fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int) pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return access("/proc/self/comm", F_OK) != 0;
	n = read(fd, command, sizeof(command) - 1);
	close(fd);
	if (n <= 0)
		return false;
	command[n] = '\0';
	command[strcspn(command, "\n")] = '\0';
	return strcmp(command, LOCK_COMMAND) == 0;
}

/*
 * Take the lock, for as long as this process lives.  `wait` is called between
 * attempts, and may end the program.  Returns false with a reason in error.
 */
bool
lock_file_take(const char *path, void (*wait) (int milliseconds),
			   char *error, size_t error_size)
{
	int64_t		start = clock_now();
	int64_t		killed = 0;
	char		text[32];
	int			length;
	int			fd;

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
	{
		snprintf(error, error_size, "could not open lock file \"%s\": %s",
				 path, strerror(errno));
		return false;
	}

	while (flock(fd, LOCK_EX | LOCK_NB) != 0)
	{
		int64_t		now = clock_now();

		if (errno != EWOULDBLOCK && errno != EINTR)
		{
			snprintf(error, error_size, "could not lock file \"%s\": %s",
					 path, strerror(errno));
			close(fd);
			return false;
		}
		if (now - start >= LOCK_PATIENCE_MS)
		{
			/* again each time: the holder may write its pid only now */
			pid_t		holder = read_holder(fd);

			if (killed == 0)
				killed = now;
			if (holder != 0 && holder != getpid() && is_producer(holder))
				kill(holder, SIGKILL);
			if (now - killed >= LOCK_KILLED_MS)
			{
				snprintf(error, error_size,
						 "lock file \"%s\" is held by process %d, which does not end",
						 path, (int) holder);
				close(fd);
				return false;
			}
		}
		wait(LOCK_RETRY_MS);
	}

	length = snprintf(text, sizeof(text), "%d\n", (int) getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, length, 0) != length)
	{
		snprintf(error, error_size, "could not write lock file \"%s\": %s",
				 path, strerror(errno));
		close(fd);
		return false;
	}
	return true;
}
