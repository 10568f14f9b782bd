/*-------------------------------------------------------------------------
 *
 * process.c
 *	  The producer as a child process: signals, descriptors, its parent.
 *
 * The publisher does most of this between fork and exec as well.  It is
 * repeated here, so that the guarantee does not depend on who started the
 * program: no signal meant for the publisher's process group ends it, it holds
 * nothing of the server open, and it does not outlive its parent.
 *
 * IDENTIFICATION
 *	  src/producer/process.c
 *
 *-------------------------------------------------------------------------
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "process.h"

/* Descriptors that may be open, where the system does not list them. */
#define PROCESS_MAX_DESCRIPTORS	65536

/* Close all descriptors but the first three, and see to it that those exist. */
static void
close_descriptors(void)
{
	DIR		   *directory;
	int			fd;

	directory = opendir("/proc/self/fd");
	if (directory == NULL)
		directory = opendir("/dev/fd");
	if (directory != NULL)
	{
		struct dirent *entry;

		while ((entry = readdir(directory)) != NULL)
		{
			char	   *end;
			long		number = strtol(entry->d_name, &end, 10);

			if (*end == '\0' && end != entry->d_name && number > 2 &&
				number != dirfd(directory))
				close((int) number);
		}
		closedir(directory);
	}
	else
	{
		long		limit = sysconf(_SC_OPEN_MAX);

		if (limit < 0 || limit > PROCESS_MAX_DESCRIPTORS)
			limit = PROCESS_MAX_DESCRIPTORS;
		for (fd = 3; fd < limit; fd++)
			close(fd);
	}

	/* a socket to a broker must not become standard output */
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
		;
	if (fd > 2)
		close(fd);
}

/*
 * To be called first.  From here on the program dies with its parent, but
 * whether the parent was still there is for process_has_parent() to say.
 */
void
process_prepare(void)
{
	static const int ignored[] = {
		SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE
	};
	struct sigaction action;
	sigset_t	none;
	size_t		i;

	memset(&action, 0, sizeof(action));
	sigemptyset(&action.sa_mask);
	action.sa_handler = SIG_IGN;
	for (i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &action, NULL);
	/* an immediate shutdown signals the whole group, and shall end us */
	action.sa_handler = SIG_DFL;
	sigaction(SIGQUIT, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

#ifdef __linux__
	prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
	close_descriptors();
}

/* Make reads and writes on a descriptor return instead of waiting. */
bool
process_set_nonblocking(int fd)
{
	int			flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

/* A pipe, neither end of which blocks or is inherited. */
bool
process_make_pipe(int fds[2])
{
	int			i;

	if (pipe(fds) != 0)
		return false;
	for (i = 0; i < 2; i++)
	{
		if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) != 0 ||
			!process_set_nonblocking(fds[i]))
			return false;
	}
	return true;
}

/* Whether that process is still the parent. */
bool
process_has_parent(pid_t parent)
{
	return getppid() == parent;
}
