/*-------------------------------------------------------------------------
 *
 * courier.c
 *	  The producer, as its publisher sees it: a child process and a socket.
 *
 * The Kafka client runs in a program of its own, without shared memory, so
 * that no fault in it can touch the server (G9).  This file starts it, moves
 * frames over the socket without ever blocking, and kills and reaps it: on
 * every way out of this process, because in a container the postmaster can
 * be the process that inherits orphans, and would take the death of one for
 * the crash of a backend.
 *
 * Knows nothing of events and tables.
 *
 * IDENTIFICATION
 *	  src/courier.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "courier.h"
#include "guc.h"

/* The producer's acknowledgements come in frames of up to some 100 kB. */
#define RECEIVE_SIZE		(64 * 1024)

/*
 * What the kernel may keep in each direction.  The default, 208 kB, is less
 * than one full chunk of the spool; the kernel caps it at net.core.wmem_max.
 */
#define SOCKET_BUFFER_SIZE	(1024 * 1024)

static void find_program(char *path);
static void run_program(const char *path, const char *label, int fd, pid_t parent);
static void close_all_from(int first);
static void kill_at_exit(int code, Datum arg);

/* The producer that must not outlive this process. */
static OutboxCourier *running = NULL;

/*
 * Starts a producer.  label is for people who list processes; config is the
 * body of its FRAME_CONFIG.  The result is in the current memory context.
 * ERROR if the program cannot be started at all; if it starts and fails, its
 * last frame says why.
 */
OutboxCourier *
outbox_courier_start(const char *label, const StringInfo config)
{
	static bool registered = false;
	char		path[MAXPGPATH];
	OutboxCourier *courier;
	FrameHeader header = {0};
	int			sockets[2];
	int			size = SOCKET_BUFFER_SIZE;
	pid_t		parent = getpid();
	pid_t		pid;
	sigset_t	all;
	sigset_t	saved;

	Assert(running == NULL);

	find_program(path);
	if (!registered)
	{
		/* before the slot and the lock are free for a successor */
		before_shmem_exit(kill_at_exit, 0);
		registered = true;
	}

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) < 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create a socket pair for the producer: %m")));
	(void) fcntl(sockets[0], F_SETFD, FD_CLOEXEC);
	(void) setsockopt(sockets[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	(void) setsockopt(sockets[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (!pg_set_noblock(sockets[0]))
	{
		close(sockets[0]);
		close(sockets[1]);
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not set the producer's socket to nonblocking mode: %m")));
	}

	courier = palloc0(sizeof(OutboxCourier));
	courier->buffer = palloc(RECEIVE_SIZE);
	courier->size = RECEIVE_SIZE;
	courier->socket = sockets[0];

	/* no handler of this process may run in the child */
	fflush(NULL);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &saved);
	pid = fork();
	if (pid == 0)
		run_program(path, label, sockets[1], parent);
	sigprocmask(SIG_SETMASK, &saved, NULL);
	close(sockets[1]);
	if (pid < 0)
	{
		close(sockets[0]);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not fork the producer: %m")));
	}
	courier->pid = pid;
	running = courier;

	/* the socket is empty: its buffer takes the whole configuration */
	header.type = FRAME_CONFIG;
	header.length = config->len;
	if (outbox_courier_send(courier, (char *) &header, sizeof(header)) != sizeof(header) ||
		outbox_courier_send(courier, config->data, config->len) != config->len)
	{
		/* it is gone already: the end of its frames tells */
		courier->ended = errno == EPIPE || errno == ECONNRESET;
		if (!courier->ended)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the producer's configuration is too long")));
	}
	return courier;
}

/*
 * Sends what the socket takes now.  Returns the number of bytes, which is
 * less than length if the producer does not keep up, or is gone; the latter
 * shows in outbox_courier_receive().
 */
Size
outbox_courier_send(OutboxCourier *courier, const char *data, Size length)
{
	Size		sent = 0;

	while (sent < length)
	{
		ssize_t		n = send(courier->socket, data + sent, length - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += n;
		else if (n < 0 && errno == EINTR)
			continue;
		else
			break;
	}
	return sent;
}

/*
 * Takes the next frame that has arrived whole.  body is valid until the next
 * call.  False if there is none now; courier->ended then says whether there
 * can be another.  ERROR if what came is no frame.
 */
bool
outbox_courier_receive(OutboxCourier *courier, FrameHeader *header, const char **body)
{
	for (;;)
	{
		Size		have = courier->end - courier->start;
		Size		need = sizeof(FrameHeader);
		ssize_t		n;

		if (have >= sizeof(FrameHeader))
		{
			memcpy(header, courier->buffer + courier->start, sizeof(FrameHeader));
			if (header->length > FRAME_MAX_BODY)
				ereport(ERROR,
						(errcode(ERRCODE_PROTOCOL_VIOLATION),
						 errmsg("the producer sent a frame of %u bytes", header->length)));
			need += header->length;
			if (have >= need)
			{
				*body = courier->buffer + courier->start + sizeof(FrameHeader);
				courier->start += need;
				return true;
			}
		}
		if (courier->ended)
			return false;

		if (courier->start > 0)
		{
			memmove(courier->buffer, courier->buffer + courier->start, have);
			courier->start = 0;
			courier->end = have;
		}
		if (courier->size < need)
		{
			courier->buffer = repalloc_huge(courier->buffer, need);
			courier->size = need;
		}

		n = recv(courier->socket, courier->buffer + courier->end,
				 courier->size - courier->end, 0);
		if (n > 0)
			courier->end += n;
		else if (n < 0 && errno == EINTR)
			continue;
		else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return false;
		else
			courier->ended = true;	/* reset counts as end: it is gone */
	}
}

/*
 * Kills the producer and waits until it is dead; harmless if it is already.
 * Returns its wait status, or -1 if unknown.  Frames that it sent before can
 * still be received: its last acknowledgements, above all.
 */
int
outbox_courier_kill(OutboxCourier *courier)
{
	int			status = -1;

	if (courier->pid != 0)
	{
		kill(courier->pid, SIGKILL);
		while (waitpid(courier->pid, &status, 0) < 0)
		{
			if (errno != EINTR)
			{
				status = -1;
				break;
			}
		}
		courier->pid = 0;
	}
	if (running == courier)
		running = NULL;
	return status;
}

/* Forgets a producer that is dead, with all that it sent. */
void
outbox_courier_free(OutboxCourier *courier)
{
	(void) outbox_courier_kill(courier);
	close(courier->socket);
	pfree(courier->buffer);
	pfree(courier);
}

/*
 * Where the program is: beside the server's own, or where the hidden setting
 * says.
 */
static void
find_program(char *path)
{
	if (outbox_producer_program != NULL && outbox_producer_program[0] != '\0')
		strlcpy(path, outbox_producer_program, MAXPGPATH);
	else
	{
		strlcpy(path, my_exec_path, MAXPGPATH);
		get_parent_directory(path);
		join_path_components(path, path, "outbox_producer");
	}
	if (access(path, X_OK) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not execute program \"%s\": %m", path),
				 errhint("Install outbox completely: \"make install\" puts this program beside the server's own.")));
}

/*
 * The child between fork and exec: system calls only, as this is a copy of a
 * server process in the middle of its work.
 */
static void
run_program(const char *path, const char *label, int fd, pid_t parent)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
	char	   *argv[3];
	sigset_t	none;
	int			null;
	int			i;

	/*
	 * The postmaster and pg_cancel_backend() signal the whole process group,
	 * and mean the server's processes only.
	 */
	for (i = 0; i < lengthof(ignored); i++)
		signal(ignored[i], SIG_IGN);

#ifdef __linux__
	/* it must not outlive this process; the check closes the race */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
	if (getppid() != parent)
		_exit(1);

	null = open("/dev/null", O_RDWR);
	if (dup2(fd, FRAME_SOCKET_FD) < 0 || null < 0 || dup2(null, STDOUT_FILENO) < 0)
		_exit(1);
	close_all_from(STDERR_FILENO + 1);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	argv[0] = "outbox_producer";
	argv[1] = unconstify(char *, label);
	argv[2] = NULL;
	execv(path, argv);
	_exit(127);
}

static void
close_all_from(int first)
{
	long		limit;
	int			fd;

#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0U, 0) == 0)
		return;
#endif
	limit = sysconf(_SC_OPEN_MAX);
	for (fd = first; fd < limit; fd++)
		close(fd);
}

static void
kill_at_exit(int code, Datum arg)
{
	if (running != NULL)
		(void) outbox_courier_kill(running);
}
