/*-------------------------------------------------------------------------
 *
 * repeat.c
 *	  Keeps the same text from being sent again and again.
 *
 * librdkafka tells of a broker that is away up to twenty times a second.  The
 * first of a text is let through, the next one a minute later.  Texts that
 * differ only in their numbers (times, counts, ports), or in what librdkafka
 * appends about its attempts, are the same.
 *
 * IDENTIFICATION
 *	  src/producer/repeat.c
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "repeat.h"

/* Often enough to see that it is still so, seldom enough not to fill a log. */
#define REPEAT_INTERVAL_MS	60000

static uint64_t
repeat_hash(int code, const char *text)
{
	uint64_t	hash = UINT64_C(14695981039346656037) ^ (uint32_t) code;
	bool		in_number = false;

	for (; *text != '\0' && strncmp(text, " (after ", 8) != 0; text++)
	{
		bool		digit = (*text >= '0' && *text <= '9');

		if (digit && in_number)
			continue;
		in_number = digit;
		hash = (hash ^ (digit ? '0' : (unsigned char) *text)) *
			UINT64_C(1099511628211);
	}
	return hash == 0 ? 1 : hash;
}

/*
 * Whether a text may be sent at the time now (milliseconds).  If so, *dropped
 * is the number of times that it was not since it was sent last.
 */
bool
repeat_allows(Repeat *repeat, int code, const char *text, int64_t now,
			  unsigned *dropped)
{
	uint64_t	hash = repeat_hash(code, text);
	int			oldest = 0;
	int			i;

	for (i = 0; i < REPEAT_SLOTS; i++)
	{
		if (repeat->slots[i].hash == hash)
		{
			if (now - repeat->slots[i].sent < REPEAT_INTERVAL_MS)
			{
				repeat->slots[i].dropped++;
				return false;
			}
			*dropped = repeat->slots[i].dropped;
			repeat->slots[i].sent = now;
			repeat->slots[i].dropped = 0;
			return true;
		}
		if (repeat->slots[i].hash == 0)
		{
			oldest = i;
			break;
		}
		if (repeat->slots[i].sent < repeat->slots[oldest].sent)
			oldest = i;
	}
	repeat->slots[oldest].hash = hash;
	repeat->slots[oldest].sent = now;
	repeat->slots[oldest].dropped = 0;
	*dropped = 0;
	return true;
}
