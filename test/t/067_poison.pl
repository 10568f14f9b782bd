# 067_poison.pl
#	  Events that the broker refuses for their content, in the midst of others.
#
# Rows of the fault matrix: whatever is refused, and however much of it, only
# that becomes a dead letter, only its key waits, and all others go on without
# one repeated: a producer whose batch was refused has nothing else under way.
# What is discarded must not arrive; what waited behind it, and what is retried,
# must arrive in order.
#
# IDENTIFICATION
#	  test/t/067_poison.pl

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

need_real_kafka();

# What a topic takes in these rows, and what it does not, in bytes.  The limit is
# for a whole producer batch of up to 1,000,000 bytes: so large that the load
# needs several seconds for it, and that other events fit in beside what is too
# large.
my $limit = 900_000;
my $too_large = 910_000;

# Keys of the load, half of them of each of its two topics; and the run of
# letters that holds a topic: fewer than those, as each letter parks a key.
my $keys = 100;
my $letter_limit = 20;

# Letters can be made of what is sent alone when a topic is held (suspects.h).
my $on_their_way = 15;

# A held topic is tried every 5 s, and its keys come back with it.
my $resumes = 15;

# Producers that a topic with a limit of 10,000 bytes for batches may cost: two
# refusals until smaller batches are tried, then 250,000, 62,500 and 15,625 bytes
# refused; 3,906 fit.
my $small_limit = 10_000;
my $most_producers = 5;

my $kafka = own_kafka(config => { 'auto.create.topics.enable' => 'false' });
my $node = new_node('poison', kafka => $kafka, conf => "outbox.dead_letter_limit = $letter_limit\n");
my $matrix = FaultMatrix->new($node, $kafka, load => { keys => $keys, clients => 3 });
my ($letters, $producers);

# A time that is out of the range below.
my $later = "now() + interval '1 hour'";

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

sub topic_config
{
	return ('message.timestamp.type' => 'LogAppendTime', 'max.message.bytes' => $limit, @_);
}

# Where a broker looks at timestamps, it keeps them: in such a topic a record tells
# when it was emitted, not when it was appended.
sub time_limit { return ('message.timestamp.type' => 'CreateTime', 'message.timestamp.after.max.ms' => 60_000, @_); }

# A topic of one partition, so that events of many keys come into one batch.
sub create_topic
{
	my ($name, %config) = @_;

	return $kafka->create_topic($name, partitions => 1, config => { topic_config(%config) });
}

sub query
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

# Emit an event of a key of the load, in turn with that; without key, of none.
# Returns its uid.  Options: bytes, random ones (default 10); timestamp, an
# expression.
sub emit
{
	my ($topic, $key, %opt) = @_;
	my $bytes = $opt{bytes} // 10;
	my $name = defined $key ? "'$key'" : 'NULL::text';
	my $number = defined $key ? "UPDATE load.key SET n = n + 1 WHERE key = $name RETURNING n" : 'SELECT 0 AS n';
	my $timestamp = $opt{timestamp} // 'NULL';

	return query(
		sprintf(
			q{WITH number AS (%s) INSERT INTO load.truth
			SELECT '%s', outbox_emit('%s', repeat('x', %d), %s,
				headers => jsonb_build_object('n', n), "timestamp" => %s), %s, n, %.6f
			FROM number RETURNING uid},
			$number, $topic, $topic, $bytes, $name, $timestamp, $name, time));
}

# A key of the load's that belongs to its first or second topic (0, 1).
sub key_of { my ($topic, $i) = @_; return 'key-' . (2 * $i + $topic); }

# The uids of the events that are dead letters now, in order.
sub dead { return query("SELECT uid FROM outbox.dead_letter WHERE state = 'dead' ORDER BY uid"); }

# Return when as many events as these are dead letters; they must be these, and
# park these keys.
sub wait_letters
{
	my ($uids, @keys) = @_;

	wait_until(sub { return query("SELECT count(*) FROM outbox.dead_letter WHERE state = 'dead'") >= @$uids },
		'the events are dead letters');
	wait_until(sub { return query('SELECT count(*) FROM outbox.parked_key') >= @keys }, 'keys are parked');
	$letters = @$uids;
	return;
}

sub check_letters
{
	my ($uids, @keys) = @_;

	is(dead(), join("\n", sort @$uids), 'these, and only these, are dead letters');
	is(query(q{SELECT string_agg(convert_from(key, 'UTF8'), ' ' ORDER BY key) FROM outbox.parked_key}),
		join(' ', sort @keys), 'their keys, and no others, wait');
	return;
}

# Return when the load has emitted more of each of these keys, which waits.
sub wait_parked
{
	my (@keys) = @_;

	wait_until(
		sub { return query('SELECT count(*) FROM outbox.parked_key WHERE parked >= 3') == @keys },
		'later events of the keys wait', 60);
	return;
}

# Return when no letter is left to decide about, and nothing is held.
sub wait_settled
{
	wait_until(
		sub {
			return query(q{SELECT NOT EXISTS (SELECT FROM outbox.dead_letter WHERE state <> 'discarded')
				AND NOT EXISTS (SELECT FROM outbox.parked_key)
				AND NOT EXISTS (SELECT FROM outbox.held_topic)}) eq 't';
		},
		'nothing is parked or held', 60);
	return;
}

# Retry letters until none is left: a broker takes a moment to apply a setting
# after it has acknowledged it.
sub retry
{
	my ($arguments) = @_;

	wait_until(
		sub {
			return 1 if dead() eq '';
			query("SELECT outbox_retry($arguments)")
			  if query('SELECT NOT EXISTS (SELECT FROM outbox.dead_letter WHERE request IS NOT NULL)') eq 't';
			return 0;
		},
		'the letters are published', 60);
	return;
}

# Emit while the broker stands still, so that most of it comes in one producer batch,
# with events of the load before and behind.  Returns what the function returns.
sub in_one_batch
{
	my ($function) = @_;

	$kafka->pause;
	# the client has one request on its way, and one ready
	wait_for_more(50, 'batches are on their way');
	my @result = $function->();
	wait_for_more(5, 'events behind wait');
	$kafka->resume;
	return @result;
}

# Return when so many more events of the load wait.
sub wait_for_more
{
	my ($count, $what) = @_;
	my $waiting = status($node, 'waiting_estimate');

	return wait_until(sub { return status($node, 'waiting_estimate') > $waiting + $count }, $what);
}

# Records come to the topics that are not at fault.
sub wait_flowing
{
	my (@topics) = @_;

	foreach my $topic (@topics)
	{
		my $before = $kafka->record_count($topic);

		wait_until(sub { return $kafka->record_count($topic) > $before + 20 }, "$topic flows", 60);
	}
	return;
}

# Producers that have connected since the server's log was so long.
sub producers_since
{
	my ($length) = @_;
	my $log = substr(slurp_file($node->logfile), $length);

	return scalar(() = $log =~ /LOG:  connected to Kafka/g);
}

sub set_enabled
{
	my ($value) = @_;

	query("ALTER SYSTEM SET outbox.enabled = $value");
	$node->reload;
	return;
}

# How the row in the table ends.
sub remark { return "$letters dead letters" . (defined $producers ? ", $producers producers" : ''); }

# How often a row does what it is about.
my $times = fault_seconds(1, 5);

my @topics = map { create_topic("stream$_") } 1 .. 2;
$matrix->row(
	'one poison event in a stream, its key goes on',
	sub {
		my ($self) = @_;
		my $log = -s $node->logfile;

		foreach my $i (1 .. $times)
		{
			my $key = key_of(1, $i);
			my ($uid) = in_one_batch(sub { return emit($topics[1], $key, bytes => $too_large); });

			wait_letters([$uid], $key);
			wait_flowing(@topics);
			wait_parked($key);
			check_letters([$uid], $key);
			query("SELECT outbox_discard(uid => '$uid')");
			wait_settled();
		}
		$self->over;
		$letters = $times;
		$producers = producers_since($log);
		is($producers, $times, 'one more producer for each');
	},
	load => { topics => \@topics },
	discarded => 1,
	remark => \&remark);

@topics = (create_topic('clock'), create_topic('several', time_limit()));
$matrix->row(
	'several poison events of several keys in one batch',
	sub {
		my ($self) = @_;
		my $log = -s $node->logfile;

		foreach (1 .. $times)
		{
			my @keys = map { key_of(1, $_) } 1 .. 4;
			my ($second, @uids) = in_one_batch(
				sub {
					my @first = map { emit($topics[1], $_, timestamp => $later) } @keys;

					return (emit($topics[1], $keys[0], timestamp => $later), @first);
				});

			# the second of the first key waits behind the first
			wait_letters(\@uids, @keys);
			wait_flowing(@topics);
			wait_parked(@keys);
			check_letters(\@uids, @keys);
			query("SELECT outbox_discard(uid => '$uids[0]')");
			wait_until(sub { return dead() =~ /$second/ }, 'the second of the key is a dead letter');
			$uids[0] = $second;
			check_letters(\@uids, @keys);
			query("SELECT outbox_discard('$topics[1]', '$keys[0]'), outbox_discard('$topics[1]')");
			wait_settled();
		}
		$self->over;
		$letters = 5 * $times;
		$producers = producers_since($log);
		# one for the batch, or two if it was cut; one for the second event of the key
		cmp_ok($producers, '<=', 3 * $times, 'no producer for each');
	},
	load => { topics => \@topics },
	discarded => 1,
	remark => \&remark);

# As docs/trouble.md has it.
@topics = map { create_topic("raised$_") } 1 .. 2;
$matrix->row(
	'record over the limit, limit raised, retried',
	sub {
		my ($self) = @_;
		my $key = key_of(1, 1);
		my $uid = emit($topics[1], $key, bytes => $too_large);

		wait_letters([$uid], $key);
		wait_flowing(@topics);
		wait_parked($key);
		check_letters([$uid], $key);
		$kafka->configure($topics[1], topic_config('max.message.bytes' => 2 * $too_large));
		retry("topic => '$topics[1]', key => '$key'");
		wait_settled();
		$self->over;
		undef $producers;
	},
	load => { topics => \@topics },
	remark => \&remark);

# The limit falls below every event of a topic, for a while.
@topics = map { create_topic("whole$_") } 1 .. 2;
$matrix->row(
	'a whole topic of poison, limit raised, retried',
	sub {
		my ($self) = @_;
		my $log = -s $node->logfile;

		$kafka->configure($topics[1], topic_config('max.message.bytes' => 100));
		wait_until(
			sub {
				return query("SELECT reason FROM outbox.held_topic WHERE topic = '$topics[1]'") eq 'refused';
			},
			'the topic is held', 60);
		wait_flowing($topics[0]);
		sleep fault_seconds(0, 30);
		wait_flowing($topics[0]);
		$letters = () = dead() =~ /-.*$/mg;
		cmp_ok($letters, '>=', $letter_limit, 'a run of letters held it');
		cmp_ok($letters, '<=', $letter_limit + $on_their_way, 'and no more were made');
		is(query("SELECT count(*) FROM outbox.dead_letter WHERE state = 'dead' AND topic <> '$topics[1]'"),
			0, 'none of another topic');

		$kafka->configure($topics[1], topic_config());
		$self->over;
		wait_until(sub { return query('SELECT count(*) FROM outbox.held_topic') == 0 },
			'the topic is back', 60);
		retry("topic => '$topics[1]'");
		wait_settled();
		$producers = producers_since($log);
	},
	load => { topics => \@topics },
	resumes => $resumes,
	remark => \&remark);

# Nothing waits behind an event without a key.
@topics = (create_topic('plain'), create_topic('compacted', 'cleanup.policy' => 'compact'));
$matrix->row(
	'no key in a compacted topic',
	sub {
		my ($self) = @_;
		my @uids = map { emit($topics[1], undef) } 1 .. 3;

		wait_letters(\@uids);
		wait_flowing(@topics);
		check_letters(\@uids);
		is(query("SELECT string_agg(DISTINCT error_class, ' ') FROM outbox.dead_letter WHERE state = 'dead'"), 'record',
			'it is about the record');
		query("SELECT outbox_discard(uid => '$uids[0]')");
		$kafka->configure($topics[1], topic_config('cleanup.policy' => 'delete'));
		retry("topic => '$topics[1]'");
		wait_settled();
		$self->over;
		undef $producers;
	},
	load => { topics => \@topics },
	discarded => 1,
	remark => \&remark);

@topics = (create_topic('clock'), create_topic('created', time_limit()));
$matrix->row(
	'timestamp out of range',
	sub {
		my ($self) = @_;
		my $key = key_of(1, 1);
		my @uids = map { emit($topics[1], $_, timestamp => $later) } ($key, undef);

		wait_letters(\@uids, $key);
		wait_flowing(@topics);
		wait_parked($key);
		check_letters(\@uids, $key);
		query("SELECT outbox_discard(uid => '$uids[1]')");
		$kafka->configure($topics[1],
			topic_config(time_limit('message.timestamp.after.max.ms' => 7_200_000)));
		retry("topic => '$topics[1]'");
		wait_settled();
		$self->over;
	},
	load => { topics => \@topics },
	discarded => 1,
	remark => \&remark);

# Nobody is to blame, and nobody is blamed.  A publisher remembers what it has
# found out about batches.
my $start = -s $node->logfile;
$node->restart;
@topics = (create_topic('roomy'), create_topic('narrow', 'max.message.bytes' => $small_limit));
$matrix->row(
	'batches over the limit, no event is',
	sub {
		my $before = query('SELECT count(*) FROM load.truth');

		foreach my $i (1 .. $times)
		{
			set_enabled('off');
			wait_until(sub { return status($node, 'state') eq 'paused' }, 'publishing pauses');
			wait_until(sub { return query('SELECT count(*) FROM load.truth') > $before + 300 * $i },
				'events wait');
			set_enabled('on');
			wait_flowing(@topics);
		}
	},
	behind => sub {
		wait_published($node, 'postgres', 60);
		$letters = query("SELECT count(*) FROM outbox.dead_letter WHERE state = 'dead'");
		is($letters, 0, 'no dead letter');
		# without those of the start and of each time that publishing went on
		$producers = producers_since($start) - 1 - $times;
		cmp_ok($producers, '>', 0, 'batches were refused');
		cmp_ok($producers, '<=', $most_producers, 'it took few producers');
	},
	load => { topics => \@topics, filler => 3000 },
	remark => \&remark);

$node->stop('fast');
done_testing();
