
# A commit wakes the publisher; what was emitted is counted.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# A publisher that is not woken looks by itself once a second: an event that is
# committed when it has just looked would wait for nearly that.  On a busy machine
# others may be late as well, but not most of them.
my $late = 0.5;
my $rounds = 15;

my $kafka = shared_kafka();
my $topic = $kafka->create_topic('wakeup');
my $node = new_node('wakeup', kafka => $kafka);
my $session = $node->background_psql('postgres');
my $published = 'SELECT published FROM outbox.status WHERE database = current_database()';

# Run what emits an event; the time until that is acknowledged.
sub publish
{
	my ($statement) = @_;
	my $before = $session->query_safe($published);
	my $start = time;

	$session->query_safe($statement);
	wait_until(sub { $session->query_safe($published) > $before }, 'the event is published');
	return time - $start;
}

# The time from one statement to the acknowledgement of its event, that a third of
# the rounds keep.
sub latency
{
	my ($prepare, $statement) = @_;
	my @times;

	foreach my $round (1 .. $rounds)
	{
		my ($first, $then) = map { s/ROUND/$round/gr } ($prepare, $statement);

		$session->query_safe($first) if $first;
		# it has just looked, and sleeps again
		publish("SELECT outbox_emit('$topic', 'other')");
		sleep 0.1;
		push @times, publish($then);
	}
	@times = sort { $a <=> $b } @times;
	note("seconds: @times");
	return $times[ $rounds / 3 - 1 ];
}

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');
$node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'first')");
wait_until(sub { $session->query_safe($published) == 1 }, 'the first event is published');

cmp_ok(latency('', "SELECT outbox_emit('$topic', 'plain')"),
	'<', $late, 'a commit wakes the publisher');
cmp_ok(latency('', "SELECT outbox_emit_many('$topic', '{many}')"),
	'<', $late, 'also after the set form');
cmp_ok(
	latency('', "BEGIN; SAVEPOINT s; SELECT outbox_emit('$topic', 'savepoint'); RELEASE s; COMMIT"),
	'<', $late, 'also if the events were emitted under a savepoint');
cmp_ok(
	latency(
		"BEGIN; SELECT outbox_emit('$topic', 'prepared'); PREPARE TRANSACTION 'ROUND'",
		"COMMIT PREPARED 'ROUND'"),
	'<', $late, 'COMMIT PREPARED wakes the publisher');

# What is counted, seen where nothing is published.

$node->append_conf('postgresql.conf', 'outbox.enabled = off');
$node->reload;
my $waiting = 'SELECT waiting_estimate FROM outbox.status WHERE database = current_database()';
wait_until(
	sub {
		return $session->query_safe(
			'SELECT state FROM outbox.status WHERE database = current_database()') eq 'paused';
	},
	'the publisher is paused');
my $before = $session->query_safe($waiting);

$session->query_safe(<<"SQL");
BEGIN;
SAVEPOINT a;
SELECT outbox_emit('$topic', 'kept');
SAVEPOINT b;
SAVEPOINT c;
SELECT outbox_emit('$topic', 'not'), outbox_emit_many('$topic', '{not,"nor this"}');
RELEASE c;
SELECT outbox_emit('$topic', 'not');
ROLLBACK TO b;
SELECT outbox_emit('$topic', 'kept'), outbox_emit_many('$topic', '{kept,"this, too"}');
SELECT outbox_emit_rows('$topic', n::text) FROM generate_series(1, 1500) AS n;
RELEASE a;
DO \$\$
BEGIN
	FOR n IN 1 .. 100 LOOP
		BEGIN
			PERFORM outbox_emit('$topic', 'half of them');
			IF n % 2 = 0 THEN
				RAISE EXCEPTION 'not this one';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
	END LOOP;
END
\$\$;
COMMIT;
BEGIN;
SELECT outbox_emit('$topic', 'not');
ROLLBACK;
SQL
wait_until(sub { $session->query_safe($waiting) == $before + 1554 }, 'the events are counted');
pass('what savepoints and rollbacks took back is not counted');

$session->quit;
$node->stop('fast');
done_testing();
