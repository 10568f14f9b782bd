#!/usr/bin/env python3
"""Sessions emit at random while faults come at random; then a consumer is asked.

Goes on in rounds.  At the end of each the faults are mended, everything must be
published within a time limit, every segment must have been emptied, and what a
consumer of the real Kafka finds is held against the ledger: lost 0, phantom 0,
out of order 0, damaged 0.  Prints TAP, and on a failure the seed, the schedule,
and the history of what is wrong.  The first failed round is the last one.

Which transactions and faults are drawn follows from the seed; how they meet is
up to the machine.

IDENTIFICATION
    test/torture/torture.py
"""

import argparse
import collections
import hashlib
import os
import random
import sys
import time
import uuid

import psycopg2

import emitters
import faults
from kafka_client import Reader, event_id, text

# Seconds for what must happen by itself once all faults are mended: a back-off
# of a minute, and reading what has piled up.
DRAIN = 150
# ... and for all segments to be emptied after that.
ROTATE = 90

# How many records of each kind of problem are described.
SAMPLES = 3

TOPICS = 3
ACCOUNTS = 40                   # per topic


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, what):
        self.count += 1
        self.failed += not good
        print("%sok %d - %s" % ("" if good else "not ", self.count, what), flush=True)
        return good

    @staticmethod
    def note(*lines):
        for line in lines:
            print("# " + str(line), flush=True)


class Consumer:
    """What arrived in this round, held against the ledger."""

    def __init__(self, bootstrap):
        self.reader = None
        self.bootstrap = bootstrap
        self.earlier = set()

    def read(self, topics, limit):
        """The records since the last call."""
        deadline = time.monotonic() + limit
        if self.reader is None:
            self.reader = Reader(self.bootstrap, topics, deadline)
        else:
            self.reader.deadline = deadline
            known = {topic for topic, _ in self.reader.position}
            self.reader.missing = set(topics) - known
            self.reader.find_partitions()
        return list(self.reader.rest())

    def compare(self, records, ledger, passed_over, discarded):
        """Lists of what is wrong, by kind, the number of duplicates, and all
        that arrived, by topic and key.  What is passed over has no order; what
        is discarded need not arrive."""
        wrong = collections.defaultdict(list)
        seen = {}
        last = {}
        partitions = {}
        arrivals = collections.defaultdict(list)
        duplicates = 0
        for record in records:
            uid = event_id(record.headers())
            place = "%s[%d]@%d at %d" % (record.topic(), record.partition(), record.offset(),
                                         record.timestamp()[1])
            row = ledger.get(uid)
            if row is None:
                again = uid is not None and uuid.UUID(uid).bytes in self.earlier
                key = text(record.key())
                wrong["repeated from an earlier round" if again else "phantom"].append(
                    (record.topic(), key, "%s %s %s" % (uid, place, record.value()[:80])))
                arrivals[record.topic(), key].append("%s %s not in the ledger" % (place, uid))
                continue
            scope = (row["topic"], row["key"])
            repeated = uid in seen
            arrivals[scope].append("%s %s n=%s%s" % (place, uid, row["n"],
                                                     " again" if repeated else ""))
            if (scope != (record.topic(), text(record.key()))
                    or hashlib.md5(record.value()).hexdigest() != row["digest"]):
                wrong["damaged"].append((*scope, "%s %s" % (uid, place)))
            if repeated:
                duplicates += 1
                continue
            seen[uid] = True
            if row["key"] is None or uid in passed_over:
                continue
            if row["n"] <= last.get(scope, 0):
                wrong["out of order"].append(
                    (*scope, "%s %s n=%d after %d" % (uid, place, row["n"], last[scope])))
            last[scope] = max(row["n"], last.get(scope, 0))
            if partitions.setdefault(scope, record.partition()) != record.partition():
                wrong["key in two partitions"].append((*scope, "%s %s" % (uid, place)))
        for uid, row in ledger.items():
            if uid not in seen and uid not in discarded:
                wrong["lost"].append((row["topic"], row["key"], "%s n=%s" % (uid, row["n"])))
        return wrong, duplicates, arrivals


def read_ledger(world):
    rows = world.sql("SELECT uid::text, topic, key, n, digest, xid::text, client, at::text"
                     " FROM torture.ledger ORDER BY at")
    names = ("topic", "key", "n", "digest", "xid", "client", "at")
    return {row[0]: dict(zip(names, row[1:])) for row in rows}, len(rows)


def wait_for(condition, limit):
    """Errors count as "not yet": the server may be on its way."""
    deadline = time.monotonic() + limit
    while True:
        try:
            if condition():
                return True
        except psycopg2.Error:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)


def history(tap, world, consumer_wrong, arrivals, ledger):
    """All that is known about what is wrong."""
    for kind, samples in consumer_wrong.items():
        tap.note("", "%s: %d" % (kind, len(samples)))
        for topic, key, what in samples[:SAMPLES]:
            tap.note("  %s %s: %s" % (topic, key, what))
        for topic, key in dict.fromkeys((t, k) for t, k, _ in samples[:SAMPLES] if k is not None):
            name = "%s/history.%s.%s" % (world.args.output, topic, key)
            with open(name, "w", encoding="utf-8") as out:
                out.write("ledger\n")
                for uid, row in ledger.items():
                    if (row["topic"], row["key"]) == (topic, key):
                        out.write("  n=%s %s xid %s by %s at %s\n"
                                  % (row["n"], uid, row["xid"], row["client"], row["at"]))
                out.write("arrivals\n")
                out.writelines("  %s\n" % line for line in arrivals[topic, key])
            tap.note("  the history of this key: " + name)
        for _, _, what in samples[:SAMPLES]:
            try:
                for row in world.sql("SELECT tableoid::regclass, id, xid, created,"
                                     " outbox_is_published(xid, id, topic, key)"
                                     " FROM outbox.event WHERE uid::text = %s", what.split()[0]):
                    tap.note("  still there: %s id %s xid %s created %s published %s" % row)
            except psycopg2.Error as problem:
                tap.note("  %s" % problem)


def show_state(tap, world):
    queries = ("SELECT * FROM outbox.status", "SELECT * FROM outbox.cursor",
               "SELECT * FROM outbox.segment", "SELECT * FROM pg_prepared_xacts",
               "SELECT uid, id, topic, convert_from(key, 'UTF8'), state, parks, request, error, attempts"
               " FROM outbox.dead_letter LIMIT 20",
               "SELECT topic, count(*) FROM outbox.event"
               " WHERE NOT outbox_is_published(xid, id, topic, key) GROUP BY topic")
    for query in queries:
        try:
            for row in world.sql(query):
                tap.note("%s: %s" % (query.split("FROM ")[1], " | ".join(map(str, row))))
        except psycopg2.Error as problem:
            tap.note("%s: %s" % (query, problem))


def drained(world, letters):
    """Nothing waits, and no letter is left; the operator never tires."""
    if letters and world.decide(None, 0):
        return False
    if letters and world.sql("SELECT EXISTS (SELECT FROM outbox.dead_letter WHERE state = 'dead')")[0][0]:
        return False
    return world.status("oldest_waiting IS NULL AND state = 'idle'")


def nothing_held(world):
    return world.sql("SELECT count(*) FROM outbox.cursor WHERE topic IS NOT NULL")[0][0] == 0


def emptied(world, limit):
    """All segments are, of what is there now; takes some more events, as the
    ring goes on only when there are any."""
    newest = world.sql("SELECT last_value FROM outbox.event_id_seq")[0][0]

    def go_on():
        world.sql("SELECT torture.emit_keyless(%s, 10)", world.topics[0])
        return world.sql("SELECT NOT EXISTS (SELECT FROM outbox.event WHERE id <= %s)", newest)[0][0]

    world.write_settings(retention="0")
    good = wait_for(go_on, limit)
    world.write_settings(retention=None)
    return good


def weather(world, rng, letters):
    """Settings that hold for a round."""
    settings = {"spool_memory": rng.choice(("1MB", "4MB", "16MB")),
                "retention": rng.choice(("0", "1", "4", "1h"))}
    if letters:
        settings["topic_timeout"] = rng.choice(("100ms", "1s", "5s"))
        settings["dead_letter_limit"] = rng.choice(("3", "100"))
    world.write_settings(**settings)


def one_round(number, args, tap, world, consumer, chosen, seconds):
    shared = world.shared
    seed = "%s/%d" % (args.seed, number)
    rng = random.Random(seed)
    started = time.monotonic()
    name = "round %d" % number
    base = list(shared.accounts)

    shared.stop.clear()
    world.calm.clear()
    shared.outcome.clear()
    shared.slowest_emit = 0.0
    letters = world.has_letters()
    weather(world, rng, letters)
    threads = [emitters.Emitter(shared, seed, client) for client in range(args.clients)]
    threads.append(emitters.Finisher(shared, seed))
    schedule = faults.Schedule(world, seed, chosen)
    for thread in (*threads, schedule):
        thread.start()
    while time.monotonic() - started < seconds and not shared.problems:
        time.sleep(0.1)

    schedule.end(DRAIN)
    shared.stop.set()
    for thread in threads:
        thread.join(DRAIN)
    world.write_settings(kafka_options=None, bootstrap_servers=None, enabled=None)
    if wait_for(lambda: world.sql("SELECT 1"), DRAIN):
        world.sql("ALTER DATABASE torture RESET ALL")
        if letters:
            world.sql("SELECT outbox_set_topic(topic, paused => false) FROM outbox.topic WHERE paused")
        emitters.finish_all(shared, seed, time.monotonic() + DRAIN)
    quiet = time.monotonic()
    good = tap.ok(wait_for(lambda: drained(world, letters), DRAIN),
                  "%s: everything is published by itself" % name)
    drain = time.monotonic() - quiet
    if good:
        good &= tap.ok(wait_for(lambda: nothing_held(world), DRAIN), "%s: nothing is held any more" % name)
        good &= tap.ok(emptied(world, ROTATE), "%s: all segments were emptied" % name)
        wait_for(lambda: drained(world, letters), DRAIN)
    discarded = {uid for (uid,) in world.sql(
        "SELECT uid::text FROM outbox.dead_letter WHERE state = 'discarded'")} if letters else set()
    ledger, rows = read_ledger(world)
    records = consumer.read(world.topics, DRAIN)
    wrong, duplicates, arrivals = consumer.compare(records, ledger, world.passed_over, discarded)
    good &= tap.ok(rows > 0 and rows == len(ledger), "%s: %d events, each with a uid of its own" % (name, rows))
    for kind in ("lost", "phantom", "out of order", "damaged", "key in two partitions",
                 "repeated from an earlier round"):
        good &= tap.ok(not wrong[kind], "%s: %s: %d" % (name, kind, len(wrong[kind])))
    if set(chosen) <= faults.HARMLESS:
        good &= tap.ok(duplicates == 0, "%s: duplicates: %d" % (name, duplicates))
    good &= tap.ok(not shared.problems, "%s: no other surprise" % name)

    tap.note("%s: %d s, committed %d, received %d, duplicates %d, published %.1f s after the last fault, "
             "slowest emit without a lock %.2f s"
             % (name, time.monotonic() - started, rows, len(records), duplicates, drain,
                shared.slowest_emit),
             ", ".join("%s %d" % entry for entry in sorted(shared.outcome.items())))
    with open("%s/schedule.%d" % (args.output, number), "w", encoding="utf-8") as out:
        out.writelines(line + "\n" for line in schedule.lines())
    if not good:
        tap.note("", "seed %s, %s; faults as they came (seconds, fault, seconds drawn):" % (args.seed, name),
                 *schedule.lines())
        tap.note("", *shared.problems)
        show_state(tap, world)
        history(tap, world, {kind: samples for kind, samples in wrong.items() if samples}, arrivals, ledger)
        return False

    # What is at rest now, and stored, is not published again by any crash.
    consumer.earlier.update(uuid.UUID(uid).bytes for uid in ledger)
    shared.accounts = base
    world.sql("TRUNCATE torture.ledger, torture.job, torture.late_job")
    world.sql("CHECKPOINT")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bindir", "data", "kafka", "tool", "client", "dsn", "output", "seed"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--faults", required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--round", type=float, default=5, help="minutes")
    args = parser.parse_args()
    args.prefix = "torture"
    chosen = faults.choose(args.faults)

    tap = Tap()
    tap.note("seed %s, faults: %s" % (args.seed, " ".join(chosen) or "none"))
    shared = emitters.Shared(args.dsn)
    world = faults.World(args, shared)
    connection = shared.connect("torture-setup")
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION outbox")
        cursor.execute(emitters.SETUP)
    for number in range(TOPICS):
        topic = "%s.%d" % (args.prefix, number)
        world.create_topic(topic)
        # the same keys in each topic: they have nothing to do with each other
        shared.add_accounts(connection, topic, ["key-%d" % key for key in range(ACCOUNTS)])
    connection.close()

    consumer = Consumer(world.bootstrap)
    rounds = max(1, round(args.minutes / args.round))
    good = not shared.problems
    for number in range(1, rounds + 1):
        good = good and one_round(number, args, tap, world, consumer, chosen, args.minutes * 60 / rounds)
    if not tap.count:
        tap.ok(False, "setting up: %s" % shared.problems)
    print("1..%d" % tap.count)
    if tap.failed:
        tap.note("seed %s; logs: %s" % (args.seed, args.output))
    return 1 if tap.failed else 0


if __name__ == "__main__":
    status = main()
    # threads of a fault that hangs do not keep the process
    sys.stdout.flush()
    os._exit(status)
