
# Captured tables under load: a consumer has for each key exactly the changes
# that were committed, in the order in which they were; also what is dumped and
# restored, and what logical replication brings.

use strict;
use warnings;

use JSON::PP ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

need_real_kafka();

my $kafka = shared_kafka();
my $node = new_node('capture', init => [ allows_streaming => 'logical' ]);

# What happened to a key, as a consumer and as the truth have it: operation,
# number of the row's version, and a mark that no other version has.
sub change
{
	return join ' ', map { $_ // 'NULL' } @_;
}

# The changes of each key that a topic has, in the order of its partition.
sub changes
{
	my ($topic, $count) = @_;
	my (%changes, %seen, %partition);

	foreach my $record ($kafka->consume($topic, count => $count, timeout => 120))
	{
		my $value = JSON::PP::decode_json($record->{value});
		my $row = $value->{new} // $value->{old};

		is($row->{id}, $record->{key}, 'the key is the row\'s') if $row->{id} ne $record->{key};
		fail("key $record->{key} is in two partitions")
		  if ($partition{ $record->{key} } //= $record->{partition}) != $record->{partition};
		fail("event $record->{id} came twice") if $seen{ $record->{id} }++;
		push @{ $changes{ $record->{key} } }, change($value->{op}, @$row{qw(n mark)});
	}
	return \%changes;
}

# Sessions update a few rows at once, move them between partitions, delete and
# insert them again, and undo some of it.  Truth is written by them, not by
# triggers, under the lock that the change itself takes.

my $topic = $kafka->create_topic('capture', partitions => 4);
my $keys = 8;

$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION outbox;
CREATE TABLE hot (id int, region text, n bigint, mark uuid, filler text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE hot_eu PARTITION OF hot FOR VALUES IN ('eu');
CREATE TABLE hot_us (filler text, mark uuid, n bigint, gone int, region text NOT NULL, id int NOT NULL);
ALTER TABLE hot_us DROP COLUMN gone;
ALTER TABLE hot ATTACH PARTITION hot_us FOR VALUES IN ('us');
INSERT INTO hot SELECT i, 'eu', 0, gen_random_uuid(), repeat('x', i * 500) FROM generate_series(1, $keys) i;
CREATE TABLE truth (place bigint GENERATED ALWAYS AS IDENTITY, id int, op text, n bigint, mark uuid);
SELECT outbox_capture('hot', '$topic', key => '{id}', columns => '{id,n,mark,region}');

CREATE PROCEDURE change_row(a_id int, kind int) LANGUAGE plpgsql AS \$\$
DECLARE
	was hot;
BEGIN
	IF kind < 6 THEN
		WITH changed AS (UPDATE hot SET n = n + 1, mark = gen_random_uuid() WHERE id = a_id RETURNING id, n, mark)
		INSERT INTO truth (id, op, n, mark) SELECT id, 'update', n, mark FROM changed;
		RETURN;
	END IF;

	SELECT * INTO was FROM hot WHERE id = a_id FOR UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	IF kind < 7 THEN
		UPDATE hot SET n = n + 1, mark = gen_random_uuid(), region = CASE region WHEN 'eu' THEN 'us' ELSE 'eu' END WHERE id = a_id;
		INSERT INTO truth (id, op, n, mark) VALUES (a_id, 'delete', was.n, was.mark);
		INSERT INTO truth (id, op, n, mark) SELECT id, 'insert', n, mark FROM hot WHERE id = a_id;
	ELSIF kind < 8 THEN
		DELETE FROM hot WHERE id = a_id;
		INSERT INTO hot VALUES (a_id, was.region, was.n + 1, gen_random_uuid(), was.filler);
		INSERT INTO truth (id, op, n, mark) VALUES (a_id, 'delete', was.n, was.mark);
		INSERT INTO truth (id, op, n, mark) SELECT id, 'insert', n, mark FROM hot WHERE id = a_id;
	ELSE
		BEGIN
			UPDATE hot SET n = n + 1, mark = gen_random_uuid() WHERE id = a_id;
			RAISE EXCEPTION 'undone';
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
	END IF;
END
\$\$;
SQL

my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
append_to_file($script, <<SQL);
\\set one random(1, $keys)
\\set two :one + random(1, $keys)
\\set kind_one random(0, 9)
\\set kind_two random(0, 9)
\\set end random(0, 4)
BEGIN;
CALL change_row(:one, :kind_one);
CALL change_row(:two, :kind_two);
\\if :end = 0
ROLLBACK;
\\else
COMMIT;
\\endif
SQL

# A row that another session moves to the other partition fails who waits for
# it; the transaction is tried again.
$node->command_ok(
	[ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', 200, '--max-tries', 100, '-f', $script, $node->connstr('postgres') ],
	'sessions change the same rows');

my @truth = map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres',
	'SELECT id, op, n, mark FROM truth ORDER BY id, n + (op = \'delete\')::int, op');
my %truth;
push @{ $truth{ $_->[0] } }, change(@$_[ 1 .. 3 ]) foreach @truth;
cmp_ok(scalar @truth, '>', 500, 'something was changed: ' . @truth);
cmp_ok(scalar(grep { $_->[1] eq 'delete' } @truth), '>', 20, 'rows were moved, and deleted and inserted again');

wait_published($node);
my $changes = changes($topic, scalar @truth);
foreach my $key (sort keys %truth)
{
	my %committed = map { $_ => 1 } @{ $truth{$key} };
	my %received = map { $_ => 1 } @{ $changes->{$key} };

	is(scalar(grep { !$received{$_} } @{ $truth{$key} }), 0, "key $key: lost 0");
	is(scalar(grep { !$committed{$_} } @{ $changes->{$key} }), 0, "key $key: phantom 0");
	is_deeply($changes->{$key}, $truth{$key}, "key $key: in the order of the commits");
}
is_deeply([ sort keys %$changes ], [ sort keys %truth ], 'no other key');

# Restored, the captures are there by the names of the day, and a restore emits
# nothing by itself.

$topic = $kafka->create_topic('capture_restore', partitions => 1);
$node->safe_psql('postgres', 'CREATE DATABASE original');
$node->safe_psql('original', <<SQL);
CREATE EXTENSION outbox;
CREATE SCHEMA shop;
CREATE TABLE shop."Order" (id int PRIMARY KEY, state text, note text, "New" int);
SELECT outbox_capture('shop."Order"', '$topic', columns => '{id,note,New}', old => true, tombstone => true, always => true,
	"when" => 'NEW.state <> ''it''''s \\ new'' -- a condition', operations => '{insert,update}', format => 'plain', aggregate_type => 'it''s');
SELECT outbox_capture('shop."Order"', '$topic', operations => '{truncate}', name => 'The truncate');
CREATE TABLE shop.part (id int, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE shop.part_eu PARTITION OF shop.part FOR VALUES IN ('eu');
SELECT outbox_capture('shop.part', '$topic', always => true);
ALTER TABLE shop."Order" RENAME COLUMN note TO "Remark";
ALTER TABLE shop.part RENAME COLUMN id TO number;
INSERT INTO shop."Order" VALUES (1, 'old', 'a', 7);
INSERT INTO shop.part VALUES (1, 'eu');
SQL
wait_published($node, 'original');
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
my $view = 'SELECT * FROM outbox.capture ORDER BY "table"::text, name';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('original'), '-Fc', '-f', $file ], 'captured tables are dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $file ], 'and restored');
is($node->safe_psql('restored', $view), $node->safe_psql('original', $view), 'with the same captures');
is($node->safe_psql('restored', 'SELECT count(*) FROM shop."Order"'), 1, 'the rows are there');
is($node->safe_psql('restored', 'SELECT count(*) FROM outbox.event'), 0, 'and emitted nothing');
$node->safe_psql('restored', <<SQL);
UPDATE shop."Order" SET "Remark" = 'restored';
UPDATE shop.part SET number = 2;
SELECT outbox_uncapture('shop."Order"', 'The truncate');
SQL
wait_published($node, 'restored');
is_deeply(
	[ map { $_->{value} } $kafka->consume($topic, count => 5) ],
	[
		'{"op":"insert","schema":"shop","table":"Order","new":{"id":1,"Remark":"a","New":7}}',
		'{"op":"insert","schema":"shop","table":"part","new":{"number":1,"region":"eu"}}',
		'{"op":"update","schema":"shop","table":"Order","old":{"id":1,"Remark":"a","New":7},"new":{"id":1,"Remark":"restored","New":7}}',
		'{"op":"delete","schema":"shop","table":"part","old":{"number":1,"region":"eu"}}',
		'{"op":"insert","schema":"shop","table":"part","new":{"number":2,"region":"eu"}}'
	],
	'original and copy emit what is done to each');

# What logical replication applies is captured where that was asked for, there
# and the other way round.

my %topic = map { $_ => $kafka->create_topic("capture_$_", partitions => 1) } qw(always origin);
my $other = new_node('capture_other', init => [ allows_streaming => 'logical' ]);
my %node = (here => $node, there => $other);
# No trigger can write where apply is read only.
foreach my $each ($node, $other)
{
	$each->safe_psql('postgres', 'CREATE DATABASE applied');
	$each->safe_psql('postgres', 'ALTER DATABASE applied SET default_transaction_read_only = off');
}
foreach my $where (qw(here there))
{
	$node{$where}->safe_psql('applied', <<SQL);
CREATE EXTENSION outbox;
CREATE TABLE from_here (id int PRIMARY KEY, v text);
CREATE TABLE from_there (id int PRIMARY KEY, v text);
CREATE PUBLICATION mine FOR TABLE from_$where;
INSERT INTO from_$where VALUES (1, 'copied');
SQL
}
$other->safe_psql('applied', "SELECT outbox_capture('from_here', '$topic{always}', always => true, operations => '{insert,update,delete,truncate}')");
$node->safe_psql('applied', "SELECT outbox_capture('from_there', '$topic{origin}')");
foreach my $pair ([ 'here', 'there' ], [ 'there', 'here' ])
{
	my ($from, $to) = @$pair;
	my $conn = $node{$from}->connstr('applied');

	# whatever the defaults of the servers are
	$conn .= " options='-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0'";
	$node{$to}->safe_psql('applied',
		"CREATE SUBSCRIPTION from_$from CONNECTION \$conn\$$conn application_name=to_$to\$conn\$ PUBLICATION mine");
}
foreach my $pair ([ 'here', 'there' ], [ 'there', 'here' ])
{
	my ($from, $to) = @$pair;

	wait_until(
		sub { return $node{$to}->safe_psql('applied', "SELECT string_agg(v, ' ') FROM from_$from") eq 'copied' },
		"rows of $from are copied", 90);
	$node{$from}->safe_psql('applied', <<SQL);
INSERT INTO from_$from VALUES (2, 'applied');
UPDATE from_$from SET v = 'changed' WHERE id = 1;
DELETE FROM from_$from WHERE id = 1;
TRUNCATE from_$from;
INSERT INTO from_$from VALUES (3, 'last');
SQL
	wait_until(
		sub { return $node{$to}->safe_psql('applied', "SELECT string_agg(v, ' ') FROM from_$from") eq 'last' },
		"changes of $from are applied", 90);
}
$node->safe_psql('applied', "INSERT INTO from_there VALUES (4, 'local')");
wait_published($_, 'applied') foreach ($node, $other);
is_deeply(
	[ map { $_->{value} } $kafka->consume($topic{always}, count => 6) ],
	[
		'{"op":"insert","schema":"public","table":"from_here","new":{"id":1,"v":"copied"}}',
		'{"op":"insert","schema":"public","table":"from_here","new":{"id":2,"v":"applied"}}',
		'{"op":"update","schema":"public","table":"from_here","new":{"id":1,"v":"changed"}}',
		'{"op":"delete","schema":"public","table":"from_here","old":{"id":1,"v":"changed"}}',
		'{"op":"truncate","schema":"public","table":"from_here"}',
		'{"op":"insert","schema":"public","table":"from_here","new":{"id":3,"v":"last"}}'
	],
	'with always, what is copied and applied is captured');
is_deeply(
	[ map { $_->{value} } $kafka->consume($topic{origin}, count => 1) ],
	['{"op":"insert","schema":"public","table":"from_there","new":{"id":4,"v":"local"}}'],
	'without, only what is done here');
foreach my $pair ([ 'here', 'there' ], [ 'there', 'here' ])
{
	my ($from, $to) = @$pair;

	# the kinds of errors that are counted differ between versions
	is($node{$to}->safe_psql('applied', q{SELECT sum(value::bigint) FROM pg_stat_subscription_stats AS s,
			jsonb_each_text(to_jsonb(s)) WHERE key ~ '_error_count$'}),
		0, "$to has applied everything without an error");
	$node{$to}->safe_psql('applied', "DROP SUBSCRIPTION from_$from");
}

$other->stop;
$node->stop;
done_testing();
