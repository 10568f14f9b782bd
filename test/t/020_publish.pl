
# What arrives is what was emitted.

use strict;
use warnings;

use JSON::PP ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $kafka = shared_kafka();
my $node = new_node('publish');
my @records;

# Publishing starts with CREATE EXTENSION.  Tried until it is quick, as the
# machine may have other things to do.

my $first = $kafka->create_topic('first');
my (@early, @delays);

while (@delays < 15 && !grep { $_ < 1 } @delays)
{
	my $database = 'early' . (@early + 1);

	push @early, $database;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	my $started = time;
	$node->safe_psql($database,
		"BEGIN; CREATE EXTENSION outbox; SELECT outbox_emit('$first', '$database'); COMMIT");
	wait_until(sub { return status($node, 'published', $database) eq '1' },
		"the event of $database is acknowledged");
	push @delays, time - $started;
	# Its publisher would take a share of the machine.
	$node->safe_psql('postgres', "DROP DATABASE $database");
}
@delays = sort { $a <=> $b } @delays;
diag(sprintf('CREATE EXTENSION to acknowledgement: %s s', join(', ', map { sprintf '%.2f', $_ } @delays)));
cmp_ok($delays[0], '<', 1, 'CREATE EXTENSION publishes within a second');
is_deeply([ sort map { $_->{value} } $kafka->consume($first, count => scalar @early) ],
	[ sort @early ], 'what was emitted beside CREATE EXTENSION has arrived');

# Byte for byte: each case gives the arguments, and the record expected.

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

my $topic = $kafka->create_topic('bytes', partitions => 3);
my $all_bytes = join '', map { chr } 0 .. 255;
my $long = 'abcdefgh' x 40_000;

sub hex_of { return "'\\x" . unpack('H*', $_[0]) . "'::bytea"; }
sub base64 { require MIME::Base64; return { base64 => MIME::Base64::encode_base64($_[0], '') }; }

my @cases = (
	[ q{'text'}, { value => 'text', key => undef, headers => [] } ],
	[ q{NULL::text, 'tombstone'}, { value => undef, key => 'tombstone' } ],
	[ q{NULL, 'tombstone'}, { value => undef, key => 'tombstone' } ],
	[ q{'', ''}, { value => '', key => '' } ],
	[ q{U&'\00e9\4f60\+01f600', U&'\00e9'}, { value => "\x{e9}\x{4f60}\x{1f600}", key => "\x{e9}" } ],
	[ hex_of($all_bytes) . ', ' . hex_of(scalar reverse $all_bytes),
		{ value => base64($all_bytes), key => base64(scalar reverse $all_bytes) } ],
	[ hex_of("a\0b") . ', ' . hex_of("\0"), { value => "a\0b", key => "\0" } ],
	[ "'$long', 'long'", { value => $long, key => 'long' } ],
	[ q{'{"a" :  1.50}'::json, 7}, { value => '{"a" :  1.50}', key => '7' } ],
	[ q{'{"b":1,"a":[true,null]}'::jsonb, 'j'}, { value => '{"a": [true, null], "b": 1}', key => 'j' } ],
	[ q{'null'::jsonb, 'j'}, { value => 'null', key => 'j' } ],
	[ q{x, x.number} => { value => '{"number":1,"name":"one"}', key => '1' },
		q{ FROM (VALUES (1, 'one')) AS x (number, name)} ],
	[ q{'h', 'h', headers => '{"trace": "00-ab", "n": 1.50, "yes": true, "none": null, "many": ["1", "2"], "raw": {"base64": "AP8="}}'},
		{ value => 'h', key => 'h',
			headers => [
				[ 'n', '1.50' ], [ 'raw', base64("\0\xff") ], [ 'yes', 'true' ], [ 'many', '1' ],
				[ 'many', '2' ], [ 'none', undef ], [ 'trace', '00-ab' ] ] } ],
	[ q{'p', 'p', partition => 2}, { value => 'p', key => 'p', partition => 2 } ],
	[ q{'p', 'p', partition => 0}, { value => 'p', key => 'p', partition => 0 } ],
	[ q{'t', 't', "timestamp" => '2020-02-03 04:05:06.789+00'},
		{ value => 't', key => 't', timestamp => 1580702706789 } ]);

my %expected;
my $clock = q{SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint};
my $before = $node->safe_psql('postgres', $clock);
foreach my $case (@cases)
{
	my ($arguments, $record, $from) = @$case;
	my $uid = $node->safe_psql('postgres',
		"SELECT outbox_emit('$topic', $arguments)" . ($from // ''));
	$expected{$uid} = [ $arguments, $record ];
}
my $after = $node->safe_psql('postgres', $clock);

@records = $kafka->consume($topic, count => scalar @cases);
is(scalar @records, scalar @cases, 'as many records as events');
foreach my $record (@records)
{
	my ($uid, @headers) = @{ $record->{headers} };
	my ($arguments, $wanted) = @{ delete $expected{ $uid->[1] } // [ 'unknown uid', {} ] };
	my $name = length $arguments > 60 ? substr($arguments, 0, 60) . '...' : $arguments;
	my %got = map { ($_ => $record->{$_}) } qw(key value);

	is($uid->[0], 'id', "$name: the first header is id");
	$got{headers} = \@headers;
	$got{partition} = $record->{partition} if exists $wanted->{partition};
	if (exists $wanted->{timestamp})
	{
		$got{timestamp} = $record->{timestamp};
	}
	else
	{
		ok($record->{timestamp} >= $before - 1 && $record->{timestamp} <= $after + 1,
			"$name: the timestamp is that of the call");
	}
	is_deeply(\%got, { headers => [], %$wanted }, "$name: arrives as it was emitted");
}
is_deeply([ keys %expected ], [], 'each event has arrived');

# A transaction that rolls back leaves nothing.  What is committed after it
# shows that the publisher had the occasion.

$topic = $kafka->create_topic('rolled_back', partitions => 1);
$node->safe_psql('postgres', <<SQL);
SELECT outbox_emit('$topic', 'before', 'k');
BEGIN;
SELECT outbox_emit('$topic', 'rolled back', 'k');
ROLLBACK;
BEGIN;
SELECT outbox_emit('$topic', 'one', 'k');
SAVEPOINT s;
SELECT outbox_emit('$topic', 'rolled back to a savepoint', 'k');
ROLLBACK TO s;
SELECT outbox_emit('$topic', 'two', 'k');
COMMIT;
BEGIN;
SELECT outbox_emit('$topic', 'rolled back in two phases', 'k');
PREPARE TRANSACTION 'undone';
ROLLBACK PREPARED 'undone';
DO \$\$ BEGIN
	PERFORM outbox_emit('$topic', 'undone by an exception', 'k');
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
	PERFORM outbox_emit('$topic', 'from the handler', 'k');
END \$\$;
BEGIN;
SELECT outbox_emit('$topic', 'in two phases', 'k');
PREPARE TRANSACTION 'done';
COMMIT PREPARED 'done';
SELECT outbox_emit('$topic', 'after', 'k');
SQL
@records = $kafka->consume($topic, count => 6);
wait_published($node);
is_deeply(
	[ map { $_->{value} } $kafka->consume($topic) ],
	[ 'before', 'one', 'two', 'from the handler', 'in two phases', 'after' ],
	'only what was committed arrives, in order');

# A session that is cut off has committed nothing.

my $session = $node->background_psql('postgres');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe("BEGIN; SELECT outbox_emit('$topic', 'cut off', 'k')");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 30000)");
eval { $session->quit; };
$node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'at last', 'k')");
@records = $kafka->consume($topic, count => 7);
is($records[-1]{value}, 'at last', 'a session that was cut off has emitted nothing');

# Many topics, and the order per key in one transaction.

my @topics = map { $kafka->create_topic("many$_") } 1 .. 6;
my $list = join ',', @topics;
$node->safe_psql('postgres', <<SQL);
DO \$\$
DECLARE
	topics text[] := string_to_array('$list', ',');
BEGIN
	FOR i IN 1..3000 LOOP
		PERFORM outbox_emit(topics[i % 6 + 1], i::text, 'key ' || i % 50);
	END LOOP;
END \$\$
SQL
@records = $kafka->consume(\@topics, count => 3000);
my (%last, %values);
my $disorder = 0;
foreach my $record (@records)
{
	my $key = "$record->{topic} $record->{key}";
	$disorder++ if $record->{value} <= ($last{$key} // 0);
	$last{$key} = $record->{value};
	$values{ $record->{value} }++;
}
is(scalar @records, 3000, 'many topics: as many records as events');
is(scalar keys %values, 3000, 'many topics: each event once');
is($disorder, 0, 'events of a key arrive in the order of the calls');
is(scalar(grep { $_->{topic} ne $topics[ $_->{value} % 6 ] } @records), 0, 'each in its topic');

# A topic that did not exist.

my $created = $kafka->topic_name('created');
$node->safe_psql('postgres', "SELECT outbox_emit('$created', 'value', 'key')");
is(scalar $kafka->consume($created, count => 1), 1, 'a topic that the broker creates');

wait_published($node);
is(status($node, q{concat_ws(' ', error, foreign_rows, connection)}), '0 connected', 'no trouble was met');

$node->stop('fast');
done_testing();
