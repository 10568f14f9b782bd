# 038_others.pl
#	  What others do, and what the publisher then does and says.
#
# A lock for maintenance, statements that the server refuses inside a
# transaction, a topic that Kafka does not take, settings that are refused, and a
# table that inherits from outbox.event.
#
# IDENTIFICATION
#	  test/t/038_others.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $segments = join(', ', map { "outbox.event_$_" } 0 .. 3);
my $node = fake_node('main');
my ($pid, $stderr);

sub emit
{
	my ($payload) = @_;

	$node->safe_psql('postgres', "SELECT outbox_emit('t', '$payload', 'k')");
	return;
}

# A lock for maintenance: emitters do not mind, so neither may the publisher.

wait_for_publisher($node);
$node->safe_psql('postgres', 'ALTER SYSTEM SET outbox.retention = 0');
$node->reload;
emit('first');
fake_wait($node, 'first');
my $offset = -s $node->logfile;
$node->safe_psql('postgres',
	"BEGIN; LOCK TABLE $segments IN SHARE UPDATE EXCLUSIVE MODE; PREPARE TRANSACTION 'maintenance'");
wait_until(
	sub {
		publisher_status($node, q{rotation_delayed_by LIKE 'a prepared transaction %'}) eq 't'
		  && $node->safe_psql('postgres',
			'SELECT count(*) FROM outbox.segment WHERE closed IS NOT NULL') ne '0';
	},
	'the next segment is filled, and the lock keeps the old one from being emptied');
emit('maintenance');
fake_wait($node, 'maintenance');
wait_for_published($node);
is(publisher_status($node, 'error'), '',
	'with SHARE UPDATE EXCLUSIVE held: rotated, published, and no error');
unlike(slurp_file($node->logfile, $offset), qr/lock timeout/, 'and the publisher has waited for no lock');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'maintenance'");
$node->safe_psql('postgres', 'ALTER SYSTEM RESET outbox.retention');
$node->reload;

# Statements that need a database without connections, where they are refused.

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION outbox');
wait_for_publisher($node, dbname => 'other');
$pid = publisher_pid($node, dbname => 'other');
foreach my $statement (
	'DROP DATABASE other',
	'DROP DATABASE other WITH (FORCE)',
	'ALTER DATABASE other SET TABLESPACE pg_default',
	'CREATE DATABASE copy TEMPLATE other')
{
	foreach my $sql (
		"BEGIN; $statement; ROLLBACK",
		"BEGIN; SAVEPOINT s; $statement; ROLLBACK",
		"DO \$\$ BEGIN EXECUTE '$statement'; END \$\$")
	{
		$node->psql('postgres', $sql, stderr => \$stderr);
		like($stderr, qr/cannot (run inside a transaction block|be executed from a function)/,
			"refused: $sql");
	}
}
is(publisher_pid($node, dbname => 'other'), $pid, 'the publisher was not sent away');
$node->safe_psql('postgres', 'DROP DATABASE other');

# A topic that Kafka does not take.

wait_for_publisher($node);
fake_command($node, 'topic 3 orders');
wait_until(sub { publisher_status($node, 'error IS NOT NULL') eq 't' }, 'there is an error');
is(publisher_status($node, 'error'), 'topic "orders": unknown topic', 'topic and reason are shown');
is(publisher_status($node, q{concat_ws(' ', error_class, error_hint LIKE 'Create the topic%')}),
	'topic t', 'and class and hint');
fake_command($node, 'topic 0 orders');
wait_until(sub { publisher_status($node, 'error IS NULL') eq 't' }, 'the trouble is over');

# Settings that are refused, by the publisher and by the producer: shown until
# others are read, also while the ones before them serve.

my $from = fake_position($node);
$node->safe_psql('postgres', "ALTER SYSTEM SET outbox.kafka_options_file = 'missing.conf'");
$node->reload;
wait_until(sub { publisher_status($node, "error_class = 'configuration'") eq 't' },
	'the file is refused');
fake_command($node, 'connection 0');
emit('file');
fake_wait($node, 'file', from => $from);
wait_for_published($node);
like(publisher_status($node, 'error'), qr/outbox\.kafka_options_file/, 'a connection is not the end of it');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET outbox.kafka_options_file');
$node->reload;
wait_until(sub { publisher_status($node, 'error IS NULL') eq 't' }, 'a reload is');

fake_command($node, 'fail 5 no such option');
wait_until(
	sub { publisher_status($node, q{error = 'no such option' AND state = 'idle'}) eq 't' },
	'the producer has refused them, and another has started');
emit('option');
fake_wait($node, 'option', from => $from);
wait_for_published($node);
is(publisher_status($node, q{concat_ws(' ', error_class, error)}), 'configuration no such option',
	'an event that is published is not the end of it');
$node->reload;
wait_until(sub { publisher_status($node, 'error IS NULL') eq 't' }, 'a reload is');

# A table that inherits from outbox.event.  Only where two segments have rows
# does the publisher read through the parent.

$from = fake_position($node);
emit('one');
my $filled = $node->safe_psql('postgres',
	q{SELECT tableoid::regclass FROM outbox.event WHERE payload = 'one'});
$node->safe_psql('postgres',
	"BEGIN; LOCK TABLE $filled IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'lock'");
emit('two');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'lock'");
is($node->safe_psql('postgres',
		q{SELECT count(DISTINCT tableoid) FROM outbox.event WHERE payload IN ('one', 'two')}),
	'2', 'two segments have rows');
wait_for_published($node);

$node->safe_psql('postgres', q{
	CREATE TABLE stray () INHERITS (outbox.event);
	INSERT INTO stray
	SELECT id + 1000000, pg_current_xact_id(), gen_random_uuid(), origin, created, partition, topic, key, headers, 'stray'
	FROM outbox.event WHERE payload = 'one'});
emit('waits');
wait_until(sub { publisher_status($node, 'error IS NOT NULL') eq 't' }, 'there is an error');
is(publisher_status($node, 'error'),
	'table ' . $node->safe_psql('postgres', "SELECT 'stray'::regclass::oid")
	  . ' inherits from outbox.event, but is no segment',
	'the table is named');

# the publishers after the first read a large batch, in another way
my $log = slurp_file($node->logfile);
$pid = 0;
foreach my $life (1 .. 2)
{
	wait_until(
		sub {
			($log) = slurp_file($node->logfile) =~ /.*\[(\d+)\].* ERROR:  table \d+ inherits/s;
			return ($log // 0) != $pid;
		},
		'another publisher has met it');
	$pid = $log;
}
$log = slurp_file($node->logfile);
unlike($log, qr/terminated by signal|server process .* was terminated/, 'nothing crashed');
is(scalar(grep { /stray|waits/ } fake_payloads($node)), 0, 'nothing of that batch is sent');

$node->safe_psql('postgres', 'DROP TABLE stray');
fake_wait($node, 'waits');
wait_for_published($node);
wait_until(sub { publisher_status($node, 'error IS NULL') eq 't' }, 'the error is over');
is_deeply([ fake_payloads($node, from => $from) ], [ 'one', 'two', 'waits' ], 'the events are published, once');

like(slurp_file($node->logfile), qr/CONTEXT:  publisher of database "postgres"/, 'the log names the database');
$node->stop;
done_testing();
