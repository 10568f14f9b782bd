/*-------------------------------------------------------------------------
 *
 * uri.h
 *	  URIs as RFC 3986 has them.
 *
 * IDENTIFICATION
 *	  src/uri.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_URI_H
#define OUTBOX_URI_H

#include "lib/stringinfo.h"

#include "utf8.h"

/* Whether bytes are a URI with a scheme, or, if relative, a URI reference; not empty. */
extern bool outbox_uri_is_valid(OutboxBytes value, bool relative);

/* Appends bytes such that they are data in any part of a URI. */
extern void outbox_uri_append(StringInfo out, OutboxBytes value);

#endif							/* OUTBOX_URI_H */
