# outbox: transactional outbox for PostgreSQL and Apache Kafka
#
#   make demo          see it work (installs what it needs)
#   make test          run every test
#   make && sudo make install     build and install for the server of PG_CONFIG
#   make installcheck  regression tests against a running server

EXTENSION = outbox
MODULE_big = outbox
PGFILEDESC = "outbox - transactional outbox for Apache Kafka"
DATA = sql/outbox--1.0.sql

OBJS = \
	src/outbox.o \
	src/guc.o \
	src/host.o \
	src/kafka_option.o \
	src/shmem.o \
	src/session.o \
	src/shutdown.o \
	src/snapshot.o \
	src/event.o \
	src/installation.o \
	src/segment.o \
	src/segment_writer.o \
	src/cursor.o \
	src/trouble.o \
	src/event_frame.o \
	src/hold.o \
	src/dead_letter.o \
	src/foreign.o \
	src/foreign_counter.o \
	src/barrier.o \
	src/spool.o \
	src/batch.o \
	src/mark.o \
	src/first_event.o \
	src/batch_source.o \
	src/rotation.o \
	src/courier.o \
	src/producer_config.o \
	src/window.o \
	src/report.o \
	src/sender.o \
	src/suspects.o \
	src/judge.o \
	src/probe.o \
	src/topic.o \
	src/placement.o \
	src/template.o \
	src/trace_context.o \
	src/uri.o \
	src/json_text.o \
	src/argument.o \
	src/event_check.o \
	src/header.o \
	src/header_json.o \
	src/envelope.o \
	src/schema_registry.o \
	src/debezium.o \
	src/cloudevents.o \
	src/format.o \
	src/emit_rule.o \
	src/domain_event.o \
	src/emit_arguments.o \
	src/emit.o \
	src/emit_event.o \
	src/emit_many.o \
	src/trigger_column.o \
	src/json_value.o \
	src/capture.o \
	src/forward.o \
	src/adopt.o \
	src/wakeup.o \
	src/publisher.o \
	src/launcher.o \
	src/pending.o \
	src/drop_extension.o \
	src/utility_hook.o \
	src/status.o

REGRESS = emit emit_many emit_types emit_errors headers domain_event formats capture forward privileges status upgrade

# The specs read what the fake producer was sent, so they run where a server
# has it (see test/fake/fake.mk): with OUTBOX_FAKE_PRODUCER set.
ifdef OUTBOX_FAKE_PRODUCER
ISOLATION = helpers late_commit savepoints two_phase ids isolation_levels \
	commit_time key_order held_snapshot segment_locks rotation in_flight \
	emit_segment_lock drop_extension emit_reinstall
ISOLATION_OPTS = --inputdir=test --outputdir=test/output_iso
endif

EXTRA_CLEAN = src/producer/*.o outbox_producer test/output_iso

# the version of the SQL script is the version of the library
OUTBOX_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" outbox.control)
PG_CPPFLAGS = -DOUTBOX_VERSION='"$(OUTBOX_VERSION)"'
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
ifdef WERROR
PG_CFLAGS += -Werror
endif

# "make demo" and "make test" work before there is a server, and install one.
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifneq ($(PGXS),)
include $(PGXS)
endif

include src/producer/producer.mk
include test/fake/fake.mk
include test/test.mk
