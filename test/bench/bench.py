#!/usr/bin/env python3
"""The benchmark: measures in turns, compares pair by pair, prints tables.

Run by test/bench/run, which starts the servers and says what can be chosen;
what each figure means is in docs/benchmark.md.

Everything is measured REPEATS times, one thing after the other (A B C, B C A,
...), and a ratio is made of two figures of the same round.  So a machine that
gets slower for a while spoils a round, and not the comparison.
"""

import argparse
import atexit
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import confluent_kafka
import psycopg2
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

HERE = os.path.dirname(os.path.abspath(__file__))

PARTS = ("drain", "emit", "capture", "latency", "away")
PARTITIONS = 12
KEYS = 10000                    # BENCH_KEYS of bench.h

# How many events a transaction of a backlog has: what a busy application's
# batch job does, and few enough commits to fill a backlog quickly.
BACKLOG_TRANSACTION = 1000

# How often the progress of outbox is looked at, in seconds: short against the
# seconds that a drain takes, and seldom enough not to be felt.
LOOK = 0.01

# How long outbox may go without publishing anything, in seconds, before this
# is taken for a fault.
PATIENCE = 120

# Sessions that emit at a time while the broker is away.
CLIENTS = 4

RATES = (100, 1000)             # events per second, for latency

# For how long latency and rates are measured at a time, in seconds: at the
# lower rate enough for a 99th percentile.
MEASURED_SECONDS = 4

# The round that is not counted does this fraction of the others' work: enough
# for Kafka to have compiled what it runs.
WARM_UP = 0.5

# Emit and INSERT take turns so many times in a round: their ratio is near 1,
# and a core's speed changes within seconds.
SLICES = 4

EMIT = "SELECT outbox_emit($1::text, $2::text, $3::text)"
INSERT = "INSERT INTO plain (topic, payload, key) VALUES ($1, $2, $3)"

# The same change of a table without a trigger, of a captured one, and of one
# with a trigger as people write it.
CHANGES = {
    "INSERT": "INSERT INTO %s (topic, payload, key) VALUES ($1, $2, $3)",
    "UPDATE": "UPDATE %s SET topic = $1, payload = $2 WHERE key = $3 AND bench",
}
CHANGED_TABLES = ("changed", "changed_captured", "changed_plpgsql")

# A table as applications have it that publish by a relay.
SCHEMA = """
CREATE TABLE plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text, payload text, key text);
CREATE TABLE relay (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, uid uuid, key text, payload text);
CREATE FUNCTION bench_payload(n bigint, bytes int) RETURNS text LANGUAGE sql AS
    $$ SELECT rpad(lpad(n::text, 10, '0'), bytes, 'x') $$;
CREATE FUNCTION bench_key(n bigint, keys int) RETURNS text LANGUAGE sql AS
    $$ SELECT 'k' || lpad((n % keys)::text, 11, '0') $$;
CREATE TABLE changed (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic text, payload text, key text,
    bench bool NOT NULL DEFAULT false, amount numeric DEFAULT 1234.50, at timestamptz DEFAULT now());
CREATE UNIQUE INDEX ON changed (key) WHERE bench;
CREATE TABLE changed_captured (LIKE changed INCLUDING ALL);
CREATE TABLE changed_plpgsql (LIKE changed INCLUDING ALL);
CREATE FUNCTION emit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM outbox_emit(TG_ARGV[0], to_jsonb(NEW), NEW.id);
    RETURN NULL;
END $$;
CREATE PROCEDURE fill_outbox(topic text, events bigint, bytes int, keys int, per_transaction int) LANGUAGE plpgsql AS $$
BEGIN
    FOR low IN 1..events BY per_transaction LOOP
        PERFORM outbox_emit(topic, bench_payload(n, bytes), bench_key(n, keys))
        FROM generate_series(low, least(low + per_transaction - 1, events)) AS n;
        COMMIT;
    END LOOP;
END $$;
CREATE PROCEDURE fill_relay(events bigint, bytes int, keys int, per_transaction int) LANGUAGE plpgsql AS $$
BEGIN
    FOR low IN 1..events BY per_transaction LOOP
        INSERT INTO relay (uid, key, payload)
        SELECT gen_random_uuid(), bench_key(n, keys), bench_payload(n, bytes)
        FROM generate_series(low, least(low + per_transaction - 1, events)) AS n;
        COMMIT;
    END LOOP;
END $$;
"""

# psql tells what its server process cost before it ends.
COPY_SCRIPT = r"""SELECT pg_backend_pid() AS pid \gset
\setenv BENCH_BACKEND :pid
COPY (SELECT uid, key, payload FROM relay) TO STDOUT (FORMAT binary);
\! cat /proc/$BENCH_BACKEND/stat > "$BENCH_STAT"
"""


class Failure(Exception):
    pass


# ---- figures ----

class Figures:
    """Samples by name, in the order in which they first came."""

    def __init__(self, title):
        self.title = title
        self.samples = {}
        self.form = {}

    def add(self, name, value, form="%.0f"):
        self.samples.setdefault(name, []).append(value)
        self.form[name] = form

    def ratio(self, name, above, below):
        """The ratio of two figures of the same round."""
        self.add("  ratio: " + name, above / below, "%.3f")

    def show(self):
        width = max(len(name) for name in self.samples)
        print("\n== %s" % self.title)
        print("%-*s  %12s  %12s  %12s" % (width, "", "median", "min", "max"))
        for name, values in self.samples.items():
            print("%-*s  %12s  %12s  %12s" % (
                width, name, *(self.form[name] % value for value in
                               (statistics.median(values), min(values), max(values)))))
        sys.stdout.flush()


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def in_turns(things, number):
    """The things, starting with another one in each round."""
    start = number % len(things)
    return things[start:] + things[:start]


# ---- processes ----

children = set()


def start(*command, **how):
    child = subprocess.Popen([str(part) for part in command], **how)
    children.add(child)
    return child


def end(child, what):
    """Wait for a child's end; what it wrote, if that is piped."""
    out = child.communicate()[0]
    children.discard(child)
    if child.returncode != 0:
        raise Failure("%s ended with status %d" % (what, child.returncode))
    return out


def end_children():
    for child in list(children):
        child.kill()
        child.wait()


def result_of(*command, **how):
    child = start(*command, stdout=subprocess.PIPE, **how)
    return json.loads(end(child, os.path.basename(str(command[0]))))


def stat_cpu(text):
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_cpu(pid):
    """CPU seconds of a process with all its threads."""
    with open("/proc/%d/stat" % pid) as stat:
        return stat_cpu(stat.read())


# ---- the servers ----

class Status:
    """What outbox says of the database "bench"."""

    def __init__(self):
        # From another database: there it comes from shared memory alone.
        self.connection = psycopg2.connect(dbname="watch")
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()

    def __call__(self):
        self.cursor.execute("SELECT state, published, pid, producer_pid, error FROM outbox.status"
                            " WHERE database = 'bench'")
        return self.cursor.fetchone()


class Bench:
    def __init__(self, args):
        self.args = args
        self.admin = AdminClient({"bootstrap.servers": args.bootstrap, "log_level": 2})
        self.consumer = Consumer({"bootstrap.servers": args.bootstrap, "group.id": "bench", "log_level": 2})
        self.options = args.kafka_options.split()
        self.topics = 0
        self.stored = 0         # events that outbox has been given
        self.scratch = tempfile.mkdtemp(dir=args.programs)
        self.seconds = min(MEASURED_SECONDS, max(1, args.events // 100000))

        setup = psycopg2.connect(dbname="postgres")
        setup.autocommit = True
        cursor = setup.cursor()
        cursor.execute("CREATE DATABASE watch")
        cursor.execute("CREATE DATABASE bench")
        cursor.execute("ALTER DATABASE watch SET outbox.enabled = off")
        setup.close()
        for name in ("watch", "bench"):
            self.connection = psycopg2.connect(dbname=name)
            self.connection.autocommit = True
            self.cursor = self.connection.cursor()
            self.cursor.execute("CREATE EXTENSION outbox")
        self.cursor.execute(SCHEMA)
        # Checkpoints and commits of what only fills tables are not measured.
        self.cursor.execute("SET synchronous_commit = off")
        self.status = Status()
        self.wait_state("paused")

    def rounds(self):
        """The numbers of the rounds; the first one, -1, is not counted."""
        return range(-1, self.args.repeats)

    @staticmethod
    def share(number, amount):
        return amount if number >= 0 else max(1, int(amount * WARM_UP))

    def program(self, name):
        return os.path.join(self.args.programs, name)

    def kafka(self, command):
        child = start(os.path.join(HERE, "../env/kafka"), command, self.args.kafka_dir)
        end(child, "kafka " + command)

    def settle(self):
        """Have nothing of the last measurement left to be written in the next."""
        subprocess.run(["sync", "-f", self.args.programs], check=True)

    def new_topic(self):
        self.topics += 1
        name = "bench.%d" % self.topics
        topic = NewTopic(name, PARTITIONS, 1, config={"file.delete.delay.ms": "1000"})
        for future in self.admin.create_topics([topic]).values():
            future.result(30)
        # The broker answers before every partition has its leader, and a
        # client that comes too early waits before it tries again.
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if len(self.consumer.list_topics(name, timeout=30).topics[name].partitions) == PARTITIONS:
                    self.records(name)
                    return name
            except confluent_kafka.KafkaException:
                if time.monotonic() > deadline:
                    raise
            time.sleep(LOOK)

    def drop_topic(self, name):
        for future in self.admin.delete_topics([name]).values():
            future.result(30)

    def records(self, topic):
        return sum(self.consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30)[1]
                   for p in range(PARTITIONS))

    def check_records(self, topic, events):
        found = self.records(topic)
        if found != events:
            raise Failure("topic %s has %d records instead of %d" % (topic, found, events))

    def switch(self, on):
        self.cursor.execute("ALTER SYSTEM SET outbox.enabled = %s", ("on" if on else "off",))
        self.cursor.execute("SELECT pg_reload_conf()")

    def wait_state(self, wanted):
        deadline = time.monotonic() + PATIENCE
        while True:
            row = self.status()
            if row and row[0] == wanted:
                return row
            if time.monotonic() > deadline:
                raise Failure("outbox is %s instead of %s" % (row, wanted))
            time.sleep(LOOK)

    def switch_off(self):
        self.switch(False)
        self.wait_state("paused")

    def wait_published(self, note=None):
        """Until all that was stored is published; note sees each change."""
        before = None
        while True:
            row = self.status()
            now = time.monotonic()
            if before is None or row[1] != before:
                before = row[1]
                deadline = now + PATIENCE
                if note:
                    note(now, row)
            if row[1] == self.stored:
                return now, row
            if row[1] > self.stored:
                raise Failure("%d events published, and %d stored" % (row[1], self.stored))
            if now > deadline:
                raise Failure("nothing published for %d s: %s" % (PATIENCE, row))
            time.sleep(LOOK)

    def switch_on(self):
        self.switch(True)
        self.wait_published()
        self.wait_state("idle")

    def emit(self, statement, topic, per_transaction, events, seconds=0):
        """One session, as fast as it can; its JSON object comes by end()."""
        return start(self.program("emitter"), "bulk", "dbname=bench options='-c synchronous_commit=off'",
                     statement, topic, self.args.bytes, per_transaction, events, seconds,
                     stdout=subprocess.PIPE)

    # ---- drain ----

    def drain_outbox(self, topic, events):
        self.cursor.execute("CALL fill_outbox(%s, %s, %s, %s, %s)",
                            (topic, events, self.args.bytes, KEYS, BACKLOG_TRANSACTION))
        base = self.stored
        self.stored += events
        pid = self.status()[2]
        cpu = process_cpu(pid)
        first = []
        self.settle()

        def note(now, row):
            if row[1] > base and not first:
                first.append((now, row[1] - base))

        began = time.monotonic()
        self.switch(True)
        last, row = self.wait_published(note)
        if row[2] != pid:
            raise Failure("the publisher was started again meanwhile")
        # The producer is new: it ended when publishing was switched off.
        cpu = process_cpu(pid) - cpu + process_cpu(row[3])
        self.wait_state("idle")
        self.switch_off()
        self.check_records(topic, events)
        if last == first[0][0]:
            raise Failure("%d events are too few to see outbox publish them" % events)
        return {"rate": (events - first[0][1]) / (last - first[0][0]), "whole": events / (last - began),
                "cpu": cpu / events, "first": first[0][0] - began}

    def drain_raw(self, topic, events):
        self.settle()
        result = result_of(self.program("raw"), "memory", self.args.bootstrap, topic, events,
                           self.args.bytes, *self.options)
        self.check_records(topic, events)
        return self.raw_figures(result, events, 0)

    def drain_copy(self, topic, events):
        self.cursor.execute("TRUNCATE relay")
        self.cursor.execute("CALL fill_relay(%s, %s, %s, %s)",
                            (events, self.args.bytes, KEYS, BACKLOG_TRANSACTION))
        stat = os.path.join(self.scratch, "stat")
        script = os.path.join(self.scratch, "copy.sql")
        with open(script, "w") as file:
            file.write(COPY_SCRIPT)
        self.settle()
        psql = start(self.args.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "bench", "-f", script,
                     stdout=subprocess.PIPE, env=dict(os.environ, BENCH_STAT=stat))
        raw = start(self.program("raw"), "copy", self.args.bootstrap, topic, events,
                    self.args.bytes, *self.options, stdin=psql.stdout, stdout=subprocess.PIPE)
        psql.stdout.close()
        result = json.loads(end(raw, "raw"))
        _, status, usage = os.wait4(psql.pid, 0)
        psql.returncode = os.waitstatus_to_exitcode(status)
        children.discard(psql)
        if psql.returncode != 0:
            raise Failure("psql ended with status %d" % psql.returncode)
        self.check_records(topic, events)
        with open(stat) as file:
            cpu = stat_cpu(file.read())
        return self.raw_figures(result, events, cpu + usage.ru_utime + usage.ru_stime)

    @staticmethod
    def raw_figures(result, events, more_cpu):
        return {"rate": result["events"] / result["seconds"] if result["seconds"] > 0 else events / result["whole"],
                "whole": events / result["whole"], "cpu": (result["cpu"] + more_cpu) / events}

    def drain(self):
        events = self.args.events
        figures = Figures("Drain: %d events, payload of %d bytes, %d partitions"
                          % (events, self.args.bytes, PARTITIONS))
        ways = [("outbox", self.drain_outbox), ("librdkafka alone", self.drain_raw),
                ("librdkafka fed by COPY", self.drain_copy)]
        for number in self.rounds():
            got = {}
            for name, way in in_turns(ways, number):
                topic = self.new_topic()
                got[name] = way(topic, self.share(number, events))
                self.drop_topic(topic)
            if number < 0:
                continue
            for name, _ in ways:
                figures.add("%s: events/s, first to last acknowledgement" % name, got[name]["rate"])
            for name, _ in ways[1:]:
                figures.ratio("rate of outbox / %s" % name, got["outbox"]["rate"], got[name]["rate"])
            for name, _ in ways:
                figures.add("%s: CPU us/event" % name, got[name]["cpu"] * 1e6, "%.2f")
            for name, _ in ways[1:]:
                figures.ratio("CPU of outbox / %s" % name, got["outbox"]["cpu"], got[name]["cpu"])
            figures.add("outbox: ms from switching on to first acknowledgement", got["outbox"]["first"] * 1e3)
            for name, _ in ways:
                figures.add("%s: events/s, from the start" % name, got[name]["whole"])
            for name, _ in ways[1:]:
                figures.ratio("rate from the start, outbox / %s" % name, got["outbox"]["whole"], got[name]["whole"])
        figures.show()

    # ---- emit ----

    def emit_part(self):
        figures = Figures("Emit: CPU of the session's server process, us/event")
        topic = self.new_topic()
        counts = {1: max(2000, self.args.events // 25), 100: max(4000, self.args.events // 5)}

        def insert(*what):
            return json.loads(end(self.emit(INSERT, topic, *what), "emitter"))

        def emit(*what):
            result = json.loads(end(self.emit(EMIT, topic, *what), "emitter"))
            self.stored += result["stored"]
            return result

        ways = [("INSERT", insert), ("outbox_emit", emit)]
        for number in self.rounds():
            for on in (False, True):
                if on:
                    self.switch_on()
                for per_transaction, count in counts.items():
                    self.cursor.execute("TRUNCATE plain")
                    self.settle()
                    events = dict.fromkeys(dict(ways), 0)
                    cpu = dict.fromkeys(events, 0)
                    for piece in range(SLICES):
                        for name, way in in_turns(ways, number + piece):
                            result = way(per_transaction, self.share(number, count) // SLICES)
                            events[name] += result["events"]
                            cpu[name] += result["cpu"]
                            if on:
                                self.wait_published()
                    if number < 0:
                        continue
                    got = {name: cpu[name] / events[name] * 1e6 for name in events}
                    where = "%d a transaction, publishing %s" % (per_transaction, "on" if on else "off")
                    for name in got:
                        figures.add("%s, %s" % (name, where), got[name], "%.2f")
                    figures.ratio("outbox_emit / INSERT, %s" % where, got["outbox_emit"], got["INSERT"])
            self.switch_off()
        self.check_records(topic, self.records_expected(topic))
        self.drop_topic(topic)
        figures.show()

    # ---- capture ----

    def capture(self):
        figures = Figures("Capture: CPU of the session's server process, us/change")
        topic = self.new_topic()
        counts = {1: max(2000, self.args.events // 25), 100: max(4000, self.args.events // 10)}
        for table in CHANGED_TABLES:
            self.cursor.execute("INSERT INTO %s (key, bench) SELECT bench_key(n, %d), true"
                                " FROM generate_series(1, %d) AS n" % (table, KEYS, KEYS))
        self.cursor.execute("SELECT outbox_capture('changed_captured', %s)", (topic,))
        self.cursor.execute("CREATE TRIGGER emit_change AFTER INSERT OR UPDATE ON changed_plpgsql"
                            " FOR EACH ROW EXECUTE FUNCTION emit_change(%s)", (topic,))

        for number in self.rounds():
            for change, statement in CHANGES.items():
                for per_transaction, count in counts.items():
                    for table in CHANGED_TABLES:
                        self.cursor.execute("DELETE FROM %s WHERE NOT bench" % table if table == "changed" else
                                            "SET session_replication_role = replica; DELETE FROM %s WHERE NOT bench;"
                                            " RESET session_replication_role" % table)
                        self.cursor.execute("VACUUM %s" % table)
                    self.settle()
                    changes = dict.fromkeys(CHANGED_TABLES, 0)
                    cpu = dict.fromkeys(changes, 0)
                    for piece in range(SLICES):
                        for table in in_turns(CHANGED_TABLES, number + piece):
                            result = json.loads(end(self.emit(
                                statement % table, topic, per_transaction,
                                self.share(number, count) // SLICES), "emitter"))
                            changes[table] += result["events"]
                            cpu[table] += result["cpu"]
                            if table != "changed":
                                self.stored += result["stored"]
                    if number < 0:
                        continue
                    got = [cpu[table] / changes[table] * 1e6 for table in CHANGED_TABLES]
                    where = "%s, %d a transaction" % (change, per_transaction)
                    for name, value in zip(("no trigger", "captured", "trigger in PL/pgSQL"), got):
                        figures.add("%s: %s" % (where, name), value, "%.2f")
                    figures.ratio("%s: captured / no trigger" % where, got[1], got[0])
                    figures.ratio("%s: captured / trigger in PL/pgSQL" % where, got[1], got[2])
                    figures.ratio("%s: what a capture adds / what PL/pgSQL adds" % where,
                                  got[1] - got[0], got[2] - got[0])
        self.cursor.execute("SELECT outbox_uncapture('changed_captured')")
        self.switch_on()
        self.switch_off()
        self.check_records(topic, self.records_expected(topic))
        self.drop_topic(topic)
        figures.show()

    def records_expected(self, topic):
        self.cursor.execute("SELECT count(*) FROM outbox.event WHERE topic = %s", (topic,))
        return self.cursor.fetchone()[0]

    # ---- latency ----

    @staticmethod
    def read_times(file):
        with open(file) as lines:
            return {int(number): int(when) for number, when in (line.split() for line in lines)}

    def latency_of(self, way, rate, events, schedule):
        topic = self.new_topic()
        sent = os.path.join(self.scratch, "sent")
        received = os.path.join(self.scratch, "received")
        receiver = start(self.program("receive"), self.args.bootstrap, topic, PARTITIONS, events, received,
                         stdout=subprocess.PIPE)
        if receiver.stdout.readline().strip() != b"ready":
            raise Failure("the consumer does not start")
        self.settle()
        # A consumer that misses one event would wait for ever.
        limit = threading.Timer(self.seconds + PATIENCE, receiver.kill)
        limit.start()
        if way == "outbox":
            pids = self.status()[2:4]
            cpu = sum(process_cpu(pid) for pid in pids)
            result_of(self.program("emitter"), "pace", "dbname=bench", EMIT, topic,
                      self.args.bytes, rate, events, sent)
            self.stored += events
        else:
            result = result_of(self.program("raw"), "pace", self.args.bootstrap, topic, events,
                               self.args.bytes, schedule, sent, *self.options)
            cpu = result["cpu"]
        end(receiver, "the consumer")
        limit.cancel()
        if way == "outbox":
            self.wait_published()
            self.wait_state("idle")
            if self.status()[2:4] != pids:
                raise Failure("publisher or producer was started again meanwhile")
            cpu = sum(process_cpu(pid) for pid in pids) - cpu
            os.replace(sent, schedule)
            sent = schedule
        self.topics_used.append(topic)
        sent = self.read_times(sent)
        received = self.read_times(received)
        took = [(received[number] - sent[number]) / 1e6 for number in sent]
        span = (sent[events] - sent[1]) / 1e9
        return {"p50": percentile(took, 50), "p99": percentile(took, 99),
                "rate": (events - 1) / span, "cpu": cpu / events * 1e6}

    def latency(self):
        figures = Figures("Latency: ms to the consumer, from the commit (outbox) or the call (librdkafka alone)")
        # In this order: librdkafka alone produces at the moments at which the
        # commits were, so that both meet the same load.
        ways = ["outbox", "librdkafka alone"]
        schedule = os.path.join(self.scratch, "schedule")
        self.topics_used = []
        self.switch_on()
        for number in self.rounds():
            for rate in RATES:
                got = {way: self.latency_of(way, rate, self.share(number, rate * self.seconds), schedule)
                       for way in ways}
                if number < 0:
                    continue
                for name in ("p50", "p99"):
                    for way in ways:
                        figures.add("%s, %d/s: %s" % (way, rate, name), got[way][name], "%.2f")
                    figures.add("  difference at %d/s: %s" % (rate, name),
                                got["outbox"][name] - got["librdkafka alone"][name], "%.2f")
                for way in ways:
                    figures.add("%s, %d/s: CPU us/event" % (way, rate), got[way]["cpu"])
                figures.add("commits/s reached of %d" % rate, got["outbox"]["rate"])
        # Only now: a client that still knows a topic could make it again.
        self.switch_off()
        for topic in self.topics_used:
            self.drop_topic(topic)
        figures.show()

    # ---- broker away ----

    def emit_rate(self, topic, seconds):
        sessions = [self.emit(EMIT, topic, 1, 10 ** 12, seconds) for _ in range(CLIENTS)]
        results = [json.loads(end(session, "emitter")) for session in sessions]
        self.stored += sum(result["stored"] for result in results)
        return sum(result["events"] / result["seconds"] for result in results)

    def away(self):
        figures = Figures("Broker away: events/s of %d sessions, one event a transaction" % CLIENTS)
        topic = self.new_topic()

        def off(seconds):
            return self.emit_rate(topic, seconds)

        def there(seconds):
            self.switch_on()
            rate = self.emit_rate(topic, seconds)
            self.wait_published()
            self.switch_off()
            return rate

        def away(seconds):
            self.switch_on()
            self.kafka("pause")
            try:
                rate = self.emit_rate(topic, seconds)
            finally:
                self.kafka("resume")
            self.wait_published()
            self.switch_off()
            return rate

        ways = [("broker there", there), ("broker away", away), ("publishing off", off)]
        for number in self.rounds():
            got = {}
            for name, way in in_turns(ways, number):
                self.settle()
                got[name] = way(self.share(number, self.seconds))
            if number < 0:
                continue
            for name, _ in ways:
                figures.add(name, got[name])
            figures.ratio("broker away / broker there", got["broker away"], got["broker there"])
            figures.ratio("broker away / publishing off", got["broker away"], got["publishing off"])
        self.switch_on()
        self.switch_off()
        self.check_records(topic, self.records_expected(topic))
        self.drop_topic(topic)
        figures.show()


# ---- the machine ----

def flush_times(folder):
    """How long it takes to write a page and have it on disk, in ms."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(200):
            began = time.monotonic()
            os.pwrite(file.fileno(), b"\0" * 8192, 0)
            os.fdatasync(file.fileno())
            times.append((time.monotonic() - began) * 1e3)
    return times


def describe(bench):
    model = "unknown processor"
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0))
    bench.cursor.execute("SHOW server_version")
    server = bench.cursor.fetchone()[0]
    flushes = flush_times(bench.args.programs)
    load = os.getloadavg()[0]
    print("Machine: %d cores, %s, %.0f GB, Linux %s" % (
        cores, model, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, platform.release()))
    print("PostgreSQL %s, librdkafka %s, Apache Kafka %s (one broker, same machine)" % (
        server, confluent_kafka.libversion()[0], bench.args.kafka_version))
    print("Flush to disk: median %.2f ms, p99 %.2f ms; load average at the start %.1f" % (
        statistics.median(flushes), percentile(flushes, 99), load))
    print("Rounds: %d. Quote the ratios: the absolute figures are this machine's." % bench.args.repeats)
    if load > cores / 2:
        print("WARNING: the machine is busy with other things, so the figures are not reliable.")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True)
    parser.add_argument("--psql", required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--kafka-dir", required=True)
    parser.add_argument("--kafka-version", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--only", required=True)
    parser.add_argument("--kafka-options", required=True)
    args = parser.parse_args()
    parts = args.only.split() or PARTS

    atexit.register(end_children)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    try:
        bench = Bench(args)
        describe(bench)
        measure = {"drain": bench.drain, "emit": bench.emit_part, "capture": bench.capture,
                   "latency": bench.latency, "away": bench.away}
        for part in parts:
            measure[part]()
    except (Failure, psycopg2.Error, confluent_kafka.KafkaException, OSError) as problem:
        print("error: %s" % problem, file=sys.stderr)
        return 1
    print("\nMeasured in %.0f s" % (time.monotonic() - began))
    return 0


if __name__ == "__main__":
    sys.exit(main())
