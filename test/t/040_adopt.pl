
# outbox_adopt(): restored events become events of this installation, each once
# and in order, and nothing keeps their segment any more.

use strict;
use warnings;

use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = shared_kafka();
my $node = new_node('adopt', init => [ allows_streaming => 1 ], conf => "outbox.retention = 0\n");
my $many = 100_000;
my $topic = $kafka->create_topic('adopt', partitions => 1);
my $stderr;

# uid and value of each record, in the order of the topic.
sub records
{
	my ($of, $count) = @_;

	return map { "$_->{id} $_->{value}" } $kafka->consume($of, count => $count, timeout => 60);
}

sub foreign_rows { return status($node, 'foreign_rows', $_[0]); }

# A dump, restored into another database of the same server.

$node->safe_psql('postgres', 'CREATE DATABASE original');
$node->safe_psql('original', 'CREATE EXTENSION outbox');
$node->safe_psql('original', "SELECT outbox_emit('$topic', 'published', 'key')");
$kafka->consume($topic, count => 1);
wait_published($node, 'original');
$node->safe_psql('postgres', 'ALTER DATABASE original SET outbox.enabled = off');
wait_until(sub { return status($node, 'state', 'original') eq 'paused' }, 'publishing pauses', 60);
$node->safe_psql('original', <<SQL);
SELECT outbox_emit('$topic', 'a' || i, 'key', '{"h": "1"}', 0, '2020-02-02 02:02:02.002Z') FROM generate_series(1, 5) i;
SELECT outbox_emit('$topic', repeat('b', 100000) || i, 'key') FROM generate_series(6, 8) i;
SELECT outbox_emit('$topic', NULL, 'key');
SQL
my $columns = 'uid, created, partition, topic, key, headers, md5(payload)';
my $truth = $node->safe_psql('original',
	"SELECT $columns FROM outbox.event WHERE NOT outbox_is_published(xid, id, topic, key) ORDER BY id");
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';

$node->command_ok([ 'pg_dump', '-d', $node->connstr('original'), '-Fc', '-f', $file ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), '--exit-on-error', $file ],
	'is restored');
wait_until(sub { return foreign_rows('restored') eq '9' }, 'restored events are counted', 60);
$node->safe_psql('restored', "SELECT outbox_emit('$topic', 'new', 'key')");
$kafka->consume($topic, count => 2);
wait_published($node, 'restored');
is($kafka->record_count($topic), 2, 'foreign events are not published');

# Who may not

$node->safe_psql('restored', 'CREATE ROLE stranger');
foreach my $case (
	[ 'SET ROLE stranger; SELECT outbox_adopt()', qr/permission denied for function outbox_adopt/ ],
	[ 'BEGIN READ ONLY; SELECT outbox_adopt()', qr/cannot execute outbox_adopt\(\) in a read-only transaction/ ])
{
	$node->psql('restored', $case->[0], stderr => \$stderr);
	like($stderr, $case->[1], "refused: $case->[0]");
}

# What is rolled back has not been adopted.

is($node->safe_psql('restored', 'BEGIN; SELECT outbox_adopt(); ROLLBACK'), 9, 'adopted, and rolled back');
is($node->safe_psql('restored', 'BEGIN; SAVEPOINT s; SELECT outbox_adopt(); ROLLBACK TO s; COMMIT'), 9,
	'the same with a savepoint');
is(foreign_rows('restored'), 9, 'all are foreign still');

# Adopted

my $emitted = $node->safe_psql('restored', 'SELECT max(id) FROM outbox.event');
# In one transaction, as what is published is soon truncated.
my ($adopted, $changed) = split /\n/, $node->safe_psql('restored', <<SQL), 2;
BEGIN;
SELECT outbox_adopt();
SELECT $columns FROM outbox.event WHERE id > $emitted ORDER BY id;
COMMIT;
SQL
is($adopted, 9, 'outbox_adopt returns how many');
is($changed, $truth, 'nothing of them has changed');
my @got = records($topic, 11);
is(scalar @got, 11, 'adopted events are published');
my @uids = map { (split /\|/)[0] } split /\n/, $truth;
is_deeply([ map { (split / /)[0] } @got[2 .. 10] ], \@uids, 'with their uids, in order');
wait_until(sub { return foreign_rows('restored') eq '0' }, 'none are foreign', 60);
pass('none are counted as foreign');
is($node->safe_psql('restored', 'SELECT outbox_adopt()'), 0, 'there is nothing left to adopt');
wait_published($node, 'restored');
is($kafka->record_count($topic), 11, 'and nothing is published twice');
wait_until(
	sub {
		$node->safe_psql('restored', "SELECT outbox_emit('$topic', 'steady', 'key')");
		return $node->safe_psql('restored', "SELECT count(*) FROM outbox.event WHERE uid = '$uids[0]'") == 0;
	},
	'their segment is emptied', 60);
pass('their segment is emptied');

# The statements of one transaction, and calls of one statement

my $again = $kafka->create_topic('again', partitions => 1);
my $rows = 'INSERT INTO outbox.event (id, xid, uid, origin, created, topic, key, payload)'
  . ' SELECT i, pg_current_xact_id(), gen_random_uuid(), 0, now(),';
is( $node->safe_psql('restored', <<SQL), "3|0\n0", 'what this transaction has stored is adopted, once');
BEGIN;
$rows '$again', 'key', i::text::bytea FROM generate_series(3, 1, -1) i;
SELECT outbox_adopt(), outbox_adopt();
SELECT outbox_adopt();
COMMIT;
SQL
is_deeply([ map { (split / /)[1] } records($again, 3) ], [ 1, 2, 3 ], 'in the order of the ids that they had');

# Two at once, beside emitters: each event once. Rolled back, the other gets them.

foreach my $end ('COMMIT', 'ROLLBACK')
{
	my $both = $kafka->create_topic(lc $end, partitions => 1);

	$node->safe_psql('restored', "$rows '$both', 'key', i::text::bytea FROM generate_series(1, 1000) i");
	my $first = $node->background_psql('restored');
	$first->query_safe('BEGIN');
	$first->query_safe('SELECT outbox_adopt()');
	my ($out, $err) = ('', '');
	my $second = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('restored'), '-c', 'SELECT outbox_adopt()' ],
		'<', \undef, '>', \$out, '2>', \$err);
	wait_until(
		sub {
			return $node->safe_psql('restored', <<'SQL') eq '1';
SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT outbox_adopt()' AND wait_event_type = 'Lock'
SQL
		},
		'the second waits');
	$node->safe_psql('restored', "SELECT outbox_emit('$both', 'meanwhile', 'other')");
	$first->query_safe($end);
	$first->quit;
	IPC::Run::finish($second);
	is("$out$err", ($end eq 'COMMIT' ? 0 : 1000) . "\n", "after the $end of the first, the second adopts the rest");
	wait_published($node, 'restored');
	is_deeply(
		[ grep { $_ ne 'meanwhile' } map { $_->{value} } $kafka->consume($both, count => 1001) ],
		[ 1 .. 1000 ],
		'each is published once, in order, and emitters go on');
}

# The count comes right also if batches are in flight while it is adopted.

my $flight = $kafka->create_topic('flight', partitions => 1);
my $load = start_load($node, dbname => 'restored', topics => [$flight], clients => 2, seconds => 6);
for (1 .. 20)
{
	$node->safe_psql('restored', <<SQL);
$rows '$again', 'key', 'flight' FROM generate_series(1, 20) i;
SELECT outbox_adopt();
SQL
}
wait_until(sub { return foreign_rows('restored') eq '0' }, 'the count is right, under load', 30);
pass('the count is right under load');
$load->finish;
wait_published($node, 'restored');
is(foreign_rows('restored'), 0, 'and afterwards');
is($node->safe_psql('restored', 'SELECT sum(foreign_rows) FROM outbox.segment'), 0, 'also in the table');
is($kafka->record_count($again), 3 + 20 * 20, 'all were published');

# Many

my $bulk = $kafka->create_topic('bulk', partitions => 1);
$node->safe_psql('restored',
	"$rows '$bulk', 'key', convert_to(lpad(i::text, 500), 'UTF8') FROM generate_series(1, $many) i");
$node->safe_psql('restored', 'CREATE TABLE truth AS'
	  . " SELECT topic, uid, 'key'::text AS key, id AS n FROM outbox.event WHERE topic = '$bulk'");
my $session = $node->background_psql('restored');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
my $before = private_memory($pid);
is($session->query_safe('SELECT outbox_adopt()'), $many, "$many events are adopted");
my $grown = private_memory($pid) - $before;
cmp_ok($grown, '<', 16, sprintf('in bounded memory: %.1f MB', $grown));
$session->quit;
my $counts = $kafka->verify($node->connstr('restored'), 'SELECT topic, uid, key, n FROM truth');
is("$counts->{distinct} $counts->{lost} $counts->{phantom} $counts->{duplicates} $counts->{out_of_order}",
	"$many 0 0 0 0", 'all of them are published, once and in order');

# A snapshot of the transaction's own may show what another has adopted.

foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	$node->psql('restored', "BEGIN ISOLATION LEVEL $level; SELECT outbox_adopt()", stderr => \$stderr);
	like($stderr, qr/ERROR:  outbox_adopt\(\) cannot run in a transaction with isolation level/, "refused in $level");
}

# A standby

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$standby->psql('restored', 'SELECT outbox_adopt()', stderr => \$stderr);
like($stderr, qr/cannot execute outbox_adopt\(\) during recovery/, 'refused on a standby');
$standby->stop('fast');

$node->stop('fast');
done_testing();
