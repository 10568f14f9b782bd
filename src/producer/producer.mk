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

# kafka_option.c is part of the server's module as well, and compiled for each.
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

# Tests.  $(1): folder of what they need, $(2): the producer they test
PRODUCER_CHECK = tmp_check_producer
define producer_run_tests
	$(1)/kafka_option_test
	OUTBOX_PRODUCER='$(2)' OUTBOX_PRODUCER_TOOLS='$(1)' PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON) test/producer/run_tests.py $(TESTS)
endef

PRODUCER_TOOLS = $(addprefix $(PRODUCER_CHECK)/,mock_broker read_topic bench_producer)

$(PRODUCER_TOOLS): $(PRODUCER_CHECK)/%: test/producer/%.c src/frame.h
	mkdir -p $(PRODUCER_CHECK)
	$(CC) $(PRODUCER_CPPFLAGS) -std=gnu99 -O2 -g -pthread $(PRODUCER_WARNINGS) -o $@ $< $(PRODUCER_LIBS)

$(PRODUCER_CHECK)/kafka_option_test: test/producer/kafka_option_test.c src/kafka_option.c src/kafka_option.h
	mkdir -p $(PRODUCER_CHECK)
	$(CC) -Isrc -std=gnu99 -O2 -g $(PRODUCER_WARNINGS) -o $@ test/producer/kafka_option_test.c src/kafka_option.c

check-producer: outbox_producer $(PRODUCER_TOOLS) $(PRODUCER_CHECK)/kafka_option_test
	$(call producer_run_tests,$(PRODUCER_CHECK),$(CURDIR)/outbox_producer)

# One compilation, so that no object of the ordinary build gets in.  The
# mock broker is the ordinary one: it is not what is tested.
PRODUCER_SANITIZE = $(PRODUCER_CHECK)/sanitize
SANITIZE_FLAGS = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

$(PRODUCER_SANITIZE)/outbox_producer: $(PRODUCER_SOURCES) $(PRODUCER_HEADERS) src/kafka_option.c
	mkdir -p $(PRODUCER_SANITIZE)
	$(CC) $(PRODUCER_CPPFLAGS) -std=gnu99 -O1 -g -pthread $(SANITIZE_FLAGS) $(PRODUCER_WARNINGS) \
		-o $@ $(PRODUCER_SOURCES) src/kafka_option.c $(PRODUCER_LIBS)

$(PRODUCER_SANITIZE)/kafka_option_test: test/producer/kafka_option_test.c src/kafka_option.c src/kafka_option.h
	mkdir -p $(PRODUCER_SANITIZE)
	$(CC) -Isrc -std=gnu99 -O1 -g $(SANITIZE_FLAGS) $(PRODUCER_WARNINGS) -o $@ \
		test/producer/kafka_option_test.c src/kafka_option.c

$(PRODUCER_SANITIZE)/mock_broker $(PRODUCER_SANITIZE)/read_topic: $(PRODUCER_SANITIZE)/%: $(PRODUCER_CHECK)/%
	mkdir -p $(PRODUCER_SANITIZE)
	cp $< $@

check-producer-sanitize: $(addprefix $(PRODUCER_SANITIZE)/,outbox_producer kafka_option_test mock_broker read_topic)
	$(call producer_run_tests,$(PRODUCER_SANITIZE),$(CURDIR)/$(PRODUCER_SANITIZE)/outbox_producer)
