/*-------------------------------------------------------------------------
 *
 * envelope.h
 *	  Argument values of an emit to the bytes of a record.
 *
 * IDENTIFICATION
 *	  src/envelope.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef OUTBOX_ENVELOPE_H
#define OUTBOX_ENVELOPE_H

#include "utils/jsonb.h"

/*
 * The bytes of a payload or a key of this type, NULL for a NULL value.  The
 * result may be the datum given, toasted or not.  Text becomes UTF-8.  ERROR,
 * datatype_mismatch, for a type that has no bytes of its own (also where the
 * value is NULL).
 */
extern bytea *outbox_envelope_payload(Datum value, bool isnull, Oid type);
extern bytea *outbox_envelope_key(Datum value, bool isnull, Oid type);

/*
 * The same of the id of an aggregate: what a key may be, or jsonb.  Of that a
 * string, number or boolean is the text that it stands for, and null is none;
 * as_json says that they, too, are JSON.
 */
extern bytea *outbox_envelope_aggregate_id(Datum value, bool isnull, Oid type, bool as_json);

/* What the bytes of a payload or an aggregate's id of this type are. */
typedef enum OutboxKind
{
	OUTBOX_KIND_TEXT,			/* of any content */
	OUTBOX_KIND_JSON,
	OUTBOX_KIND_BYTES
} OutboxKind;

extern OutboxKind outbox_envelope_kind(Oid type);

/*
 * Headers, encoded as the column outbox.event.headers holds them; NULL if the
 * object is empty.  ERROR, invalid_parameter_value, if they are not an object
 * of names and values as the manual has it.
 */
extern bytea *outbox_envelope_headers(Jsonb *headers);

#endif							/* OUTBOX_ENVELOPE_H */
