/*-------------------------------------------------------------------------
 *
 * publisher.c
 *	  The publisher: the background worker of one database.
 *
 * It takes ordered events from a source, sends them to its producer, and
 * gives back to the source how far they are acknowledged.  What it is doing
 * is one state, shown in outbox.status; each arrow of the diagram in
 * src/README.md is a function here.  One turn of the main loop takes what the
 * producer has sent, does what the state asks for, and waits.
 *
 * Order per key (G4) rests on this: there is one publisher per database (an
 * advisory lock), it has one producer at a time, a new one is started only
 * when the old one is dead, and then everything that is not acknowledged is
 * sent again in order from the oldest.
 *
 * An ERROR ends the process; the launcher starts it again.  That is the
 * simplest recovery, as all truth is in the tables.
 *
 * Knows nothing of how events are read and stored, but has rotation run and
 * dead letters counted; knows nothing of Kafka.
 *
 * IDENTIFICATION
 *	  src/publisher.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "batch_source.h"
#include "compat.h"
#include "courier.h"
#include "dead_letter.h"
#include "guc.h"
#include "host.h"
#include "judge.h"
#include "probe.h"
#include "producer_config.h"
#include "publisher.h"
#include "report.h"
#include "rotation.h"
#include "sender.h"
#include "session.h"
#include "shmem.h"
#include "shutdown.h"
#include "trouble.h"
#include "window.h"

/*
 * Under load the publisher stays awake for this long (ms) after reading, so
 * that emitters need not wake it at each commit.  Without it, its own turns
 * halve the rate of commits on two cores.
 */
#define LINGER				2

/*
 * While there is no room to read, the source is asked this often (ms) whether
 * a mark is due: a burst of 100,000 events a second then makes one mark each.
 */
#define MARK_INTERVAL		100

/* Shared memory is looked at this often (ms), in case a wake-up was lost. */
#define FALLBACK_INTERVAL	1000

/* How long (ms) a planned end waits for acknowledgements on their way. */
#define DRAIN_TIMEOUT		2000

/*
 * Back-off (ms) before the next producer is started: doubled at each failure,
 * but so that publishing is back within seconds of the cause being mended.
 */
#define MIN_BACKOFF			100
#define MAX_BACKOFF			10000

/* The same (ms) where nothing but a reload will help. */
#define REFUSED_BACKOFF		30000

/*
 * Class of the session-level advisory lock that makes a second publisher of
 * one database impossible.  SQL functions use classes 1 and 2 only.
 */
#define ADVISORY_LOCK_CLASS	57

/* Lines of the client from syslog's "warning" on are for everyone's log. */
#define LOG_LEVEL			4

/* What follows when the acknowledgements on their way have been taken. */
typedef enum AfterDrain
{
	THEN_EXIT,
	THEN_PAUSE,
	THEN_CONNECT
} AfterDrain;

typedef struct Publisher
{
	OutboxPublisherState state;
	OutboxSource *source;
	OutboxWindow *window;
	OutboxSender *sender;
	OutboxJudge *judge;
	OutboxProbe *probe;
	HTAB	   *topics;			/* what is set for single topics */
	uint64		requests_seen;	/* slot's counter */
	int64		dead_letters;	/* as of the last count */
	bool		letters_changed;	/* count again */
	OutboxCourier *courier;		/* NULL: no producer */
	MemoryContext context;		/* lives as long as the process */
	MemoryContext turn_context; /* is emptied before each turn */
	char		label[NAMEDATALEN];

	WaitEventSet *wait_set;
	OutboxCourier *wait_set_courier;	/* whose socket is in it */
	int			socket_event;

	/* the producer's configuration */
	StringInfo	config;			/* of the producer that runs, or starts */
	StringInfo	good_config;	/* the last one that a producer accepted */
	bool		fall_back;		/* the settings are bad: use that one */
	bool		refused;		/* the settings are bad: say so until a reload */
	bool		elsewhere;		/* outbox.status says that other hosts publish */

	int			failures;		/* of producers, in a row */
	bool		healthy;		/* an event was acknowledged in this life */
	TimestampTz retry_at;		/* WAITING: when the next is started */
	AfterDrain	after_drain;	/* STOPPING */
	TimestampTz drain_until;

	TimestampTz turn_at;		/* the present turn */
	TimestampTz linger_until;	/* not asleep before */
	TimestampTz looked_at;		/* the last fill() */
	TimestampTz rotation_at;	/* 0: when events were read */
	bool		events_read;
} Publisher;

static void add_context(void *arg);
static void prepare_session(Oid database);
static bool take_advisory_lock(void);
static void publish(Publisher *self);
static void clock_set_back(Publisher *self, TimestampTz now);
static void turn(Publisher *self, TimestampTz now);
static void receive(Publisher *self);
static void handle_frame(Publisher *self, const FrameHeader *header, const char *body);
static void acknowledged(Publisher *self, const OutboxReport *report);
static void show_trouble(const OutboxTrouble *trouble, const char *text);
static void reload(Publisher *self);
static void connect_producer(Publisher *self);
static void ready(Publisher *self);
static void producer_failed(Publisher *self, const OutboxTrouble *trouble, bool crashed);
static void producer_ended(Publisher *self);
static void configuration_failed(Publisher *self, const char *error);
static bool stop_producer(Publisher *self, bool crashed);
static void take_requests(Publisher *self, TimestampTz now);
static void show_held(Publisher *self);
static void drain(Publisher *self, AfterDrain after, TimestampTz now);
static void drained(Publisher *self, TimestampTz now);
static void resume(Publisher *self);
static void fill(Publisher *self, TimestampTz now);
static void wait_for_work(Publisher *self);
static WaitEventSet *wait_set(Publisher *self);
static void set_state(Publisher *self, OutboxPublisherState state);
static void clear_error(Publisher *self);
static bool is_sending(const Publisher *self);
static bool may_connect(void);
static bool is_drained(const Publisher *self);

void
outbox_publisher_main(Datum main_arg)
{
	Oid			database = DatumGetObjectId(main_arg);
	Publisher  *self;
	MemoryContext context;
	ErrorContextCallback callback;

	outbox_shutdown_init();

	/* nothing is under way yet that an orderly end could save */
	outbox_shutdown_at_once(true);
	BackgroundWorkerUnblockSignals();

	if (!outbox_slot_attach(database))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);

	context = AllocSetContextCreate(TopMemoryContext, "outbox publisher", ALLOCSET_DEFAULT_SIZES);
	self = MemoryContextAllocZero(context, sizeof(Publisher));
	self->context = context;
	self->turn_context = AllocSetContextCreate(context, "outbox turn", ALLOCSET_DEFAULT_SIZES);

	callback.callback = add_context;
	callback.arg = self;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	PG_TRY();
	{
		prepare_session(database);
		publish(self);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		/* the log has it too; the view is where an operator looks first */
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		outbox_slot_set_error(FRAME_CLASS_SERVER, error->message, error->hint);
		if (error->sqlerrcode == ERRCODE_DISK_FULL)
			outbox_slot_set_disk_full(true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	proc_exit(0);
}

/* Lines of a worker in the log have no database of their own. */
static void
add_context(void *arg)
{
	const Publisher *self = arg;

	if (self->label[0] != '\0')
		errcontext("publisher of database \"%s\"", self->label);
}

/*
 * Pins the session's settings, makes sure that there is no other publisher
 * here, and names the version.  Ends the process if the database has no
 * outbox extension.
 */
static void
prepare_session(Oid database)
{
	char	   *version;

	outbox_session_pin();
	if (!outbox_session_begin(OUTBOX_COMMIT_READ_ONLY))
	{
		outbox_slot_set_absent();
		proc_exit(0);
	}
	if (!take_advisory_lock())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("another publisher of database %u is still there", database)));

	outbox_session_use_snapshot();
	if (SPI_execute("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'outbox'",
					true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the version of extension outbox");
	version = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	outbox_slot_set_extension_version(version);
	outbox_session_commit();
}

static bool
take_advisory_lock(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, ADVISORY_LOCK_CLASS);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
publish(Publisher *self)
{
	OutboxSuspects *suspects;

	if (!outbox_session_begin(OUTBOX_COMMIT_READ_ONLY))
		return;
	strlcpy(self->label, get_database_name(MyDatabaseId), sizeof(self->label));
	outbox_session_commit();

	self->source = outbox_batch_source_create(self->context);
	if (self->source == NULL || !outbox_rotation_load())
	{
		outbox_slot_set_absent();
		return;
	}
	self->window = outbox_window_create(self->context);
	suspects = outbox_suspects_create(self->context);
	self->sender = outbox_sender_create(self->source, self->window, suspects, self->context);
	self->judge = outbox_judge_create(self->source, self->window, self->sender, suspects,
									  self->context);
	self->probe = outbox_probe_create(self->source, self->sender, self->context);
	self->requests_seen = PG_UINT64_MAX;	/* look at once */
	self->rotation_at = GetCurrentTimestamp();
	outbox_shutdown_at_once(false);
	pgstat_report_appname("outbox publisher");
	resume(self);

	for (;;)
	{
		TimestampTz now;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(self->turn_context);
		MemoryContextSwitchTo(self->turn_context);
		now = GetCurrentTimestamp();
		if (now < self->turn_at)
			clock_set_back(self, now);
		self->turn_at = now;

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			reload(self);
		}
		if ((outbox_shutdown_requested() || outbox_my_slot->restart) &&
			!(self->state == OUTBOX_PUBLISHER_STOPPING && self->after_drain == THEN_EXIT))
			drain(self, THEN_EXIT, now);

		if (self->courier != NULL)
			receive(self);
		turn(self, now);

		if (self->source->gone)
		{
			outbox_slot_set_absent();
			return;
		}
		if (self->state == OUTBOX_PUBLISHER_STOPPING && self->courier == NULL &&
			self->after_drain == THEN_EXIT)
			return;
		wait_for_work(self);
	}
}

/*
 * Times that were reckoned by the clock as it was before would be far away, and
 * publishing would rest until then.
 */
static void
clock_set_back(Publisher *self, TimestampTz now)
{
	self->retry_at = now;
	self->drain_until = TimestampTzPlusMilliseconds(now, DRAIN_TIMEOUT);
	self->linger_until = 0;
	self->looked_at = 0;
	self->rotation_at = now;
}

/* Does what the state asks for. */
static void
turn(Publisher *self, TimestampTz now)
{
	OutboxSource *source = self->source;

	source->acknowledge(source, self->window->low_water);
	take_requests(self, now);
	if (source->gone)
		return;

	switch (self->state)
	{
		case OUTBOX_PUBLISHER_STARTING:
		case OUTBOX_PUBLISHER_PAUSED:
		case OUTBOX_PUBLISHER_UNCONFIGURED:
			break;

		case OUTBOX_PUBLISHER_WAITING:
			if (now >= self->retry_at)
				connect_producer(self);
			fill(self, now);
			break;

		case OUTBOX_PUBLISHER_CONNECTING:
			fill(self, now);
			break;

		case OUTBOX_PUBLISHER_IDLE:
		case OUTBOX_PUBLISHER_PUBLISHING:
			if (outbox_judge_turn(self->judge, now))
			{
				drain(self, THEN_CONNECT, now);
				return;
			}
			outbox_probe_turn(self->probe, self->courier, now);

			/* first what is read already, so that the producer is not idle */
			outbox_sender_send(self->sender, self->courier, true);
			fill(self, now);
			outbox_sender_send(self->sender, self->courier, true);
			set_state(self, self->window->low_water == source->newest ?
					  OUTBOX_PUBLISHER_IDLE : OUTBOX_PUBLISHER_PUBLISHING);
			break;

		case OUTBOX_PUBLISHER_STOPPING:
			/* what was taken from the source counts as sent */
			if (self->courier != NULL)
				outbox_sender_send(self->sender, self->courier, false);
			source->acknowledge(source, self->window->low_water);
			if (now >= self->drain_until || is_drained(self))
				drained(self, now);
			return;
	}

	if (!source->gone)
		(void) source->store(source, now, false);
	if (!source->gone && is_sending(self) &&
		(self->rotation_at != 0 ? now >= self->rotation_at : self->events_read))
	{
		self->rotation_at = outbox_rotation_run(now, self->events_read,
												 source->holds);
		self->events_read = false;
	}
	pg_atomic_write_u64(&outbox_my_slot->waiting, source->backlog(source));
	if (!source->gone)
		show_held(self);
}

/* Looks at what people asked for in tables. */
static void
take_requests(Publisher *self, TimestampTz now)
{
	uint64		requests = pg_atomic_read_u64(&outbox_my_slot->requests);
	HTAB	   *topics;

	if (requests == self->requests_seen)
		return;
	self->requests_seen = requests;
	if (!outbox_session_begin(OUTBOX_COMMIT_READ_ONLY))
	{
		self->source->gone = true;
		return;
	}
	outbox_session_use_snapshot();
	topics = outbox_topics_load(self->context);
	self->dead_letters = outbox_dead_letters_count();
	outbox_session_commit();

	if (self->topics != NULL)
		hash_destroy(self->topics);
	self->topics = topics;
	outbox_judge_topics(self->judge, topics);
	if (outbox_probe_requested(self->probe, topics) && self->courier != NULL)
		drain(self, THEN_CONNECT, now);
}

/*
 * Tells outbox.status what is held.  When letters changed, counts them, and
 * removes those that were discarded long enough ago.
 */
static void
show_held(Publisher *self)
{
	OutboxHolds *holds = self->source->holds;

	if (outbox_probe_changed_letters(self->probe) || self->letters_changed)
	{
		self->letters_changed = false;
		if (!outbox_session_begin(OUTBOX_COMMIT_ASYNCHRONOUS))
		{
			self->source->gone = true;
			return;
		}
		outbox_session_use_snapshot();
		if (outbox_retention >= 0)
			outbox_dead_letters_forget_discarded(outbox_retention);
		self->dead_letters = outbox_dead_letters_count();
		outbox_session_commit();
	}
	outbox_slot_set_held(holds->topics, holds->count - holds->topics, self->dead_letters);
}

/* ---- what the producer says ---- */

static void
receive(Publisher *self)
{
	FrameHeader header;
	const char *body;

	while (self->courier != NULL &&
		   outbox_courier_receive(self->courier, &header, &body))
		handle_frame(self, &header, body);
	if (self->courier != NULL && self->courier->ended)
		producer_ended(self);
}

static void
handle_frame(Publisher *self, const FrameHeader *header, const char *body)
{
	OutboxReport report;

	outbox_report_read(&report, header, body);
	switch (report.type)
	{
		case FRAME_HELLO:
			outbox_slot_set_producer(self->courier->pid, report.hello.version,
									 report.hello.kafka_version_text);
			break;

		case FRAME_READY:
			ready(self);
			break;

		case FRAME_ACKNOWLEDGED:
			acknowledged(self, &report);
			break;

		case FRAME_REFUSED:
			ereport(DEBUG1,
					(errmsg_internal("event " UINT64_FORMAT " was refused: %s",
									 report.number, report.trouble.text)));
			if (report.number >= OUTBOX_PROBE_FIRST_NUMBER)
				outbox_probe_refused(self->probe, report.number, &report.trouble);
			else
				outbox_judge_refused(self->judge, report.number, report.topic, &report.trouble,
									 (report.flags & FRAME_TROUBLE_ALONE) != 0);
			self->letters_changed = true;
			break;

		case FRAME_CONNECTION:
			outbox_slot_set_connected(report.trouble.code == 0);
			if (report.trouble.code != 0)
				show_trouble(&report.trouble, report.trouble.text);
			else if (self->failures == 0 || self->source->backlog(self->source) == 0)
				clear_error(self);
			ereport(LOG,
					(report.trouble.code == 0 ?
					 errmsg("connected to Kafka") :
					 errmsg("no connection to Kafka: %s", report.trouble.text)));
			break;

		case FRAME_TOPIC:
			outbox_judge_topic(self->judge, report.topic, &report.trouble,
							   (report.flags & FRAME_TROUBLE_BLOCKS) != 0);
			/* what stops the stream is what a person must see, not one topic */
			if (outbox_judge_shows_error(self->judge))
				break;
			if (report.trouble.code != 0)
				show_trouble(&report.trouble,
							 psprintf("topic \"%s\": %s", report.topic, report.trouble.text));
			else
				clear_error(self);
			break;

		case FRAME_LOG:
			ereport(report.level <= LOG_LEVEL ? LOG : DEBUG1,
					(errmsg("librdkafka: %s", report.trouble.text)));
			break;

		case FRAME_FAILED:
			producer_failed(self, &report.trouble, false);
			break;

		default:
			break;
	}
}

static void
acknowledged(Publisher *self, const OutboxReport *report)
{
	uint64		count = 0;
	uint32		i;

	for (i = 0; i < report->count; i++)
	{
		uint64		number = outbox_report_number(report, i);

		if (number >= OUTBOX_PROBE_FIRST_NUMBER)
		{
			outbox_probe_acknowledged(self->probe, number);
			count++;
			continue;
		}
		if (outbox_window_acknowledge(self->window, number))
			count++;
		else
			outbox_sender_acknowledged(self->sender, number);
		outbox_judge_acknowledged(self->judge, number);
	}
	if (count == 0)
		return;

	pg_atomic_fetch_add_u64(&outbox_my_slot->published, count);
	if (self->failures > 0)
	{
		self->failures = 0;
		outbox_slot_set_attempts(0);
		clear_error(self);
	}
	if (!self->healthy)
		outbox_slot_set_healthy();
	self->healthy = true;
}

static void
show_trouble(const OutboxTrouble *trouble, const char *text)
{
	outbox_slot_set_error(trouble->class, text,
						  outbox_trouble_hint(trouble->class, trouble->code));
}

/* ---- arrows between states ---- */

/* To CONNECTING, UNCONFIGURED or PAUSED, as the settings say. */
static void
resume(Publisher *self)
{
	if (self->elsewhere)
		outbox_slot_clear_error();
	self->elsewhere = false;

	if (!outbox_enabled)
		set_state(self, OUTBOX_PUBLISHER_PAUSED);
	else if (!outbox_host_may_publish())
	{
		self->elsewhere = true;
		outbox_slot_set_error(FRAME_CLASS_CONFIGURATION,
							  psprintf("this host, %s, is not in outbox.publish_on_hosts",
									   outbox_host_name()),
							  "If no other server publishes these events, add the host to outbox.publish_on_hosts and reload.");
		set_state(self, OUTBOX_PUBLISHER_PAUSED);
	}
	else if (outbox_bootstrap_servers[0] == '\0')
	{
		outbox_slot_set_error(FRAME_CLASS_CONFIGURATION, "no broker is configured",
							  "Set outbox.bootstrap_servers, for example to 'kafka1:9092,kafka2:9092', and reload.");
		set_state(self, OUTBOX_PUBLISHER_UNCONFIGURED);
	}
	else
	{
		if (self->state == OUTBOX_PUBLISHER_UNCONFIGURED)
			outbox_slot_clear_error();
		connect_producer(self);
	}
}

/* Settings may have changed. */
static void
reload(Publisher *self)
{
	TimestampTz now = GetCurrentTimestamp();

	self->fall_back = false;
	if (self->refused && outbox_my_slot->error_class == FRAME_CLASS_CONFIGURATION)
		outbox_slot_clear_error();
	self->refused = false;
	switch (self->state)
	{
		case OUTBOX_PUBLISHER_PAUSED:
		case OUTBOX_PUBLISHER_UNCONFIGURED:
		case OUTBOX_PUBLISHER_STARTING:
			resume(self);
			break;

		case OUTBOX_PUBLISHER_STOPPING:
			break;				/* resumed, with new settings, afterwards */

		case OUTBOX_PUBLISHER_WAITING:
			if (!may_connect())
				resume(self);
			else
				self->retry_at = now;
			break;

		case OUTBOX_PUBLISHER_CONNECTING:
		case OUTBOX_PUBLISHER_IDLE:
		case OUTBOX_PUBLISHER_PUBLISHING:
			if (!may_connect())
				drain(self, THEN_PAUSE, now);
			else
			{
				const char *error;
				StringInfo	config = outbox_producer_config(outbox_judge_batch_size(self->judge),
														self->turn_context, &error);

				if (config == NULL)
					configuration_failed(self, error);
				else if (!outbox_producer_config_equal(config, self->config))
					drain(self, THEN_CONNECT, now);
				outbox_producer_config_free(config);
			}
			break;
	}

	/* retention may have changed */
	self->rotation_at = now;
}

/* Starts a producer: to CONNECTING. */
static void
connect_producer(Publisher *self)
{
	const char *error;

	Assert(self->courier == NULL);

	outbox_producer_config_free(self->config);
	if (self->fall_back)
		self->config = outbox_producer_config_copy(self->good_config, self->context);
	else
		self->config = outbox_producer_config(outbox_judge_batch_size(self->judge), self->context,
												&error);
	if (self->config == NULL)
	{
		/* the options file, say, cannot be read: what was good before serves */
		configuration_failed(self, error);
		self->config = outbox_producer_config_copy(self->good_config, self->context);
	}
	else
		self->refused = self->fall_back;
	if (self->config == NULL)
	{
		self->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), REFUSED_BACKOFF);
		set_state(self, OUTBOX_PUBLISHER_WAITING);
		return;
	}
	MemoryContextSwitchTo(self->context);
	self->courier = outbox_courier_start(self->label, self->config);
	MemoryContextSwitchTo(self->turn_context);
	set_state(self, OUTBOX_PUBLISHER_CONNECTING);
}

/* The producer takes events: to PUBLISHING. */
static void
ready(Publisher *self)
{
	if (self->state != OUTBOX_PUBLISHER_CONNECTING)
		return;

	outbox_producer_config_free(self->good_config);
	self->good_config = outbox_producer_config_copy(self->config, self->context);

	/* what ended the life before this one is over */
	if (outbox_my_slot->error_class == FRAME_CLASS_SERVER)
		outbox_slot_clear_error();

	outbox_sender_rewind(self->sender);
	set_state(self, OUTBOX_PUBLISHER_PUBLISHING);
}

/* The producer cannot go on: to WAITING. */
static void
producer_failed(Publisher *self, const OutboxTrouble *trouble, bool crashed)
{
	int64		backoff;
	bool		known = stop_producer(self, crashed);

	/* what was refused is judged: that is no failure of the producer */
	if (known)
		ereport(DEBUG1,
				(errmsg_internal("the producer ended: %s", trouble->text)));
	else
	{
		const char *hint = outbox_trouble_hint(trouble->class, trouble->code);

		if (!outbox_judge_explains(self->judge, trouble->class))
			show_trouble(trouble, trouble->text);
		ereport(LOG,
				(errmsg("the producer failed: %s", trouble->text),
				 hint ? errhint("%s", hint) : 0));
	}

	if (self->state == OUTBOX_PUBLISHER_STOPPING)
		return;

	backoff = known ? 0 : MIN_BACKOFF << Min(self->failures, 16);
	if (!known)
		outbox_slot_set_attempts(++self->failures);

	/*
	 * Nothing but a reload will mend a configuration that the client does not
	 * accept.  Until then the one before it serves, if this server has run
	 * with another.  What a broker says about it can change by itself.
	 */
	backoff = Min(backoff, MAX_BACKOFF);
	if (trouble->class == FRAME_CLASS_CONFIGURATION && trouble->code == 0)
	{
		self->refused = true;
		self->fall_back = self->good_config != NULL && !self->fall_back;
		backoff = self->fall_back ? 0 : REFUSED_BACKOFF;
	}
	self->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), backoff);
	set_state(self, OUTBOX_PUBLISHER_WAITING);
}

/* The settings do not make a configuration; the view and the log say why. */
static void
configuration_failed(Publisher *self, const char *error)
{
	self->refused = true;
	outbox_slot_set_error(FRAME_CLASS_CONFIGURATION, error, outbox_trouble_hint(FRAME_CLASS_CONFIGURATION, 0));
	ereport(LOG,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("%s", error),
			 errhint("%s", outbox_trouble_hint(FRAME_CLASS_CONFIGURATION, 0))));
}

/* The producer is gone without a word. */
static void
producer_ended(Publisher *self)
{
	int			status = outbox_courier_kill(self->courier);
	OutboxTrouble trouble = {FRAME_CLASS_CLIENT, 0, "outbox_producer ended"};

	if (status != -1 && WIFEXITED(status))
		trouble.text = psprintf("outbox_producer exited with exit code %d", WEXITSTATUS(status));
	else if (status != -1 && WIFSIGNALED(status))
		trouble.text = psprintf("outbox_producer was terminated by signal %d", WTERMSIG(status));
	producer_failed(self, &trouble, true);
}

/*
 * Kills and reaps the producer, and takes its last reports: what it
 * acknowledged before it died need not be sent again.  crashed says that it
 * died by itself, without a word.  Returns true if it is known what to do
 * about that.
 */
static bool
stop_producer(Publisher *self, bool crashed)
{
	FrameHeader header;
	const char *body;
	bool		known;

	if (self->courier == NULL)
		return false;
	(void) outbox_courier_kill(self->courier);
	while (outbox_courier_receive(self->courier, &header, &body))
	{
		if (header.type == FRAME_ACKNOWLEDGED || header.type == FRAME_REFUSED)
			handle_frame(self, &header, body);
	}
	known = outbox_judge_died(self->judge, crashed);
	if (self->wait_set != NULL)
		FreeWaitEventSet(self->wait_set);
	self->wait_set = NULL;
	outbox_courier_free(self->courier);
	self->courier = NULL;
	outbox_sender_rewind(self->sender);
	outbox_probe_forget(self->probe, crashed);
	outbox_slot_set_connected(false);
	outbox_slot_set_producer(0, NULL, NULL);
	return known;
}

/* Stops sending: to STOPPING. */
static void
drain(Publisher *self, AfterDrain after, TimestampTz now)
{
	self->after_drain = after;
	if (self->state != OUTBOX_PUBLISHER_STOPPING)
		self->drain_until = TimestampTzPlusMilliseconds(now, DRAIN_TIMEOUT);
	set_state(self, OUTBOX_PUBLISHER_STOPPING);
}

/* Nothing is on its way any more, or it takes too long: leaves STOPPING. */
static void
drained(Publisher *self, TimestampTz now)
{
	(void) stop_producer(self, false);
	self->source->acknowledge(self->source, self->window->low_water);
	(void) self->source->store(self->source, now, true);
	if (self->after_drain != THEN_EXIT)
		resume(self);
}

/* ---- work ---- */

/*
 * Has the source look for events, if there may be any and it is time.
 */
static void
fill(Publisher *self, TimestampTz now)
{
	OutboxSource *source = self->source;
	uint64		events;

	if (now < self->linger_until)
		return;
	if (!source->may_have_more(source))
	{
		if (now < TimestampTzPlusMilliseconds(self->looked_at, FALLBACK_INTERVAL))
			return;
		pgstat_report_stat(true);
		if (!source->must_look(source))
		{
			self->looked_at = now;
			return;
		}
	}

	/* reading a long backlog takes a while: say so before */
	if (is_sending(self) && source->may_have_more(source))
		set_state(self, OUTBOX_PUBLISHER_PUBLISHING);
	pg_atomic_write_u64(&outbox_my_slot->waiting, source->backlog(source));
	pgstat_report_activity(STATE_RUNNING, "reading events");
	events = source->fill(source);
	pgstat_report_activity(STATE_IDLE, NULL);

	/*
	 * Events that come closer together than the linger time are read
	 * together; one that comes alone is read at once, and so is a backlog.
	 */
	if (!source->has_backlog(source) &&
		(events > 1 ||
		 (events == 1 && now < TimestampTzPlusMilliseconds(self->looked_at, 1))))
		self->linger_until = TimestampTzPlusMilliseconds(now, LINGER);
	else
		self->linger_until = 0;
	self->looked_at = now;
	if (events > 0)
		self->events_read = true;
}

/*
 * Waits until there is something to do.  No transaction is open.
 */
static void
wait_for_work(Publisher *self)
{
	OutboxSource *source = self->source;
	WaitEvent	occurred;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = TimestampTzPlusMilliseconds(now, FALLBACK_INTERVAL);
	TimestampTz due;
	bool		reads;
	long		timeout;

	Assert(!IsTransactionState());

	reads = is_sending(self) || self->state == OUTBOX_PUBLISHER_WAITING ||
		self->state == OUTBOX_PUBLISHER_CONNECTING;
	if (is_sending(self))
	{
		due = source->store(source, now, false);
		if (due != 0)
			until = Min(until, due);
		if (self->rotation_at != 0)
			until = Min(until, self->rotation_at);
		due = outbox_judge_due(self->judge);
		if (due != 0)
			until = Min(until, due);
		due = outbox_probe_due(self->probe);
		if (due != 0)
			until = Min(until, due);
	}
	if (self->state == OUTBOX_PUBLISHER_WAITING)
		until = Min(until, self->retry_at);
	if (self->state == OUTBOX_PUBLISHER_STOPPING)
		until = is_drained(self) ? now : Min(until, self->drain_until);

	/*
	 * Emitters set the latch only while this says that we sleep.  It is said
	 * before the last look, and they count before they look at it, so one of
	 * the two sees the other.
	 */
	if (reads)
	{
		if (now < self->linger_until)
			until = Min(until, self->linger_until);
		else if (!source->has_room(source))
		{
			/* emitters need not wake a publisher that can only take marks */
			until = Min(until, TimestampTzPlusMilliseconds(now, MARK_INTERVAL));
		}
		else
		{
			pg_atomic_write_u32(&outbox_my_slot->sleeping, 1);
			pg_memory_barrier();
			if (source->may_have_more(source) ||
				pg_atomic_read_u64(&outbox_my_slot->requests) != self->requests_seen)
				until = now;
		}
	}

	timeout = until <= now ? 0 : (long) ((until - now + 999) / 1000);
	(void) WaitEventSetWait(wait_set(self), timeout, &occurred, 1,
							outbox_wait_event_compat("OutboxPublisherMain"));
	pg_atomic_write_u32(&outbox_my_slot->sleeping, 0);
	ResetLatch(MyLatch);
}

/*
 * What to wait for: the latch, the end of the postmaster, and the producer.
 * Made once for each producer, since making it costs more than a wait.
 */
static WaitEventSet *
wait_set(Publisher *self)
{
	uint32		events = WL_SOCKET_READABLE;

	/* a set that was made without a producer does for none only */
	if (self->wait_set == NULL || self->wait_set_courier != self->courier)
	{
		if (self->wait_set != NULL)
			FreeWaitEventSet(self->wait_set);
		self->wait_set = outbox_create_wait_event_set(self->context, 3);
		AddWaitEventToSet(self->wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
		AddWaitEventToSet(self->wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
		if (self->courier != NULL)
			self->socket_event = AddWaitEventToSet(self->wait_set, events,
												   self->courier->socket, NULL, NULL);
		self->wait_set_courier = self->courier;
	}
	if (self->courier != NULL)
	{
		if (outbox_sender_is_blocked(self->sender))
			events |= WL_SOCKET_WRITEABLE;
		ModifyWaitEvent(self->wait_set, self->socket_event, events, NULL);
	}
	return self->wait_set;
}

static void
set_state(Publisher *self, OutboxPublisherState state)
{
	if (self->state == state)
		return;
	self->state = state;
	outbox_slot_set_state(state);
}

/*
 * The trouble shown is over.  That the settings are bad is shown until they
 * are read again, however well the ones before them serve.
 */
static void
clear_error(Publisher *self)
{
	if (!self->refused || outbox_my_slot->error_class != FRAME_CLASS_CONFIGURATION)
		outbox_slot_clear_error();
}

static bool
is_sending(const Publisher *self)
{
	return self->state == OUTBOX_PUBLISHER_IDLE ||
		self->state == OUTBOX_PUBLISHER_PUBLISHING;
}

/* Whether the settings allow a producer. */
static bool
may_connect(void)
{
	return outbox_enabled && outbox_host_may_publish() &&
		outbox_bootstrap_servers[0] != '\0';
}

/* Whether no report is on its way. */
static bool
is_drained(const Publisher *self)
{
	return self->courier == NULL ||
		(outbox_sender_is_done(self->sender) && outbox_probe_is_done(self->probe));
}
