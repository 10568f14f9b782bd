/*-------------------------------------------------------------------------
 *
 * report.h
 *	  What the producer says, read from its frames.
 *
 * IDENTIFICATION
 *	  src/report.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_REPORT_H
#define OUTBOX_REPORT_H

#include "frame.h"
#include "trouble.h"

typedef struct OutboxReport
{
	FrameType	type;
	FrameHello	hello;			/* FRAME_HELLO */

	/* FRAME_ACKNOWLEDGED: events, by outbox_report_number() */
	uint64		base;
	uint32		count;
	const char *offsets;		/* in the frame */

	/* the others */
	uint64		number;			/* of the event refused */
	const char *topic;			/* "": it is not about one */
	OutboxTrouble trouble;
	int			level;
	int			flags;
} OutboxReport;

extern void outbox_report_read(OutboxReport *report, const FrameHeader *header, const char *body);

/* The number of an acknowledged event, from 0 to count - 1. */
static inline uint64
outbox_report_number(const OutboxReport *report, uint32 i)
{
	uint32		offset;

	memcpy(&offset, report->offsets + i * sizeof(offset), sizeof(offset));
	return report->base + offset;
}

#endif							/* OUTBOX_REPORT_H */
