"""Sessions that emit at random, and write down what they commit.

Each event with a key carries the next number of its account (a topic and key),
taken under the lock of the account's row, so that its order is promised.  The
ledger is written in the same transaction: what reaches Kafka and is not there
was rolled back, or undone by a crash.  Whatever else a transaction can do is
drawn by lot: see Emitter.transaction.

IDENTIFICATION
    test/torture/emitters.py
"""

import collections
import random
import threading
import time

import psycopg2

SETUP = """
CREATE SCHEMA torture;
CREATE TABLE torture.account
    (id int PRIMARY KEY, topic text NOT NULL, key text NOT NULL, n bigint NOT NULL DEFAULT 0,
     UNIQUE (topic, key));
CREATE TABLE torture.ledger
    (uid uuid NOT NULL, topic text NOT NULL, key text, n bigint, digest text NOT NULL,
     xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
     client text NOT NULL DEFAULT current_setting('application_name'),
     at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE torture.job (account int, filler int);
CREATE TABLE torture.late_job (account int, filler int);

-- The next event of an account: number under the row's lock, emit, ledger.
CREATE FUNCTION torture.emit(a_account int, a_filler int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    account torture.account;
    body text;
BEGIN
    UPDATE torture.account SET n = n + 1 WHERE id = a_account RETURNING * INTO STRICT account;
    body := jsonb_build_object('key', account.key, 'n', account.n, 'filler', repeat('x', a_filler));
    INSERT INTO torture.ledger (uid, topic, key, n, digest)
    VALUES (outbox_emit(account.topic, body, account.key), account.topic, account.key, account.n,
            md5(body));
END $$;

-- One without a key: no lock, no order.
CREATE FUNCTION torture.emit_keyless(a_topic text, a_filler int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    body text := jsonb_build_object('random', gen_random_uuid(), 'filler', repeat('x', a_filler));
BEGIN
    INSERT INTO torture.ledger (uid, topic, digest)
    VALUES (outbox_emit(a_topic, body), a_topic, md5(body));
END $$;

-- As many subtransactions as asked for, every third of them undone.
CREATE FUNCTION torture.emit_in_subtransactions(a_account int, a_count int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. a_count LOOP
        BEGIN
            PERFORM torture.emit(a_account, i);
            IF i % 3 = 0 THEN
                RAISE EXCEPTION 'undone';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
END $$;

CREATE FUNCTION torture.do_job() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM torture.emit(NEW.account, NEW.filler);
    RETURN NULL;
END $$;
CREATE TRIGGER do_job AFTER INSERT ON torture.job
    FOR EACH ROW EXECUTE FUNCTION torture.do_job();
CREATE CONSTRAINT TRIGGER do_job AFTER INSERT ON torture.late_job
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION torture.do_job();
"""

# What a session may be told that concerns nobody else: serialization failure,
# deadlock, lock not available.
TRY_AGAIN = ("40001", "40P01", "55P03")

# More prepared transactions than this are not left to others; the server has
# room for some more.
MOST_PREPARED = 20


def is_connection_lost(problem, connection):
    """Whether an error means that the session is gone (57P: it was told so)."""
    return connection.closed or problem.pgcode is None or problem.pgcode.startswith("57P")


class Shared:
    """What the emitters and the faults have in common."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.lock = threading.Lock()
        self.stop = threading.Event()
        # (id, topic) of each account; those at the end are of topics in trouble
        self.accounts = []
        self.outcome = collections.Counter()
        self.slowest_emit = 0.0
        self.problems = []

    def count(self, name, number=1):
        with self.lock:
            self.outcome[name] += number

    def problem(self, what):
        with self.lock:
            self.problems.append(what)

    def add_accounts(self, connection, topic, keys):
        """Make accounts of a topic; emitters use them from now on."""
        with connection.cursor() as cursor:
            added = []
            for key in keys:
                cursor.execute(
                    "INSERT INTO torture.account (id, topic, key)"
                    " SELECT coalesce(max(id), 0) + 1, %s, %s FROM torture.account RETURNING id",
                    (topic, key))
                added.append((cursor.fetchone()[0], topic))
        with self.lock:
            self.accounts += added
        return [account for account, _ in added]

    def connect(self, name):
        connection = psycopg2.connect(self.dsn, application_name=name, connect_timeout=10)
        connection.autocommit = True
        return connection


class Emitter(threading.Thread):
    def __init__(self, shared, seed, number):
        super().__init__(daemon=True)
        self.shared = shared
        self.name = "torture-%d" % number
        self.random = random.Random("%s/emitter/%d" % (seed, number))
        self.connection = None
        self.prepared = 0

    def run(self):
        while not self.shared.stop.is_set():
            try:
                if self.connection is None:
                    self.connection = self.shared.connect(self.name)
                    with self.connection.cursor() as cursor:
                        # shorter than a prepared transaction may keep its locks
                        cursor.execute("SET lock_timeout = '300ms'; SET deadlock_timeout = '200ms'")
                self.transaction()
            except psycopg2.Error as problem:
                self.after_error(problem)
            except Exception as problem:
                self.shared.problem("%s: %r" % (self.name, problem))
                return
            time.sleep(self.random.random() * 0.03)
        if self.connection is not None:
            self.connection.close()

    def after_error(self, problem):
        if self.connection is None:
            time.sleep(0.1)
        elif is_connection_lost(problem, self.connection):
            self.shared.count("lost connections")
            self.connection.close()
            self.connection = None
            time.sleep(0.05)
        else:
            if problem.pgcode not in TRY_AGAIN:
                self.shared.problem("%s: %s %s" % (self.name, problem.pgcode, problem))
            self.shared.count("tried again")
            try:
                with self.connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
            except psycopg2.Error:
                self.connection.close()
                self.connection = None

    def chance(self, share):
        return self.random.random() < share

    def wait(self):
        """Mostly nothing, now and then a moment, rarely a long one."""
        if self.chance(0.1):
            time.sleep(self.random.random() * (2.0 if self.chance(0.05) else 0.03))

    def transaction(self):
        rng = self.random
        with self.shared.lock:
            accounts = list(self.shared.accounts)
        # Ascending, so that sessions do not deadlock (often).
        chosen = sorted(rng.sample(accounts, min(len(accounts), rng.choice((1, 1, 1, 2, 3, 4)))))
        with self.connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL " + rng.choice(
                ("READ COMMITTED",) * 4 + ("REPEATABLE READ", "SERIALIZABLE")))
            cursor.execute("SET LOCAL synchronous_commit = " + rng.choice(("on", "off", "local")))
            if self.chance(0.15):
                cursor.execute("SELECT pg_current_xact_id()")
                # others overtake it, with later ids of transactions
                time.sleep(rng.random() * (1.0 if self.chance(0.1) else 0.1))
            for account, topic in chosen:
                for _ in range(rng.choice((1, 1, 2, 3))):
                    self.emit(cursor, account, topic)
                self.wait()
            self.end(cursor)

    def emit(self, cursor, account, topic):
        rng = self.random
        filler = rng.choice((0, 100, 100, 300, rng.randrange(4000)))
        event = (account, filler)
        kind = rng.randrange(100)
        if kind < 40:
            cursor.execute("SELECT torture.emit(%s, %s)", event)
        elif kind < 50:
            cursor.execute("SAVEPOINT s; SELECT torture.emit(%s, %s); ROLLBACK TO s; RELEASE s", event)
        elif kind < 60:
            cursor.execute("SAVEPOINT s; SELECT torture.emit(%s, %s); RELEASE s", event)
        elif kind < 70:
            cursor.execute("INSERT INTO torture.job VALUES (%s, %s)", event)
        elif kind < 75:
            cursor.execute("INSERT INTO torture.late_job VALUES (%s, %s)", event)
        elif kind < 82:
            cursor.execute("SELECT torture.emit(%s, i) FROM generate_series(1, %s) i",
                           (account, rng.randrange(1, 12)))
        elif kind < 90:
            started = time.monotonic()
            cursor.execute("SELECT torture.emit_keyless(%s, %s)", (topic, filler))
            taken = time.monotonic() - started
            with self.shared.lock:
                self.shared.slowest_emit = max(self.shared.slowest_emit, taken)
        elif kind < 98:
            cursor.execute("SELECT torture.emit_in_subtransactions(%s, %s)",
                           (account, rng.choice((2, 3, 5))))
        elif kind < 99:
            # more than the 64 that a snapshot has room for, one after the other
            cursor.execute("SELECT torture.emit_in_subtransactions(%s, %s)",
                           (account, rng.randrange(65, 130)))
        else:
            # and one inside the other, with half of them undone at once
            depth = rng.randrange(66, 90)
            for level in range(depth):
                cursor.execute("SAVEPOINT s%d; SELECT torture.emit(%d, 1)" % (level, account))
            cursor.execute("ROLLBACK TO s%d" % rng.randrange(depth))

    def end(self, cursor):
        dice = self.random.random()
        if dice < 0.1:
            cursor.execute("ROLLBACK")
            self.shared.count("rolled back")
            return
        if dice < 0.2:
            cursor.execute("SELECT count(*) FROM pg_prepared_xacts")
            if cursor.fetchone()[0] < MOST_PREPARED:
                self.prepared += 1
                cursor.execute("PREPARE TRANSACTION %s",
                               ("%s-%d-%d" % (self.name, time.time_ns(), self.prepared),))
                self.shared.count("prepared")
                return
        cursor.execute("COMMIT")
        self.shared.count("committed")


class Finisher(threading.Thread):
    """Ends what was prepared: soon or late, one in five by rolling back."""

    LATEST = 6.0                # seconds

    def __init__(self, shared, seed):
        super().__init__(daemon=True)
        self.shared = shared
        self.seed = seed
        self.connection = None

    def run(self):
        while not self.shared.stop.is_set():
            try:
                self.finish(everything=False)
            except psycopg2.Error:
                # It is all in the database: the next look finds it again.
                if self.connection is not None:
                    self.connection.close()
                self.connection = None
            time.sleep(0.1)
        if self.connection is not None:
            self.connection.close()

    def finish(self, everything):
        """One look; returns how many are left."""
        if self.connection is None:
            self.connection = self.shared.connect("torture-finisher")
        left = 0
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT gid, extract(epoch FROM clock_timestamp() - prepared)"
                           " FROM pg_prepared_xacts WHERE gid LIKE 'torture-%'")
            for gid, age in cursor.fetchall():
                lot = random.Random("%s/%s" % (self.seed, gid))
                patience = lot.random() ** 3 * self.LATEST
                if not everything and float(age) < patience:
                    left += 1
                    continue
                cursor.execute("%s PREPARED %%s" % ("ROLLBACK" if lot.random() < 0.2 else "COMMIT"),
                               (gid,))
        return left


def finish_all(shared, seed, deadline):
    """End all prepared transactions, on a server that may still be on its way."""
    finisher = Finisher(shared, seed)
    while True:
        try:
            if finisher.finish(everything=True) == 0:
                finisher.connection.close()
                return
        except psycopg2.Error:
            finisher.connection = None
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)
