/*-------------------------------------------------------------------------
 *
 * utility_hook.h
 *	  Utility statements that concern publishers.
 *
 * IDENTIFICATION
 *	  src/utility_hook.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_UTILITY_HOOK_H
#define OUTBOX_UTILITY_HOOK_H

extern void outbox_utility_hook_init(void);

#endif							/* OUTBOX_UTILITY_HOOK_H */
