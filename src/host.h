/*-------------------------------------------------------------------------
 *
 * host.h
 *	  The host: whether publishers may run on it.
 *
 * IDENTIFICATION
 *	  src/host.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_HOST_H
#define OUTBOX_HOST_H

/*
 * Whether a value of outbox.publish_on_hosts is a list of host names, or
 * empty.  If not, *item is what is wrong, of *length bytes (0: a name is
 * missing).
 */
extern bool outbox_host_list_is_valid(const char *list, const char **item, int *length);

/*
 * Whether outbox.publish_on_hosts lets publishers run on this host: it is
 * empty, or has this host's name, in whatever case.
 */
extern bool outbox_host_may_publish(void);

/* The name of this host, in storage of the callee's; "" if it has none. */
extern const char *outbox_host_name(void);

#endif							/* OUTBOX_HOST_H */
