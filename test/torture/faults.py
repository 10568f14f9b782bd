"""What goes wrong: processes, broker, settings, sessions, topics.

Each fault is a function of the world, in a thread of its own, which mends what
it broke before it returns; so faults overlap.  Which one comes when, and for how
long, follows from the seed alone.  What cannot be done just now (the server is
away, another fault has the broker) is skipped, and said to be.

IDENTIFICATION
    test/torture/faults.py
"""

import glob
import os
import random
import signal
import subprocess
import threading
import time

import psycopg2
from confluent_kafka.admin import AdminClient, ConfigResource

from kafka_client import quiet_config


class Skipped(Exception):
    pass


class World:
    """Server, broker and topics, and how to reach them."""

    # For how long an orderly stop, or a start after a crash, may take, in
    # seconds; with a process in it that another fault stops for some seconds.
    PROMPT = 60
    # For what waits for a broker that is being killed and started again.
    PATIENCE = 300

    def __init__(self, args, shared):
        self.args = args
        self.shared = shared
        self.data = args.data
        self.bootstrap = open(os.path.join(args.kafka, "bootstrap"), encoding="ascii").read().strip()
        self.server = threading.Lock()
        self.broker = threading.Lock()
        self.settings_lock = threading.Lock()
        self.settings = {}
        self.topics = []
        self.calm = threading.Event()
        self.numbers = iter(range(1, 1000000))
        # uids of letters that their keys do not wait for: whenever they are
        # published after all, it is too late for their place
        self.passed_over = set()

    # --- the server

    def program(self, name, *arguments, timeout=PROMPT):
        """Run one of the server's programs; whether it succeeded."""
        with open(self.args.output + "/programs.log", "ab") as log:
            return subprocess.run(
                [os.path.join(self.args.bindir, name), *arguments], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, timeout=timeout + 10, check=False).returncode == 0

    def start_server(self):
        """A server that was killed leaves children, who hold on to its memory
        for a moment."""
        deadline = time.monotonic() + self.PROMPT
        while not self.program("pg_ctl", "-D", self.data, "-l", self.args.output + "/server.log",
                               "-w", "-t", str(self.PROMPT), "start"):
            if time.monotonic() > deadline:
                self.shared.problem("the server does not start")
                return
            time.sleep(0.2)

    def stop_server(self, mode):
        started = time.monotonic()
        if not self.program("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", str(self.PROMPT), "stop"):
            self.shared.problem("%s shutdown took more than %d s" % (mode, self.PROMPT))
            self.program("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        return time.monotonic() - started

    def postmaster(self):
        try:
            with open(self.data + "/postmaster.pid", encoding="ascii") as file:
                return int(file.readline())
        except (OSError, ValueError):
            raise Skipped("no server") from None

    def sql(self, query, *values):
        """The rows of a query in a session of its own."""
        connection = self.shared.connect("torture-fault")
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def status(self, column):
        rows = self.sql("SELECT %s FROM outbox.status WHERE database = current_database()" % column)
        return rows[0][0] if rows else None

    def write_settings(self, **settings):
        """Change outbox.* settings (None: as before) and have them read."""
        with self.settings_lock:
            self.settings.update(settings)
            lines = ["outbox.%s = '%s'\n" % (name, value)
                     for name, value in self.settings.items() if value is not None]
            with open(self.data + "/torture.conf.new", "w", encoding="utf-8") as file:
                file.writelines(lines)
            os.rename(self.data + "/torture.conf.new", self.data + "/torture.conf")
        try:
            os.kill(self.postmaster(), signal.SIGHUP)
        except (Skipped, ProcessLookupError):
            pass                # a start reads them too

    # --- held topics and dead letters, where the extension has them

    def has_letters(self):
        return self.sql("SELECT to_regclass('outbox.dead_letter') IS NOT NULL")[0][0]

    def decide(self, topic, share):
        """Have a share of a topic's dead letters discarded, all others sent
        again; returns how many there were."""
        letters = self.sql("SELECT uid::text, parks FROM outbox.dead_letter"
                           " WHERE state = 'dead' AND request IS NULL AND (%s IS NULL OR topic = %s)"
                           " ORDER BY id", topic, topic)
        self.passed_over.update(uid for uid, parks in letters if not parks)
        for number, (uid, _) in enumerate(letters):
            discard = int(number * share) != int((number + 1) * share)
            self.sql("SELECT outbox_%s(uid => %%s::uuid)" % ("discard" if discard else "retry"), uid)
        return len(letters)

    # --- processes

    def child(self, title):
        """The pid of a child of the postmaster, by its title."""
        parent = self.postmaster()
        for path in glob.glob("/proc/[0-9]*"):
            try:
                with open(path + "/stat", encoding="ascii", errors="replace") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) != parent:
                        continue
                with open(path + "/cmdline", encoding="utf-8", errors="replace") as file:
                    if title in file.read():
                        return int(path.rpartition("/")[2])
            except (OSError, ValueError):
                continue
        raise Skipped("no " + title)

    def producer(self):
        pid = self.status("producer_pid")
        if pid is None:
            raise Skipped("no producer")
        return pid

    def publisher(self):
        return self.child("outbox publisher")

    def signal(self, pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            raise Skipped("it has ended already") from None

    def freeze(self, pid, seconds):
        self.signal(pid, signal.SIGSTOP)
        try:
            self.pause(seconds)
        finally:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

    # --- the broker

    def kafka(self, command):
        with open(self.args.output + "/programs.log", "ab") as log:
            if subprocess.run([self.args.tool, command, self.args.kafka], stdin=subprocess.DEVNULL,
                              stdout=log, stderr=log, check=False).returncode != 0:
                self.shared.problem("the broker: %s failed" % command)

    def create_topic(self, name, **config):
        options = []
        for key, value in config.items():
            options += ["--config", "%s=%s" % (key.replace("_", "."), value)]
        with open(self.args.output + "/programs.log", "ab") as log:
            if subprocess.run([os.sys.executable, self.args.client, "-b", self.bootstrap, "create", name,
                               "--partitions", "3", "--timeout", str(self.PATIENCE), *options],
                              stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              check=False).returncode != 0:
                self.shared.problem("topic %s was not created" % name)
        self.topics.append(name)

    def configure_topic(self, name, **config):
        wish = {key.replace("_", "."): str(value) for key, value in config.items()}
        deadline = time.monotonic() + self.PATIENCE
        while True:
            try:
                admin = AdminClient(quiet_config(self.bootstrap))
                resource = ConfigResource(ConfigResource.Type.TOPIC, name, set_config=wish)
                admin.alter_configs([resource], request_timeout=10)[resource].result()
                return
            except Exception as problem:
                if time.monotonic() > deadline:
                    self.shared.problem("topic %s was not changed: %s" % (name, problem))
                    return
                time.sleep(0.5)

    # --- time

    def pause(self, seconds):
        """Let a fault last, but not beyond the end of the round."""
        self.calm.wait(seconds)


class exclusively:
    """Have the server or the broker alone, or skip the fault."""

    def __init__(self, lock):
        self.lock = lock

    def __enter__(self):
        if not self.lock.acquire(blocking=False):
            raise Skipped("another fault is at it")

    def __exit__(self, *_):
        self.lock.release()


# --- the faults: functions of the world and of the number of seconds to last

def kill_publisher(world, _):
    world.signal(world.publisher(), signal.SIGKILL)


def kill_launcher(world, _):
    world.signal(world.child("outbox launcher"), signal.SIGKILL)


def kill_backend(world, _):
    world.signal(world.child(" torture "), signal.SIGKILL)


def kill_postmaster(world, _):
    with exclusively(world.server):
        world.signal(world.postmaster(), signal.SIGKILL)
        world.start_server()


def immediate(world, _):
    with exclusively(world.server):
        world.stop_server("immediate")
        world.start_server()


def restart_fast(world, _):
    with exclusively(world.server):
        world.stop_server("fast")
        world.start_server()


def kill_producer(world, _):
    world.signal(world.producer(), signal.SIGKILL)


def segv_producer(world, _):
    world.signal(world.producer(), signal.SIGSEGV)


def stop_producer(world, seconds):
    world.freeze(world.producer(), seconds)


def stop_publisher(world, seconds):
    world.freeze(world.publisher(), seconds)


def terminate_publisher(world, _):
    world.sql("SELECT pg_terminate_backend(%s)", world.publisher())


def cancel_publisher(world, _):
    world.sql("SELECT pg_cancel_backend(%s)", world.publisher())


def terminate_launcher(world, _):
    world.signal(world.child("outbox launcher"), signal.SIGTERM)


def kill_broker(world, seconds):
    with exclusively(world.broker):
        world.kafka("kill")
        world.pause(seconds / 2)
        world.kafka("start")


def restart_broker(world, seconds):
    with exclusively(world.broker):
        world.kafka("stop")
        world.pause(seconds / 2)
        world.kafka("start")


def stop_broker(world, seconds):
    with exclusively(world.broker):
        world.kafka("pause")
        world.pause(seconds)
        world.kafka("resume")


def reload_good(world, seconds):
    world.write_settings(kafka_options="linger.ms=%d" % (seconds * 2))


def reload_bad(world, seconds):
    world.write_settings(kafka_options="no.such.property=1")
    world.pause(seconds)
    world.write_settings(kafka_options=None)


def wrong_broker(world, seconds):
    """Port 1 answers to nobody."""
    world.write_settings(bootstrap_servers="127.0.0.1:1")
    world.pause(seconds)
    world.write_settings(bootstrap_servers=None)


def disable(world, seconds):
    world.write_settings(enabled="off")
    world.pause(seconds)
    world.write_settings(enabled=None)


def alter_database(world, seconds):
    """Restarts the publisher of the database."""
    world.sql("ALTER DATABASE torture SET outbox.spool_memory = '%dMB'" % (1 + int(seconds)))


def terminate_sessions(world, _):
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
              " WHERE application_name LIKE 'torture-_' OR application_name LIKE 'torture-__'")


def checkpoint(world, _):
    world.sql("CHECKPOINT")


def vacuum(world, seconds):
    for table in ("cursor", "segment", "event_%d" % (int(seconds * 10) % 4)):
        world.sql("VACUUM (FREEZE, ANALYZE) outbox.%s" % table)


def vacuum_full(world, seconds):
    """Moves rows that the publisher knows by their place."""
    for table in ("cursor", "event_%d" % (int(seconds * 10) % 4)):
        world.sql("SET lock_timeout = '2s'; VACUUM FULL outbox.%s" % table)


def hold_xmin(world, seconds):
    """A snapshot, and a transaction id, of long ago."""
    connection = world.shared.connect("torture-fault")
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()")
            world.pause(seconds * 3)
            cursor.execute("ROLLBACK")
    finally:
        connection.close()


def lock_segment(world, seconds):
    connection = world.shared.connect("torture-fault")
    modes = ("SHARE", "ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'; BEGIN; LOCK TABLE outbox.event_%d IN %s MODE"
                           % (int(seconds * 10) % 4, modes[int(seconds * 100) % 4]))
            world.pause(seconds)
            cursor.execute("ROLLBACK")
    finally:
        connection.close()


def dump(world, _):
    if not world.program("pg_dump", "-f", world.args.output + "/dump", world.shared.dsn):
        raise Skipped("pg_dump failed")


def big_transaction(world, seconds):
    """More events than are kept in memory with all their bytes."""
    world.sql("SELECT torture.emit_keyless(%s, 10) FROM generate_series(1, %s)",
              world.topics[0], int(seconds * 6000))


def missing_topic(world, seconds):
    """Emitted to at once, created later."""
    name = "%s.missing%d" % (world.args.prefix, next(world.numbers))
    connection = world.shared.connect("torture-fault")
    try:
        world.shared.add_accounts(connection, name, ["missing-1", "missing-2"])
    finally:
        connection.close()
        # its accounts may be there whatever happened to the session
        world.pause(seconds * 2)
        world.create_topic(name)


def poison(world, seconds):
    """A topic that refuses large records, until its limit is raised; what is
    dead by then is discarded or sent again."""
    name = "%s.small%d" % (world.args.prefix, next(world.numbers))
    policy = ("park", "park", "skip", "stop")[int(seconds * 100) % 4]
    letters = world.has_letters()
    world.create_topic(name, max_message_bytes=2000)
    if letters:
        world.sql("SELECT outbox_set_topic(%s, on_refusal => %s)", name, policy)
    connection = world.shared.connect("torture-fault")
    try:
        world.shared.add_accounts(connection, name, ["small-1", "small-2", "small-3"])
    finally:
        connection.close()
        world.pause(seconds)
        try:
            # while the cause is still there: some go, some are refused again
            if letters:
                world.decide(name, 0.3)
            world.pause(seconds)
        finally:
            world.configure_topic(name, max_message_bytes=1000000)
    if letters:
        world.decide(name, 0.3 if policy == "park" else 0)


def pause_topic(world, seconds):
    if not world.has_letters():
        raise Skipped("topics cannot be paused")
    topic = world.topics[int(seconds * 100) % len(world.topics)]
    world.sql("SELECT outbox_set_topic(%s, paused => true)", topic)
    world.pause(seconds)
    world.sql("SELECT outbox_set_topic(%s, paused => false)", topic)


GROUPS = {
    "crash": (kill_publisher, kill_launcher, kill_backend, kill_postmaster, immediate),
    "server": (restart_fast, checkpoint),
    "producer": (kill_producer, segv_producer, stop_producer),
    "publisher": (terminate_publisher, cancel_publisher, stop_publisher, terminate_launcher),
    "broker": (kill_broker, restart_broker, stop_broker),
    "settings": (reload_good, reload_bad, wrong_broker, disable, alter_database),
    "sessions": (terminate_sessions, vacuum, hold_xmin, lock_segment, dump, big_transaction),
    "topics": (missing_topic, poison, pause_topic),
}

# Nothing is published twice on account of these alone.
HARMLESS = {"checkpoint", "restart_fast", "vacuum", "hold_xmin", "lock_segment", "dump",
            "big_transaction", "terminate_sessions", "disable", "alter_database", "reload_good"}

# What is not done unless it is asked for by name.
EXTRA = (vacuum_full,)


def names():
    return {f.__name__: f for group in GROUPS.values() for f in group} | {f.__name__: f for f in EXTRA}


def choose(text):
    """The faults of a list of names and of groups; "all", or "none"."""
    known = names()
    chosen = []
    for word in text.replace(",", " ").split():
        if word == "all":
            chosen += [f.__name__ for group in GROUPS.values() for f in group]
        elif word in GROUPS:
            chosen += [f.__name__ for f in GROUPS[word]]
        elif word in known:
            chosen.append(word)
        elif word != "none":
            raise SystemExit("there is no fault \"%s\"; there are the groups %s, and %s"
                             % (word, ", ".join(GROUPS), ", ".join(known)))
    return sorted(set(chosen))


class Schedule(threading.Thread):
    """Starts faults by lot, until it is told to be calm; keeps a diary."""

    # Seconds between two faults: often close together, and every now and then
    # long enough for the publisher to be back and at work.
    BUSY = 2.0
    QUIET = 8.0

    def __init__(self, world, seed, chosen):
        super().__init__(daemon=True)
        self.world = world
        self.random = random.Random("%s/faults" % seed)
        self.chosen = chosen
        self.bag = []
        self.diary = []
        self.started = time.monotonic()
        self.running = []

    def run(self):
        while self.chosen and not self.world.calm.is_set():
            quiet = self.random.random() < 0.3
            gap = self.random.uniform(0, 2) * (self.QUIET if quiet else self.BUSY)
            if not self.bag:
                # each once before any twice
                self.bag = list(self.chosen)
                self.random.shuffle(self.bag)
            name = self.bag.pop()
            seconds = self.random.uniform(0.2, 5)
            if self.world.calm.wait(gap):
                break
            thread = threading.Thread(target=self.carry_out, args=(name, seconds), daemon=True)
            thread.start()
            self.running.append(thread)
            self.running = [t for t in self.running if t.is_alive()]

    def carry_out(self, name, seconds):
        began = time.monotonic()
        entry = [began - self.started, name, seconds, "under way"]
        self.diary.append(entry)
        try:
            names()[name](self.world, seconds)
            entry[3] = "took %.1f s" % (time.monotonic() - began)
            self.world.shared.count("fault " + name)
        except Skipped as reason:
            entry[3] = "skipped: %s" % reason
        except psycopg2.Error as problem:
            entry[3] = "cut short: %s" % (str(problem).split("\n", maxsplit=1)[0] or repr(problem))
        except Exception as problem:
            entry[3] = "failed: %r" % problem
            self.world.shared.problem("fault %s: %r" % (name, problem))

    def end(self, limit):
        """Wait until all faults are mended."""
        self.world.calm.set()
        deadline = time.monotonic() + limit
        self.join()
        for thread in self.running:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self.world.shared.problem("a fault did not end")

    def lines(self):
        return ["%8.2f %-20s %.3f  %s" % tuple(entry) for entry in self.diary]
