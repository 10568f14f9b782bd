/*-------------------------------------------------------------------------
 *
 * mark.c
 *	  Snapshots kept as the ends of later batches.
 *
 * Taken while earlier batches are under way, so that a backlog is a row of
 * small batches.  Any subset of the marks gives the same guarantees: they may be
 * dropped at any time, and a batch over a wider range is as right.
 *
 * IDENTIFICATION
 *	  src/mark.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mark.h"

/* Adds a mark, which is freed when it is dropped. */
void
outbox_marks_add(OutboxMarks *marks, OutboxSnapshot *end, uint64 emitted)
{
	int			i;

	if (marks->count == OUTBOX_MAX_MARKS)
	{
		for (i = 0; i < OUTBOX_MAX_MARKS / 2; i++)
		{
			pfree(marks->end[2 * i]);
			marks->end[i] = marks->end[2 * i + 1];
			marks->emitted[i] = marks->emitted[2 * i + 1];
		}
		marks->count = OUTBOX_MAX_MARKS / 2;
	}
	marks->end[marks->count] = end;
	marks->emitted[marks->count++] = emitted;
}

void
outbox_marks_drop_first(OutboxMarks *marks)
{
	pfree(marks->end[0]);
	marks->count--;
	memmove(marks->end, marks->end + 1, sizeof(marks->end[0]) * marks->count);
	memmove(marks->emitted, marks->emitted + 1, sizeof(marks->emitted[0]) * marks->count);
}
