/*-------------------------------------------------------------------------
 *
 * host.c
 *	  The host: whether publishers may run on it.
 *
 * A physical clone has everything that its original has, the identity of the
 * installation included, so nothing in the database can tell the two apart;
 * the host that they run on mostly does.  Naming the hosts that publish keeps
 * a clone, or an old primary that comes back after a failover, from
 * publishing beside its original.
 *
 * IDENTIFICATION
 *	  src/host.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <unistd.h>

#include "guc.h"
#include "host.h"

/* A name of the domain name system has 253 bytes at most. */
#define MAX_HOST_NAME		255

/*
 * Takes the next name off a list: sets *item and *length, without the white
 * space around it, and returns where the rest begins, or NULL after the last.
 */
static const char *
next_item(const char *list, const char **item, int *length)
{
	const char *end = strchr(list, ',');
	const char *rest = end != NULL ? end + 1 : NULL;

	if (end == NULL)
		end = list + strlen(list);
	while (list < end && isspace((unsigned char) *list))
		list++;
	while (end > list && isspace((unsigned char) end[-1]))
		end--;
	*item = list;
	*length = end - list;
	return rest;
}

static bool
is_empty(const char *list)
{
	return list == NULL || list[strspn(list, " \t\r\n\f\v")] == '\0';
}

static bool
is_host_name(const char *item, int length)
{
	int			i;

	if (length == 0 || length > MAX_HOST_NAME)
		return false;
	for (i = 0; i < length; i++)
	{
		char		c = item[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
			!(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
			return false;
	}
	return true;
}

bool
outbox_host_list_is_valid(const char *list, const char **item, int *length)
{
	if (is_empty(list))
		return true;
	do
	{
		list = next_item(list, item, length);
		if (!is_host_name(*item, *length))
			return false;
	} while (list != NULL);
	return true;
}

bool
outbox_host_may_publish(void)
{
	const char *list = outbox_publish_on_hosts;
	const char *name;
	const char *item;
	int			length;

	if (is_empty(list))
		return true;
	name = outbox_host_name();
	do
	{
		list = next_item(list, &item, &length);
		if (length == strlen(name) && pg_strncasecmp(item, name, length) == 0)
			return true;
	} while (list != NULL);
	return false;
}

const char *
outbox_host_name(void)
{
	static char name[MAX_HOST_NAME + 1];

	if (gethostname(name, sizeof(name)) != 0)
		name[0] = '\0';
	name[MAX_HOST_NAME] = '\0';
	return name;
}
