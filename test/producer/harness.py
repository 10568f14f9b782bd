"""The producer, seen from its publisher, for the tests of the producer alone.

Speaks the frames of src/frame.h to the real program over a socket pair, and
runs the mock broker.  Nothing here waits for a fixed time: everything waits
for a condition, with a limit.
"""
import ctypes
import os
import select
import signal
import socket
import struct
import subprocess
import time
import uuid

PROTOCOL = 2
MAX_BODY = 80 * 1024 * 1024
NONE, RECORD, TOPIC, CONNECTION, CLIENT, CONFIGURATION = range(6)
ALONE = 1       # flag of an event, and of a refusal
BLOCKS = 2      # flag of a topic's trouble
MAX_ALONE = 64
PRODUCE, METADATA = 0, 3
PATIENCE = 60.0         # only what hangs takes so long

PROGRAM = os.environ["OUTBOX_PRODUCER"]
TOOLS = os.environ["OUTBOX_PRODUCER_TOOLS"]

EVENT = struct.Struct("=Qq16siiiiHHIQ")
TROUBLE = struct.Struct("=QiBBH")


def frame(kind, body=b"", length=None):
    return struct.pack("=IBBBB", len(body) if length is None else length,
                       ord(kind), 0, 0, 0) + body


def config(options, pid=None, protocol=PROTOCOL):
    body = struct.pack("=Ii", protocol, os.getpid() if pid is None else pid)
    for name, value in options:
        body += name.encode() + b"\0" + str(value).encode() + b"\0"
    return body


def headers(pairs):
    out = b""
    for name, value in pairs:
        name = name.encode()
        out += struct.pack(">h", len(name)) + name
        out += struct.pack(">i", -1 if value is None else len(value))
        out += value or b""
    return out


def event(number, topic="t", key=b"k", payload=b"p", header=None, uid=None,
          partition=-1, timestamp=1700000000000, flags=0):
    topic = topic.encode()
    body = EVENT.pack(number, timestamp, uid or uuid.UUID(int=number).bytes,
                      partition,
                      -1 if key is None else len(key),
                      -1 if header is None else len(header),
                      -1 if payload is None else len(payload),
                      len(topic), flags, 0, 0)
    return body + topic + (key or b"") + (header or b"") + (payload or b"")


def events(numbers, **fields):
    return b"".join(frame("E", event(n, **fields)) for n in numbers)


class Skip(Exception):
    """The test cannot be run here; says why."""


class Frame:
    def __init__(self, kind, body):
        self.kind = kind
        self.body = body
        self.topic = self.text = None
        if kind in "RSTLF":
            (self.number, self.code, self.cls, self.level,
             self.flags) = TROUBLE.unpack_from(body)
            rest = body[TROUBLE.size:]
            if kind in "RT":
                topic, rest = rest.split(b"\0", 1)
                self.topic = topic.decode()
            self.text = rest.decode()
        elif kind == "A":
            base, count, unused = struct.unpack_from("=QII", body)
            assert len(body) == 16 + 4 * count, "length of acknowledgements"
            self.numbers = [base + o for o in
                            struct.unpack_from("=%dI" % count, body, 16)]

    def __repr__(self):
        if self.text is None:
            return "%s[%d]" % (self.kind, len(self.body))
        return "%s(%s code=%d class=%d flags=%d topic=%s %r)" % (
            self.kind, self.number, self.code, self.cls, self.flags,
            self.topic, self.text)


class Producer:
    """A running producer; use as a context manager."""

    def __init__(self, wrapper=None):
        self.socket, child = socket.socketpair()
        self.process = subprocess.Popen(
            (wrapper or []) + [PROGRAM, "test"], stdin=child,
            stderr=subprocess.PIPE, start_new_session=True)
        child.close()
        self.pid = self.process.pid
        self.buffer = b""
        self.eof = False
        self.frames = []
        self.acknowledged = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.socket.close()
        text = self.process.stderr.read()
        self.process.stderr.close()
        assert b"Sanitizer" not in text and b"runtime error" not in text, \
            text.decode(errors="replace")

    def send(self, data):
        """Send all of it, reading meanwhile, as the publisher does."""
        data = memoryview(data)
        end = time.monotonic() + PATIENCE
        while data:
            readable, writable, _ = select.select(
                [self.socket], [self.socket], [], max(0, end - time.monotonic()))
            assert readable or writable, "the producer takes nothing"
            if readable and not self.receive():
                return False
            if writable:
                try:
                    n = self.socket.send(data, socket.MSG_DONTWAIT)
                    data = data[n:]
                except BlockingIOError:
                    pass
                except (BrokenPipeError, ConnectionResetError):
                    return False
        return True

    def receive(self):
        """Read once what is there; False at end of file."""
        try:
            data = self.socket.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data = b""
        if not data:
            self.eof = True
            return False
        self.buffer += data
        offset = 0
        while len(self.buffer) - offset >= 8:
            length, kind = struct.unpack_from("=IB", self.buffer, offset)
            assert length <= MAX_BODY
            if len(self.buffer) - offset < 8 + length:
                break
            f = Frame(chr(kind),
                      self.buffer[offset + 8:offset + 8 + length])
            offset += 8 + length
            if f.kind == "A":
                self.acknowledged += f.numbers
            else:
                self.frames.append(f)
        self.buffer = self.buffer[offset:]
        return True

    def until(self, condition, what, patience=PATIENCE):
        """Receive until the condition holds."""
        end = time.monotonic() + patience
        while not condition():
            left = end - time.monotonic()
            assert left > 0, "timed out: %s; frames: %r" % (what, self.frames)
            assert not self.eof, "ended: %s; frames: %r" % (what, self.frames)
            if select.select([self.socket], [], [], min(left, 0.5))[0]:
                self.receive()

    def find(self, kind, **fields):
        for f in self.frames:
            if f.kind == kind and all(getattr(f, k) == v
                                      for k, v in fields.items()):
                return f
        return None

    def expect(self, kind, patience=PATIENCE, **fields):
        self.until(lambda: self.find(kind, **fields) is not None,
                   "frame %s %r" % (kind, fields), patience)
        return self.find(kind, **fields)

    def exit_status(self, patience=PATIENCE):
        return self.process.wait(patience)

    def start(self, options):
        self.expect("H")
        self.send(frame("C", config(options)))
        self.expect("Y")


def acknowledged(p, numbers):
    """Wait until these events are acknowledged, each once."""
    wanted = set(numbers)
    p.until(lambda: wanted <= set(p.acknowledged), "acknowledgements")
    assert len(p.acknowledged) == len(set(p.acknowledged)), "twice"


def failed(p, cls, status, **fields):
    """Wait for the end that FRAME_FAILED announces."""
    f = p.expect("F", cls=cls, **fields)
    assert p.exit_status() == status, "exit status %r" % p.exit_status()
    assert p.frames[-1] is f, "frames after the last one"
    return f


class Mock:
    """The mock broker; use as a context manager."""

    def __init__(self, brokers=1):
        self.process = subprocess.Popen(
            [os.path.join(TOOLS, "mock_broker"), str(brokers)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            universal_newlines=True)
        self.servers = self.process.stdout.readline().strip()
        assert self.servers

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def __call__(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer == "ok", "%s: %s" % (command, answer)

    def options(self, *more):
        return [("bootstrap.servers", self.servers)] + list(more)

    def read(self, topic, partitions, count):
        """Records as (partition, offset, timestamp, key, payload, headers)."""
        done = subprocess.run(
            [os.path.join(TOOLS, "read_topic"), self.servers, topic,
             str(partitions), str(count)],
            stdout=subprocess.PIPE, universal_newlines=True)
        assert done.returncode == 0, "not all records are in the topic"

        def value(text):
            return None if text == "-" else bytes.fromhex(text)
        records = []
        for line in done.stdout.splitlines():
            words = line.split(" ")
            records.append((int(words[0]), int(words[1]), int(words[2]),
                            value(words[3]), value(words[4]),
                            [(value(w.split("=")[0]).decode(),
                              value(w.split("=")[1])) for w in words[5:]]))
        return records


def alive(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, what, patience=PATIENCE):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "timed out: " + what
        time.sleep(0.01)


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: open("/proc/%d/stat" % pid).read()
               .rsplit(")", 1)[1].split()[0] == "T", "process is stopped")


# From <sys/ptrace.h> and <sys/wait.h>; Python has none of them.
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000


def ptrace(request, thread):
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                     ctypes.c_void_p]
    call.restype = ctypes.c_long
    if call(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


class Frozen:
    """The main thread stands still, the others go on; a context manager."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        try:
            ptrace(PTRACE_SEIZE, self.pid)
        except OSError as e:
            raise Skip("a thread cannot be stopped here (%s)" % e)
        ptrace(PTRACE_INTERRUPT, self.pid)
        os.waitpid(self.pid, WALL)

    def __exit__(self, *unused):
        ptrace(PTRACE_DETACH, self.pid)
