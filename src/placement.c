/*-------------------------------------------------------------------------
 *
 * placement.c
 *	  Where the columns of an outbox table go, as Debezium's event router is told.
 *
 * The syntax is that of its option table.fields.additional.placement.
 *
 * IDENTIFICATION
 *	  src/placement.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "frame.h"
#include "placement.h"

static const char *const column_names[] = {
	"id", "aggregatetype", "aggregateid", "type", "timestamp", "payload"
};

static const char *const place_names[] = {"header", "envelope", "partition"};

/* The place of a word in a list, or the number of them. */
static int
find_word(const char *word, const char *const *list, int count)
{
	int			i;

	for (i = 0; i < count; i++)
	{
		if (pg_strcasecmp(word, list[i]) == 0)
			return i;
	}
	return count;
}

/* Takes white space off both ends, in place. */
static char *
trim(char *word)
{
	char	   *end;

	while (*word == ' ' || *word == '\t' || *word == '\n' || *word == '\r')
		word++;
	end = word + strlen(word);
	while (end > word && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '\r'))
		*--end = '\0';
	return word;
}

/* Reads one item, which is cut up; false with a sentence if it is not one. */
static bool
parse_item(OutboxPlacement *item, char *text, const char **error)
{
	char	   *place = strchr(text, ':');
	char	   *alias = place != NULL ? strchr(place + 1, ':') : NULL;
	int			found;

	if (place == NULL || (alias != NULL && strchr(alias + 1, ':') != NULL))
	{
		*error = "An item is not of the form column:placement or column:placement:alias.";
		return false;
	}
	*place++ = '\0';
	if (alias != NULL)
		*alias++ = '\0';

	item->name = trim(text);
	item->alias = alias != NULL ? trim(alias) : item->name;
	if (item->name[0] == '\0' || item->alias[0] == '\0')
	{
		*error = "The name of a column or its alias is missing.";
		return false;
	}

	found = find_word(trim(place), place_names, lengthof(place_names));
	if (found == lengthof(place_names))
	{
		*error = "A placement is none of header, envelope and partition.";
		return false;
	}
	item->place = (OutboxPlace) found;

	/* names of columns are case-sensitive, as there */
	for (found = 0; found < lengthof(column_names); found++)
	{
		if (strcmp(item->name, column_names[found]) == 0)
			break;
	}
	item->column = (OutboxColumn) found;

	if (item->place == OUTBOX_PLACE_PARTITION && item->column != OUTBOX_COLUMN_METADATA)
	{
		*error = "A partition is an integer, which only a member of the metadata can be.";
		return false;
	}
	if (item->place == OUTBOX_PLACE_HEADER && strcmp(item->alias, FRAME_ID_HEADER) == 0)
	{
		*error = "The header \"id\" is there without being placed.";
		return false;
	}
	if (item->place == OUTBOX_PLACE_ENVELOPE && strcmp(item->alias, "payload") == 0)
	{
		*error = "The payload is in the envelope without being placed.";
		return false;
	}
	return true;
}

/* Whether two items would be the same field of the envelope. */
static bool
has_double(const OutboxPlacements *placements)
{
	int			i;
	int			j;

	for (i = 0; i < placements->count; i++)
	{
		for (j = 0; j < i; j++)
		{
			if (placements->item[i].place == OUTBOX_PLACE_ENVELOPE &&
				placements->item[j].place == OUTBOX_PLACE_ENVELOPE &&
				strcmp(placements->item[i].alias, placements->item[j].alias) == 0)
				return true;
		}
	}
	return false;
}

OutboxPlacements *
outbox_placements_parse(const char *string, const char **error)
{
	OutboxPlacements *placements;
	const char *p;
	char	   *copy;
	char	   *next;
	int			count = 1;

	for (p = string; *p != '\0'; p++)
		count += (*p == ',');

	/* the strings behind the items */
	*error = NULL;
	placements = outbox_guc_alloc(offsetof(OutboxPlacements, item) +
								  count * sizeof(OutboxPlacement) + strlen(string) + 1);
	if (placements == NULL)
		return NULL;
	placements->count = 0;
	placements->has_envelope = false;
	copy = (char *) &placements->item[count];
	strcpy(copy, string);

	if (*trim(copy) == '\0')
		return placements;
	for (; copy != NULL; copy = next)
	{
		OutboxPlacement *item = &placements->item[placements->count++];

		next = strchr(copy, ',');
		if (next != NULL)
			*next++ = '\0';
		if (!parse_item(item, copy, error))
			break;
		placements->has_envelope |= (item->place == OUTBOX_PLACE_ENVELOPE);
	}
	if (*error == NULL && has_double(placements))
		*error = "Two columns have the same name in the envelope.";
	if (*error != NULL)
	{
		outbox_guc_free(placements);
		return NULL;
	}
	return placements;
}
