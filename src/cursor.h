/*-------------------------------------------------------------------------
 *
 * cursor.h
 *	  How far events are published, as stored in outbox.cursor.
 *
 * IDENTIFICATION
 *	  src/cursor.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_CURSOR_H
#define OUTBOX_CURSOR_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "storage/itemptr.h"

#include "snapshot.h"

/*
 * One row: published is what is visible in done, and what is visible in open
 * with id <= position.
 */
typedef struct OutboxCursor
{
	ItemPointerData tid;		/* of the row's newest version */
	OutboxSnapshot *done;
	OutboxSnapshot *open;		/* NULL: none */
	int64		position;		/* valid where open is not NULL */
	bool		xids_reset;		/* transaction ids went backwards, now or once */
} OutboxCursor;

/* Cursor rows, to ask what is published. */
typedef struct OutboxScopes OutboxScopes;

extern OutboxScopes *outbox_cursor_ancestors(int64 origin, MemoryContext parent);
extern bool outbox_cursor_published(const OutboxScopes *scopes, int64 origin, uint64 xid,
									int64 id, const text *topic, const bytea *key);
extern void outbox_cursor_load(OutboxCursor *cursor, MemoryContext context);
extern void outbox_cursor_read(OutboxCursor *cursor, HeapTuple row, TupleDesc type,
							   int column, MemoryContext context);
extern void outbox_cursor_store(OutboxCursor *cursor, const OutboxSnapshot *done,
								const OutboxSnapshot *open, int64 position);
extern bool outbox_cursor_covers(const OutboxCursor *cursor, uint64 xid, int64 id);

#endif							/* OUTBOX_CURSOR_H */
