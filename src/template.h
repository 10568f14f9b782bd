/*-------------------------------------------------------------------------
 *
 * template.h
 *	  Strings with names in braces that are replaced.
 *
 * IDENTIFICATION
 *	  src/template.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_TEMPLATE_H
#define OUTBOX_TEMPLATE_H

#include "lib/stringinfo.h"

/* A name without its braces, and what takes its place. */
typedef struct OutboxTemplateName
{
	const char *name;
	const char *value;			/* not terminated */
	int			length;
} OutboxTemplateName;

/*
 * What is wrong with a template that may have these names, as a clause in
 * *error; true if nothing.  The values are not looked at.
 */
extern bool outbox_template_check(const char *template, const OutboxTemplateName *names,
								  int count, const char **error);

/* Appends a template that was checked with the same names. */
extern void outbox_template_expand(StringInfo out, const char *template,
								   const OutboxTemplateName *names, int count);

#endif							/* OUTBOX_TEMPLATE_H */
