#!/usr/bin/env python3
"""Kafka as the tests see it: an ordinary client, told apart from the producer
under test by being another program in another language.

    kafka_client.py -b HOST:PORT create TOPIC [--partitions N] [--config NAME=VALUE ...]
    kafka_client.py -b HOST:PORT delete TOPIC ...
    kafka_client.py -b HOST:PORT configure TOPIC [--config NAME=VALUE ...]
    kafka_client.py -b HOST:PORT grow TOPIC PARTITIONS
    kafka_client.py -b HOST:PORT leaders TOPIC ...
    kafka_client.py -b HOST:PORT consume TOPIC ... [--count N] [--timeout S]
    kafka_client.py -b HOST:PORT ends TOPIC ...
    kafka_client.py -b HOST:PORT lag GROUP TOPIC
    kafka_client.py -b HOST:PORT verify --dsn DSN --truth QUERY [--timeout S]
                                        [--fault BEGIN END WINDOW]
                                        [--earlier FILE] [--gone TOPIC BEGIN END]
    kafka_client.py -b HOST:PORT watch TOPIC ...
    kafka_client.py mock FILE

consume prints one JSON object a line: topic, partition, offset, timestamp (ms),
id (the record's first header if its name is "id"), key, value, headers (a list
of pairs).  Bytes that are not UTF-8 become {"base64": ...}.

configure gives a topic these settings, and of all others the defaults.  grow gives
a topic more partitions; leaders prints the broker that leads each
partition, and the replicas that are in sync.  watch reads until it is told to
end (SIGTERM), and prints one line for each record, for "verify --earlier".

verify compares what is in Kafka with what was committed and prints one JSON
object.  QUERY gives topic, uid, key and the event's order number among those of
its topic and key; events without a key have no order.  moved_order counts those
out of order within one partition, where a key may move to another.

--fault takes two times (seconds since 1970) and a number of seconds.  QUERY then
gives a fifth column, the time of the emit, the header "n" must be the order
number, and topics must stamp records as they are appended.  Answered besides are
repeatable, the events that were first appended between WINDOW seconds before
BEGIN and the time when publishing had resumed; too_early, duplicates of events
that were appended before; and resumed, the seconds from END until the first
append of an event that was emitted after it (null: none was).

Where a topic was deleted and created again, --earlier names the file of a watch:
its records count as received first.  With --gone (and --fault), events of the
topic that were emitted between two times need not be there: no consumer had time
to read them.

lag prints how many records of a topic are behind the offsets that a group has
committed.

mock runs librdkafka's own broker until it is killed, and writes its address
to FILE.
"""

import argparse
import base64
import collections
import json
import os
import signal
import sys
import time

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

# How many records are taken from the library at a time.
CHUNK = 10000

# For how long a single wait inside the library may last, in seconds, so that
# time limits are looked at.
SLICE = 0.1


def quiet_config(bootstrap, **more):
    """Client settings; the library's own log lines would look like failures."""
    config = {"bootstrap.servers": bootstrap, "log_level": 2,
              "reconnect.backoff.max.ms": 500, "error_cb": lambda error: None}
    config.update(more)
    return config


def text(data):
    """Bytes as JSON: a string where they are one."""
    if data is None or isinstance(data, str):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def event_id(headers):
    """The uuid that consumers de-duplicate on, or None."""
    if headers and headers[0][0] == "id":
        return text(headers[0][1])
    return None


class Reader:
    """Reads topics from their beginning, without a group, until told to stop."""

    def __init__(self, bootstrap, topics, deadline):
        self.consumer = Consumer(quiet_config(
            bootstrap, **{"group.id": "outbox-tests", "enable.auto.commit": False,
                          "isolation.level": "read_committed",
                          "fetch.wait.max.ms": 50, "fetch.error.backoff.ms": 50,
                          "enable.partition.eof": False}))
        self.deadline = deadline
        self.position = {}
        self.missing = set(topics)
        self.find_partitions()

    def find_partitions(self):
        """Assign the partitions of those topics that exist by now."""
        while self.missing and time.monotonic() < self.deadline:
            try:
                known = self.consumer.list_topics(timeout=1).topics
            except confluent_kafka.KafkaException:
                continue
            found = [t for t in self.missing
                     if t in known and known[t].error is None and known[t].partitions]
            for topic in found:
                self.missing.discard(topic)
                for partition in known[topic].partitions:
                    self.position[(topic, partition)] = 0
            if found:
                self.consumer.assign(
                    [TopicPartition(t, p, self.position[(t, p)] or OFFSET_BEGINNING)
                     for t, p in self.position])
            if self.missing:
                time.sleep(SLICE)

    def some(self):
        """The next records, possibly none."""
        records = []
        for record in self.consumer.consume(CHUNK, SLICE):
            if record.error() is None:
                self.position[(record.topic(), record.partition())] = record.offset() + 1
                records.append(record)
        return records

    def ends(self):
        """Where each partition ends now; retries while brokers are away."""
        ends = {}
        while True:
            try:
                for topic, partition in self.position:
                    if (topic, partition) not in ends:
                        ends[(topic, partition)] = self.consumer.get_watermark_offsets(
                            TopicPartition(topic, partition), timeout=2)
                return ends
            except confluent_kafka.KafkaException:
                if time.monotonic() > self.deadline:
                    raise

    def rest(self):
        """All records up to the present end of every partition."""
        ends = self.ends()
        while any(low < high and self.position[tp] < high for tp, (low, high) in ends.items()):
            if time.monotonic() > self.deadline:
                return
            yield from self.some()

    def until(self, enough):
        """Records until enough() is true or time is up, then what is there already."""
        while not enough() and time.monotonic() < self.deadline:
            yield from self.some()
        yield from self.rest()


def consume(args):
    reader = Reader(args.bootstrap, args.topics, time.monotonic() + args.timeout)
    seen = 0

    def enough():
        return args.count is None or seen >= args.count

    for record in reader.until(enough):
        seen += 1
        headers = record.headers() or []
        print(json.dumps({
            "topic": record.topic(), "partition": record.partition(),
            "offset": record.offset(), "timestamp": record.timestamp()[1],
            "id": event_id(headers), "key": text(record.key()), "value": text(record.value()),
            "headers": [[name, text(value)] for name, value in headers]}))
    return 0


def ends(args):
    reader = Reader(args.bootstrap, args.topics, time.monotonic() + args.timeout)
    for (topic, partition), (low, high) in sorted(reader.ends().items()):
        print(json.dumps({"topic": topic, "partition": partition, "low": low, "high": high}))
    return 0


def lag(args):
    reader = Reader(args.bootstrap, [args.topic], time.monotonic() + args.timeout)
    group = Consumer(quiet_config(args.bootstrap, **{"group.id": args.group}))
    committed = {(p.topic, p.partition): p.offset for p in group.committed(
        [TopicPartition(t, p) for t, p in reader.position], timeout=args.timeout)}
    # a partition of which nothing was committed has a negative offset
    print(json.dumps({"lag": sum(high - max(low, committed[tp])
                                 for tp, (low, high) in reader.ends().items())}))
    return 0


class Watched:
    """A record as "watch" wrote it down: what is used of a record here."""

    def __init__(self, line):
        self.parts = json.loads(line)

    @staticmethod
    def line(record):
        return json.dumps([record.topic(), record.partition(), record.offset(), record.timestamp(),
                           text(record.key()),
                           [[name, text(value)] for name, value in record.headers() or []]])

    def topic(self):
        return self.parts[0]

    def partition(self):
        return self.parts[1]

    def offset(self):
        return self.parts[2]

    def timestamp(self):
        return self.parts[3]

    def key(self):
        return self.parts[4]

    def headers(self):
        return [(name, value.encode()) for name, value in self.parts[5]]


def watch(args):
    """The topics may vanish meanwhile."""
    going = [True]
    signal.signal(signal.SIGTERM, lambda number, frame: going.clear())
    reader = Reader(args.bootstrap, args.topics, time.monotonic() + args.timeout)
    while going:
        for record in reader.some():
            print(Watched.line(record))
        sys.stdout.flush()
    # a consumer whose topic is gone may wait for ever when it is destroyed
    os._exit(0)


class Tally:
    """What arrived, held against what was committed.

    Order is that of first arrivals: a duplicate may come late by contract.
    """

    def __init__(self, truth, gone):
        # topic, begin, end: see --gone
        self.gone = gone
        # uid -> (topic, key, order number, and possibly time of the emit)
        self.truth = truth
        # uid -> when it was first appended
        self.seen = {}
        self.doubled = []
        self.awaited = sum(not self.excused(event) for event in truth.values())
        self.last = {}
        self.last_in_partition = {}
        self.partition_of = {}
        self.received = self.duplicates = 0
        self.problems = collections.Counter()
        self.samples = collections.defaultdict(list)

    def problem(self, kind, what):
        self.problems[kind] += 1
        if len(self.samples[kind]) < 5:
            self.samples[kind].append(what)

    def excused(self, event):
        return bool(self.gone) and event[0] == self.gone[0] and \
            float(self.gone[1]) <= event[3] <= float(self.gone[2])

    def add(self, record):
        self.received += 1
        uid = event_id(record.headers())
        expected = self.truth.get(uid)
        where = "%s %s[%d]@%d" % (uid, record.topic(), record.partition(), record.offset())
        if expected is None:
            self.problem("phantom", where)
            return
        if uid in self.seen:
            self.duplicates += 1
            self.doubled.append(uid)
            return
        self.seen[uid] = record.timestamp()[1] / 1000
        self.awaited -= not self.excused(expected)
        topic, key, number = expected[:3]
        if len(expected) > 3 and dict(record.headers()).get("n") != b"%d" % number:
            self.problem("damaged", where)
        if (topic, key) != (record.topic(), text(record.key())):
            self.problem("damaged", where)
        if key is None:
            return
        place = (topic, key, record.partition())
        if number <= self.last_in_partition.get(place, -1):
            self.problem("moved_order", where)
        else:
            self.last_in_partition[place] = number
        if number <= self.last.get((topic, key), -1):
            self.problem("out_of_order", where)
        else:
            self.last[(topic, key)] = number
        if self.partition_of.setdefault((topic, key), record.partition()) != record.partition():
            self.problem("split_keys", where)

    def around(self, begin, end, window):
        """Repetitions and the return of publishing, seen from a fault."""
        after = [self.seen[uid] for uid, (_, _, _, at) in self.truth.items()
                 if at > end and uid in self.seen]
        resumed = max(min(after), end) if after else None
        early = begin - window
        late = float("inf") if resumed is None else resumed
        too_early = [uid for uid in self.doubled if self.seen[uid] < early]
        for uid in too_early:
            self.problem("too_early", "%s, %.3f s before" % (uid, begin - self.seen[uid]))
        return {"repeatable": sum(early <= at <= late for at in self.seen.values()),
                "too_early": len(too_early),
                "resumed": None if resumed is None else round(resumed - end, 3)}

    def result(self):
        lost = [uid for uid, event in self.truth.items()
                if uid not in self.seen and not self.excused(event)]
        for uid in lost:
            self.problem("lost", uid)
        answer = {"committed": len(self.truth), "received": self.received,
                  "distinct": len(self.seen), "duplicates": self.duplicates}
        for kind in ("lost", "phantom", "out_of_order", "damaged", "split_keys",
                     "moved_order"):
            answer[kind] = self.problems[kind]
        answer["samples"] = self.samples
        return answer


def read_truth(dsn, query):
    import psycopg2

    connection = psycopg2.connect(dsn)
    with connection.cursor() as cursor:
        cursor.execute(query)
        truth = {str(uid): (topic, *rest) for topic, uid, *rest in cursor}
    connection.close()
    return truth


def verify(args):
    truth = read_truth(args.dsn, args.truth)
    topics = sorted({event[0] for event in truth.values()} | set(args.topics))
    tally = Tally(truth, args.gone)
    if args.earlier:
        with open(args.earlier, encoding="utf-8") as lines:
            for line in lines:
                tally.add(Watched(line))
    reader = Reader(args.bootstrap, topics, time.monotonic() + args.timeout)
    for record in reader.until(lambda: tally.awaited == 0):
        tally.add(record)
    around = tally.around(*args.fault) if args.fault else {}
    print(json.dumps({**tally.result(), **around}))
    return 0


def create(args):
    config = dict(pair.split("=", 1) for pair in args.config)
    admin = AdminClient(quiet_config(args.bootstrap))
    deadline = time.monotonic() + args.timeout
    if "OUTBOX_REAL_KAFKA" not in os.environ:
        # The mock broker makes a topic when first asked about it, and takes no orders.
        for topic in args.topics:
            admin.list_topics(topic, timeout=args.timeout)
        return 0
    for topic in args.topics:
        while True:
            wish = NewTopic(topic, args.partitions, args.replicas, config=config)
            try:
                admin.create_topics([wish], operation_timeout=10)[topic].result()
                break
            except confluent_kafka.KafkaException as problem:
                code = problem.args[0].code()
                if code == confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                    break
                if not problem.args[0].retriable() and code >= 0 or time.monotonic() > deadline:
                    raise
    return 0


def delete(args):
    admin = AdminClient(quiet_config(args.bootstrap))
    for future in admin.delete_topics(args.topics, operation_timeout=60).values():
        future.result()
    return 0


def configure(args):
    config = dict(pair.split("=", 1) for pair in args.config)
    admin = AdminClient(quiet_config(args.bootstrap))
    wish = ConfigResource(ConfigResource.Type.TOPIC, args.topic, set_config=config)
    for future in admin.alter_configs([wish], request_timeout=60).values():
        future.result()
    return 0


def grow(args):
    admin = AdminClient(quiet_config(args.bootstrap))
    wish = NewPartitions(args.topic, args.partitions)
    admin.create_partitions([wish], operation_timeout=60)[args.topic].result()
    return 0


def leaders(args):
    known = AdminClient(quiet_config(args.bootstrap)).list_topics(timeout=args.timeout).topics
    for topic in args.topics:
        for number, partition in sorted(known[topic].partitions.items()):
            print(json.dumps({"topic": topic, "partition": number, "leader": partition.leader,
                              "in_sync": sorted(partition.isrs)}))
    return 0


def mock(args):
    broker = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1})
    addresses = ["%s:%d" % (b.host, b.port)
                 for b in broker.list_topics(timeout=10).brokers.values()]
    with open(args.file + ".new", "w", encoding="ascii") as out:
        out.write(",".join(addresses) + "\n")
    os.rename(args.file + ".new", args.file)
    while True:
        broker.poll(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-b", "--bootstrap")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, function, topics="+", timeout=30.0):
        sub = commands.add_parser(name)
        sub.set_defaults(function=function)
        if topics:
            sub.add_argument("topics", nargs=topics)
        sub.add_argument("--timeout", type=float, default=timeout,
                         help="seconds, the whole command")
        return sub

    sub = command("consume", consume)
    sub.add_argument("--count", type=int,
                     help="wait for that many records; without it, read what is there")
    command("ends", ends)
    sub = command("lag", lag, topics=None)
    sub.add_argument("group")
    sub.add_argument("topic")
    sub = command("verify", verify, topics="*", timeout=120.0)
    sub.add_argument("--dsn", required=True)
    sub.add_argument("--truth", required=True)
    sub.add_argument("--earlier")
    sub.add_argument("--gone", nargs=3)
    sub.add_argument("--fault", nargs=3, type=float, metavar=("BEGIN", "END", "WINDOW"))
    sub = command("create", create, topics=1)
    sub.add_argument("--config", action="append", default=[])
    sub.add_argument("--partitions", type=int, default=4)
    sub.add_argument("--replicas", type=int, default=1)
    command("delete", delete)
    command("leaders", leaders)
    command("watch", watch)
    sub = command("configure", configure, topics=None)
    sub.add_argument("topic")
    sub.add_argument("--config", action="append", default=[])
    sub = command("grow", grow, topics=None)
    sub.add_argument("topic")
    sub.add_argument("partitions", type=int)
    sub = command("mock", mock, topics=None)
    sub.add_argument("file")
    args = parser.parse_args()
    return args.function(args)


if __name__ == "__main__":
    sys.exit(main())
