/*-------------------------------------------------------------------------
 *
 * channel.c
 *	  The producer's end of the socket: frames in, frames out.
 *
 * Nothing here blocks.  Input is read in large pieces and parsed in place; the
 * buffer grows to the one frame that does not fit, and shrinks again.  Output
 * is kept until the socket takes it; whoever sends must look at
 * channel_unwritten() and stop making more.  The channel knows frames, not
 * what they mean.
 *
 * IDENTIFICATION
 *	  src/producer/channel.c
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "memory.h"

/*
 * What one read asks for: the usual size of a socket buffer is 208 kB, so a
 * full one is taken in one call.
 */
#define CHANNEL_CHUNK	(256 * 1024)

/* The longest text sent, so that no library's text can make a large frame. */
#define CHANNEL_MAX_TEXT	2000

void
channel_init(Channel *channel, int fd)
{
	memset(channel, 0, sizeof(Channel));
	channel->fd = fd;
	channel->in_size = CHANNEL_CHUNK;
	channel->in = memory_resize(NULL, channel->in_size);
}

/*
 * The size that the frame at the start of the input will have, as far as is
 * known; 0 if not even its header is there.
 */
static size_t
channel_frame_size(const Channel *channel)
{
	FrameHeader header;

	if (channel->in_end - channel->in_start < sizeof(FrameHeader))
		return 0;
	memcpy(&header, channel->in + channel->in_start, sizeof(FrameHeader));
	return sizeof(FrameHeader) + (size_t) header.length;
}

/*
 * Read once what is there.  Returns false at end of file and on any error: the
 * publisher is gone.  Call it only when channel_next() said CHANNEL_WAIT.
 */
bool
channel_read(Channel *channel)
{
	size_t		held = channel->in_end - channel->in_start;
	size_t		size = channel_frame_size(channel);
	ssize_t		n;

	if (held > 0 && channel->in_start > 0)
		memmove(channel->in, channel->in + channel->in_start, held);
	channel->in_start = 0;
	channel->in_end = held;

	if (size < CHANNEL_CHUNK)
		size = CHANNEL_CHUNK;
	if (size > channel->in_size ||
		(size == CHANNEL_CHUNK && channel->in_size > size && held <= size))
	{
		channel->in = memory_resize(channel->in, size);
		channel->in_size = size;
	}

	n = read(channel->fd, channel->in + held, channel->in_size - held);
	if (n == 0)
		return false;
	if (n < 0)
		return errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK;
	channel->in_end += n;
	return true;
}

/*
 * Look at the next frame.  On CHANNEL_FRAME *header is filled and *body points
 * to header->length bytes, not aligned, that are valid until channel_consume().
 */
ChannelNext
channel_next(Channel *channel, FrameHeader *header, const char **body)
{
	size_t		held = channel->in_end - channel->in_start;

	if (held < sizeof(FrameHeader))
		return CHANNEL_WAIT;
	memcpy(header, channel->in + channel->in_start, sizeof(FrameHeader));
	if (header->length > FRAME_MAX_BODY ||
		header->unused[0] != 0 || header->unused[1] != 0 ||
		header->unused[2] != 0)
		return CHANNEL_BAD;
	if (held - sizeof(FrameHeader) < header->length)
		return CHANNEL_WAIT;
	*body = channel->in + channel->in_start + sizeof(FrameHeader);
	return CHANNEL_FRAME;
}

/* The frame that channel_next() gave is done with. */
void
channel_consume(Channel *channel, const FrameHeader *header)
{
	channel->in_start += sizeof(FrameHeader) + header->length;
}

static void
channel_append(Channel *channel, const void *data, size_t length)
{
	if (length == 0)
		return;
	if (channel->out_size - channel->out_end < length)
	{
		size_t		held = channel->out_end - channel->out_start;

		if (held > 0 && channel->out_start > 0)
			memmove(channel->out, channel->out + channel->out_start, held);
		channel->out_start = 0;
		channel->out_end = held;
		if (channel->out_size - held < length)
		{
			channel->out_size = (held + length) * 2;
			channel->out = memory_resize(channel->out, channel->out_size);
		}
	}
	memcpy(channel->out + channel->out_end, data, length);
	channel->out_end += length;
}

/* Add a frame to the output.  Either part may be NULL with length 0. */
void
channel_send(Channel *channel, FrameType type,
			 const void *fixed, size_t fixed_length,
			 const void *rest, size_t rest_length)
{
	FrameHeader header;

	memset(&header, 0, sizeof(FrameHeader));
	header.length = (uint32_t) (fixed_length + rest_length);
	header.type = (uint8_t) type;
	channel_append(channel, &header, sizeof(FrameHeader));
	channel_append(channel, fixed, fixed_length);
	channel_append(channel, rest, rest_length);
}

/*
 * The length of the valid UTF-8 sequence at p, of which at most `left` bytes
 * are there; 0 if there is none.
 */
static size_t
utf8_length(const unsigned char *p, size_t left)
{
	size_t		length;
	size_t		i;
	uint32_t	point;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		length = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		length = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (left < length)
		return 0;
	point = p[0] & (0xff >> (length + 1));
	for (i = 1; i < length; i++)
	{
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		point = (point << 6) | (p[i] & 0x3f);
	}
	if ((length == 3 && point < 0x800) || (point >= 0xd800 && point < 0xe000) ||
		(length == 4 && (point < 0x10000 || point > 0x10ffff)))
		return 0;
	return length;
}

/*
 * Add a frame of a FrameTrouble, a topic with a NUL byte if topic is not NULL,
 * and a text, which is made valid UTF-8 in one line, and shortened.
 */
void
channel_send_trouble(Channel *channel, FrameType type,
					 const FrameTrouble *trouble,
					 const char *topic, const char *text)
{
	/* a topic name has at most 249 bytes, which the reader of events checks */
	char		rest[256 + CHANNEL_MAX_TEXT];
	size_t		length = 0;
	size_t		text_length = strlen(text);
	size_t		i = 0;
	size_t		limit;

	if (topic != NULL)
	{
		length = strlen(topic) + 1;
		memcpy(rest, topic, length);
	}
	limit = length + CHANNEL_MAX_TEXT;
	while (i < text_length)
	{
		const unsigned char *p = (const unsigned char *) text + i;
		size_t		n = utf8_length(p, text_length - i);

		if (length + (n == 0 ? 1 : n) > limit)
			break;
		if (n == 0)
		{
			rest[length++] = '?';
			n = 1;
		}
		else if (n == 1)
			rest[length++] = (*p < 0x20 || *p == 0x7f) ? ' ' : (char) *p;
		else
		{
			memcpy(rest + length, p, n);
			length += n;
		}
		i += n;
	}
	while (length > limit - CHANNEL_MAX_TEXT && rest[length - 1] == ' ')
		length--;
	channel_send(channel, type, trouble, sizeof(FrameTrouble), rest, length);
}

/*
 * Write as much of the output as the socket takes now.  Returns false if the
 * publisher is gone.
 */
bool
channel_write(Channel *channel)
{
	while (channel->out_start < channel->out_end)
	{
		ssize_t		n = send(channel->fd, channel->out + channel->out_start,
							 channel->out_end - channel->out_start,
							 MSG_NOSIGNAL);

		if (n < 0)
		{
			if (errno == EINTR)
				continue;
			return errno == EAGAIN || errno == EWOULDBLOCK;
		}
		channel->out_start += n;
	}
	channel->out_start = channel->out_end = 0;
	return true;
}

/* How many bytes of output wait for the socket. */
size_t
channel_unwritten(const Channel *channel)
{
	return channel->out_end - channel->out_start;
}
