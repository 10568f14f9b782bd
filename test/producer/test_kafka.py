"""The producer against an Apache Kafka, where there is one.

A single broker with access control, under which everybody is ANONYMOUS and may
do what no rule denies.
"""
import glob
import os
import shutil
import subprocess
import tempfile
import time

from harness import (ALONE, BLOCKS, RECORD, TOPIC, Producer, Skip,
                     acknowledged, events, wait_until)
from test_alone import refusals, try_until_acknowledged

KAFKA = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     "..", "env", "kafka")
SETTINGS = [
    "authorizer.class.name="
    "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
    "auto.create.topics.enable=false",
]
# The test of a topic's limit makes batches smaller than this, and one event larger.
LIMIT = 10000

broker = None


class Broker:
    def __init__(self):
        # as test/env has prepared it
        cache = os.environ.get("OUTBOX_CACHE")
        jars = cache and glob.glob(cache + "/kafka-*/complete")
        if not jars or not os.environ.get("OUTBOX_JAVA"):
            raise Skip("there is no Apache Kafka")
        self.jars = os.path.dirname(max(jars))
        try:
            from confluent_kafka import admin
        except ImportError:
            raise Skip("there is no confluent_kafka for this Python")
        self.admin_module = admin
        self.folder = tempfile.mkdtemp()
        self.topics = 0
        subprocess.run([KAFKA, "start", self.folder] + SETTINGS, check=True)
        self.servers = open(self.folder + "/bootstrap").read().strip()
        self.admin = admin.AdminClient({"bootstrap.servers": self.servers,
                                        "log_level": 2})

    def stop(self):
        subprocess.run([KAFKA, "kill", self.folder], check=True)
        shutil.rmtree(self.folder)

    def options(self, *more):
        return [("bootstrap.servers", self.servers)] + list(more)

    def wait(self, futures):
        for future in futures.values():
            future.result(20)

    def partitions(self, topic):
        found = self.admin.list_topics(topic, timeout=20).topics[topic]
        return 0 if found.error else len(found.partitions)

    def name(self):
        self.topics += 1
        return "topic-%d" % self.topics

    def create(self, topic=None, partitions=1, **settings):
        topic = topic or self.name()
        settings = {k.replace("_", "."): str(v) for k, v in settings.items()}
        self.wait(self.admin.create_topics([self.admin_module.NewTopic(
            topic, partitions, 1, config=settings)]))
        wait_until(lambda: self.partitions(topic) == partitions, "topic is there")
        return topic

    def add_partitions(self, topic, count):
        self.wait(self.admin.create_partitions(
            [self.admin_module.NewPartitions(topic, count)]))
        wait_until(lambda: self.partitions(topic) == count, "partitions are there")

    def delete(self, topic):
        self.wait(self.admin.delete_topics([topic]))
        wait_until(lambda: self.partitions(topic) == 0, "topic is gone")

    def acl(self, *arguments):
        """Change access rules; the Python client does not everywhere know how."""
        subprocess.run(
            [os.environ["OUTBOX_JAVA"], "-XX:TieredStopAtLevel=1",
             "-cp", self.jars + "/*", "org.apache.kafka.tools.AclCommand",
             "--bootstrap-server", self.servers,
             "--deny-principal", "User:ANONYMOUS"] + list(arguments),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    def deny(self, topic, operation):
        self.acl("--add", "--operation", operation, "--topic", topic)

    def allow(self, topic, operation):
        self.acl("--remove", "--force", "--operation", operation,
                 "--topic", topic)

    def payloads(self, topic, count):
        """The payloads of a topic of one partition, in its order."""
        import confluent_kafka
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": self.servers, "group.id": "test",
            "enable.auto.commit": False})
        consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
        got = []
        end = time.monotonic() + 20
        while len(got) < count:
            assert time.monotonic() < end, "only %d records" % len(got)
            got += [m.value() for m in consumer.consume(1000, 0.2)
                    if m.error() is None]
        assert consumer.get_watermark_offsets(
            confluent_kafka.TopicPartition(topic, 0))[1] == count
        consumer.close()
        return got


def kafka():
    """The broker, which all tests here share."""
    global broker
    if broker is None:
        broker = Broker()
    return broker


def stop():
    if broker is not None:
        broker.stop()


def stream(first, last, topic):
    return b"".join(events([n], topic=topic, payload=b"%d" % n)
                    for n in range(first, last + 1))


def test_kafka_alone_too_large():
    """A refused event leaves those before and behind it alone."""
    k = kafka()
    topic = k.create(max_message_bytes=LIMIT)
    with Producer() as p:
        p.start(k.options(("batch.size", str(LIMIT // 2))))
        p.send(stream(1, 2000, topic) +
               events([2001], topic=topic, flags=ALONE,
                      payload=b"x" * (2 * LIMIT)) +
               events([2002], topic=topic, key=b"other", flags=ALONE,
                      payload=b"alone") +
               stream(2003, 4000, topic))
        p.expect("R", number=2001, code=10, cls=RECORD, flags=ALONE)
        numbers = [n for n in range(1, 4001) if n != 2001]
        acknowledged(p, numbers)
        p.send(stream(4001, 4100, topic))
        acknowledged(p, numbers + list(range(4001, 4101)))
        assert refusals(p) == [(2001, 10, RECORD)] and p.find("F") is None
        got = k.payloads(topic, 4099)
        assert got.count(b"alone") == 1
        got.remove(b"alone")
        assert got == [b"%d" % n for n in range(1, 4101)
                       if n not in (2001, 2002)]


def test_kafka_alone_records():
    """What else a broker refuses for what is in the record."""
    k = kafka()
    compacted = k.create(cleanup_policy="compact")
    dated = k.create(message_timestamp_before_max_ms=3600000)
    with Producer() as p:
        p.start(k.options())
        p.send(events([1], topic=compacted, key=None, flags=ALONE) +
               events([2], topic=dated, flags=ALONE, timestamp=1) +
               events([3], topic=compacted, flags=ALONE) +
               events([4], topic=dated, flags=ALONE,
                      timestamp=int(time.time() * 1000)))
        p.expect("R", number=1, code=87, cls=RECORD, flags=ALONE)
        p.expect("R", number=2, code=32, cls=RECORD, flags=ALONE)
        acknowledged(p, [3, 4])
        assert len(refusals(p)) == 2 and p.find("F") is None


def test_kafka_nothing_passes_a_refused_batch():
    """A refused batch is the first of its partition from this producer, and
    the next request is built while it is on its way: it must not be sent, as
    the broker knows no sequence yet that it would break."""
    import confluent_kafka
    k = kafka()
    tries = 40
    topic = k.create(partitions=tries + 1, max_message_bytes=1000)
    for i in range(1, tries + 1):
        with Producer() as p:
            p.start(k.options())
            # the topic is known by now, so requests are built at once
            p.send(events([1], topic=topic, partition=0))
            acknowledged(p, [1])
            p.send(events([2], topic=topic, partition=i, payload=b"x" * 20000))
            # the broker answers within a millisecond or two
            time.sleep(i % 20 * 0.0001)
            p.send(events([3], topic=topic, partition=i))
            p.expect("F")
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": k.servers, "group.id": "test"})
    ends = [consumer.get_watermark_offsets(
        confluent_kafka.TopicPartition(topic, i))[1]
        for i in range(tries + 1)]
    consumer.close()
    assert ends == [tries] + [0] * tries, "passed: %r" % ends


def test_kafka_alone_invalid_topic():
    """A name that no topic can have is not the record's fault: the broker says
    so, or the client, where the broker takes long."""
    k = kafka()
    with Producer() as p:
        p.start(k.options())
        p.send(events([1], topic="no name", flags=ALONE))
        p.expect("R", number=1, cls=TOPIC, flags=ALONE)
        assert refusals(p)[0][1] in (17, -188)
        p.send(events([2], topic="no name", flags=ALONE))
        p.expect("R", number=2, cls=TOPIC, flags=ALONE)
        assert p.find("F") is None


def test_kafka_alone_forbidden():
    k = kafka()
    for operation in ("Write", "All"):
        good = k.create()
        bad = k.create()
        k.deny(bad, operation)
        with Producer() as p:
            p.start(k.options())
            p.send(events([1], topic=good))
            acknowledged(p, [1])
            p.send(events([2], topic=bad, flags=ALONE) +
                   events([3], topic=good) +
                   events([4], topic=good, flags=ALONE))
            acknowledged(p, [1, 3, 4])
            p.expect("R", number=2, code=29, cls=TOPIC, flags=ALONE)
            # again, when the client knows
            p.send(events([5], topic=bad, flags=ALONE) +
                   events([6], topic=good))
            p.expect("R", number=5, code=29, cls=TOPIC, flags=ALONE)
            acknowledged(p, [1, 3, 4, 6])
            k.allow(bad, operation)
            begin = time.monotonic()
            try_until_acknowledged(p, 7, topic=bad)
            assert time.monotonic() - begin < 20, "it takes long to notice"
            assert p.find("F") is None


def test_kafka_alone_missing_topic():
    k = kafka()
    topic = k.name()
    with Producer() as p:
        p.start(k.options())
        begin = time.monotonic()
        p.send(events([1], topic=topic, flags=ALONE))
        p.expect("T", topic=topic, code=3, cls=TOPIC, flags=0)
        p.expect("R", number=1, code=3, cls=TOPIC, flags=ALONE)
        took = time.monotonic() - begin
        assert 4 <= took <= 20, "refused after %.1f s" % took
        k.create(topic)
        begin = time.monotonic()
        try_until_acknowledged(p, 2, topic=topic)
        seconds = time.monotonic() - begin
        assert seconds < 20, "it takes long to notice"
        p.expect("T", topic=topic, code=0)
    # created before it is refused
    topic = k.name()
    with Producer() as p:
        p.start(k.options())
        p.send(events([1], topic=topic, flags=ALONE))
        p.expect("T", topic=topic, code=3, cls=TOPIC)
        k.create(topic)
        acknowledged(p, [1])
        assert refusals(p) == [] and p.find("F") is None
    return "refused after %.1f s, noticed %.1f s after its creation" % (
        took, seconds)


def test_kafka_alone_partitions():
    """A partition that was added since is not one that is not there."""
    k = kafka()
    topic = k.create()
    with Producer() as p:
        p.start(k.options())
        p.send(events([1], topic=topic, partition=2, flags=ALONE))
        p.expect("R", number=1, code=-190, cls=RECORD, flags=ALONE)
        p.send(events([2], topic=topic, flags=ALONE))
        acknowledged(p, [2])
        k.add_partitions(topic, 3)
        p.send(events([3], topic=topic, partition=2, flags=ALONE))
        p.expect("R", number=3, code=-190, cls=TOPIC, flags=ALONE)
        p.send(events([4], topic=topic, partition=2, flags=ALONE))
        acknowledged(p, [2, 4])


def test_kafka_alone_deleted_topic():
    """A topic that is deleted takes no event with it to the dead letters."""
    k = kafka()
    topic = k.create(partitions=2)
    with Producer() as p:
        p.start(k.options())
        p.send(events([1], topic=topic, partition=1, flags=ALONE))
        acknowledged(p, [1])
        k.delete(topic)
        number = 2
        while len(refusals(p)) < 3:
            p.send(events([number], topic=topic, partition=1, flags=ALONE))
            p.until(lambda: number in p.acknowledged or
                    p.find("R", number=number), "an answer", 30)
            number += 1
        assert all(cls == TOPIC for _, _, cls in refusals(p)), p.frames
        k.create(topic, partitions=2)
        try_until_acknowledged(p, number, topic=topic, partition=1)
        assert p.find("F") is None


def trouble_comes_to_block(k, seconds):
    """False if the main client had not learned of it in so many seconds."""
    topic = k.create()
    with Producer() as p:
        p.start(k.options())
        p.send(events([1], topic=topic) + events([2], topic=topic, flags=ALONE))
        acknowledged(p, [1, 2])
        k.deny(topic, "All")
        p.send(events([3], topic=topic, partition=7, flags=ALONE))
        p.expect("R", number=3, code=29, cls=TOPIC, flags=ALONE)
        p.expect("T", topic=topic, code=29, cls=TOPIC, flags=0)
        # for the main client to learn it too
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            p.receive()
            time.sleep(0.02)
        p.send(events([4], topic=topic))
        p.until(lambda: p.find("T", topic=topic, flags=BLOCKS) or
                p.find("R", number=4), "an answer")
        if p.find("R", number=4):
            return False
        p.expect("T", topic=topic, code=29, cls=TOPIC, flags=BLOCKS)
        k.allow(topic, "All")
        acknowledged(p, [1, 2, 4])
        p.expect("T", topic=topic, code=0, flags=0)
    return True


def test_kafka_trouble_that_comes_to_block():
    """What was told of a topic is told again when its event blocks the rest."""
    k = kafka()
    assert any(trouble_comes_to_block(k, seconds) for seconds in (2, 4, 8, 16)), \
        "the main client has never learned of it"
