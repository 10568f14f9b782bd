/*-------------------------------------------------------------------------
 *
 * outbox.c
 *	  The module: what happens when the library is loaded.
 *
 * Storing events works in any session.  Publishing needs shared memory and
 * workers, which only a library in shared_preload_libraries can ask for; a
 * library loaded later defines the settings and does no more, without error,
 * so that restores and pg_upgrade go through on any server.
 *
 * IDENTIFICATION
 *	  src/outbox.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "compat.h"
#include "guc.h"
#include "launcher.h"
#include "shmem.h"
#include "utility_hook.h"

OUTBOX_MODULE_MAGIC;

void
_PG_init(void)
{
	outbox_guc_init();

	if (!process_shared_preload_libraries_in_progress)
		return;

	outbox_shmem_init();
	outbox_utility_hook_init();

	/* pg_upgrade drops and restores databases: no worker may be in them */
	if (IsBinaryUpgrade)
		return;

	outbox_launcher_init();
}
