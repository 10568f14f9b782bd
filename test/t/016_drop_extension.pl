
# DROP EXTENSION says how many events are lost with it.

use strict;
use warnings;

use IPC::Run ();
use List::Util qw(min);
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# No broker: nothing is published.
my $node = new_node('drop_extension', bootstrap => '');
my $stderr;

my $create = 'SET client_min_messages = error; CREATE EXTENSION outbox';

# What DROP says after three events were emitted and one was rolled back.
sub complaint
{
	my ($sql, $with_events) = @_;

	$node->safe_psql('postgres', $create);
	$node->safe_psql('postgres', <<'SQL') if $with_events;
BEGIN;
SELECT outbox_emit('topic', 'one');
SAVEPOINT s;
SELECT outbox_emit('topic', 'not');
ROLLBACK TO s;
SELECT outbox_emit('topic', 'two');
COMMIT;
SELECT outbox_emit('other', NULL, 'three');
SQL
	$node->psql('postgres', $sql, stderr => \$stderr);
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_extension WHERE extname = 'outbox'"),
		0, "$sql: the extension is dropped");
	return $stderr;
}

my $warning = qr/WARNING:  dropping extension "outbox" with events that are not published: 3\n/;

is(complaint('DROP EXTENSION outbox', 0), '', 'nothing is said where nothing is lost');
like(complaint('DROP EXTENSION outbox', 1), $warning, 'DROP EXTENSION warns');
like(complaint('DROP EXTENSION IF EXISTS nothing, outbox CASCADE', 1), $warning, 'also in a list');

$node->safe_psql('postgres', 'CREATE SCHEMA ours');
$create = 'SET client_min_messages = error; CREATE EXTENSION outbox SCHEMA ours';
$node->safe_psql('postgres', $create);
$node->safe_psql('postgres', "SELECT ours.outbox_emit('topic', 'one')");
$node->psql('postgres', 'DROP SCHEMA ours CASCADE', stderr => \$stderr);
like($stderr, qr/WARNING: .*not published: 1\n/, 'DROP SCHEMA ... CASCADE of its schema warns');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_extension WHERE extname = 'outbox'"),
	0, 'and drops it');

# One who may not drop it does not learn the number.
$create = 'SET client_min_messages = error; CREATE EXTENSION outbox';
$node->safe_psql('postgres', $create);
$node->safe_psql('postgres', "SELECT outbox_emit('topic', 'one'); CREATE ROLE stranger");
$node->psql('postgres', 'SET ROLE stranger; DROP EXTENSION outbox', stderr => \$stderr);
like($stderr, qr/ERROR: .*must be owner/, 'a stranger is refused');
unlike($stderr, qr/WARNING/, 'and told nothing');

# Transactions under way hold some of its tables, and want others: they get
# them, and it waits until they are over.

sub dropped_around
{
	my ($what, $command, $before, $meanwhile, @after) = @_;
	my $session = $node->background_psql('postgres');
	my ($out, $err) = ('', '');

	$session->query_safe($_) foreach 'BEGIN', @$before;
	my $drop = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $command ],
		'<', \undef, '>', \$out, '2>', \$err);
	wait_until(
		sub { return $node->safe_psql('postgres', 'SELECT count(*) FROM pg_locks WHERE NOT granted') > 0; },
		"$what: the drop waits");
	$session->query_safe($_) foreach @$meanwhile;
	$session->query_safe('COMMIT');
	$session->quit;
	IPC::Run::finish($drop);
	like($err, qr/not published: 2\n/, "$what: dropped, and what was emitted meanwhile is counted");
	is(scalar(() = $err =~ /^(?:ERROR|WARNING):  /mg), 1, "$what: that is the only warning, and there is no error");
	$node->safe_psql('postgres', $_) foreach $create, @after;
	return;
}

$node->safe_psql('postgres', 'DROP EXTENSION outbox');
$node->safe_psql('postgres', $create);
$node->safe_psql('postgres', 'CREATE TABLE account (id int PRIMARY KEY)');
my $emit = "SELECT outbox_emit('topic', 'one')";
my $capture = "SELECT outbox_capture('account', 'topic')";
$node->safe_psql('postgres', $capture);

dropped_around('emitted, then reads the table', 'DROP EXTENSION outbox CASCADE',
	[$emit], [ 'SELECT count(*) FROM outbox.event', $emit ], $capture);
dropped_around('has the sequence, but no segment', 'DROP EXTENSION outbox CASCADE',
	[ 'SAVEPOINT s', $emit, 'ROLLBACK TO s', 'TABLE outbox.topic' ], [ $emit, $emit ], $capture);
dropped_around('reads the table, then emits', 'DROP EXTENSION outbox CASCADE',
	['SELECT count(*) FROM outbox.event'], [ $emit, $emit ], $capture);
dropped_around('emitted, then changes a captured table', 'DROP EXTENSION outbox CASCADE',
	[$emit], ['INSERT INTO account VALUES (1)'], $capture);
dropped_around('changed a captured table, then emits', 'DROP EXTENSION outbox CASCADE',
	['INSERT INTO account VALUES (2)'], [$emit]);
# longer than the attempts after which one relation alone is waited for
dropped_around('takes its time', 'DROP EXTENSION outbox',
	[$emit], [ 'SELECT pg_sleep(2.5)', $emit ]);
unlike(slurp_file($node->logfile), qr/deadlock detected/, 'no deadlock');

# Who does not want to wait for long does not, and nothing is dropped; the
# session goes on as after any other error.
{
	my $session = $node->background_psql('postgres');
	my $other = $node->background_psql('postgres', on_error_stop => 0);
	my $complaint = sub {
		my ($sql) = @_;

		$other->query($sql);
		my $said = $other->{stderr};
		$other->{stderr} = '';
		return $said;
	};

	$session->query_safe("BEGIN; $emit");
	$other->query_safe("SET lock_timeout = '700ms'");
	like($complaint->('DROP EXTENSION outbox'), qr/ERROR:  canceling statement due to lock timeout/,
		'lock_timeout is kept');
	is($other->query('SELECT 1'), 1, 'and the session goes on');
	$other->query_safe("RESET lock_timeout; SET statement_timeout = '700ms'");
	like($complaint->('DROP EXTENSION outbox'), qr/ERROR:  canceling statement due to statement timeout/,
		'statement_timeout is kept');
	is($other->query('SELECT 1'), 1, 'and the session goes on');
	$other->query_safe('RESET statement_timeout; BEGIN');
	is($complaint->(q{DO $$BEGIN
			SET LOCAL lock_timeout = '300ms';
			DROP EXTENSION outbox;
		EXCEPTION WHEN lock_not_available THEN NULL;
		END$$}), '', 'who catches the error goes on');
	is($other->query('SELECT 1'), 1, 'in the same transaction');
	is($complaint->('COMMIT'), '', 'which can be committed');
	$session->query_safe('COMMIT');
	$_->quit foreach $session, $other;
	is($node->safe_psql('postgres', 'SELECT count(*) FROM outbox.event'), 1, 'and nothing is dropped');
}

# What the server refuses loses nothing, and says nothing of it.
$node->safe_psql('postgres', "$capture; $emit");
foreach my $refused ('DROP EXTENSION outbox', 'SET default_transaction_read_only = on; DROP EXTENSION outbox CASCADE')
{
	$node->psql('postgres', $refused, stderr => \$stderr);
	like($stderr, qr/\A[^\n]*ERROR:  cannot /, "$refused: refused, without a warning");
}

# DROP OWNED, of a superuser too.
$node->safe_psql('postgres', 'DROP EXTENSION outbox CASCADE; CREATE ROLE dba SUPERUSER');
$create = 'SET client_min_messages = error; SET ROLE dba; CREATE EXTENSION outbox; RESET ROLE';
like(complaint('DROP OWNED BY dba', 1), $warning, 'DROP OWNED warns');
like(complaint('DROP OWNED BY dba CASCADE', 1), $warning, 'with CASCADE, too');
# the trigger of a captured table goes with the table
$create .= "; SET ROLE dba; CREATE TABLE own (id int PRIMARY KEY); SELECT outbox_capture('own', 'topic'); RESET ROLE";
like(complaint('DROP OWNED BY dba', 1), $warning, 'also if a table of his is captured');
$create = 'SET client_min_messages = error; CREATE EXTENSION outbox';
$node->safe_psql('postgres', $create);

# The publisher is at work when it is dropped: nobody waits for the other.
my $kafka = shared_kafka();
my $topic = $kafka->create_topic('drop');
my $busy = new_node('busy', kafka => $kafka);
my @seconds;

foreach my $round (1 .. 5)
{
	my $session = $busy->background_psql('postgres');

	$session->query_safe('SET client_min_messages = error; CREATE EXTENSION outbox');
	$session->query_safe("SELECT outbox_emit('$topic', 'first')");
	wait_until(
		sub {
			return $session->query_safe(
				'SELECT published FROM outbox.status WHERE database = current_database()') > 0;
		},
		'the publisher is at work');
	$session->query_safe("SELECT count(outbox_emit('$topic', 'x')) FROM generate_series(1, 20000)");
	my $start = time;
	$session->query_safe('DROP EXTENSION outbox');
	push @seconds, time - $start;
	cmp_ok($seconds[-1], '<', 60, "round $round: DROP EXTENSION ends while a publisher is busy");
	$session->quit;
}
# what holds it up does so each time, a busy machine does not
cmp_ok(min(@seconds), '<', 4, 'DROP EXTENSION is not held up by a busy publisher');
$busy->stop('fast');

$node->stop('fast');
done_testing();
