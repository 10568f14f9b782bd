#!/usr/bin/env python3
"""Emits events from several sessions at once, so that a consumer can tell what
is lost, made up, doubled or out of order.

    load.py --dsn DSN setup
    load.py --dsn DSN run [--clients N] [--seconds S | --transactions N] ...

SIGTERM ends a run early, as if its time were up.

Each event belongs to a key, and carries the key's next number, taken under the
lock of the key's row; what is committed is written down in the same transaction
(table load.truth): whatever reaches Kafka and is not there was rolled back.
Transactions touch one to four keys, use savepoints and exception blocks that
they roll back, wait a little inside, roll back as a whole, or commit in two
phases, the second of them possibly from another session.  A lost connection is
taken up again: the truth is in the database, also about a commit whose outcome
the client never heard of.  With --tolerate, errors of these SQLSTATEs (or of
classes, their first two characters) undo a transaction, and the client goes on.

With --probe, one more client emits single events of a key of its own, which
nobody else locks: how long such a statement takes is how long an emitter waits.

run prints one JSON object: transactions and events by their outcome.  It ends
all prepared transactions that it left (and only those).
"""

import argparse
import collections
import json
import random
import signal
import sys
import threading
import time

import psycopg2

SETUP = """
CREATE SCHEMA load;
CREATE TABLE load.key (key text PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
CREATE TABLE load.truth (topic text NOT NULL, uid uuid NOT NULL, key text, n bigint,
                         at double precision);

-- The next event of a key: number under the row's lock, emit, truth.  The time
-- is that of the client's clock, whatever the server's says.
CREATE FUNCTION load.emit(a_topic text, a_key text, a_filler text, a_at double precision) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
BEGIN
    UPDATE load.key SET n = n + 1 WHERE key = a_key RETURNING n INTO STRICT number;
    INSERT INTO load.truth
    SELECT a_topic, outbox_emit(a_topic,
                                jsonb_build_object('key', a_key, 'n', number, 'filler', a_filler),
                                a_key, headers => jsonb_build_object('n', number)),
           a_key, number, a_at;
END $$;

-- The same, undone by an exception.
CREATE FUNCTION load.emit_undone(a_topic text, a_key text, a_filler text, a_at double precision) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM load.emit(a_topic, a_key, a_filler, a_at);
    RAISE EXCEPTION 'undone';
EXCEPTION WHEN raise_exception THEN
    NULL;
END $$;
"""

# What a consumer is held against; see kafka_client.py verify.
TRUTH = "SELECT topic, uid, key, n FROM load.truth"


class Client(threading.Thread):
    def __init__(self, args, number, stop_at, stop):
        super().__init__(daemon=True)
        self.args = args
        self.stop_at = stop_at
        self.stop = stop
        self.random = random.Random("%s/%d" % (args.seed, number))
        self.prefix = "load-%s-%d-" % (args.run, number)
        self.outcome = collections.Counter()
        self.connection = None
        self.error = None
        self.prepared = 0

    def run(self):
        try:
            done = 0
            while not self.stop.is_set() and time.monotonic() < self.stop_at and (
                    self.args.transactions is None or done < self.args.transactions):
                try:
                    if self.connection is None:
                        self.connection = psycopg2.connect(self.args.dsn)
                        self.connection.autocommit = True
                        # What it left prepared keeps locks that all wait for.
                        end_prepared(self.connection, self.prefix)
                    self.transaction()
                except psycopg2.Error as problem:
                    if self.tolerates(problem):
                        done += 1
                        continue
                    # Server away, or the session ended: what was under way is
                    # known to the database only.  The driver has no class of
                    # error for it, and does not always see that the connection
                    # is closed; an error of the server's has a SQLSTATE.
                    if self.connection is not None and not self.connection.closed:
                        if problem.pgcode is not None and not problem.pgcode.startswith("57P"):
                            raise
                        self.connection.close()
                    self.outcome["lost_connections"] += 1
                    self.connection = None
                    time.sleep(0.05)
                done += 1
        except Exception as problem:
            self.error = problem

    def tolerates(self, problem):
        """Whether the client goes on after this error, in a new session."""
        if problem.pgcode is None or not problem.pgcode.startswith(self.args.tolerate):
            return False
        self.outcome["errors"] += 1
        self.outcome["error_" + problem.pgcode] += 1
        # what it left prepared is ended at the next connection
        self.connection.close()
        self.connection = None
        # what refuses one refuses all for now
        time.sleep(0.02)
        return True

    def transaction(self):
        args, rng = self.args, self.random
        keys = sorted({rng.randrange(args.keys) for _ in range(rng.randint(1, args.keys_per_transaction))})
        events = undone = 0
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN")
            if rng.random() < args.asynchronous:
                cursor.execute("SET LOCAL synchronous_commit = off")
            for key in keys:
                name = "key-%d" % key
                event = (args.topics[key % len(args.topics)], name, "x" * rng.randrange(args.filler),
                         time.time())
                for _ in range(rng.randint(1, 3)):
                    dice = rng.random()
                    if dice < args.savepoints / 2:
                        cursor.execute("SAVEPOINT s; SELECT load.emit(%s, %s, %s, %s); ROLLBACK TO s", event)
                        undone += 1
                    elif dice < args.savepoints:
                        cursor.execute("SELECT load.emit_undone(%s, %s, %s, %s)", event)
                        undone += 1
                    else:
                        cursor.execute("SELECT load.emit(%s, %s, %s, %s)", event)
                        events += 1
                if rng.random() < args.waits:
                    time.sleep(rng.random() * 0.02)
            dice = rng.random()
            if dice < args.rollbacks:
                cursor.execute("ROLLBACK")
                self.outcome["rolled_back"] += 1
                undone += events
                events = 0
            elif dice < args.rollbacks + args.prepared:
                self.prepared += 1
                name = self.prefix + str(self.prepared)
                cursor.execute("PREPARE TRANSACTION %s", (name,))
                if rng.random() < args.waits:
                    time.sleep(rng.random() * 0.05)
                cursor.execute("COMMIT PREPARED %s", (name,))
                self.outcome["committed_prepared"] += 1
            else:
                cursor.execute("COMMIT")
                self.outcome["committed"] += 1
        self.outcome["events_committed"] += events
        self.outcome["events_undone"] += undone


class Probe(Client):
    """Emits single events, one after the other, and notes the slowest."""

    slowest = 0.0

    def transaction(self):
        event = (self.args.topics[0], "key-probe", "x", time.time())
        wait = "off" if self.random.random() < self.args.asynchronous else "on"
        started = time.monotonic()
        with self.connection.cursor() as cursor:
            # one message: one way to the server and back
            cursor.execute("BEGIN; SET LOCAL synchronous_commit = " + wait +
                           "; SELECT load.emit(%s, %s, %s, %s); COMMIT", event)
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.outcome["events_committed"] += 1
        # often enough to meet whatever holds up emitters, and no load by itself
        time.sleep(0.005)


def end_prepared(connection, prefix):
    """Commit or roll back, in turn, what is prepared; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT gid FROM pg_catalog.pg_prepared_xacts"
                       " WHERE pg_catalog.starts_with(gid, %s)", (prefix,))
        names = [name for (name,) in cursor]
        for number, name in enumerate(names):
            cursor.execute(("ROLLBACK" if number % 2 else "COMMIT") + " PREPARED %s", (name,))
    return len(names)


def finish_prepared(args):
    """End what a crash left prepared, of all clients; returns how many."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = psycopg2.connect(args.dsn)
            break
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    connection.autocommit = True
    count = end_prepared(connection, "load-%s-" % args.run)
    connection.close()
    return count


def setup(args):
    connection = psycopg2.connect(args.dsn)
    with connection.cursor() as cursor:
        cursor.execute(SETUP)
        cursor.execute("INSERT INTO load.key SELECT 'key-' || i FROM generate_series(0, %s) i"
                       " UNION ALL SELECT 'key-probe'",
                       (args.keys - 1,))
    connection.commit()
    connection.close()
    return 0


def run(args):
    started = time.monotonic()
    stop_at = started + args.seconds
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    clients = [Client(args, number, stop_at, stop) for number in range(args.clients)]
    if args.probe:
        clients.append(Probe(args, args.clients, stop_at, stop))
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    total = collections.Counter()
    for client in clients:
        total.update(client.outcome)
        if client.connection is not None:
            client.connection.close()
    if args.probe:
        total["slowest_emit_ms"] = round(1000 * clients[-1].slowest)
    total["left_prepared"] = finish_prepared(args) if args.prepared else 0
    total["seconds"] = round(time.monotonic() - started, 3)
    print(json.dumps(total))
    for client in clients:
        if client.error is not None:
            raise client.error
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--keys", type=int, default=50)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup").set_defaults(function=setup)
    sub = commands.add_parser("run")
    sub.set_defaults(function=run)
    sub.add_argument("--clients", type=int, default=8)
    sub.add_argument("--seconds", type=float, default=10.0, help="at most")
    sub.add_argument("--transactions", type=int, help="per client; default: until time is up")
    sub.add_argument("--topics", default="load", type=lambda names: names.split(","))
    sub.add_argument("--keys-per-transaction", type=int, default=4)
    sub.add_argument("--filler", type=int, default=200, help="payload bytes, less than")
    for name, share in (("savepoints", 0.2), ("rollbacks", 0.1), ("prepared", 0.1), ("waits", 0.1),
                        ("asynchronous", 0.0)):
        sub.add_argument("--" + name, type=float, default=share, help="share, 0 to 1")
    sub.add_argument("--probe", action="store_true")
    sub.add_argument("--tolerate", default=(), type=lambda codes: tuple(codes.split(",")))
    sub.add_argument("--seed", default="1")
    sub.add_argument("--run", default="%08x" % random.getrandbits(32),
                     help="name for this run's prepared transactions")
    args = parser.parse_args()
    return args.function(args)


if __name__ == "__main__":
    sys.exit(main())
