/*-------------------------------------------------------------------------
 *
 * shutdown.c
 *	  How a publisher is asked to end.
 *
 * The first SIGTERM asks for an orderly end: acknowledgements on their way
 * are waited for, for a short while, and progress is stored, so that a
 * planned stop publishes nothing twice.  That is no use while the publisher
 * waits for a standby, or for a lock, which can last for ever; there, and at a
 * second request, the process ends at the next CHECK_FOR_INTERRUPTS().
 *
 * IDENTIFICATION
 *	  src/shutdown.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shutdown.h"

/*
 * The postmaster signals a process and then its process group, so that one
 * request can arrive as two signals, moments apart.  Another request comes
 * later than this, in ms.
 */
#define SAME_REQUEST		1000

static void handle_sigterm(SIGNAL_ARGS);
static void handle_sigint(SIGNAL_ARGS);
static void end_at_next_check(void);

static volatile sig_atomic_t at_once = false;

/* When the first request came; only the handler uses it. */
static TimestampTz requested_at = 0;

/* Installs the handlers of a publisher; signals are still blocked. */
void
outbox_shutdown_init(void)
{
	pqsignal(SIGTERM, handle_sigterm);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);

	pqsignal(SIGINT, handle_sigint);
}

bool
outbox_shutdown_requested(void)
{
	return ShutdownRequestPending;
}

/* Whether SIGTERM ends the process at its next check for interrupts. */
void
outbox_shutdown_at_once(bool value)
{
	at_once = value;
	if (at_once && ShutdownRequestPending)
		end_at_next_check();
}

static void
handle_sigterm(SIGNAL_ARGS)
{
	int			save_errno = errno;
	TimestampTz now = GetCurrentTimestamp();

	if (!ShutdownRequestPending)
		requested_at = now;
	/* MyProc: the process may be on its way out already */
	if (at_once || (MyProc != NULL && MyProc->waitLock != NULL) ||
		TimestampDifferenceExceeds(requested_at, now, SAME_REQUEST))
		end_at_next_check();
	ShutdownRequestPending = true;
	SetLatch(MyLatch);

	errno = save_errno;
}

/*
 * A cancelled wait for standbys would look like a successful one, so nobody
 * may cancel what a publisher does; but its own lock_timeout comes this way.
 */
static void
handle_sigint(SIGNAL_ARGS)
{
	int			save_errno = errno;

	if (get_timeout_indicator(LOCK_TIMEOUT, false))
	{
		InterruptPending = true;
		QueryCancelPending = true;
		SetLatch(MyLatch);
	}

	errno = save_errno;
}

static void
end_at_next_check(void)
{
	InterruptPending = true;
	ProcDiePending = true;
	SetLatch(MyLatch);
}
