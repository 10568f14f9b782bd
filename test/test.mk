# test.mk
#	  The targets that set up all they need by themselves.
#
# They work on a copy of the tree and a private copy of the server in the cache
# folder (.cache, or OUTBOX_CACHE; /var/cache/outbox-test for root), and with
# what "setup" installs by the system's package manager.
#
#	  make demo [KEEP=1] [DURATION=10] [CLIENTS=8] [KAFKA_BOOTSTRAP=host:port]
#	  make test [T="test/t/020_publish.pl ..."]
#	  make test-faults [T=...]       the fault matrix in full
#	  make test-hostile [T=...]      the server-side tests under the defaults of
#	                                 test/env/hostile.conf
#	  make test-model                the model of the protocol, all of it:
#	                                 about 8 minutes, 6 GB
#	  make record-debezium           what test/debezium compares with: see its
#	                                 README.md
#	  make torture [MINUTES=10] [SEED=random] [FAULTS=all]
#	  make bench [EVENTS=500000] [BYTES=200] [REPEATS=5] [ONLY="drain ..."]
#	             [KAFKA_OPTIONS=...]  see docs/benchmark.md
#	  make setup                     only install what these need, and the
#	                                 programs of the cookbook
#
# Those that PGXS users expect (installcheck) are in the Makefile, those of the
# producer alone in src/producer/producer.mk, that of the fake producer in
# test/fake/fake.mk.  src/README.md says what each is for.
#
# IDENTIFICATION
#	  test/test.mk

.PHONY: demo test test-faults test-hostile test-model record-debezium torture bench setup

demo:
	@demo/run

test:
	@test/run

# The fault matrix in full.  "make test" shortens outages, stops, full disks and
# open transactions to some seconds, and the backlog of a shutdown (each file says
# so by fault_seconds); docs/guarantees.md has both figures.
test-faults:
	@env OUTBOX_FAULTS=1 test/run

test-hostile:
	@env OUTBOX_HOSTILE=1 test/run

test-model:
	@test/model/check all

record-debezium:
	@test/debezium/record

torture:
	@env MINUTES="$(or $(MINUTES),10)" SEED="$(or $(SEED),random)" FAULTS="$(or $(FAULTS),all)" test/torture/run

bench:
	@test/bench/run

setup:
	@test/env/setup cookbook
