/*-------------------------------------------------------------------------
 *
 * mark_test.c
 *	  Marks alone: what happens when there are too many.
 *
 * It takes 2.5 million events to fill the marks of a publisher, so they are
 * tested without one.  Prints lines of TAP, for 096_marks.
 *
 * IDENTIFICATION
 *	  test/lib/mark_test.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mark.h"

/* the C library's: nothing of the server is linked in */
#undef printf

/* Each mark is one of these: what it frees is told by its place. */
#define MARKS	(OUTBOX_MAX_MARKS * 20)

static OutboxSnapshot snapshot[MARKS];
static bool freed[MARKS];
static int	freed_twice = 0;
static int	tests = 0;

/* What the server has under this name. */
void
pfree(void *pointer)
{
	int			i = (OutboxSnapshot *) pointer - snapshot;

	freed_twice += freed[i];
	freed[i] = true;
}

static void
check(bool passed, const char *what)
{
	printf("%sok %d - %s\n", passed ? "" : "not ", ++tests, what);
}

int
main(void)
{
	static OutboxMarks marks;
	static bool kept[MARKS];
	bool		in_bounds = true;
	bool		newest = true;
	bool		ordered = true;
	bool		together = true;
	bool		leaked = false;
	int			i;

	for (i = 0; i < MARKS; i++)
	{
		outbox_marks_add(&marks, &snapshot[i], i);
		in_bounds &= marks.count <= OUTBOX_MAX_MARKS;
		if (!in_bounds)
			break;
		newest &= marks.end[marks.count - 1] == &snapshot[i];
	}
	check(in_bounds, "there are never more than there is room for");
	check(newest, "the newest is always there");

	for (i = 0; in_bounds && i < marks.count; i++)
	{
		kept[marks.end[i] - snapshot] = true;
		together &= marks.emitted[i] == marks.end[i] - snapshot;
		ordered &= i == 0 || marks.end[i] > marks.end[i - 1];
	}
	check(ordered, "they are in order");
	check(together, "each has its own count of events");

	for (i = 0; i < MARKS; i++)
		leaked |= kept[i] == freed[i];
	check(!leaked && freed_twice == 0, "what is dropped is freed, once, and nothing else");

	while (in_bounds && marks.count > 0)
	{
		OutboxSnapshot *first = marks.end[0];

		outbox_marks_drop_first(&marks);
		ordered &= freed[first - snapshot] && (marks.count == 0 || marks.end[0] > first);
	}
	check(ordered, "the first one is dropped first");
	return 0;
}
