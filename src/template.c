/*-------------------------------------------------------------------------
 *
 * template.c
 *	  Strings with names in braces that are replaced.
 *
 * A brace has no other meaning, so none can be part of the result.
 *
 * IDENTIFICATION
 *	  src/template.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "template.h"

/*
 * The name that begins behind an opening brace at p, which is left behind its
 * closing brace; NULL if there is none.
 */
static const OutboxTemplateName *
find_name(const char **p, const OutboxTemplateName *names, int count)
{
	int			i;

	for (i = 0; i < count; i++)
	{
		int			length = strlen(names[i].name);

		if (strncmp(*p, names[i].name, length) == 0 && (*p)[length] == '}')
		{
			*p += length + 1;
			return &names[i];
		}
	}
	return NULL;
}

bool
outbox_template_check(const char *template, const OutboxTemplateName *names, int count,
					  const char **error)
{
	const char *p = template;

	while (*p != '\0')
	{
		char		c = *p++;

		if (c == '}')
		{
			*error = "there is a closing brace without an opening one";
			return false;
		}
		if (c == '{' && find_name(&p, names, count) == NULL)
		{
			*error = "what is in braces is not a name that is known here";
			return false;
		}
	}
	return true;
}

void
outbox_template_expand(StringInfo out, const char *template,
					   const OutboxTemplateName *names, int count)
{
	const char *p = template;

	while (*p != '\0')
	{
		const char *brace = strchr(p, '{');
		const OutboxTemplateName *name;

		if (brace == NULL)
		{
			appendStringInfoString(out, p);
			return;
		}
		appendBinaryStringInfo(out, p, brace - p);
		p = brace + 1;
		name = find_name(&p, names, count);
		Assert(name != NULL);
		appendBinaryStringInfo(out, name->value, name->length);
	}
}
