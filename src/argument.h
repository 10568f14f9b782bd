/*-------------------------------------------------------------------------
 *
 * argument.h
 *	  The types of the arguments of a call.
 *
 * IDENTIFICATION
 *	  src/argument.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_ARGUMENT_H
#define OUTBOX_ARGUMENT_H

#include "fmgr.h"

/*
 * The type of an argument, counted from 0, that may be declared "any".  ERROR,
 * indeterminate_datatype, with the name given, where it cannot be known.
 */
extern Oid	outbox_argument_type(FunctionCallInfo fcinfo, int argument, const char *name);

#endif							/* OUTBOX_ARGUMENT_H */
