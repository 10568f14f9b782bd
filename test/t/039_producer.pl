# 039_producer.pl
#	  The producer itself: what it is started with, what it takes, what it says.
#
# IDENTIFICATION
#	  test/t/039_producer.pl

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = shared_kafka();
my $topic = $kafka->create_topic('producer', config => { 'max.message.bytes' => 8_000_000 });
my $node = new_node('producer', kafka => $kafka);
my $stderr;

# A database whose name looks like an option of the program.

$node->safe_psql('postgres', 'CREATE DATABASE "--version"');
$node->safe_psql('--version',
	"CREATE EXTENSION outbox; SELECT outbox_emit('$topic', 'version', 'key')");
is_deeply([ map { $_->{value} } $kafka->consume($topic, count => 1) ],
	['version'], 'a database named "--version" publishes');
wait_published($node, '--version');
$node->safe_psql('postgres', 'DROP DATABASE "--version"');

# The partitioner: any that keeps the events of a key together.

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');
foreach my $name ('SESSION', 'SYSTEM')
{
	my $command = $name eq 'SESSION' ? 'SET' : 'ALTER SYSTEM SET';

	$node->psql('postgres', "$command outbox.kafka_options = 'partitioner=random'", stderr => \$stderr);
	like($stderr, qr/ERROR: .*outbox\.kafka_options.*"partitioner" cannot be set, because/s,
		"$command: partitioner=random is refused");
}
$node->safe_psql('postgres',
	"ALTER DATABASE postgres SET outbox.kafka_options = 'partitioner=murmur2 allow.auto.create.topics=false'");
pass('partitioner=murmur2 is accepted');
append_to_file($node->data_dir . '/kafka.conf', "partitioner=random\n");
$node->safe_psql('postgres', "ALTER SYSTEM SET outbox.kafka_options_file = 'kafka.conf'");
$node->reload;
wait_until(
	sub {
		status($node, q{error_class = 'configuration' AND error LIKE '%"partitioner" cannot be set%'}) eq 't';
	},
	'outbox.status says that the file is refused');
pass('partitioner=random is refused in a file, too');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET outbox.kafka_options_file');
$node->reload;

# An event that was emitted with a larger limit than the publisher's.  It does
# not compress.

my $size = 3_000_000;
$node->safe_psql('postgres', "ALTER DATABASE postgres SET outbox.max_event_size = '100kB'");
$node->psql('postgres',
	"SELECT outbox_emit('$topic', repeat('x', $size), 'key')", stderr => \$stderr);
like($stderr, qr/outbox\.max_event_size/, 'a large event is refused');
$node->safe_psql('postgres', qq{
	SET outbox.max_event_size = '4MB';
	SELECT outbox_emit('$topic', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, $size / 32) i), 'key');
	SELECT outbox_emit('$topic', 'behind', 'key')});
my @records = $kafka->consume($topic, count => 3);
is_deeply([ map { length $_->{value} } @records ], [ length 'version', $size, length 'behind' ],
	'one that a session with a larger limit emitted is published, in its place');
wait_published($node);
is(status($node, 'error'), '', 'without an error');

# A topic that does not exist.

SKIP:
{
	skip('a missing topic: the mock broker makes it', 3) if !real_kafka();

	my $missing = $kafka->topic_name('missing');
	$node->safe_psql('postgres', "SELECT outbox_emit('$missing', 'value', 'key')");
	wait_until(sub { status($node, 'error IS NOT NULL') eq 't' }, 'there is an error', 60);
	is(status($node, 'error'), qq{topic "$missing": Broker: Unknown topic or partition},
		'a missing topic is shown with the reason');
	is(status($node, 'error_class'), 'topic', 'as a matter of the topic');
	$kafka->client('create', $missing);
	wait_published($node);
	wait_until(sub { status($node, 'error IS NULL') eq 't' }, 'the error is over');
	is(scalar $kafka->consume($missing, count => 1), 1, 'and published when it is there');
}

$node->stop('fast');
done_testing();
