
# A broker that is away: emitters do not notice, memory stays bounded whatever
# waits, and all of it is published when the broker is back.

use strict;
use warnings;

use List::Util qw(max);
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

my $backlog = 1_000_000;
my $slice = 50_000;

my $kafka = own_kafka();
my $node = new_node('dead_broker', kafka => $kafka, conf => "max_wal_size = 4GB\n");
my $rates = $kafka->create_topic('rates');
my $topic = $kafka->create_topic('backlog');
my %peak = (publisher => 0, producer => 0);
my %process;

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# Emit from four sessions for some seconds; the rate, and the slowest
# transaction in milliseconds.
sub emit_rate
{
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $script = "$folder/emit.sql";
	my ($count, $slowest) = (0, 0);

	append_to_file($script, "SELECT outbox_emit('$rates', 'an event of the usual size', 'key');\n");
	my ($out, $err) = run_command(
		[ 'pgbench', '-n', '-c', '4', '-T', '2', '-f', $script, '-l', '--log-prefix', "$folder/log",
			'-h', $node->host, '-p', $node->port, 'postgres' ]);
	my ($rate) = $out =~ /^tps = ([\d.]+)/m or die "pgbench: $err";
	foreach my $log (glob "$folder/log.*")
	{
		foreach my $line (split /\n/, slurp_file($log))
		{
			my $time = (split / /, $line)[2] / 1000;
			$slowest = $time if $time > $slowest;
		}
	}
	return ($rate, $slowest);
}

# The best rate of three, as others may be busy on the machine meanwhile, and the
# slowest transaction of all.
sub best_emit_rate
{
	my @windows = map { [ emit_rate() ] } 1 .. 3;

	return (max(map { $_->[0] } @windows), max(map { $_->[1] } @windows));
}

# Note how much memory both processes have, and whether they are still the same.
sub sample
{
	my ($pid, $producer) = split /\|/,
	  $node->safe_psql('postgres', 'SELECT pid, coalesce(producer_pid, 0) FROM outbox.status');

	foreach my $entry ([ 'publisher', $pid ], [ 'producer', $producer ])
	{
		my ($name, $number) = @$entry;
		next if !$number;
		my $memory = private_memory($number);
		$process{$name}{$number} = 1;
		$peak{$name} = $memory if $memory > $peak{$name};
	}
	return;
}

wait_until(sub { return status($node, 'connection') eq 'connected' }, 'the broker is there', 60);
emit_rate();		# fills caches, and makes the files grow once
my ($rate_up, $slowest_up) = best_emit_rate();
wait_published($node, undef, 240);
$kafka->stop;
wait_until(sub { return status($node, 'connection') ne 'connected' }, 'the broker is away', 60);
my ($rate_away, $slowest_away) = best_emit_rate();

diag(sprintf('emits per second: %.0f with the broker (slowest %.0f ms), %.0f without (slowest %.0f ms)',
	$rate_up, $slowest_up, $rate_away, $slowest_away));
cmp_ok($rate_away, '>', $rate_up / 4, 'emitters are not slowed by a dead broker');
# One that waited for the broker would not end: it is away until further down.
cmp_ok($slowest_away, '<', 60_000, 'and none of them waits');

# A backlog, emitted while nobody takes it.

my $settled = 0;
for (my $i = 0; $i < $backlog; $i += $slice)
{
	$node->safe_psql('postgres', sprintf(<<'SQL', $topic, $i + 1, $i + $slice));
SELECT count(outbox_emit('%s', rpad('event ' || i, 100, '.'), i %% 500)) FROM generate_series(%d, %d) i
SQL
	sample();
}
wait_until(
	sub {
		sample();
		return status($node, "waiting_estimate >= $backlog") eq 't' && $settled++ > 10;
	},
	'the publisher knows of the backlog', 60);
isnt(status($node, 'oldest_waiting'), '', 'the backlog waits');
my %away = %peak;

# The broker comes back.

$kafka->restart;
wait_until(
	sub {
		sample();
		sleep 0.1;
		return status($node, "state = 'idle' AND oldest_waiting IS NULL") eq 't';
	},
	'the backlog is published', 240);

# One session emitted them all, so that their order is that of their ids.
my $counts = $kafka->verify($node->connstr('postgres'),
	"SELECT topic, uid, convert_from(key, 'UTF8'), id FROM outbox.event WHERE topic = '$topic'",
	timeout => 120);
is($counts->{committed}, $backlog, 'a backlog of a million events');
is($counts->{$_}, 0, "$_: 0") foreach qw(lost phantom out_of_order damaged split_keys duplicates);

diag(sprintf('private memory, peak: publisher %.0f MB waiting, %.0f MB in all; producer %.0f MB waiting, %.0f MB in all',
	$away{publisher}, $peak{publisher}, $away{producer}, $peak{producer}));
cmp_ok($peak{publisher}, '>', 0, 'the memory of the publisher was seen');
cmp_ok($peak{producer}, '>', 0, 'the memory of the producer was seen');
cmp_ok($peak{publisher}, '<', 100, 'the memory of the publisher is bounded');
cmp_ok($peak{producer}, '<', 200, 'the memory of the producer is bounded');
is(scalar keys %{ $process{publisher} }, 1, 'the publisher went on all the time');
is(scalar keys %{ $process{producer} }, 1, 'and so did its producer');

$node->stop('fast');
done_testing();
