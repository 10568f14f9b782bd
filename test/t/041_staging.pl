
# A copy of a database beside its original: the original publishes its events,
# the copy publishes nothing of them before outbox_adopt(), and each once after.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

need_real_kafka();

my $kafka = own_kafka();
my $topic = $kafka->create_topic('staging', partitions => 1);
my $folder = PostgreSQL::Test::Utils::tempdir();
my $old = new_node('old', kafka => $kafka);
my $young = new_node('young', kafka => $kafka);
my $expected = 0;		# records of the topic
my ($stdout, $stderr);

# Emit $count events in one server; returns their uids in order.
sub emit
{
	my ($node, $dbname, $prefix, $count) = @_;

	return split /\n/, $node->safe_psql($dbname,
		"SELECT outbox_emit('$topic', '$prefix ' || i, 'key') FROM generate_series(1, $count) i");
}

# The uids of the records, from the one with this offset on.
sub uids
{
	my ($from, $count) = @_;
	my @all = map { $_->{id} } $kafka->consume($topic, count => $from + $count, timeout => 60);

	return [ @all[$from .. $#all] ];
}

sub dump_of
{
	my ($node, $dbname, @options) = @_;
	my $file = "$folder/" . $node->name . ".$dbname." . time;

	$node->command_ok([ 'pg_dump', '-d', $node->connstr($dbname), '-Fc', '-f', $file, @options ],
		"dump of $dbname in the " . $node->name . " server @options");
	return $file;
}

sub restore
{
	my ($node, $dbname, $file, @options) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $dbname TEMPLATE template0") if !@options;
	$node->command_ok([ 'pg_restore', '-d', $node->connstr($dbname), '--exit-on-error', @options, $file ],
		"restored as $dbname in the " . $node->name . " server @options");
	return;
}

sub foreign
{
	my ($node, $dbname, $count) = @_;

	wait_until(sub { return status($node, 'foreign_rows', $dbname) eq $count },
		"$count events of $dbname are foreign", 60);
	pass("$count events of $dbname are foreign");
	return;
}

# Transaction ids of one server are far behind those of the other.

$old->safe_psql('postgres',
	'DO $$ BEGIN FOR i IN 1 .. 3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
foreach my $node ($old, $young)
{
	$node->safe_psql('postgres', 'CREATE DATABASE original');
	$node->safe_psql('original', 'CREATE EXTENSION outbox');
}
cmp_ok($old->safe_psql('postgres', 'SELECT pg_current_xact_id()'), '>',
	$young->safe_psql('postgres', 'SELECT pg_current_xact_id()') + 2000,
	'one server is older in transaction ids');

# A dump while batches are in flight: what is not acknowledged is in it.

foreach my $pair ([ $old, $young ], [ $young, $old ])
{
	my ($from, $to) = @$pair;
	my ($name, $copy) = ($from->name, 'copy_of_' . $from->name);

	emit($from, 'original', "$name published", 10);
	$expected += 10;
	uids(0, $expected);
	wait_published($from, 'original');
	$kafka->pause;
	my @pending = emit($from, 'original', "$name pending", 30);
	wait_until(sub { return status($from, 'state', 'original') eq 'publishing' },
		'events are in flight');
	my $file = dump_of($from, 'original');
	$kafka->resume;

	# The original publishes its own, once; the copy none of them.
	my $got = uids($expected, 30);
	is_deeply($got, \@pending, "the $name server publishes what it has, in order");
	$expected += 30;
	restore($to, $copy, $file);
	foreign($to, $copy, 30);
	my @own = emit($to, $copy, "copy of $name", 1);
	is_deeply(uids($expected, 1), \@own, 'the copy publishes what it emits');
	$expected += 1;
	wait_published($to, $copy);
	wait_published($from, 'original');
	is($kafka->record_count($topic), $expected, 'and nothing else');

	# Adopted, they come from the copy: the same uids in the same order.
	is($to->safe_psql($copy, 'SELECT outbox_adopt()'), 30, 'adopted');
	is_deeply(uids($expected, 30), \@pending, 'the copy publishes what it has adopted, in order');
	$expected += 30;
	wait_published($to, $copy);
	foreign($to, $copy, 0);
	is($kafka->record_count($topic), $expected, 'once');
	my @after = emit($from, 'original', 'after', 1);
	is_deeply(uids($expected, 1), \@after, 'the original goes on');
	$expected += 1;
	wait_published($from, 'original');
}

# Data only, with triggers disabled: rows are foreign all the same, and the
# trigger is what it was.

$young->safe_psql('postgres', 'ALTER DATABASE original SET outbox.enabled = off');
wait_until(sub { return status($young, 'state', 'original') eq 'paused' }, 'publishing pauses', 60);
my @pending = emit($young, 'original', 'triggers', 10);
my $data = dump_of($young, 'original', '--data-only', '--disable-triggers');
restore($old, 'copy_of_young', $data, '--data-only', '--disable-triggers');
foreign($old, 'copy_of_young', 10);
my $triggers = "SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger WHERE tgname = 'route_event'";
is($old->safe_psql('copy_of_young', $triggers), 'A', 'the triggers always fire, as before');
foreach my $command ('DISABLE TRIGGER ALL', 'DISABLE TRIGGER USER', 'DISABLE TRIGGER route_event',
	'ENABLE TRIGGER ALL', 'ENABLE TRIGGER route_event', 'ENABLE REPLICA TRIGGER route_event')
{
	foreach my $table ('event', 'event_2')
	{
		$old->psql('copy_of_young', "ALTER TABLE outbox.$table $command", stderr => \$stderr);
		like($stderr, qr/NOTICE: .*stays enabled/, "$command on $table has no effect");
	}
}
is($old->safe_psql('copy_of_young', $triggers), 'A', 'they still do');
is($kafka->record_count($topic), $expected, 'nothing is published');
is($old->safe_psql('copy_of_young', 'SELECT outbox_adopt()'), 10, 'adopted');
is_deeply(uids($expected, 10), \@pending, 'and published, in order');
$expected += 10;

# A database made from a template

$young->safe_psql('postgres', 'CREATE DATABASE twin TEMPLATE original');
foreign($young, 'twin', 10);
my @own = emit($young, 'twin', 'twin', 1);
is_deeply(uids($expected, 1), \@own, 'the twin publishes what it emits');
$expected += 1;
wait_published($young, 'twin');
is($kafka->record_count($topic), $expected, 'and nothing of its template');
$young->safe_psql('postgres', 'ALTER DATABASE original RESET outbox.enabled');
is_deeply(uids($expected, 10), \@pending, 'the template publishes its own, in order');
$expected += 10;
wait_published($young, 'original');
is($kafka->record_count($topic), $expected, 'which the twin does not');
is($young->safe_psql('twin', 'SELECT outbox_adopt()'), 10, 'adopted in the twin');
is_deeply(uids($expected, 10), \@pending, 'it publishes them, too');
$expected += 10;
wait_published($young, 'twin');
is($kafka->record_count($topic), $expected, 'once');

# A copy of a copy holds history of both, and events that neither published;
# those are in a dump of it, too.

$young->safe_psql('postgres', 'ALTER DATABASE original SET outbox.enabled = off');
wait_until(sub { return status($young, 'state', 'original') eq 'paused' }, 'publishing pauses', 60);
my @once = emit($young, 'original', 'once', 4);
$young->safe_psql('postgres', 'CREATE DATABASE second TEMPLATE original');
foreign($young, 'second', 4);
$young->safe_psql('postgres', 'ALTER DATABASE second SET outbox.enabled = off');
wait_until(sub { return status($young, 'state', 'second') eq 'paused' }, 'publishing pauses', 60);
my @twice = emit($young, 'second', 'twice', 3);
$young->safe_psql('postgres', 'CREATE DATABASE third TEMPLATE second');
foreign($young, 'third', 7);
restore($old, 'fourth', dump_of($young, 'third'));
foreign($old, 'fourth', 7);
is($kafka->record_count($topic), $expected, 'nothing is published');
$old->psql('fourth', 'BEGIN; DROP EXTENSION outbox; ROLLBACK', stderr => \$stderr);
like($stderr, qr/WARNING: .*events that are not published: 7$/m, 'who drops them is warned');
foreach my $case ([ $young, 'third' ], [ $old, 'fourth' ])
{
	my ($node, $dbname) = @$case;

	is($node->safe_psql($dbname, 'SELECT outbox_adopt()'), 7, "adopted in the $dbname");
	is_deeply(uids($expected, 7), [ @once, @twice ], 'what was never published is, in order');
	$expected += 7;
	wait_published($node, $dbname);
	foreign($node, $dbname, 0);
	is($kafka->record_count($topic), $expected, 'once');
}

$old->stop('fast');
$young->stop('fast');
done_testing();
