
# Settings in effect: what a reload changes, what a mistake does, and that
# secrets are seen nowhere.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $kafka = shared_kafka();
my $right = $kafka->bootstrap;
my $topic = $kafka->create_topic('settings');
my $emitted = 0;

# Nothing listens on port 1.
my $node = new_node('settings_live', bootstrap => '127.0.0.1:1');

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# Change settings by ALTER SYSTEM and reload; undef resets.
sub set
{
	my (%settings) = @_;

	foreach my $name (sort keys %settings)
	{
		my $value = $settings{$name};
		$node->safe_psql('postgres', defined $value
			? "ALTER SYSTEM SET outbox.$name = \$v\$$value\$v\$"
			: "ALTER SYSTEM RESET outbox.$name");
	}
	$node->reload;
	return;
}

# What the server has logged since an offset, but for the line in which
# PostgreSQL itself repeats a value that a reload brings.
sub logged
{
	my ($offset) = @_;

	return join '', grep { !/LOG:  parameter "outbox\.\w+" changed to / }
	  map { "$_\n" } split /\n/, slurp_file($node->logfile, $offset);
}

sub emit
{
	my ($count, $database) = @_;

	$node->safe_psql($database // 'postgres',
		"SELECT outbox_emit('$topic', i::text, 'key') FROM generate_series(1, $count) i");
	$emitted += $count;
	return;
}

sub wait_for
{
	my ($condition, $database) = @_;

	return wait_until(sub { return status($node, $condition, $database) eq 't' }, $condition, 60);
}

# All that was emitted has arrived, and nothing twice.
sub arrived
{
	my ($name) = @_;
	my @records = $kafka->consume($topic, count => $emitted, timeout => 60);

	is(scalar @records, $emitted, $name);
	return;
}

# bootstrap_servers, from wrong to right, and to nothing

emit(5);
wait_for("error_class = 'connection' AND error IS NOT NULL AND error_hint LIKE '%outbox.bootstrap_servers%'");
wait_for('waiting_estimate = 5');
set(bootstrap_servers => $right);
arrived('a reload brings the right broker, and what waited is published');
wait_for("error IS NULL AND connection = 'connected'");

set(bootstrap_servers => '');
wait_for("state = 'unconfigured' AND error_hint LIKE '%outbox.bootstrap_servers%'");
wait_for('producer_pid IS NULL');
emit(5);
set(bootstrap_servers => $right);
arrived('publishing goes on when there is a broker again');
wait_for("error IS NULL AND state = 'idle'");

# An option that is not right: known only to the producer, which has the last
# word.  The value is in no message where it could be secret: where the option
# is, and where nobody knows what it is.

my $value = 'Wh1sperValue';
my $offset = -s $node->logfile;
foreach my $bad ("no.such.option=$value", "linger.ms=$value",
	"ssl.key.pem=$value security.protocol=ssl")
{
	my ($option) = split /=/, $bad;
	my $name = quotemeta $option;

	set(kafka_options => $bad);
	wait_for("error_class = 'configuration' AND error LIKE '%$option%'");
	emit(3);
	arrived("$option: events are published with the configuration before");
	unlike($node->safe_psql('postgres', 'SELECT * FROM outbox.status'), qr/$value/,
		"$option: the value is not in outbox.status");
	like(logged($offset), qr/$name/, "$option: the log names the option");
}
unlike(logged($offset), qr/$value/, 'no value is in the log');

# At a start there is no configuration before.
$node->restart;
wait_for("state = 'waiting' AND error_class = 'configuration'");
emit(3);
set(kafka_options => 'linger.ms=1 client.id=settings');
arrived('what waited for a configuration is published after its correction');
wait_for("error IS NULL AND state = 'idle'");

# The file of options

my $file = $node->data_dir . '/kafka.conf';
append_to_file($file, "security.protocol=ssl\n");
set(kafka_options_file => 'kafka.conf');
wait_for("connection = 'disconnected' AND error_class = 'connection'");
emit(3);
unlink $file;
append_to_file($file, "linger.ms=2\nclient.id='from the file'\n");
$node->reload;
arrived('a reload reads the file again');
unlink $file;
$node->reload;
wait_for("error LIKE '%kafka_options_file%' AND error_class = 'configuration'");
emit(3);
arrived('publishing goes on with what a file said that is gone');
append_to_file($file, "acks=0\n");
$node->reload;
wait_for("error LIKE '%acks%' AND error_class = 'configuration'");
set(kafka_options_file => undef, kafka_options => undef);
emit(1);
arrived('and without the file');

# outbox.enabled

set(enabled => 'off');
wait_for("state = 'paused' AND producer_pid IS NULL");
emit(20);
is($kafka->record_count($topic), $emitted - 20, 'nothing is published while it is paused');
isnt(status($node, 'oldest_waiting'), '', 'events wait meanwhile');
set(enabled => 'on');
arrived('publishing resumes');

my @topics = map { $kafka->create_topic('paused') } 1 .. 2;
my $load = start_load($node, topics => \@topics, clients => 4, seconds => 5);
foreach my $round (1 .. 4)
{
	wait_until(sub { return status($node, "published > 0 AND state IN ('idle', 'publishing')") eq 't' },
		'publishing is under way', 60);
	set(enabled => 'off');
	wait_for("state = 'paused'");
	set(enabled => 'on');
}
$load->finish;
wait_published($node);
verify_load($node, $kafka, 'pausing under load', topics => \@topics);

# ALTER DATABASE SET is in effect at once, and for that database only.

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION outbox');
wait_for("state = 'idle'", 'other');
my $pid = status($node, 'pid');
my $other = status($node, 'pid', 'other');

$node->safe_psql('postgres', 'ALTER DATABASE other SET outbox.enabled = off');
wait_for("state = 'paused' AND pid <> $other", 'other');
emit(4, 'other');
emit(4);
wait_published($node);
is($kafka->record_count($topic), $emitted - 4, 'one database pauses, and the other goes on');
is(status($node, 'pid'), $pid, 'and its publisher is the same');
$node->safe_psql('postgres', 'ALTER DATABASE other RESET outbox.enabled');
arrived('ALTER DATABASE RESET resumes');
$node->safe_psql('postgres', 'DROP DATABASE other');

# Secrets

my $secret = 'Wh1sperSecret';
append_to_file($file . '.secret', "sasl.password=$secret\n");
$offset = -s $node->logfile;
set(kafka_options => "sasl.username=user sasl.password=$secret");
wait_until(sub { return $node->safe_psql('postgres', 'SHOW outbox.kafka_options') =~ /$secret/ },
	'the server has the secret');
emit(2);
arrived('published with a secret');
set(kafka_options => 'sasl.username=user', kafka_options_file => 'kafka.conf.secret');
emit(2);
arrived('published with a secret from a file');
# ... and where the configuration is refused
set(kafka_options => "sasl.password=$secret ssl.key.password=$secret no.such=option");
wait_for("error_class = 'configuration' AND error LIKE '%no.such%'");

# A role that monitors.
$node->safe_psql('postgres', 'CREATE ROLE monitor LOGIN IN ROLE pg_monitor, pg_read_all_settings');
foreach my $relation (qw(outbox.status pg_stat_activity pg_db_role_setting))
{
	unlike($node->safe_psql('postgres', "SELECT * FROM $relation"), qr/$secret/, "no secret is in $relation");
	unlike($node->safe_psql('postgres', "SET ROLE monitor; SELECT * FROM $relation"),
		qr/$secret/, "nor for a monitor");
}
$node->safe_psql('postgres', 'CREATE ROLE reader LOGIN');
unlike($node->safe_psql('postgres', 'SET ROLE reader; SELECT * FROM pg_settings'),
	qr/$secret/, 'no secret is in pg_settings for others');
unlike(logged($offset), qr/$secret/, 'no secret is in the log');
my $looked = 0;
foreach my $number (split /\|/,
	$node->safe_psql('postgres', 'SELECT pid, coalesce(producer_pid, 0) FROM outbox.status'))
{
	foreach my $part (qw(cmdline environ comm))
	{
		next if !-r "/proc/$number/$part";
		unlike(slurp_file("/proc/$number/$part"), qr/$secret/, "no secret is in $part of a process");
		$looked++;
	}
}
cmp_ok($looked, '>=', 3, 'processes were looked at');

$node->stop('fast');
done_testing();
