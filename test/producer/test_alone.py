"""Events sent alone, against a mock broker."""
import time

from harness import (ALONE, CLIENT, CONFIGURATION, CONNECTION, MAX_ALONE, NONE,
                     PRODUCE, RECORD, TOPIC, Mock, Producer, acknowledged,
                     events, failed, headers)


def refusals(p):
    return [(f.number, f.code, f.cls) for f in p.frames if f.kind == "R"]


def try_until_acknowledged(p, number, **fields):
    """Send an event alone again, under new numbers, until it is taken."""
    while True:
        p.send(events([number], flags=ALONE, **fields))
        p.until(lambda: number in p.acknowledged or
                p.find("R", number=number), "an answer")
        if number in p.acknowledged:
            return number
        f = p.find("R", number=number)
        assert f.cls == TOPIC and f.flags == ALONE, f
        number += 1
        time.sleep(0.1)


def test_alone():
    uid = bytes(range(16))
    pairs = [("a", b"x"), ("null", None)]
    with Mock() as mock, Producer() as p:
        mock("create t 2")
        p.start(mock.options())
        p.send(events([1], partition=0) +
               events([2], partition=0, flags=ALONE, uid=uid, payload=b"alone",
                      header=headers(pairs)) +
               events([3], partition=1, flags=ALONE, key=None, payload=None) +
               events([4], partition=0))
        acknowledged(p, range(1, 5))
        p.expect("S", cls=NONE, code=0)
        records = mock.read("t", 2, 4)
        alone = [r for r in records if r[4] == b"alone"]
        assert len(alone) == 1 and alone[0][5] == [
            ("id", b"00010203-0405-0607-0809-0a0b0c0d0e0f")] + pairs, alone
        assert [r[3:5] for r in records if r[0] == 1] == [(None, None)]
        assert {f.kind for f in p.frames} <= set("HYSL"), p.frames


def test_alone_has_properties_of_its_own():
    """What was asked for does not make batches of events sent alone."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options(("batch.num.messages", "1000"),
                             ("linger.ms", "900")))
        p.send(events([1], flags=ALONE))
        acknowledged(p, [1])
        # all wait for the broker, and so would be one batch
        mock("down 1")
        p.send(events(range(2, 30), flags=ALONE, key=None))
        p.expect("S", cls=CONNECTION)
        mock("error %d 87" % PRODUCE)
        mock("up 1")
        p.until(lambda: len(p.acknowledged) + len(refusals(p)) == 29, "answers")
        assert len(refusals(p)) == 1, refusals(p)
        assert p.find("F") is None


def alone_refused_by(code, cls):
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        p.send(events([1]) + events([2], flags=ALONE))
        acknowledged(p, [1, 2])
        mock("error %d %d" % (PRODUCE, code))
        p.send(events([3], flags=ALONE))
        f = p.expect("R", number=3, code=code, cls=cls, flags=ALONE)
        assert f.text
        p.send(events([4]) + events([5], flags=ALONE) + events([6]))
        acknowledged(p, [1, 2, 4, 5, 6])
        assert refusals(p) == [(3, code, cls)], p.frames
        assert p.find("F") is None and p.find("T") is None, p.frames


def test_alone_refusals():
    alone_refused_by(10, RECORD)
    alone_refused_by(87, RECORD)
    alone_refused_by(32, RECORD)
    alone_refused_by(44, RECORD)
    alone_refused_by(17, TOPIC)
    alone_refused_by(43, CONFIGURATION)
    alone_refused_by(42, CLIENT)


def test_alone_fatal():
    """The death of its client is not the event's fault, and the end."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        p.send(events([1]) + events([2], flags=ALONE))
        acknowledged(p, [1, 2])
        # OUT_OF_ORDER_SEQUENCE_NUMBER
        mock("error %d 45" % PRODUCE)
        p.send(events([3], flags=ALONE))
        failed(p, CLIENT, 1, code=45)
        assert refusals(p) == [] and sorted(p.acknowledged) == [1, 2]


def test_alone_retriable():
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        mock("error %d 19 7 6" % PRODUCE)
        p.send(events([1], flags=ALONE))
        acknowledged(p, [1])
        assert refusals(p) == []


def test_alone_too_large_for_the_client():
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options(("outbox.max_event_size", "1000")))
        p.send(events([1]) + events([2], flags=ALONE, payload=b"x" * 100000) +
               events([3]) + events([4], flags=ALONE))
        p.expect("R", number=2, code=10, cls=RECORD, flags=ALONE)
        acknowledged(p, [1, 3, 4])
        assert p.find("F") is None


def test_alone_missing_topic():
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        mock("create bad 1")
        mock("topicerror bad 3")
        p.start(mock.options())
        begin = time.monotonic()
        p.send(events([1], topic="bad", flags=ALONE) + events([2]))
        acknowledged(p, [2])
        f = p.expect("T", topic="bad", code=3, cls=TOPIC, flags=0)
        assert f.text
        p.expect("R", number=1, code=3, cls=TOPIC, flags=ALONE)
        took = time.monotonic() - begin
        assert 4 <= took <= 20, "refused after %.1f s" % took
        # again: now the client knows, and does not wait for the topic
        begin = time.monotonic()
        p.send(events([3], topic="bad", flags=ALONE) + events([4]))
        acknowledged(p, [2, 4])
        p.expect("R", number=3, cls=TOPIC, flags=ALONE)
        assert time.monotonic() - begin < 4
        mock("topicerror bad 0")
        p.expect("T", topic="bad", code=0)
        begin = time.monotonic()
        try_until_acknowledged(p, 5, topic="bad")
        assert time.monotonic() - begin < 20
        assert [f.kind for f in p.frames].count("T") == 2, p.frames
        assert p.find("F") is None
        return "refused after %.1f s" % took


def test_alone_topic_comes():
    """A topic that is created while the event waits for it."""
    with Mock() as mock, Producer() as p:
        mock("create bad 1")
        mock("topicerror bad 3")
        p.start(mock.options())
        p.send(events([1], topic="bad", flags=ALONE))
        p.expect("T", topic="bad", code=3)
        mock("topicerror bad 0")
        acknowledged(p, [1])
        p.expect("T", topic="bad", code=0)
        assert refusals(p) == []


def test_alone_no_leader():
    with Mock() as mock, Producer() as p:
        mock("create t 2")
        mock("leader t 1 -1")
        p.start(mock.options())
        p.send(events([1], partition=1, flags=ALONE) +
               events([2], partition=0))
        acknowledged(p, [2])
        p.expect("T", topic="t", code=5, cls=TOPIC, flags=0)
        mock("leader t 1 1")
        p.expect("T", topic="t", code=0)
        acknowledged(p, [1, 2])
        assert refusals(p) == []


def test_alone_unknown_partition():
    with Mock() as mock, Producer() as p:
        mock("create t 2")
        p.start(mock.options())
        # before and after the client knows the topic; two at once
        p.send(events([1], partition=7, flags=ALONE))
        p.expect("R", number=1, code=-190, cls=RECORD, flags=ALONE)
        p.send(events([2, 3], partition=2, flags=ALONE) +
               events([4], partition=1, flags=ALONE) + events([5]))
        p.expect("R", number=2, code=-190, cls=RECORD, flags=ALONE)
        p.expect("R", number=3, code=-190, cls=RECORD, flags=ALONE)
        acknowledged(p, [4, 5])
        assert len(refusals(p)) == 3 and p.find("F") is None, p.frames


def test_alone_unknown_partition_of_no_topic():
    """A topic that is gone is not the fault of who asks for its partition."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        p.send(events([1], flags=ALONE))
        acknowledged(p, [1])
        mock("topicerror t 3")
        p.send(events([2], partition=7, flags=ALONE))
        p.expect("R", number=2, code=3, cls=TOPIC, flags=ALONE)
        assert len(refusals(p)) == 1


def test_alone_unknown_partition_unconfirmed():
    """Without a broker that confirms it there is no refusal."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        p.start(mock.options())
        p.send(events([1], flags=ALONE))
        acknowledged(p, [1])
        mock("down 1")
        p.send(events([2], partition=7, flags=ALONE))
        p.expect("S", cls=CONNECTION)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            p.receive()
            time.sleep(0.02)
        assert refusals(p) == []
        mock("up 1")
        p.expect("R", number=2, code=-190, cls=RECORD, flags=ALONE)


def test_alone_many():
    with Mock() as mock, Producer() as p:
        mock("create t 4")
        # each is a request of its own
        mock("delay 1 50")
        p.start(mock.options())
        numbers = range(1, MAX_ALONE + 1)
        p.send(b"".join(events([n], key=b"k%d" % n, flags=ALONE)
                        for n in numbers))
        p.send(events(range(1001, 1101)))
        acknowledged(p, list(numbers) + list(range(1001, 1101)))
        mock("delay 1 0")
        assert len(mock.read("t", 4, MAX_ALONE + 100)) == MAX_ALONE + 100
    # no more than that at once
    with Mock() as mock, Producer() as p:
        mock("create t 4")
        p.start(mock.options())
        mock("down 1")
        p.send(events(range(1, MAX_ALONE + 1), flags=ALONE))
        p.expect("S", cls=CONNECTION)
        assert p.find("F") is None
        p.send(events([MAX_ALONE + 1], flags=ALONE))
        assert "too many" in failed(p, CLIENT, 2).text


def refused_beside_alone():
    """The seconds until the end."""
    with Mock() as mock, Producer() as p:
        mock("create t 1")
        mock("create bad 1")
        mock("topicerror bad 3")
        p.start(mock.options())
        p.send(events([1]) + events([2], topic="bad", flags=ALONE))
        acknowledged(p, [1])
        mock("error %d 87" % PRODUCE)
        begin = time.monotonic()
        p.send(events([3]))
        failed(p, RECORD, 1, code=87)
        took = time.monotonic() - begin
        assert refusals(p) == [(3, 87, RECORD)], p.frames
        assert p.find("R", number=3).flags == 0
        return took


def test_refusal_of_the_stream_beside_alone():
    """The end is not kept up by an event that waits alone for its topic."""
    # the producer gives up after 2 s; tried until it is quick, as the machine
    # may have other things to do
    assert any(refused_beside_alone() < 1.5 for _ in range(5)), "it waits"


def test_alone_stall():
    """The other client's acknowledgements do not hide a stall."""
    with Mock(2) as mock, Producer() as p:
        mock("create t 2")
        mock("leader t 0 1")
        mock("leader t 1 2")
        p.start(mock.options(("outbox.stall_timeout", "2")))
        p.send(events([1], partition=1, flags=ALONE) + events([2], partition=0))
        acknowledged(p, [1, 2])
        # far longer than the test, and shorter than the client's patience
        mock("delay 2 50000")
        p.send(events([3], partition=1, flags=ALONE))
        number = 3
        end = time.monotonic() + 15
        while p.find("F") is None and time.monotonic() < end:
            number += 1
            if not p.send(events([number], partition=0)):
                break
            p.receive()
            time.sleep(0.02)
        assert "2 seconds" in failed(p, CLIENT, 1).text
        assert len(p.acknowledged) > 20
