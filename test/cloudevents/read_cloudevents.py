#!/usr/bin/env python3
"""Prints the CloudEvents of a topic as CloudEvents' SDK for Python reads them.

    read_cloudevents.py HOST:PORT TOPIC COUNT binary|structured

The topic has one partition, and its records are in this mode.  One line of JSON
for each of the first COUNT records: offset, key, and what three ways of the SDK
make of it, each with attributes (extensions among them; the time in microseconds
since 1970) and data, or error:

    detected    cloudevents.core, which finds out the mode
    told        cloudevents.core, told the mode
    old         cloudevents.v1, told the mode: the interface of versions up to 1

Data that the SDK gives as bytes is {"base64": ...}, other data {"value": ...}.
"""

import base64
import datetime
import json
import os
import sys
import time

from cloudevents.core.bindings import kafka
from cloudevents.v1.kafka import KafkaMessage as OldMessage
from cloudevents.v1.kafka import from_binary as old_from_binary
from cloudevents.v1.kafka import from_structured as old_from_structured

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import kafka_client  # noqa: E402  (it lies in another folder)

# Until when all records must be there, in seconds.
LIMIT = 60

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def attribute(value):
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(microseconds=1)
    return value


def data(value):
    if value is None:
        return None
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    return {"value": value}


def describe(read, *arguments):
    try:
        event = read(*arguments)
        return {"attributes": {name: attribute(value) for name, value in event.get_attributes().items()},
                "data": data(event.get_data())}
    except Exception as error:  # whatever a consumer would get to see
        return {"error": "%s: %s" % (type(error).__name__, error)}


def old(read, message):
    """That interface gives times and keys as they were written."""
    result = describe(read, message, None, lambda value: value)
    attributes = result.get("attributes", {})
    if "time" in attributes:
        attributes["time"] = attribute(datetime.datetime.fromisoformat(
            attributes["time"].replace("Z", "+00:00")))
    if isinstance(attributes.get("partitionkey"), bytes):
        attributes["partitionkey"] = attributes["partitionkey"].decode("utf-8", "replace")
    return result


def main():
    bootstrap, topic, count, mode = sys.argv[1:]
    reader = kafka_client.Reader(bootstrap, [topic], time.monotonic() + LIMIT)
    seen = 0
    for record in reader.until(lambda: seen >= int(count)):
        seen += 1
        message = (dict(record.headers() or []), record.key(), record.value())
        told, before = {
            "binary": (kafka.from_binary_event, old_from_binary),
            "structured": (kafka.from_structured_event, old_from_structured),
        }[mode]
        print(json.dumps({
            "offset": record.offset(), "key": kafka_client.text(record.key()),
            "detected": describe(kafka.from_kafka_event, kafka.KafkaMessage(*message)),
            "told": describe(told, kafka.KafkaMessage(*message)),
            "old": old(before, OldMessage(*message))}))


if __name__ == "__main__":
    main()
