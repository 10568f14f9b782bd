# The producer: a program of its own, not part of the server's module.
#
#   make outbox_producer            build it
#   make check-producer             its tests
#   make check-producer-sanitize    the same under address and undefined-behaviour sanitizers
#
# Included by the top Makefile after PGXS; "make -f src/producer/producer.mk"
# in the top folder works as well.

.PHONY: all install-producer uninstall-producer clean-producer \
	check-producer check-producer-sanitize

all: outbox_producer

PG_CONFIG ?= pg_config
PKG_CONFIG ?= pkg-config
PYTHON ?= python3
INSTALL_PROGRAM ?= install -m 755
bindir ?= $(shell $(PG_CONFIG) --bindir)

# Where clean, plain objects of both the server's and the producer's compiler
# would meet, the producer's have a folder of their own.
PRODUCER_SOURCES = $(wildcard src/producer/*.c)
PRODUCER_HEADERS = $(wildcard src/producer/*.h) src/frame.h src/kafka_option.h
PRODUCER_OBJECTS = $(PRODUCER_SOURCES:.c=.o) src/producer/kafka_option.o

PRODUCER_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" outbox.control)
PRODUCER_CPPFLAGS = -Isrc -DOUTBOX_VERSION='"$(PRODUCER_VERSION)"' \
	$(shell $(PKG_CONFIG) --cflags rdkafka)
PRODUCER_WARNINGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers $(if $(WERROR),-Werror)
PRODUCER_CFLAGS = -std=gnu99 -O2 -g -fPIE -pthread -fstack-protector-strong \
	-D_FORTIFY_SOURCE=2
PRODUCER_LDFLAGS = -pie -pthread
PRODUCER_LIBS = $(shell $(PKG_CONFIG) --libs rdkafka)

$(PRODUCER_SOURCES:.c=.o): src/producer/%.o: src/producer/%.c $(PRODUCER_HEADERS)
	$(CC) $(PRODUCER_CPPFLAGS) $(PRODUCER_CFLAGS) $(PRODUCER_WARNINGS) -c -o $@ $<

src/producer/kafka_option.o: src/kafka_option.c src/kafka_option.h
	$(CC) $(PRODUCER_CPPFLAGS) $(PRODUCER_CFLAGS) $(PRODUCER_WARNINGS) -c -o $@ $<

outbox_producer: $(PRODUCER_OBJECTS)
	$(CC) $(PRODUCER_CFLAGS) $(PRODUCER_LDFLAGS) -o $@ $(PRODUCER_OBJECTS) $(PRODUCER_LIBS)

install: install-producer
install-producer: outbox_producer
	mkdir -p '$(DESTDIR)$(bindir)'
	$(INSTALL_PROGRAM) outbox_producer '$(DESTDIR)$(bindir)/outbox_producer'

uninstall: uninstall-producer
uninstall-producer:
	rm -f '$(DESTDIR)$(bindir)/outbox_producer'

clean: clean-producer
clean-producer:
	rm -f outbox_producer src/producer/*.o
	rm -rf tmp_check_producer
