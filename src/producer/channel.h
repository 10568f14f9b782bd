/*-------------------------------------------------------------------------
 *
 * channel.h
 *	  The producer's end of the socket: frames in, frames out.
 *
 * IDENTIFICATION
 *	  src/producer/channel.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_CHANNEL_H
#define OUTBOX_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "frame.h"

typedef struct Channel
{
	int			fd;				/* a non-blocking stream socket */
	char	   *in;
	size_t		in_size;
	size_t		in_start;		/* first byte not consumed */
	size_t		in_end;			/* behind the last byte read */
	char	   *out;
	size_t		out_size;
	size_t		out_start;		/* first byte not written */
	size_t		out_end;
} Channel;

typedef enum ChannelNext
{
	CHANNEL_FRAME,				/* a whole frame is there */
	CHANNEL_WAIT,				/* more must be read first */
	CHANNEL_BAD					/* what is there is no frame */
} ChannelNext;

extern void channel_init(Channel *channel, int fd);
extern bool channel_read(Channel *channel);
extern ChannelNext channel_next(Channel *channel, FrameHeader *header,
								const char **body);
extern void channel_consume(Channel *channel, const FrameHeader *header);

extern void channel_send(Channel *channel, FrameType type,
						 const void *fixed, size_t fixed_length,
						 const void *rest, size_t rest_length);
extern void channel_send_trouble(Channel *channel, FrameType type,
								 const FrameTrouble *trouble,
								 const char *topic, const char *text);
extern bool channel_write(Channel *channel);
extern size_t channel_unwritten(const Channel *channel);

#endif							/* OUTBOX_CHANNEL_H */
