
# A domain event arrives as its format has it, byte for byte, and what is set
# for aggregate types and topics reaches every session.

use strict;
use warnings;

use JSON::PP ();
use MIME::Base64 ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = shared_kafka();
my $node = new_node('domain');
my $prefix = "domain.$$";
my $given = '4d47e190-0402-4048-bd2c-89dd54343cdc';
my $time = '2020-02-03T04:05:06.789012Z';
my $trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');
$node->append_conf('postgresql.conf', <<CONF);
outbox.topic_template = '$prefix.{aggregate_type}'
outbox.cloudevents_source = '/shop/{aggregate_type}'
CONF
$node->reload;
$kafka->create_topic("$prefix.$_", exact => 1, partitions => 3) foreach qw(order chosen ruled latin);

sub base64 { return { base64 => MIME::Base64::encode_base64($_[0], '') }; }

# Each case: settings, arguments behind the aggregate type and before the time,
# and the record; ID in it stands for the uid.

my @cases = (
	[ 'plain', '', q{42, 'OrderPaid', '{"a":1}'::jsonb},
		{ key => '42', value => '{"a": 1}', headers => [
				[ 'id', 'ID' ], [ 'event_type', 'OrderPaid' ], [ 'aggregate_type', 'order' ],
				[ 'aggregate_id', '42' ], [ 'created_at', $time ] ] } ],
	[ 'plain', '', qq{'\\xff00'::bytea, 'e', NULL, '{"m":"\x{fc}","none":null,"raw":{"base64":"AP8="},"two":[1,"x"]}', event_id => '$given',
			traceparent => '$trace', tracestate => 'a=1', trace_id => 't', partition => 2},
		{ key => base64("\xff\0"), value => undef, partition => 2, headers => [
				[ 'id', $given ], [ 'event_type', 'e' ], [ 'aggregate_type', 'order' ],
				[ 'aggregate_id', base64("\xff\0") ], [ 'created_at', $time ],
				[ 'traceparent', $trace ], [ 'tracestate', 'a=1' ], [ 'trace_id', 't' ],
				[ 'm', "\x{fc}" ], [ 'raw', base64("\0\xff") ], [ 'two', '1' ], [ 'two', 'x' ],
				[ 'none', undef ] ] } ],
	[ 'debezium', '', q{'1', 'OrderPaid', '{"id": 1}'::jsonb},
		{ key => '1', value => '{"id": 1}', headers => [ [ 'id', 'ID' ] ] } ],
	[ 'debezium', q{SET outbox.debezium_placement = 'type:header:eventType, shard:partition'},
		qq{'1', 'OrderPaid', '\\x00ff'::bytea, '{"shard":1,"user":"u"}', event_id => '$given'},
		{ key => '1', value => base64("\0\xff"), partition => 1, headers => [
				[ 'id', $given ], [ 'eventType', 'OrderPaid' ], [ 'user', 'u' ] ] } ],
	[ 'debezium', q{SET outbox.debezium_tombstone = on}, q{'1', 'OrderPaid', ' '},
		{ key => '1', value => undef, headers => [ [ 'id', 'ID' ] ] } ],
	[ 'debezium', q{SET outbox.debezium_placement = 'type:envelope'}, q{NULL, 'OrderPaid', 'p'},
		{ key => undef, value => 'Struct{payload=p,type=OrderPaid}', headers => [ [ 'id', 'ID' ] ] } ],
	[ 'cloudevents-binary', '', q{42, 'OrderPaid', '{"a":1}'::jsonb, '{"user":"u"}', extensions => '{"yes":true}'},
		{ key => '42', value => '{"a": 1}', headers => [
				[ 'id', 'ID' ], [ 'content-type', 'application/json' ], [ 'ce_specversion', '1.0' ],
				[ 'ce_id', 'ID' ], [ 'ce_source', '/shop/order' ], [ 'ce_type', 'OrderPaid' ],
				[ 'ce_time', $time ], [ 'ce_subject', '42' ], [ 'ce_partitionkey', '42' ],
				[ 'ce_yes', 'true' ], [ 'user', 'u' ] ] } ],
	[ 'cloudevents-binary', "SET outbox.traceparent = '$trace'", qq{NULL, 'OrderGone', event_id => '$given'},
		{ key => undef, value => undef, headers => [
				[ 'id', $given ], [ 'ce_specversion', '1.0' ],
				[ 'ce_id', $given ], [ 'ce_source', '/shop/order' ], [ 'ce_type', 'OrderGone' ],
				[ 'ce_time', $time ], [ 'ce_traceparent', $trace ] ] } ],
	[ 'cloudevents-structured', '', q{42, 'OrderPaid', '{"a":1}'::jsonb},
		{ key => '42',
			value => qq({"specversion":"1.0","id":"ID","source":"/shop/order","type":"OrderPaid","time":"$time",)
			  . q("subject":"42","partitionkey":"42","datacontenttype":"application/json","data":{"a": 1}}),
			headers => [ [ 'id', 'ID' ], [ 'content-type', 'application/cloudevents+json; charset=UTF-8' ] ] } ],
	[ 'cloudevents-structured', '', qq{42, 'OrderPaid', '\\x00ff'::bytea, '{"user":"u"}', event_id => '$given'},
		{ key => '42',
			value => qq({"specversion":"1.0","id":"$given","source":"/shop/order","type":"OrderPaid","time":"$time",)
			  . q("subject":"42","partitionkey":"42","datacontenttype":"application/octet-stream","data_base64":"AP8="}),
			headers => [ [ 'id', $given ], [ 'content-type', 'application/cloudevents+json; charset=UTF-8' ],
				[ 'user', 'u' ] ] } ],
	[ 'cloudevents-structured', '', q{42, 'OrderGone'},
		{ key => '42',
			value => qq({"specversion":"1.0","id":"ID","source":"/shop/order","type":"OrderGone","time":"$time",)
			  . q("subject":"42","partitionkey":"42"}),
			headers => [ [ 'id', 'ID' ], [ 'content-type', 'application/cloudevents+json; charset=UTF-8' ] ] } ]);

# The records come by their offsets in three partitions, so a header of its own
# would be another message: the timestamp tells which case one is of.

my @uids;
foreach my $number (0 .. $#cases)
{
	my ($format, $settings, $arguments) = @{ $cases[$number] };

	$arguments =~ s/\x{fc}/\xc3\xbc/g;
	push @uids, $node->safe_psql('postgres', <<SQL);
SET client_encoding = 'UTF8';
$settings;
BEGIN;
SELECT outbox_emit_event('order', $arguments, format => '$format',
	"timestamp" => timestamptz '2020-02-03 04:05:06.789012+00' + interval '$number s');
COMMIT;
SQL
}
my %records = map { $_->{timestamp} => $_ } $kafka->consume("$prefix.order", count => scalar @cases);
foreach my $number (0 .. $#cases)
{
	my ($format, $settings, $arguments, $wanted) = @{ $cases[$number] };
	my $record = delete $records{ 1580702706789 + 1000 * $number } // {};
	my $moved = sprintf '2020-02-03T04:05:%02d.789012Z', 6 + $number;
	my $json = JSON::PP->new->canonical;
	my $expected = $json->encode($wanted);
	my %got = map { $_ => $record->{$_} } keys %$wanted;

	$expected =~ s/\Q$time\E/$moved/g;
	$expected =~ s/"ID"/"$uids[$number]"/g;
	$expected =~ s/\\"ID\\"/\\"$uids[$number]\\"/g;
	is($json->encode(\%got), $expected, "$format: " . substr($arguments, 0, 60));
}
is(scalar keys %records, 0, 'and no other record');

# Kafka's record is of the topic that was asked for.

$node->safe_psql('postgres', <<SQL);
SELECT outbox_emit_event('order', 1, 'e', 'of the call', topic => '$prefix.chosen');
SELECT outbox_set_aggregate_type('bill', topic => '$prefix.ruled');
SELECT outbox_emit_event('bill', 1, 'e', 'of the rule');
SQL
is(($kafka->consume("$prefix.chosen", count => 1))[0]{value}, 'of the call', 'topic of the call');
is(($kafka->consume("$prefix.ruled", count => 1))[0]{value}, 'of the rule', 'topic of the aggregate type');

# A rule applies to other sessions from its commit on, at the latest in their next
# transaction.

sub format_of_next
{
	my ($session) = @_;

	my $uid = $session->query_safe("SELECT outbox_emit_event('bill', 1, 'e')");
	# headers: none, those of a CloudEvent, or the plain ones
	return $session->query_safe(<<SQL);
SELECT CASE WHEN headers IS NULL THEN 'debezium' WHEN position('ce_id'::bytea IN headers) > 0 THEN 'cloudevents'
	ELSE 'plain' END FROM outbox.event WHERE uid = '$uid'
SQL
}

my $other = $node->background_psql('postgres');
is(format_of_next($other), 'plain', 'no format is set');
my $setter = $node->background_psql('postgres');
$setter->query_safe(q{BEGIN; SELECT outbox_set_aggregate_type('bill', format => 'debezium')});
is(format_of_next($setter), 'debezium', 'a session sees what it sets');
is(format_of_next($other), 'plain', 'another does not before the commit');
$setter->query_safe('ROLLBACK');
is(format_of_next($setter), 'plain', 'what was rolled back is not set');
$setter->query_safe(qq{SELECT outbox_set_topic('$prefix.ruled', format => 'debezium')});
is(format_of_next($other), 'debezium', 'another session sees it after the commit');
$setter->query_safe(q{BEGIN; SELECT outbox_set_aggregate_type('bill', format => 'cloudevents-binary')});
$setter->query_safe(qq{SELECT outbox_set_topic('$prefix.ruled', format => '')});
$setter->query_safe(q{PREPARE TRANSACTION 'rule'});
is(format_of_next($other), 'debezium', 'a prepared transaction sets nothing');
$setter->query_safe(q{COMMIT PREPARED 'rule'});
is(format_of_next($other), 'cloudevents', 'when it is committed, it does');
$_->quit foreach $other, $setter;

# What is set is dumped.

my $file = "$PostgreSQL::Test::Utils::tmp_check/rules.dump";
$node->safe_psql('postgres', qq{SELECT outbox_set_topic('$prefix.ruled', format => 'debezium')});
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-Fc', '-f', $file ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $file ], 'pg_restore');
my $rules = q{SELECT string_agg(concat_ws(' ', aggregate_type, topic, format), ',') FROM outbox.aggregate_type};
is($node->safe_psql('restored', $rules), $node->safe_psql('postgres', $rules), 'aggregate types are dumped');
is($node->safe_psql('restored', "SELECT format FROM outbox.topic WHERE topic = '$prefix.ruled'"), 'debezium',
	'formats of topics are dumped');
$node->safe_psql('postgres', 'DROP DATABASE restored');

# All text is UTF-8, whatever the encoding of the database.

$node->safe_psql('postgres',
	q{CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
$node->safe_psql('latin', "SET client_encoding = 'UTF8'; CREATE EXTENSION outbox");
foreach my $format (qw(plain debezium cloudevents-binary cloudevents-structured))
{
	my $settings = $format eq 'debezium' ? "SET outbox.debezium_placement = 'type:header:\xc3\xa4,\xc3\xb6:header'" : '';
	my $attributes = $format =~ /cloudevents/ ? ", subject => '\xc3\xa4', datacontenttype => 'text/plain'" : '';

	is($node->safe_psql('latin', <<SQL), 't', "$format: UTF-8 out of LATIN1");
SET client_encoding = 'UTF8';
SET outbox.cloudevents_source = '/x';
$settings;
BEGIN;
DO \$\$ BEGIN PERFORM outbox_emit_event('latin', '\xc3\xa4\xc3\xb6', '\xc3\xbc', '\xc3\xa4', '{"\xc3\xb6":"\xc3\xbc"}',
	format => '$format', trace_id => '\xc3\xa4'$attributes); END \$\$;
SELECT key = '\\xc3a4c3b6' AND position('\\xc3bc'::bytea IN headers) > 0 AND position('\\xc3a4'::bytea IN payload) > 0
	AND position('\\xc383'::bytea IN headers || payload) = 0 AND position('\\xe4'::bytea IN headers) = 0
FROM outbox.event WHERE origin <> 0 ORDER BY id DESC LIMIT 1;
COMMIT;
SQL
}
my $error;
$node->psql('latin', "SET client_encoding = 'UTF8';
	SELECT outbox_emit('$prefix.latin', 'x', headers => '{\"\xc3\xa4\": {\"a\": 1}}')", stderr => \$error);
like($error, qr/header "\xc3\xa4" has an object/, 'what a message quotes is text of the database');
is($node->safe_psql('latin', <<'SQL'), qq(\xc3\xa4|{"base64":"4oKs"}|{"base64":"/w=="}|x), 'headers are shown as text of the database');
SET client_encoding = 'UTF8';
SELECT h ->> convert_from('\xe4', 'LATIN1'), h -> 'euro', h -> 'bytes', h ->> '\xe282ac'
FROM outbox_headers('\x0002c3a400000002c3a40004'::bytea || 'euro'::bytea || '\x00000003e282ac0005'::bytea
	|| 'bytes'::bytea || '\x00000001ff0003e282ac0000000178'::bytea) AS h;
SQL
wait_published($node, 'latin');
is(scalar $kafka->consume("$prefix.latin", count => 4), 4, 'they arrive');

wait_published($node);
is(status($node, q{concat_ws(' ', error, foreign_rows, dead_letters)}), '0 0', 'no trouble was met');

done_testing();
