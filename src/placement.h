/*-------------------------------------------------------------------------
 *
 * placement.h
 *	  Where the columns of an outbox table go, as Debezium's event router is told.
 *
 * IDENTIFICATION
 *	  src/placement.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_PLACEMENT_H
#define OUTBOX_PLACEMENT_H

/* The columns of Debezium's outbox table; others are members of the metadata. */
typedef enum OutboxColumn
{
	OUTBOX_COLUMN_ID,
	OUTBOX_COLUMN_AGGREGATETYPE,
	OUTBOX_COLUMN_AGGREGATEID,
	OUTBOX_COLUMN_TYPE,
	OUTBOX_COLUMN_TIMESTAMP,
	OUTBOX_COLUMN_PAYLOAD,
	OUTBOX_COLUMN_METADATA
} OutboxColumn;

typedef enum OutboxPlace
{
	OUTBOX_PLACE_HEADER,
	OUTBOX_PLACE_ENVELOPE,
	OUTBOX_PLACE_PARTITION
} OutboxPlace;

typedef struct OutboxPlacement
{
	OutboxColumn column;
	OutboxPlace place;
	const char *name;			/* of the column */
	const char *alias;			/* its name where it goes */
} OutboxPlacement;

typedef struct OutboxPlacements
{
	int			count;
	bool		has_envelope;
	OutboxPlacement item[FLEXIBLE_ARRAY_MEMBER];
} OutboxPlacements;

/*
 * Reads a list of column:placement[:alias] with commas.  The result is one
 * piece of memory, to be kept as the extra value of a setting.  Returns NULL
 * and a sentence in *error if it is not one, or NULL and NULL without memory.
 */
extern OutboxPlacements *outbox_placements_parse(const char *string, const char **error);

#endif							/* OUTBOX_PLACEMENT_H */
