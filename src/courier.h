/*-------------------------------------------------------------------------
 *
 * courier.h
 *	  The producer, as its publisher sees it: a child process and a socket.
 *
 * IDENTIFICATION
 *	  src/courier.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_COURIER_H
#define OUTBOX_COURIER_H

#include "lib/stringinfo.h"
#include "port.h"

#include "frame.h"

typedef struct OutboxCourier
{
	pid_t		pid;			/* 0: reaped */
	pgsocket	socket;
	bool		ended;			/* end of file was read: no more frames */
	char	   *buffer;			/* frames received */
	Size		size;
	Size		start;			/* of what is not consumed yet */
	Size		end;
} OutboxCourier;

extern OutboxCourier *outbox_courier_start(const char *label, const StringInfo config);
extern Size outbox_courier_send(OutboxCourier *courier, const char *data, Size length);
extern bool outbox_courier_receive(OutboxCourier *courier, FrameHeader *header,
								   const char **body);
extern int	outbox_courier_kill(OutboxCourier *courier);
extern void outbox_courier_free(OutboxCourier *courier);

/* Bytes of the frame that starts at data. */
static inline Size
outbox_courier_frame_length(const char *data)
{
	FrameHeader header;

	memcpy(&header, data, sizeof(header));
	return sizeof(header) + header.length;
}

#endif							/* OUTBOX_COURIER_H */
