/*-------------------------------------------------------------------------
 *
 * notice.h
 *	  What the publisher is told.
 *
 * IDENTIFICATION
 *	  src/producer/notice.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_NOTICE_H
#define OUTBOX_NOTICE_H

#include <stdbool.h>
#include <stdint.h>

#include "channel.h"
#include "configuration.h"
#include "frame.h"
#include "repeat.h"

/* Acknowledgements in one frame: 256 kB of offsets. */
#define NOTICE_ACKNOWLEDGED	65536

typedef struct Notices
{
	Channel    *channel;
	const Configuration *configuration;
	uint64_t	acknowledged[NOTICE_ACKNOWLEDGED];	/* not sent yet */
	uint32_t	acknowledged_count;
	Repeat		log_repeat;
} Notices;

extern void notice_init(Notices *notices, Channel *channel,
						const Configuration *configuration);
extern bool notice_is_full(const Notices *notices);

extern void notice_hello(Notices *notices);
extern void notice_ready(Notices *notices);
extern void notice_acknowledged(Notices *notices, uint64_t number);
extern void notice_flush(Notices *notices);
extern void notice_refused(Notices *notices, uint64_t number,
						   const char *topic, FrameClass class, int code, bool alone);
extern void notice_connection(Notices *notices, int code, const char *text);
extern void notice_topic(Notices *notices, const char *topic, int code,
						 bool blocks);
extern void notice_log(Notices *notices, FrameClass class, int code, int level,
					   const char *text);
extern void notice_failed(Notices *notices, FrameClass class, int code,
						  const char *text);

#endif							/* OUTBOX_NOTICE_H */
