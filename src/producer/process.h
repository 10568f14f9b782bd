/*-------------------------------------------------------------------------
 *
 * process.h
 *	  The producer as a child process: signals, descriptors, its parent.
 *
 * IDENTIFICATION
 *	  src/producer/process.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_PROCESS_H
#define OUTBOX_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

extern void process_prepare(void);
extern bool process_make_pipe(int fds[2]);
extern bool process_set_nonblocking(int fd);
extern bool process_has_parent(pid_t parent);

#endif							/* OUTBOX_PROCESS_H */
