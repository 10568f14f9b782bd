"""The producer against a mock broker: frames, configuration, life, errors."""
import fcntl
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time

from harness import (ALONE, BLOCKS, CLIENT, CONFIGURATION, CONNECTION, EVENT,
                     MAX_BODY, NONE, PATIENCE, PRODUCE, PROGRAM, PROTOCOL,
                     RECORD, TOPIC, Frozen, Mock, Producer, acknowledged,
                     alive, config, event, events, failed, frame, headers,
                     stop, wait_until)

NOWHERE = [("bootstrap.servers", "127.0.0.1:1")]
FUZZ_SECONDS = 5
SECRET = "hunter2-is-secret"


def test_for_people():
    out = subprocess.run([PROGRAM, "--version"], stdout=subprocess.PIPE,
                         check=True).stdout
    assert out.startswith(b"outbox_producer 1."), out
    assert b"librdkafka" in out
    out = subprocess.run([PROGRAM, "--help"], stdout=subprocess.PIPE,
                         check=True).stdout
    assert b"Usage" in out
    done = subprocess.run([PROGRAM], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"not a socket" in done.stderr


def test_greeting():
    with Producer() as p:
        hello = p.expect("H")
        protocol, kafka = struct.unpack_from("=II", hello.body)
        assert protocol == PROTOCOL and kafka >= 0x020002ff
        assert hello.body[8:40].rstrip(b"\0").startswith(b"1.")
        p.send(frame("C", config(NOWHERE)))
        p.expect("Y")
        assert [f.kind for f in p.frames[:2]] == ["H", "Y"]


def test_round_trip():
    pairs = [("a", b"x"), ("null", None), ("empty", b""), ("a", b"\0\xff")]
    uid = bytes(range(16))
    with Mock() as mock, Producer() as p:
        mock("create t 2")
        p.start(mock.options())
        p.send(frame("E", event(1, partition=0, uid=uid,
                                header=headers(pairs))))
        p.send(frame("E", event(2, partition=0, key=None, payload=None)))
        p.send(frame("E", event(3, partition=0, key=b"", payload=b"")))
        p.send(frame("E", event(4, partition=1, key=b"\0k",
                                payload=b"\0" * 1000, header=b"",
                                timestamp=1234567890123)))
        acknowledged(p, range(1, 5))
        p.expect("S", cls=NONE, code=0)
        records = mock.read("t", 2, 4)
        zero = [r for r in records if r[0] == 0]
        one = [r for r in records if r[0] == 1]
        assert [r[3:5] for r in zero] == [(b"k", b"p"), (None, None),
                                          (b"", b"")], zero
        assert zero[0][5] == [
            ("id", b"00010203-0405-0607-0809-0a0b0c0d0e0f")] + pairs, zero[0]
        assert [name for name, _ in zero[1][5]] == ["id"]
        assert one[0][2:5] == (1234567890123, b"\0k", b"\0" * 1000)


def test_order_of_many():
    count = 20000
    with Mock() as mock, Producer() as p:
        mock("create t 4")
        p.start(mock.options())
        p.send(b"".join(
            frame("E", event(n, key=b"k%d" % (n % 50), payload=b"%d" % n))
            for n in range(1, count + 1)))
        acknowledged(p, range(1, count + 1))
        last = {}
        for r in mock.read("t", 4, count):
            assert last.get(r[3], 0) < int(r[4]), "order of a key"
            last[r[3]] = int(r[4])
        assert len(last) == 50


def test_numbers_far_apart():
    numbers = [1, 2 ** 40, 2 ** 33, 2 ** 57 - 1]
    with Mock() as mock, Producer() as p:
        p.start(mock.options())
        p.send(events(numbers))
        acknowledged(p, numbers)
        assert sorted(p.acknowledged) == sorted(numbers)


def test_large_events():
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        p.send(events([1], payload=b"x" * (20 << 20)))
        p.send(events([2], header=headers([("h", b"y" * (3 << 20))])))
        p.send(events([3], header=headers([("", b"")] * 100000)))
        p.send(events(range(4, 1000)))
        acknowledged(p, range(1, 1000))


def test_full_queue():
    """A full queue stops reading; nothing is lost or reordered by it."""
    count = 5000
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        mock("down 1")
        p.start(mock.options(("outbox.queue_size", 64),
                             ("outbox.max_event_size", 1000)))
        data = b"".join(frame("E", event(n, payload=b"%0900d" % n))
                        for n in range(1, count + 1))
        sent = 0
        refused_since = None
        while refused_since is None or time.monotonic() - refused_since < 1:
            assert sent < len(data), "it took everything"
            p.receive()
            try:
                sent += p.socket.send(data[sent:sent + 100000],
                                      socket.MSG_DONTWAIT)
                refused_since = None
            except BlockingIOError:
                refused_since = refused_since or time.monotonic()
        assert sent < 2000000, "it took %d bytes" % sent
        mock("up 1")
        p.send(data[sent:])
        acknowledged(p, range(1, count + 1))
        assert [int(r[4]) for r in mock.read("t", 1, count)] == \
            list(range(1, count + 1))


def test_full_of_headers():
    """Headers and keys count too, which librdkafka's limit leaves out."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        mock("down 1")
        p.start(mock.options(("outbox.queue_size", 1024),
                             ("outbox.max_event_size", 100000)))
        data = events(range(1, 201), payload=None,
                      header=headers([("h", b"x" * 60000)]))
        sent = 0
        refused_since = None
        while refused_since is None or time.monotonic() - refused_since < 1:
            assert sent < len(data), "it took everything"
            try:
                sent += p.socket.send(data[sent:], socket.MSG_DONTWAIT)
                refused_since = None
            except BlockingIOError:
                refused_since = refused_since or time.monotonic()
        assert sent < 3000000, "it took %d bytes" % sent
        mock("up 1")
        p.send(data[sent:])
        acknowledged(p, range(1, 201))


def test_publisher_that_does_not_read():
    count = 150000
    with Mock() as mock, Producer() as p:
        p.start(mock.options())
        data = memoryview(events(range(1, count + 1), key=None, payload=None))
        p.socket.settimeout(5)
        try:
            while data:
                data = data[p.socket.send(data[:1 << 20]):]
        except socket.timeout:
            pass
        p.socket.settimeout(None)
        p.send(data)
        acknowledged(p, range(1, count + 1))


def refusal(options, *names):
    with Producer() as p:
        p.expect("H")
        p.send(frame("C", config(options)))
        f = failed(p, CONFIGURATION, 1)
        assert p.find("Y") is None
        for name in names:
            assert name in f.text, "%r does not name %s" % (f.text, name)
        for f in p.frames:
            assert SECRET not in (f.text or ""), "secret told: " + f.text
        return f.text


def test_refused_options():
    refusal(NOWHERE + [("acks", "1")], '"acks"')
    refusal(NOWHERE + [("plugin.library.paths", "/no/such")],
            '"plugin.library.paths"')
    refusal(NOWHERE + [("test.mock.num.brokers", "1")],
            '"test.mock.num.brokers"')
    refusal(NOWHERE + [("no.such.property", "1")], '"no.such.property"')
    refusal(NOWHERE + [("linger.ms", "5ms")], '"linger.ms"')
    refusal(NOWHERE + [("linger.ms", "0.5"), ("linger.ms", "5ms")],
            '"linger.ms"')
    refusal(NOWHERE + [("linger.ms", "99999999999")], '"linger.ms"')
    refusal(NOWHERE + [("batch.size", "1MB")], '"batch.size"')
    refusal(NOWHERE + [("batch.size", "10000.5")], '"batch.size"')
    refusal(NOWHERE + [("batch.size", "010000")], '"batch.size"')
    refusal(NOWHERE + [("batch.size", "99999999999")], '"batch.size"')
    refusal(NOWHERE + [("batch.size", "")], '"batch.size"')
    refusal(NOWHERE + [("compression.type", "tar")], '"compression.type"')
    refusal(NOWHERE + [("outbox.no_such", "1")], '"outbox.no_such"')
    refusal(NOWHERE + [("outbox.queue_size", "0")], '"outbox.queue_size"')
    refusal(NOWHERE + [("outbox.stall_timeout", "2s")],
            '"outbox.stall_timeout"')
    refusal([("linger.ms", "1")], '"bootstrap.servers"')


def test_secrets_are_not_told():
    refusal(NOWHERE + [("sasl.password", SECRET), ("acks", SECRET)])
    refusal(NOWHERE + [("sasl.password", SECRET), ("linger.ms", SECRET)])
    refusal(NOWHERE + [("sasl.password", SECRET),
                       ("compression.type", SECRET)], "***")
    refusal(NOWHERE + [("security.protocol", "ssl"),
                       ("ssl.key.pem", SECRET)], "ssl.key.pem")
    refusal(NOWHERE + [("security.protocol", "sasl_plaintext"),
                       ("sasl.mechanism", "PLAIN"),
                       ("sasl.password", SECRET)])
    with Producer() as p:
        p.start(NOWHERE + [("security.protocol", "sasl_plaintext"),
                           ("sasl.mechanism", "SCRAM-SHA-256"),
                           ("sasl.username", "u-" + SECRET),
                           ("sasl.password", SECRET), ("debug", "all")])
        p.send(events([1]))
        p.expect("S", cls=CONNECTION)
        p.expect("L", level=7)
        for f in p.frames:
            assert SECRET not in (f.text or ""), "secret told: " + f.text
    with open("/proc/self/cmdline") as f:
        assert SECRET not in f.read()


def test_accepted_options():
    with Mock() as mock, Producer() as p:
        p.start(mock.options(("linger.ms", "3"), ("linger.ms", "0.5"),
                             ("queue.buffering.max.ms", "1"),
                             ("compression.type", "lz4"),
                             ("client.id", "me"), ("batch.size", "10000")))
        p.send(events(range(1, 100)))
        acknowledged(p, range(1, 100))
    with Producer() as p:
        p.start([("outbox.allow_test_options", "1"),
                 ("test.mock.num.brokers", "1")])
        p.send(events([1]))
        acknowledged(p, [1])


def test_protocol_version():
    with Producer() as p:
        p.expect("H")
        p.send(frame("C", config(NOWHERE, protocol=PROTOCOL + 1)))
        assert "version" in failed(p, CLIENT, 2).text
    with Producer() as p:
        p.expect("H")
        p.send(frame("C", config(NOWHERE, protocol=PROTOCOL - 1)))
        assert "version" in failed(p, CLIENT, 2).text


def test_broken_frames():
    good = event(1)

    def patched(**fields):
        names = ["number", "timestamp", "uid", "partition", "key_length",
                 "headers_length", "payload_length", "topic_length", "flags",
                 "unused"]
        values = list(EVENT.unpack_from(good))
        for name, value in fields.items():
            values[names.index(name)] = value
        return EVENT.pack(*values) + good[EVENT.size:]

    ready = frame("C", config(NOWHERE))
    streams = [
        frame("C", b""), frame("C", b"1234567"),
        frame("C", config(NOWHERE)[:-1]),
        frame("C", config(NOWHERE) + b"name\0"),
        frame("E", good), frame("?"), frame("H"), b"\xff" * 8,
        frame("C", length=MAX_BODY + 1),
        struct.pack("=IBBBB", 0, ord("C"), 1, 0, 0),
        ready + ready,
        ready + frame("E", b""), ready + frame("E", good[:EVENT.size - 1]),
        ready + frame("E", good + b"x"), ready + frame("E", good[:-1]),
        ready + frame("E", patched(number=0)),
        ready + frame("E", patched(number=2 ** 57)),
        ready + frame("E", patched(partition=-2)),
        ready + frame("E", patched(key_length=-2)),
        ready + frame("E", patched(key_length=2 ** 31 - 1)),
        ready + frame("E", patched(key_length=2 ** 31 - 1,
                                   headers_length=2 ** 31 - 1,
                                   payload_length=2 ** 31 - 1)),
        ready + frame("E", patched(payload_length=-1)),
        ready + frame("E", patched(topic_length=0)),
        ready + frame("E", patched(topic_length=250)),
        ready + frame("E", patched(topic_length=3)),
        ready + frame("E", patched(flags=2)),
        ready + frame("E", patched(flags=ALONE | 2)),
        ready + frame("E", patched(flags=0x8000)),
        ready + frame("E", patched(unused=1)),
        ready + frame("E", event(1, topic="a\0b")),
        ready + frame("E", event(1, header=b"\0")),
        ready + frame("E", event(1, header=b"\0\1a\0\0\0")),
        ready + frame("E", event(1, header=b"\0\1a\0\0\0\1")),
        ready + frame("E", event(1, header=b"\0\1a\xff\xff\xff\xfe")),
        ready + frame("E", event(1, header=b"\xff\xff\0\0\0\0")),
        ready + frame("E", event(1, header=headers([("a", b"b")]) + b"\0")),
    ]
    for number, stream in enumerate(streams):
        with Producer() as p:
            p.send(stream)
            try:
                failed(p, CLIENT, 2)
            except AssertionError as e:
                raise AssertionError("stream %d: %s" % (number, e))


def test_fuzz():
    """Whatever comes, the program ends in an orderly way or goes on."""
    rng = random.Random(20240601)
    whole = (frame("C", config(NOWHERE + [("linger.ms", "5"),
                                          ("client.id", "x")])) +
             b"".join(frame("E", event(
                 n, topic="t%d" % (n % 3), payload=b"p" * (n * 7 % 50),
                 header=headers([("a", b"b"), ("c", None)]),
                 flags=ALONE if n % 3 == 0 else 0))
                 for n in range(1, 8)))
    starts = [0]
    while starts[-1] < len(whole):
        starts.append(starts[-1] + 8 +
                      struct.unpack_from("=I", whole, starts[-1])[0])
    end = time.monotonic() + FUZZ_SECONDS
    runs = 0
    while time.monotonic() < end:
        stream = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 5])):
            kind = rng.randrange(6)
            # most changes in headers and fixed parts, where lengths are
            at = rng.choice([rng.randrange(len(stream)),
                             min(len(stream) - 1,
                                 rng.choice(starts[:-1]) + rng.randrange(72))])
            if kind == 0:
                stream[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                stream[at] = rng.choice([0, 1, 0x7f, 0x80, 0xfe, 0xff])
            elif kind == 2:
                del stream[at:at + rng.randrange(1, 20)]
            elif kind == 3:
                stream[at:at] = bytes(rng.randrange(256)
                                      for _ in range(rng.randrange(1, 20)))
            elif kind == 4:
                stream[at:at + 4] = struct.pack("=I", rng.choice(
                    [0, 1, 0xffffffff, 0x7fffffff, 0x80000000, MAX_BODY]))
            else:
                a, b = sorted(rng.sample(range(len(starts)), 2))
                stream[at:at] = whole[starts[a]:starts[b]]
            if not stream:
                stream = bytearray(b"\0")
        with Producer() as p:
            p.send(bytes(stream))
            p.socket.shutdown(socket.SHUT_WR)
            status = p.exit_status()
            assert status in (0, 1, 2), "run %d: status %d" % (runs, status)
        runs += 1
    assert runs > 10, "only %d runs" % runs
    return "%d runs" % runs


def ends_promptly(after):
    """A producer that met this ends in order, and at once: the best of three,
    as the machine may have other things to do."""
    times = []
    while not times or (min(times) >= 1 and len(times) < 3):
        with Producer() as p:
            after(p)
            begin = time.monotonic()
            assert p.exit_status() == 0
            times.append(time.monotonic() - begin)
    assert min(times) < 1, "ended after %r s" % times


def unread(p):
    """Bytes that were sent to the producer and that it has not read."""
    return struct.unpack("=i", fcntl.ioctl(p.socket, termios.TIOCOUTQ,
                                           b"\0" * 4))[0]


def test_socket_of_a_dead_producer():
    """What a dead producer has left behind in its socket does not arrive."""
    with socket.socket() as listener, Producer() as p:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        listener.settimeout(PATIENCE)
        p.start([("bootstrap.servers", "127.0.0.1:%d" %
                  listener.getsockname()[1])])
        p.send(events([1]))
        connection, _ = listener.accept()
        connection.settimeout(PATIENCE)
        with connection:
            # it has said something: the connection is set up on both sides
            assert connection.recv(1)
            p.process.kill()
            p.process.wait()
            try:
                while connection.recv(1 << 16):
                    pass
                raise AssertionError("the connection was closed in order")
            except ConnectionResetError:
                pass


def test_end_of_file():
    def without_configuration(p):
        p.expect("H")
        p.socket.close()

    def with_events(p):
        p.start(NOWHERE)
        p.send(events(range(1, 1000)))
        p.expect("S", cls=CONNECTION)
        p.socket.close()

    def half_closed(p):
        p.start(NOWHERE)
        p.socket.shutdown(socket.SHUT_WR)

    def with_a_full_queue(p):
        # it does not read then
        p.start(NOWHERE + [("outbox.queue_size", 1),
                           ("outbox.max_event_size", 1)])
        p.send(events(range(1, 100)))
        p.expect("S", cls=CONNECTION)
        p.socket.close()

    ends_promptly(without_configuration)
    ends_promptly(with_events)
    ends_promptly(half_closed)
    ends_promptly(with_a_full_queue)


def test_parent_death():
    def wrong_parent(p):
        p.expect("H")
        p.send(frame("C", config(NOWHERE, pid=1)))

    ends_promptly(wrong_parent)
    # a parent that dies, while the socket stays open here
    ours, theirs = socket.socketpair()
    read_end, write_end = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = subprocess.Popen([PROGRAM, "test"], stdin=theirs)
        os.write(write_end, b"%d\n" % child.pid)
        while True:
            signal.pause()
    pid = int(os.read(read_end, 20))
    assert ours.recv(1), "hello"
    ours.send(frame("C", config(NOWHERE, pid=parent)))
    wait_until(lambda: b"Y" in ours.recv(4096), "ready")
    assert alive(pid)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_until(lambda: not alive(pid), "the producer dies with its parent")
    ours.close()
    theirs.close()
    os.close(read_end)
    os.close(write_end)


def test_lock_file():
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "producer.lock")
    options = NOWHERE + [("outbox.lock_file", path)]

    def while_it_waits(p):
        p.expect("H")
        p.send(frame("C", config(options)))
        p.socket.close()

    try:
        with Producer() as first:
            first.start(options)
            assert os.stat(path).st_mode & 0o777 == 0o600
            assert int(open(path).read()) == first.pid
            stop(first.pid)
            with Producer() as second:
                begin = time.monotonic()
                second.start(options)
                assert time.monotonic() - begin >= 0.9, "no patience"
                assert first.exit_status() == -signal.SIGKILL
                assert int(open(path).read()) == second.pid
        # one that ends by itself is not killed: it has a second for that,
        # which a busy machine does not always give it
        statuses = []
        while 0 not in statuses and len(statuses) < 5:
            with Producer() as holder, Producer() as other:
                holder.start(options)
                other.expect("H")
                other.send(frame("C", config(options)))
                holder.socket.close()
                statuses.append(holder.exit_status())
                other.expect("Y")
        assert 0 in statuses, statuses
        # a holder that is no producer is left alone
        with open(path, "r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            held.truncate()
            held.write("%d\n" % os.getpid())
            held.flush()
            with Producer() as p:
                p.expect("H")
                p.send(frame("C", config(options)))
                f = failed(p, CLIENT, 1)
                assert "lock file" in f.text and str(os.getpid()) in f.text
            # and end of file is noticed while it waits
            ends_promptly(while_it_waits)
        with Producer() as p:
            p.expect("H")
            p.send(frame("C", config(NOWHERE + [
                ("outbox.lock_file", os.path.join(folder, "no", "such"))])))
            assert "could not open" in failed(p, CLIENT, 1).text
    finally:
        shutil.rmtree(folder)


def test_unreachable_broker():
    with Producer() as p:
        p.start(NOWHERE)
        f = p.expect("S", cls=CONNECTION, patience=20)
        assert f.code != 0 and "127.0.0.1:1" in f.text, f
        # librdkafka goes on about it; we do not
        end = time.monotonic() + 3
        while time.monotonic() < end:
            p.receive()
            time.sleep(0.05)
        assert len([f for f in p.frames if f.kind == "S"]) <= 3, p.frames
        assert len([f for f in p.frames if f.kind == "L"]) <= 5, p.frames
        assert p.find("F") is None


def test_broker_goes_and_comes():
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        p.expect("S", cls=NONE)
        p.send(events([1]))
        acknowledged(p, [1])
        p.frames = []
        mock("down 1")
        p.send(events(range(2, 100)))
        p.expect("S", cls=CONNECTION)
        p.frames = []
        mock("up 1")
        p.expect("S", cls=NONE)
        acknowledged(p, range(1, 100))
        assert len(mock.read("t", 1, 99)) == 99


def test_one_broker_of_two():
    """The loss of one broker is no outage."""
    with Mock(2) as mock, Producer() as p:
        mock("create t 2")
        mock("leader t 0 1")
        mock("leader t 1 2")
        p.start(mock.options())
        p.send(events([1], partition=0) + events([2], partition=1))
        acknowledged(p, [1, 2])
        p.expect("S", cls=NONE)
        mock("down 2")
        number = 2
        end = time.monotonic() + 3
        while time.monotonic() < end:
            number += 1
            p.send(events([number], partition=0))
            acknowledged(p, range(1, number + 1))
            time.sleep(0.02)
        assert p.find("S", cls=CONNECTION) is None


def refused_by(code, cls):
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        p.send(events([1]))
        acknowledged(p, [1])
        mock("error %d %s" % (PRODUCE, " ".join([str(code)])))
        p.send(events([2]))
        r = p.expect("R", number=2, code=code, cls=cls, flags=0)
        assert r.text
        f = failed(p, cls, 1, code=code)
        assert r.text in f.text
        assert p.acknowledged == [1]


def test_refusals():
    refused_by(10, RECORD)
    refused_by(87, RECORD)
    refused_by(44, RECORD)
    refused_by(29, TOPIC)
    refused_by(17, TOPIC)
    refused_by(43, CONFIGURATION)
    refused_by(42, CLIENT)


def test_nothing_behind_a_refusal():
    """What is queued behind a refused batch must not reach the broker."""
    count = 5000
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options(("batch.num.messages", "100")))
        p.send(events([1], payload=b"1"))
        acknowledged(p, [1])
        mock("error %d 0 0 87" % PRODUCE)
        p.send(b"".join(frame("E", event(n, payload=b"%d" % n))
                        for n in range(2, count + 1)))
        failed(p, RECORD, 1, code=87)
        refused = [f.number for f in p.frames if f.kind == "R"]
        first = min(refused)
        assert refused and max(p.acknowledged) < first
        assert sorted(p.acknowledged) == list(range(1, first))
        assert [int(r[4]) for r in
                mock.read("t", 1, len(p.acknowledged))] == \
            list(range(1, first))


def test_nothing_behind_a_refusal_by_the_client_itself():
    """Nor when the program is not quick enough to have it dropped."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options(("batch.num.messages", "10")))
        p.send(events([1]))
        acknowledged(p, [1])
        # the client has up to 5 requests under way, which the mock broker
        # would take, as it knows no sequence: all of them are refused
        mock("error %d 87 87 87 87 87" % PRODUCE)
        mock("delay 1 200")
        p.send(events(range(2, 201)))
        wait_until(lambda: unread(p) == 0, "the events are read")
        with Frozen(p.pid):
            # the refusal, a new sequence, and events with it: 3 answers
            time.sleep(2)
        failed(p, RECORD, 1, code=87)
        assert p.acknowledged == [1], p.acknowledged


def taken_behind_a_refusal():
    """How many events are acknowledged beside one that is refused."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options(("batch.num.messages", "10")))
        p.send(events([1]))
        acknowledged(p, [1])
        # one that the client does not know yet
        mock("create u 1")
        # up to 5 requests of 10 are answered each 100 ms
        mock("delay 1 100")
        p.send(events([2], topic="u", partition=7) + events(range(3, 1003)))
        failed(p, RECORD, 1, code=-190)
        return len(p.acknowledged) - 1


def test_nothing_behind_a_refusal_that_is_not_fatal():
    """What is queued is dropped where the client itself would go on."""
    # That topic u has no such partition is known with the first answers, when
    # the next requests may be under way, unless the machine has other things
    # to do.  Otherwise there are answers for the 2 s that the end may take.
    counts = []
    while len(counts) < 5 and (not counts or min(counts) > 2 * 5 * 10):
        counts.append(taken_behind_a_refusal())
    assert min(counts) <= 2 * 5 * 10, counts


def test_event_too_large_for_the_client():
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options(("outbox.max_event_size", "1000")))
        p.send(events([1]) + events([2], payload=b"x" * 100000) + events([3]))
        p.expect("R", number=2, code=10, cls=RECORD)
        failed(p, RECORD, 1, code=10)
        assert p.acknowledged == [1]


def test_retriable_errors():
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        mock("error %d 19 7 6" % PRODUCE)
        p.send(events(range(1, 10)))
        acknowledged(p, range(1, 10))
        assert p.find("R") is None


def test_missing_topic():
    with Mock() as mock, Producer() as p:
        mock("create good 1")
        mock("create bad 1")
        mock("topicerror bad 3")
        p.start(mock.options())
        p.send(events([1], topic="bad") + events([2], topic="good"))
        acknowledged(p, [2])
        f = p.expect("T", topic="bad", code=3, cls=TOPIC)
        assert f.text
        p.send(events([3], topic="good"))
        acknowledged(p, [2, 3])
        mock("topicerror bad 0")
        p.expect("T", topic="bad", code=0)
        acknowledged(p, [1, 2, 3])
        assert [f.kind for f in p.frames].count("T") == 2, p.frames
        assert p.find("F") is None


def test_no_leader():
    with Mock() as mock, Producer() as p:
        mock("create t 2")
        mock("leader t 1 -1")
        p.start(mock.options())
        p.send(events([1], partition=1) + events([2], partition=0))
        acknowledged(p, [2])
        p.expect("T", topic="t", code=5, cls=TOPIC)
        mock("leader t 1 1")
        p.expect("T", topic="t", code=0)
        acknowledged(p, [1, 2])


def test_unknown_partition():
    """Who asks for a partition that is not there has asked for the wrong one."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        p.send(events([1]))
        acknowledged(p, [1])
        p.send(events([2], partition=7) + events([3]))
        p.expect("R", number=2, code=-190, cls=RECORD, flags=0)
        assert "partition 7" in failed(p, RECORD, 1, code=-190).text
        assert p.acknowledged == [1]
    # the same before anything is known of the topic
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        p.send(events([1], partition=7))
        p.expect("R", number=1, code=-190, cls=RECORD, flags=0)
        failed(p, RECORD, 1, code=-190)


# The client knows after half a second what the brokers say of a topic.  For
# about a second it then takes no event of one that is gone.
REFRESH = ("topic.metadata.refresh.interval.ms", "500")


def test_topic_that_blocks():
    """An event that the client does not take waits, and all behind it."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        mock("create other 1")
        p.start(mock.options(REFRESH))
        p.send(events([1], topic="t") + events([2], topic="other"))
        acknowledged(p, [1, 2])
        mock("topicerror t 3")
        # librdkafka's line says that the client knows
        p.until(lambda: any("partition count changed" in f.text
                            for f in p.frames if f.kind == "L"), "it knows")
        p.send(events([3], topic="t") + events([4], topic="other"))
        p.expect("T", topic="t", code=-188, cls=TOPIC, flags=BLOCKS)
        # long enough for it to be tried again
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            p.receive()
            time.sleep(0.02)
        assert sorted(p.acknowledged) == [1, 2], p.acknowledged
        assert p.find("F") is None
        assert [f.kind for f in p.frames].count("T") == 1, p.frames
        mock("topicerror t 0")
        p.expect("T", topic="t", code=0, cls=NONE, flags=0)
        acknowledged(p, [1, 2, 3, 4])


def test_stall():
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options(("outbox.stall_timeout", "2")))
        p.send(events([1]))
        acknowledged(p, [1])
        mock("error %d %s" % (PRODUCE, " ".join(["19"] * 900)))
        begin = time.monotonic()
        p.send(events([2]))
        f = failed(p, CLIENT, 1)
        assert "2 seconds" in f.text
        assert time.monotonic() - begin >= 2


def test_stall_beside_trouble():
    """A topic in trouble does not hide that another one is stuck."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        mock("create bad 1")
        mock("topicerror bad 3")
        p.start(mock.options(("outbox.stall_timeout", "3")))
        p.send(events([1], topic="bad"))
        p.expect("T", topic="bad", code=3)
        p.send(events([2]))
        acknowledged(p, [2])
        mock("error %d %s" % (PRODUCE, " ".join(["19"] * 900)))
        p.send(events([3]))
        assert "3 seconds" in failed(p, CLIENT, 1).text
    # but an event that waits for its topic is not stuck
    with Mock() as mock, Producer() as p:
        mock("create bad 1")
        mock("topicerror bad 3")
        p.start(mock.options(("outbox.stall_timeout", "3")))
        p.send(events([1], topic="bad"))
        p.expect("T", topic="bad", code=3)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            p.receive()
            time.sleep(0.02)
        assert p.find("F") is None, p.frames
        mock("topicerror bad 0")
        acknowledged(p, [1])


def test_signals():
    with Mock() as mock, Producer() as p:
        p.start(mock.options())
        for number, name in enumerate(["SIGINT", "SIGTERM", "SIGHUP",
                                       "SIGUSR1", "SIGUSR2", "SIGPIPE"]):
            os.kill(p.pid, getattr(signal, name))
            p.send(events([number + 1]))
            acknowledged(p, range(1, number + 2))


def test_descriptors():
    extra = open("/dev/null")
    fcntl.fcntl(extra, fcntl.F_SETFD, 0)
    try:
        ours, theirs = socket.socketpair()
        child = subprocess.Popen([PROGRAM, "test"], stdin=theirs,
                                 close_fds=False)
        theirs.close()
        ours.recv(1)
        for fd in os.listdir("/proc/%d/fd" % child.pid):
            name = os.readlink("/proc/%d/fd/%s" % (child.pid, fd))
            assert int(fd) <= 2 or name != "/dev/null", (fd, name)
        ours.close()
        assert child.wait(PATIENCE) == 0
    finally:
        extra.close()
