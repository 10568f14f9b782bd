# fake.mk
#	  The fake producer: it acknowledges as tests tell it, without Kafka.
#
#	  make fake-producer
#
# Needed for the isolation specs, which run where OUTBOX_FAKE_PRODUCER is set,
# and for TAP tests; it is not installed.
#
# IDENTIFICATION
#	  test/fake/fake.mk

.PHONY: fake-producer clean-fake-producer

fake-producer: test/fake/fake_producer

test/fake/fake_producer: test/fake/fake_producer.c src/frame.h
	$(CC) -std=gnu99 -O2 -g -Isrc $(PRODUCER_WARNINGS) -o $@ test/fake/fake_producer.c

clean: clean-fake-producer
clean-fake-producer:
	rm -f test/fake/fake_producer
