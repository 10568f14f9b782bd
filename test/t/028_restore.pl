
# A copy of a database does not publish what its original has pending, and a
# database that goes leaves nothing behind.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = shared_kafka();
my $node = new_node('restore');
my $pending = 20;
my $topic = $kafka->create_topic('restore', partitions => 1);
my ($out, $err);

# Producers of this server: processes that have one of its publishers as parent.
sub producers
{
	my %publisher = map { $_ => 1 } split /\n/, $node->safe_psql('template1',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'outbox publisher'");
	my @found;

	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		open(my $in, '<', $file) or next;
		my ($pid, $parent) = (<$in> // '') =~ /^(\d+) \(outbox_producer\) \S (\d+)/ or next;
		push @found, $pid if $publisher{$parent};
	}
	return @found;
}

sub oid
{
	my ($database) = @_;

	return $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = '$database'");
}

# A database with published events, and with pending ones of two transactions.

$node->safe_psql('postgres', 'CREATE DATABASE original');
$node->safe_psql('original', 'CREATE EXTENSION outbox');
$node->safe_psql('original',
	"SELECT outbox_emit('$topic', 'published ' || i, 'key') FROM generate_series(1, 5) i");
$kafka->consume($topic, count => 5);
wait_published($node, 'original');
$node->safe_psql('postgres', 'ALTER DATABASE original SET outbox.enabled = off');
wait_until(sub { return status($node, 'state', 'original') eq 'paused' }, 'publishing pauses', 60);
$node->safe_psql('original', <<SQL);
SELECT outbox_emit('$topic', 'pending ' || i, 'key', '{"h": "1"}') FROM generate_series(1, $pending / 2) i;
SELECT outbox_emit('$topic', 'pending ' || i, 'key', '{"h": "1"}') FROM generate_series($pending / 2 + 1, $pending) i;
SQL

# pg_dump and restore

my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('original'), '-Fc', '-f', $file ],
	'a database with pending events is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), '--exit-on-error', $file ],
	'and restored');
wait_until(sub { return status($node, 'foreign_rows', 'restored') eq $pending },
	'restored events are foreign', 60);
pass('restored events are foreign, and those that were published are not among them');
my $columns = 'SELECT id, uid, created, partition, topic, key, headers, payload FROM outbox.event';
is( $node->safe_psql('restored', "$columns ORDER BY id"),
	$node->safe_psql('original', "$columns WHERE NOT outbox_is_published(xid, id, topic, key) ORDER BY id"),
	'they are what was pending');

# What the copy emits itself is published, and in no conflict with them.
$node->safe_psql('restored', "SELECT outbox_emit('$topic', 'emitted in the restored', 'key')");
$kafka->consume($topic, count => 6);
wait_published($node, 'restored');
is( $node->safe_psql('restored', 'SELECT count(DISTINCT id), count(DISTINCT uid) FROM outbox.event'),
	($pending + 1) . '|' . ($pending + 1), 'new events have ids of their own');

# pg_dump --inserts reads no segment.
$node->command_fails_like(
	[ 'pg_dump', '-d', $node->connstr('original'), '--inserts' ],
	qr/events cannot be dumped as INSERT commands.*HINT: .*--exclude-table-data/s,
	'pg_dump --inserts is refused, and says what to do');

# A template

$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE original');
wait_until(sub { return status($node, 'foreign_rows', 'copied') eq $pending },
	'events of the template are foreign', 60);
pass('what was pending in a template is foreign in its copy');
$node->safe_psql('copied', "SELECT outbox_emit('$topic', 'emitted in the copy', 'key')");
$kafka->consume($topic, count => 7);
wait_published($node, 'copied');

# Only the original publishes what is pending.

is($kafka->record_count($topic), 7, 'copies have published nothing of the original');
$node->safe_psql('postgres', 'ALTER DATABASE original RESET outbox.enabled');
my @records = $kafka->consume($topic, count => 7 + $pending, timeout => 60);
wait_published($node, 'original');
is( join(' ', map { $_->{value} } (@records)[7 .. $#records]),
	join(' ', map { "pending $_" } 1 .. $pending),
	'the original publishes what was pending, in order');
is($kafka->record_count($topic), 7 + $pending, 'and nobody publishes anything twice');

# A database that is dropped, and an extension that is dropped

my %oid = map { $_ => oid($_) } qw(original restored copied);
my @producers = producers();
is(scalar @producers, 3, 'three databases have a producer each');
$node->safe_psql('postgres', 'DROP DATABASE copied');
$node->safe_psql('restored', 'SET client_min_messages = error; DROP EXTENSION outbox CASCADE');
wait_until(sub { return producers() == 1 }, 'producers end with the extension', 60);
is($node->safe_psql('restored', "SELECT count(*) FROM pg_namespace WHERE nspname = 'outbox'"), 0,
	'nothing is left of an extension that is dropped');
$node->safe_psql('postgres', 'DROP DATABASE restored');
$node->safe_psql('postgres', 'DROP DATABASE original');
is(scalar(grep { process_name($_) ne '' } @producers), 0, 'no producer is left');
is( $node->safe_psql('postgres', <<'SQL'), 0, 'no publisher is left');
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'outbox publisher'
SQL
is(scalar(() = glob $node->data_dir . '/base/pgsql_tmp/*'), 0, 'no temporary file is left');
wait_until(sub { return !glob $node->data_dir . '/outbox_producer*' },
	'no lock file is left', 30);
pass('no lock file is left');

$node->stop('fast');
done_testing();
