#!/usr/bin/env python3
"""The demo's load, its consumers, and the comparison of the two.

Customers place, pay and cancel orders by the functions of orders.sql, each in a
session of its own; some of them change their mind and roll back.  Two groups of
consumers read from Kafka: the data platform every topic, the notification
service orders and payments.  At the end, what the consumers saw is held against
the table that the order service wrote in its own transactions.

Run by demo/run.  The last line says what came of it, and so does the exit status.
"""

import argparse
import collections
import multiprocessing
import os
import random
import signal
import sys
import time

import confluent_kafka
import psycopg2
import psycopg2.errors
from confluent_kafka.admin import AdminClient, NewTopic

TOPICS = ("orders", "payments", "inventory")
GROUPS = {"data-platform": TOPICS, "notification": ("orders", "payments")}
PARTITIONS = 4

# How long the consumers may take to see the rest once the load has ended, in
# seconds without any new event.
PATIENCE = 30

# A customer leaves this fraction of its transactions undone.
CHANGE_OF_MIND = 0.08

# How long a customer thinks between two transactions, in seconds, on average.
# Without it the load fills every core, and the latency shown would be that of
# the queues before them.
THINKING = 0.02


def customer(dsn, prefix, number, stop, counts):
    """One session: orders, payments and cancellations until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rng = random.Random(number)
    connection = psycopg2.connect(dsn)
    orders = collections.deque(maxlen=50)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('shop.topic_prefix', %s, false)", (prefix,))
        connection.commit()
        while not stop.wait(rng.uniform(0, 2 * THINKING)):
            trace = "00-%032x-%016x-01" % (rng.getrandbits(128), rng.getrandbits(64))
            try:
                cursor.execute("SELECT set_config('shop.traceparent', %s, true)", (trace,))
                dice = rng.random()
                placed = None
                if dice < 0.5 or not orders:
                    products = [rng.randint(1, 100) for _ in range(rng.randint(1, 3))]
                    cursor.execute("SELECT place_order(%s, %s)", (number, products))
                    placed = cursor.fetchone()[0]
                elif dice < 0.8:
                    cursor.execute("SELECT pay_order(%s, %s)",
                                   (rng.choice(orders), rng.choice((0, 0, 0, 1, 2))))
                else:
                    order = rng.choice(orders)
                    orders.remove(order)
                    cursor.execute("SELECT cancel_order(%s)", (order,))
                if rng.random() < CHANGE_OF_MIND:
                    connection.rollback()
                    counts["rolled_back"].value += 1
                else:
                    connection.commit()
                    counts["committed"].value += 1
                    if placed is not None:
                        orders.append(placed)
            except psycopg2.errors.CheckViolation:
                # Out of stock; the events of this transaction go with it.
                connection.rollback()
                counts["rolled_back"].value += 1
    connection.close()


def consumer(bootstrap, group, topics, mock, ready, stop, received, results):
    """One group's consumer: note what arrives and when."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    client = confluent_kafka.Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "log_level": 2,
        "auto.offset.reset": "earliest", "enable.auto.commit": True,
        "isolation.level": "read_committed", "fetch.wait.max.ms": 20,
        "topic.metadata.refresh.interval.ms": 1000})
    if mock:
        # The mock's coordinator does not always finish what a group asks of it.
        client.assign([confluent_kafka.TopicPartition(topic, partition, confluent_kafka.OFFSET_BEGINNING)
                       for topic in topics
                       for partition in client.list_topics(topic, timeout=10).topics[topic].partitions])
        ready.set()
    else:
        client.subscribe(topics, on_assign=lambda *_: ready.set())
    seen = []
    while not stop.is_set():
        # One at a time: a time of arrival that waits for the rest of a chunk
        # would be none.
        record = client.poll(0.05)
        if record is None or record.error() is not None:
            continue
        now = time.time()
        headers = record.headers() or []
        uid = headers[0][1].decode() if headers and headers[0][0] == "id" else None
        seen.append((uid, record.topic(), (record.key() or b"").decode(), now))
        received.value += 1
    results.put((group, seen))
    client.close()


class Shop:
    def __init__(self, args):
        self.args = args
        self.topics = [args.prefix + topic for topic in TOPICS]
        self.stop_load = multiprocessing.Event()
        self.stop_reading = multiprocessing.Event()
        self.results = multiprocessing.Queue()
        self.received = {}
        self.customers = []
        self.consumers = []
        self.counts = []
        self.tty = sys.stdout.isatty()

    def create_topics(self):
        admin = AdminClient({"bootstrap.servers": self.args.bootstrap, "log_level": 2})
        if self.args.mock:
            # It makes a topic when first asked about it, and takes no orders.
            for topic in self.topics:
                admin.list_topics(topic, timeout=10)
            return
        wishes = [NewTopic(topic, PARTITIONS, -1 if self.args.prefix else 1) for topic in self.topics]
        for future in admin.create_topics(wishes, operation_timeout=15).values():
            try:
                future.result()
            except confluent_kafka.KafkaException as problem:
                if problem.args[0].code() != confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def delete_topics(self):
        admin = AdminClient({"bootstrap.servers": self.args.bootstrap, "log_level": 2})
        for future in admin.delete_topics(self.topics, operation_timeout=15).values():
            future.result()

    def start_consumers(self):
        waiting = []
        for group, topics in GROUPS.items():
            self.received[group] = multiprocessing.Value("q", 0)
            ready = multiprocessing.Event()
            process = multiprocessing.Process(target=consumer, daemon=True, args=(
                self.args.bootstrap, self.args.prefix + group,
                [self.args.prefix + topic for topic in topics], self.args.mock, ready,
                self.stop_reading, self.received[group], self.results))
            process.start()
            self.consumers.append(process)
            waiting.append((group, ready))
        for group, ready in waiting:
            if not ready.wait(60):
                sys.exit("error: the consumer group %s did not get its partitions within 60 s" % group)

    def start_customers(self):
        for number in range(self.args.clients):
            counts = {name: multiprocessing.Value("q", 0) for name in ("committed", "rolled_back")}
            process = multiprocessing.Process(target=customer, daemon=True, args=(
                self.args.dsn, self.args.prefix, number, self.stop_load, counts))
            process.start()
            self.customers.append(process)
            self.counts.append(counts)

    def total(self, name):
        return sum(counts[name].value for counts in self.counts)

    def progress(self, started):
        line = "  %3.0f s   transactions: %d committed, %d rolled back   received: %s" % (
            time.monotonic() - started, self.total("committed"), self.total("rolled_back"),
            ", ".join("%s %d" % (group, value.value) for group, value in self.received.items()))
        print(line, flush=True)

    def run_load(self):
        started = time.monotonic()
        self.start_customers()
        while True:
            elapsed = time.monotonic() - started
            if elapsed >= self.args.duration:
                break
            time.sleep(min(1.0, self.args.duration - elapsed))
            self.progress(started)
            for process in self.customers:
                if not process.is_alive():
                    sys.exit("error: a customer's session failed; see above")
        self.stop_load.set()
        for process in self.customers:
            process.join()
        return time.monotonic() - started

    def truth(self):
        """uid -> (topic, key, version, time of commit), and how many were emitted."""
        connection = psycopg2.connect(self.args.dsn)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT uid, topic, key, version,"
                " extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM audit")
            committed = {str(uid): rest for uid, *rest in cursor}
            cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM audit_number_seq")
            emitted = cursor.fetchone()[0]
        connection.close()
        return committed, emitted

    def wait_for_rest(self, expected):
        """Until each group has received as many as it should, and nothing moves."""
        last, since = None, time.monotonic()
        while True:
            now = {group: value.value for group, value in self.received.items()}
            if now != last:
                last, since = now, time.monotonic()
            quiet = time.monotonic() - since
            if quiet > PATIENCE:
                return
            # A moment longer than needed, for what should not come.
            if quiet > 1 and all(now[group] >= expected[group] for group in now):
                return
            time.sleep(0.1)

    def collect(self):
        self.stop_reading.set()
        answers = dict(self.results.get(timeout=60) for _ in self.consumers)
        for process in self.consumers:
            process.join(10)
        return {group[len(self.args.prefix):]: seen for group, seen in answers.items()}

    def log_size(self):
        """How many records the topics hold, asked of the broker."""
        client = confluent_kafka.Consumer({"bootstrap.servers": self.args.bootstrap,
                                           "group.id": "outbox-demo", "log_level": 2})
        size = 0
        for topic in self.topics:
            for partition in client.list_topics(topic, timeout=10).topics[topic].partitions:
                low, high = client.get_watermark_offsets(
                    confluent_kafka.TopicPartition(topic, partition), timeout=10)
                size += high - low
        client.close()
        return size


def compare(committed, seen):
    """One group's lost, phantom, out of order, doubled, and latencies."""
    result = collections.Counter()
    arrived = set()
    last = {}
    latencies = []
    for uid, topic, key, when in seen:
        fact = committed.get(uid)
        if fact is None or (fact[0], fact[1]) != (topic, key):
            result["phantom"] += 1
            continue
        if uid in arrived:
            result["duplicates"] += 1
            continue
        arrived.add(uid)
        latencies.append(when - fact[3])
        if fact[2] <= last.get((topic, key), -1):
            result["out_of_order"] += 1
        last[(topic, key)] = fact[2]
    result["distinct"] = len(arrived)
    result["lost"] = sum(1 for uid in committed if uid not in arrived)
    latencies.sort()
    return result, latencies


def percentile(latencies, share):
    if not latencies:
        return "-"
    return "%.1f ms" % (1000 * latencies[min(len(latencies) - 1, int(len(latencies) * share))])


def report(args, shop, seconds):
    committed, emitted = shop.truth()
    by_group = {
        group: {uid: fact for uid, fact in committed.items()
                if fact[0] in [args.prefix + topic for topic in topics]}
        for group, topics in GROUPS.items()}
    shop.wait_for_rest({group: len(facts) for group, facts in by_group.items()})
    seen = shop.collect()
    published = shop.log_size()

    rows = [
        ("transactions committed", "%d   (%.0f per second)" % (
            shop.total("committed"), shop.total("committed") / seconds)),
        ("transactions rolled back", "%d" % shop.total("rolled_back")),
        ("events committed", "%d   (%.0f per second)" % (len(committed), len(committed) / seconds)),
        ("events rolled back", "%d" % (emitted - len(committed))),
        ("events published", "%d   (records in Kafka)" % published)]
    worst = collections.Counter()
    received = None
    for group, facts in by_group.items():
        result, latencies = compare(facts, seen[group])
        for kind in ("lost", "phantom", "out_of_order"):
            worst[kind] += result[kind]
        if received is None:
            received = result["distinct"]
        rows += [
            ("received by %s" % group, "%d of %d   (%s)" % (
                result["distinct"], len(facts), ", ".join(GROUPS[group]))),
            ("  lost, phantom, out of order", "%d, %d, %d" % (
                result["lost"], result["phantom"], result["out_of_order"])),
            ("  duplicates", "%d" % result["duplicates"]),
            ("  commit to consumer, p50 / p99", "%s / %s" % (
                percentile(latencies, 0.5), percentile(latencies, 0.99)))]
    print()
    for name, value in rows:
        print("  %-34s %s" % (name, value))
    print()
    if args.keep:
        print(args.keep)
    print("demo: committed %d, published %d, received %d, lost %d, phantom %d, out of order %d" % (
        len(committed), published, received, worst["lost"], worst["phantom"], worst["out_of_order"]))
    good = (committed and len(committed) == published == received
            and not any(worst.values()))
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", default="",
                        help="before the names of topics and groups, on a broker that is not ours")
    parser.add_argument("--mock", action="store_true", help="the broker is librdkafka's mock")
    parser.add_argument("--duration", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--keep", metavar="TEXT", help="keep the topics, and say this at the end")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shop = Shop(args)
    shop.create_topics()
    try:
        shop.start_consumers()
        print("%d customers for %g s:" % (args.clients, args.duration), flush=True)
        seconds = shop.run_load()
        return report(args, shop, seconds)
    except KeyboardInterrupt:
        return 130
    finally:
        for process in shop.customers + shop.consumers:
            if process.is_alive():
                process.terminate()
        if args.prefix and not args.keep:
            shop.delete_topics()


if __name__ == "__main__":
    sys.exit(main())
