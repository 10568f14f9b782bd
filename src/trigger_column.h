/*-------------------------------------------------------------------------
 *
 * trigger_column.h
 *	  The columns that a trigger of outbox is about.
 *
 * IDENTIFICATION
 *	  src/trigger_column.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_TRIGGER_COLUMN_H
#define OUTBOX_TRIGGER_COLUMN_H

#include "access/attnum.h"

/* A column that a trigger names, and what for. */
typedef struct OutboxTriggerColumn
{
	char	   *role;			/* the text before it in the list */
	AttrNumber	number;			/* in the trigger's own table */
} OutboxTriggerColumn;

/*
 * Reads the columns that the WHEN of a trigger names by
 *
 *	 condition AND (true OR outbox_trigger_columns('key', NEW.id, 'columns',
 *	 NEW.a, NEW.b))
 *
 * from the text of its expression (Trigger.tgqual, pg_trigger.tgqual; NULL:
 * no WHEN).  Returns how many, in the order of the list, in *columns, which is
 * allocated in the current memory context.  ERROR,
 * invalid_object_definition, if the list has something else than texts and
 * columns.  Needs a transaction; costs microseconds, so keep the result.
 */
extern int	outbox_trigger_columns_read(const char *when, OutboxTriggerColumn **columns);

#endif							/* OUTBOX_TRIGGER_COLUMN_H */
