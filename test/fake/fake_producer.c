/*-------------------------------------------------------------------------
 *
 * fake_producer.c
 *	  A producer without Kafka, for tests: it acknowledges as it is told.
 *
 * Speaks the producer's side of src/frame.h, so the whole publisher runs
 * against it, and any order of acknowledgements and any death can be brought
 * about at an exact event.  The server is told to run it by the hidden
 * setting outbox.producer_program.
 *
 * It works in the folder "fake_producer" of the data directory, with files
 * named after the database (its argv[1]):
 *
 *	  NAME.log		what happened, one line each, columns separated by tabs:
 *					event	number uid topic partition key payload headers, and
 *						"alone" as one more column if it was sent alone
 *					acknowledged	number
 *					refused	number code class, and "alone" as above
 *					start	pid
 *					A byte that is no printable ASCII, and a backslash, is
 *					written as \xNN, NULL as \N.  An event stands here before
 *					it is acknowledged.
 *	  NAME.control	commands, one line each, appended by tests; created by
 *					whoever comes first
 *	  NAME.state	how many bytes of NAME.control are done.  It is written
 *					before a command that ends the program is carried out,
 *					after any other.
 *
 * Commands that last, also for the producers after this one:
 *	  hold			keep back every acknowledgement
 *	  auto			the reverse, which is the default: what is held is
 *					acknowledged in order, and so is each event when it comes
 *	  delay MS		with auto: acknowledge each event MS milliseconds late
 *	  partitions N	how many partitions there are (default 4), for events
 *					that do not ask for one
 *	  unready		do not say that the configuration is accepted
 *	  ready			the reverse; the default
 *	  poison WHAT [CODE [CLASS]]	refuse events: topic=TEXT, key=TEXT or
 *					payload=TEXT.  One that was sent alone is refused, and
 *					that is all.  Any other is refused as the record that
 *					spoils a producer batch: with it all events of its topic's
 *					partition that are not acknowledged, then FRAME_FAILED of
 *					that class, then exit.  Several can be in force at a time
 *	  deadly payload=TEXT	end by SIGSEGV when such an event comes
 *	  cure			the end of all poisons and of what is deadly
 *
 * CODE is librdkafka's error code (default 10, message size too large), CLASS a
 * FrameClass (default 1, the record).  Where they can follow, and after the name
 * of a topic, TEXT ends at a blank.  A poison works when an event comes, not on
 * those that came before it was given.
 *
 * Commands of the moment.  EVENTS is all, a number, a range FIRST-LAST,
 * partition=N, topic=TEXT, key=TEXT or payload=TEXT (text as in the log),
 * and names events that were received and not acknowledged:
 *	  ack EVENTS	acknowledge these, oldest first, in one frame
 *	  reverse EVENTS	the same, newest first, in a frame each
 *	  refuse EVENTS [CODE [CLASS]]	refuse these, each as alone as it was sent,
 *					and forget them; for those of the stream, what a real
 *					producer does is
 *	  refusebatch EVENTS [CODE [CLASS]]	the same, then FRAME_FAILED of that
 *					class, then exit
 *	  fail CLASS TEXT	say FRAME_FAILED with that FrameClass, then exit
 *	  failack EVENTS	say FRAME_FAILED and acknowledge these behind it, in one
 *					write, then exit: reports that are on their way when the
 *					publisher ends its producer
 *	  connection CODE	say that the connection to the broker has that error
 *	  topic CODE NAME [blocks]	say that this topic has that error, and that
 *					nothing behind its event can be taken
 *	  stall [NUMBER]	stop reading events, now or when that one has come
 *	  resume		the reverse
 *	  exit CODE		end at once
 *	  crash			end by SIGSEGV
 *
 * A command that it does not understand ends it with exit status 2.
 *
 * IDENTIFICATION
 *	  test/fake/fake_producer.c
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"

#define FOLDER				"fake_producer"

/* How often the control file is looked at (ms), to keep tests quick. */
#define LOOK_INTERVAL		5

/* Partitions of a topic, unless told: enough for two keys to differ. */
#define DEFAULT_PARTITIONS	4

/* Bytes read from the socket at a time: many small events in one write. */
#define READ_SIZE			(256 * 1024)

/* An event that was received and not acknowledged. */
typedef struct Held
{
	uint64_t	number;
	int64_t		received;		/* ms, on a clock that only goes forward */
	int32_t		partition;
	bool		alone;
	char	   *topic;			/* these three as in the log */
	char	   *key;
	char	   *payload;
} Held;

/* Events that are refused, or deadly, whenever they come. */
typedef struct Poison
{
	char	   *what;			/* as for matches() */
	int			code;
	FrameClass	class;
	bool		deadly;
} Poison;

typedef struct Text
{
	char	   *data;
	size_t		length;
	size_t		size;
} Text;

static int	log_fd;
static int	control_fd;
static int	state_fd;
static Text control_rest;		/* a command whose line is not complete yet */
static long control_done;

static Text input;
static Text log_text;			/* written before the next frame is sent */
static Text output;				/* frames to be written together */
static bool gathering = false;	/* frames go there */

static Held *held;
static size_t held_count;
static size_t held_size;

static Poison *poisons;
static size_t poison_count;

static bool holding = false;
static bool stalled = false;
static uint64_t stall_at = 0;	/* the event after which to stall; 0: none */
static bool withhold_ready = false;
static bool configured = false;
static bool ready_said = false;
static int	delay = 0;
static int	partitions = DEFAULT_PARTITIONS;

static void
die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	fprintf(stderr, "fake_producer: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	_exit(2);
}

static int64_t
milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
append(Text *text, const char *data, size_t length)
{
	if (text->length + length + 1 > text->size)
	{
		text->size = (text->length + length + 1) * 2;
		text->data = realloc(text->data, text->size);
		if (text->data == NULL)
			die("out of memory");
	}
	if (length > 0)
		memcpy(text->data + text->length, data, length);
	text->length += length;
	text->data[text->length] = '\0';
}

static void
append_format(Text *text, const char *format,...)
{
	char		buffer[256];
	va_list		args;
	int			length;

	va_start(args, format);
	length = vsnprintf(buffer, sizeof(buffer), format, args);
	va_end(args);
	if (length >= (int) sizeof(buffer))
		die("too long: %s", format);
	append(text, buffer, length);
}

static void
append_escaped(Text *text, const char *data, size_t length)
{
	size_t		i;

	for (i = 0; i < length; i++)
	{
		unsigned char c = data[i];

		if (c < ' ' || c > '~' || c == '\\')
			append_format(text, "\\x%02x", c);
		else
			append(text, &data[i], 1);
	}
}

static char *
escaped(const char *data, int32_t length)
{
	Text		text = {0};

	if (length < 0)
		append(&text, "\\N", 2);
	else
	{
		append(&text, "", 0);
		append_escaped(&text, data, length);
	}
	return text.data;
}

/* Writes all of it, waiting where the descriptor does not take it at once. */
static void
write_all(int fd, const char *data, size_t length)
{
	while (length > 0)
	{
		ssize_t		n = write(fd, data, length);

		if (n > 0)
		{
			data += n;
			length -= n;
		}
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
		{
			struct pollfd wait = {fd, POLLOUT, 0};

			(void) poll(&wait, 1, -1);
		}
		else if (errno != EINTR)
			_exit(0);			/* the publisher is gone */
	}
}

static void
flush_log(void)
{
	write_all(log_fd, log_text.data, log_text.length);
	log_text.length = 0;
}

static void
send_frame(FrameType type, const void *body, size_t length, const void *more, size_t more_length)
{
	FrameHeader header = {0};
	Text		frame = {0};

	flush_log();
	header.type = type;
	header.length = length + more_length;
	append(&frame, (char *) &header, sizeof(header));
	append(&frame, body, length);
	append(&frame, more, more_length);
	if (gathering)
		append(&output, frame.data, frame.length);
	else
		write_all(FRAME_SOCKET_FD, frame.data, frame.length);
	free(frame.data);
}

static void
send_trouble(FrameType type, FrameClass class, uint64_t number, int code, uint16_t flags,
			 const char *text, size_t length)
{
	FrameTrouble trouble = {0};

	trouble.number = number;
	trouble.code = code;
	trouble.class = class;
	trouble.flags = flags;
	send_frame(type, &trouble, sizeof(trouble), text, length);
}

/* ---- events received ---- */

static void
forget(size_t i)
{
	free(held[i].topic);
	free(held[i].key);
	free(held[i].payload);
	held_count--;
	memmove(&held[i], &held[i + 1], sizeof(Held) * (held_count - i));
}

/*
 * Acknowledges events by their numbers, in this order, in one frame, or more
 * where the numbers are too far apart for one.
 */
static void
send_acknowledged(const uint64_t *numbers, size_t count)
{
	uint32_t   *offsets = malloc(sizeof(uint32_t) * (count + 1));
	size_t		first = 0;
	size_t		i;

	if (offsets == NULL)
		die("out of memory");
	for (i = 0; i < count; i++)
		append_format(&log_text, "acknowledged\t%llu\n", (unsigned long long) numbers[i]);
	while (first < count)
	{
		FrameAcknowledged frame = {0};
		uint64_t	last = numbers[first];

		frame.base = numbers[first];
		for (i = first; i < count; i++)
		{
			uint64_t	base = numbers[i] < frame.base ? numbers[i] : frame.base;

			last = numbers[i] > last ? numbers[i] : last;
			if (last - base > UINT32_MAX)
				break;
			frame.base = base;
		}
		frame.count = i - first;
		for (i = 0; i < frame.count; i++)
			offsets[i] = numbers[first + i] - frame.base;
		send_frame(FRAME_ACKNOWLEDGED, &frame, sizeof(frame), offsets,
				   sizeof(uint32_t) * frame.count);
		first += frame.count;
	}
	free(offsets);
}

/* Acknowledges what is held and is due by itself. */
static void
acknowledge_due(void)
{
	int64_t		now = milliseconds();
	uint64_t   *numbers;
	size_t		count = 0;

	if (holding || held_count == 0)
		return;
	numbers = malloc(sizeof(uint64_t) * held_count);
	if (numbers == NULL)
		die("out of memory");
	while (count < held_count && now - held[count].received >= delay)
	{
		numbers[count] = held[count].number;
		count++;
	}
	send_acknowledged(numbers, count);
	free(numbers);
	if (count == held_count)
		while (held_count > 0)
			forget(held_count - 1);
	else
		while (count-- > 0)
			forget(0);
}

static void
append_headers(Text *text, const char *data, int32_t length)
{
	const char *end = data + length;
	const char *separator = "";

	if (length < 0)
		append(text, "\\N", 2);
	while (data < end)
	{
		uint16_t	name_length;
		int32_t		value_length;

		memcpy(&name_length, data, sizeof(name_length));
		name_length = ntohs(name_length);
		data += sizeof(name_length);
		append(text, separator, strlen(separator));
		append_escaped(text, data, name_length);
		data += name_length;
		memcpy(&value_length, data, sizeof(value_length));
		value_length = (int32_t) ntohl((uint32_t) value_length);
		data += sizeof(value_length);
		append(text, "=", 1);
		if (value_length < 0)
			append(text, "\\N", 2);
		else
		{
			append_escaped(text, data, value_length);
			data += value_length;
		}
		separator = ",";
	}
}

/* The partition of a key: any function of it will do (this one is FNV-1a). */
static int32_t
partition_of(const char *key, int32_t length)
{
	uint32_t	hash = 2166136261u;
	int32_t		i;

	for (i = 0; i < length; i++)
		hash = (hash ^ (unsigned char) key[i]) * 16777619u;
	return hash % partitions;
}

static bool
matches(const Held *event, const char *what)
{
	char	   *end;
	uint64_t	first;
	uint64_t	last;

	if (strcmp(what, "all") == 0)
		return true;
	if (strncmp(what, "partition=", 10) == 0)
		return event->partition == atoi(what + 10);
	if (strncmp(what, "topic=", 6) == 0)
		return strcmp(event->topic, what + 6) == 0;
	if (strncmp(what, "key=", 4) == 0)
		return strcmp(event->key, what + 4) == 0;
	if (strncmp(what, "payload=", 8) == 0)
		return strcmp(event->payload, what + 8) == 0;

	first = last = strtoull(what, &end, 10);
	if (end != what && *end == '-')
		last = strtoull(end + 1, &end, 10);
	if (end == what || *end != '\0')
		die("no such events: %s", what);
	return event->number >= first && event->number <= last;
}

/* librdkafka's texts, for the codes that tests are about. */
static const char *
error_text(int code)
{
	switch (code)
	{
		case 3:
			return "Broker: Unknown topic or partition";
		case 10:
			return "Broker: Message size too large";
		case 29:
			return "Broker: Topic authorization failed";
		case 87:
			return "Broker: Broker failed to validate record";
		default:
			return "Some error";
	}
}

/* Refuses an event that is held, and forgets it. */
static void
refuse(size_t i, int code, FrameClass class)
{
	const char *text = error_text(code);
	Text		body = {0};

	append_format(&log_text, "refused\t%llu\t%d\t%d%s\n", (unsigned long long) held[i].number,
				  code, (int) class, held[i].alone ? "\talone" : "");
	append(&body, held[i].topic, strlen(held[i].topic) + 1);
	append(&body, text, strlen(text));
	send_trouble(FRAME_REFUSED, class, held[i].number, code,
				 held[i].alone ? FRAME_TROUBLE_ALONE : 0, body.data, body.length);
	free(body.data);
	forget(i);
}

/* The end that follows a refusal. */
static void
fail_refused(int code, FrameClass class)
{
	const char *text = error_text(code);

	send_trouble(FRAME_FAILED, class, 0, code, 0, text, strlen(text));
	_exit(1);
}

static void
crash(void)
{
	struct rlimit none = {0, 0};

	flush_log();
	/* no core file: nobody is interested in this crash */
	setrlimit(RLIMIT_CORE, &none);
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

/* Does what is to be done about an event that has just come. */
static void
meet_poison(size_t i)
{
	const Poison *poison = poisons;
	size_t		j = 0;

	while (poison < poisons + poison_count && !matches(&held[i], poison->what))
		poison++;
	if (poison == poisons + poison_count)
		return;
	if (poison->deadly)
		crash();
	if (held[i].alone)
	{
		refuse(i, poison->code, poison->class);
		return;
	}

	/* it is the last one, so all others of its partition are in front of it */
	while (j < held_count)
	{
		const Held *last = &held[held_count - 1];

		if (!held[j].alone && held[j].partition == last->partition &&
			strcmp(held[j].topic, last->topic) == 0)
			refuse(j, poison->code, poison->class);
		else
			j++;
	}
	fail_refused(poison->code, poison->class);
}

static void
receive_event(const char *body, uint32_t length)
{
	FrameEvent	event;
	Held	   *new;
	const char *topic = body + sizeof(event);
	const char *key;
	const char *headers;
	const char *payload;
	int			i;

	if (length < sizeof(event))
		die("an event of %u bytes", length);
	memcpy(&event, body, sizeof(event));
	if (event.flags & ~FRAME_EVENT_ALONE)
		die("an event with flags %u", event.flags);
	key = topic + event.topic_length;
	headers = key + (event.key_length > 0 ? event.key_length : 0);
	payload = headers + (event.headers_length > 0 ? event.headers_length : 0);
	if (payload + (event.payload_length > 0 ? event.payload_length : 0) != body + length)
		die("an event whose lengths do not add up");

	if (held_count == held_size)
	{
		held_size = held_size * 2 + 64;
		held = realloc(held, sizeof(Held) * held_size);
		if (held == NULL)
			die("out of memory");
	}
	new = &held[held_count++];
	new->number = event.number;
	new->received = milliseconds();
	new->partition = event.partition >= 0 ? event.partition :
		partition_of(key, event.key_length);
	new->alone = (event.flags & FRAME_EVENT_ALONE) != 0;
	new->topic = escaped(topic, event.topic_length);
	new->key = escaped(key, event.key_length);
	new->payload = escaped(payload, event.payload_length);

	if (event.number == stall_at)
	{
		stalled = true;
		stall_at = 0;
	}

	append_format(&log_text, "event\t%llu\t", (unsigned long long) event.number);
	for (i = 0; i < 16; i++)
		append_format(&log_text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
					  event.uid[i]);
	append_format(&log_text, "\t%s\t%d\t", new->topic, new->partition);
	append(&log_text, new->key, strlen(new->key));
	append(&log_text, "\t", 1);
	append(&log_text, new->payload, strlen(new->payload));
	append(&log_text, "\t", 1);
	append_headers(&log_text, headers, event.headers_length);
	append_format(&log_text, "%s\n", new->alone ? "\talone" : "");
	meet_poison(held_count - 1);
}

static void
say_ready(void)
{
	if (!configured || withhold_ready || ready_said)
		return;
	send_frame(FRAME_READY, NULL, 0, NULL, 0);
	ready_said = true;
}

static void
receive_config(const char *body, uint32_t length)
{
	FrameHello	hello = {0};
	uint32_t	version;

	if (length < sizeof(version))
		die("a configuration of %u bytes", length);
	memcpy(&version, body, sizeof(version));
	if (version != FRAME_PROTOCOL_VERSION)
		die("the publisher speaks protocol %u", version);
	hello.protocol = FRAME_PROTOCOL_VERSION;
	strcpy(hello.version, "fake");
	strcpy(hello.kafka_version_text, "none");
	send_frame(FRAME_HELLO, &hello, sizeof(hello), NULL, 0);
	configured = true;
	say_ready();
}

/* Takes what the socket has; the end of it is the end of the program. */
static void
receive(void)
{
	static char buffer[READ_SIZE];
	ssize_t		n = read(FRAME_SOCKET_FD, buffer, sizeof(buffer));
	size_t		used = 0;

	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
		_exit(0);
	if (n < 0)
		return;
	append(&input, buffer, n);

	while (input.length - used >= sizeof(FrameHeader))
	{
		FrameHeader header;
		const char *body = input.data + used + sizeof(header);

		memcpy(&header, input.data + used, sizeof(header));
		if (header.length > FRAME_MAX_BODY)
			die("a frame of %u bytes", header.length);
		if (input.length - used < sizeof(header) + header.length)
			break;
		if (header.type == FRAME_CONFIG)
			receive_config(body, header.length);
		else if (header.type == FRAME_EVENT && ready_said)
			receive_event(body, header.length);
		else
			die("a frame of type %u%s", header.type, ready_said ? "" : " before it was asked for");
		used += sizeof(header) + header.length;
	}
	memmove(input.data, input.data + used, input.length - used);
	input.length -= used;
	flush_log();
}

/* ---- commands ---- */

static void
acknowledge_matching(const char *what, bool reverse)
{
	uint64_t   *numbers = malloc(sizeof(uint64_t) * (held_count + 1));
	size_t		count = 0;
	size_t		kept = 0;
	size_t		i;

	if (numbers == NULL)
		die("out of memory");
	for (i = 0; i < held_count; i++)
		if (matches(&held[i], what))
			numbers[count++] = held[i].number;
	if (reverse)
		for (i = count; i > 0; i--)
			send_acknowledged(&numbers[i - 1], 1);
	else
		send_acknowledged(numbers, count);

	for (i = 0; i < held_count; i++)
	{
		if (matches(&held[i], what))
		{
			free(held[i].topic);
			free(held[i].key);
			free(held[i].payload);
		}
		else
			held[kept++] = held[i];
	}
	held_count = kept;
	free(numbers);
}

/* Refuses events, oldest first, and forgets them. */
static void
refuse_matching(const char *what, int code, FrameClass class)
{
	size_t		i = 0;

	while (i < held_count)
	{
		if (matches(&held[i], what))
			refuse(i, code, class);
		else
			i++;
	}
}

static void
save_state(long done)
{
	char		text[32];
	int			length = snprintf(text, sizeof(text), "%-20ld\n", done);

	flush_log();
	if (pwrite(state_fd, text, length, 0) != length)
		die("could not write the state: %s", strerror(errno));
}

/*
 * Splits "WHAT [CODE [CLASS]]".  Returns WHAT, which the caller owns.
 */
static char *
read_refusal(const char *argument, int *code, FrameClass *class)
{
	size_t		length = strcspn(argument, " ");
	char	   *what = strndup(argument, length);
	/* librdkafka's RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE */
	int			number = 10;
	int			kind = FRAME_CLASS_RECORD;

	if (what == NULL)
		die("out of memory");
	(void) sscanf(argument + length, "%d %d", &number, &kind);
	*code = number;
	*class = (FrameClass) kind;
	return what;
}

static void
add_poison(const char *argument, bool deadly)
{
	Poison	   *new;

	poisons = realloc(poisons, sizeof(Poison) * (poison_count + 1));
	if (poisons == NULL)
		die("out of memory");
	new = &poisons[poison_count++];
	new->what = read_refusal(argument, &new->code, &new->class);
	new->deadly = deadly;
	if (strchr(new->what, '=') == NULL)
		die("no such events: %s", new->what);
}

static void
cure(void)
{
	while (poison_count > 0)
		free(poisons[--poison_count].what);
}

/*
 * Carries out one command.  One that a producer before this one has carried
 * out already (again) counts only if it lasts.
 */
static void
execute(const char *command, long end, bool again)
{
	char		word[32] = "";
	const char *argument;
	char	   *what;
	int			code;
	FrameClass	class;
	int			used = 0;

	(void) sscanf(command, "%31s %n", word, &used);
	argument = command + (used > 0 ? used : (int) strlen(command));

	if (strcmp(word, "hold") == 0)
		holding = true;
	else if (strcmp(word, "auto") == 0)
	{
		holding = false;
		delay = 0;
	}
	else if (strcmp(word, "delay") == 0)
		delay = atoi(argument);
	else if (strcmp(word, "partitions") == 0 && atoi(argument) > 0)
		partitions = atoi(argument);
	else if (strcmp(word, "unready") == 0)
		withhold_ready = true;
	else if (strcmp(word, "ready") == 0)
		withhold_ready = false;
	else if (strcmp(word, "poison") == 0)
		add_poison(argument, false);
	else if (strcmp(word, "deadly") == 0)
		add_poison(argument, true);
	else if (strcmp(word, "cure") == 0)
		cure();
	else if (again)
		return;
	else if (strcmp(word, "ack") == 0)
		acknowledge_matching(argument, false);
	else if (strcmp(word, "reverse") == 0)
		acknowledge_matching(argument, true);
	else if (strcmp(word, "refuse") == 0)
	{
		what = read_refusal(argument, &code, &class);
		refuse_matching(what, code, class);
		free(what);
	}
	else if (strcmp(word, "stall") == 0)
	{
		stall_at = strtoull(argument, NULL, 10);
		stalled = (stall_at == 0);
	}
	else if (strcmp(word, "resume") == 0)
		stalled = false;
	else if (strcmp(word, "connection") == 0)
		send_trouble(FRAME_CONNECTION, FRAME_CLASS_CONNECTION, 0, atoi(argument), 0,
					 "no broker", strlen("no broker"));
	else if (strcmp(word, "topic") == 0)
	{
		Text		text = {0};
		const char *name = strchr(argument, ' ');
		size_t		length;
		bool		blocks;

		if (name == NULL)
			die("no topic: %s", command);
		length = strcspn(++name, " ");
		blocks = strcmp(name + length, " blocks") == 0;
		if (name[length] != '\0' && !blocks)
			die("no such command: %s", command);
		append(&text, name, length);
		append(&text, "", 1);
		append(&text, "unknown topic", strlen("unknown topic"));
		send_trouble(FRAME_TOPIC, FRAME_CLASS_TOPIC, 0, atoi(argument),
					 blocks ? FRAME_TROUBLE_BLOCKS : 0, text.data, text.length);
		free(text.data);
	}
	else
	{
		save_state(end);
		if (strcmp(word, "exit") == 0)
			_exit(atoi(argument));
		else if (strcmp(word, "crash") == 0)
			crash();
		else if (strcmp(word, "refusebatch") == 0)
		{
			what = read_refusal(argument, &code, &class);
			refuse_matching(what, code, class);
			fail_refused(code, class);
		}
		else if (strcmp(word, "fail") == 0)
		{
			const char *text = strchr(argument, ' ');

			text = text ? text + 1 : "told to fail";
			send_trouble(FRAME_FAILED, (FrameClass) atoi(argument), 0, 0, 0, text, strlen(text));
			_exit(1);
		}
		else if (strcmp(word, "failack") == 0)
		{
			gathering = true;
			send_trouble(FRAME_FAILED, FRAME_CLASS_CLIENT, 0, 0, 0, "told to fail",
						 strlen("told to fail"));
			acknowledge_matching(argument, false);
			write_all(FRAME_SOCKET_FD, output.data, output.length);
			_exit(1);
		}
		die("no such command: %s", command);
	}
}

/*
 * Carries out what was appended to the control file.  At the start, what is
 * there up to "already" was carried out by producers before this one.
 */
static void
look_for_commands(long already)
{
	char		buffer[4096];
	ssize_t		n;
	char	   *newline;
	bool		any = false;

	while ((n = read(control_fd, buffer, sizeof(buffer))) > 0)
		append(&control_rest, buffer, n);

	while (control_rest.length > 0 &&
		   (newline = memchr(control_rest.data, '\n', control_rest.length)) != NULL)
	{
		size_t		length = newline + 1 - control_rest.data;

		*newline = '\0';
		control_done += length;
		if (control_rest.data[0] != '\0')
			execute(control_rest.data, control_done, control_done <= already);
		memmove(control_rest.data, control_rest.data + length, control_rest.length - length);
		control_rest.length -= length;
		any = true;
	}
	if (any && control_done > already)
	{
		say_ready();
		acknowledge_due();
		save_state(control_done);
	}
}

static int
open_file(const char *database, const char *ending, int flags)
{
	char		path[1024];
	int			fd;

	if (snprintf(path, sizeof(path), FOLDER "/%s.%s", database, ending) >= (int) sizeof(path))
		die("the name of the database is too long");
	fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

int
main(int argc, char **argv)
{
	char		state[32] = "";

	if (argc != 2)
		die("usage: fake_producer DATABASE, with a publisher at descriptor %d", FRAME_SOCKET_FD);
	if (mkdir(FOLDER, 0700) != 0 && errno != EEXIST)
		die(FOLDER ": %s", strerror(errno));
	log_fd = open_file(argv[1], "log", O_WRONLY | O_APPEND);
	control_fd = open_file(argv[1], "control", O_RDONLY);
	state_fd = open_file(argv[1], "state", O_RDWR);
	if (pread(state_fd, state, sizeof(state) - 1, 0) < 0)
		die("could not read the state: %s", strerror(errno));

	append_format(&log_text, "start\t%d\n", (int) getpid());
	flush_log();
	if (atol(state) > 0)
		look_for_commands(atol(state));

	for (;;)
	{
		struct pollfd wait = {FRAME_SOCKET_FD, stalled ? 0 : POLLIN, 0};

		(void) poll(&wait, 1, LOOK_INTERVAL);
		if (wait.revents & (POLLERR | POLLHUP | POLLNVAL) && stalled)
			_exit(0);
		if (wait.revents & (POLLIN | POLLHUP))
			receive();
		look_for_commands(0);
		acknowledge_due();
	}
}
