
# Nothing is published before its commit is durable: not by a crash of the
# server right after, and not while a synchronous standby is away.

use strict;
use warnings;

use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $kafka = shared_kafka();

# Commits that are not waited for stay in memory for long, so that a crash
# takes them away.
my $node = new_node('barrier', init => [ allows_streaming => 1 ], conf => <<'CONF');
wal_writer_delay = 10s
wal_writer_flush_after = 1GB
autovacuum = off
checkpoint_timeout = 1h
CONF
my $topic = $kafka->create_topic('durable');
my $rounds = 10;
my $per_round = 15;

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# The crash must be able to undo what it can: without events it does, unless the
# 10 s are over just then.
$node->safe_psql('postgres', 'CREATE TABLE plain (n int)');
my $kept;
foreach my $try (1 .. 5)
{
	$node->safe_psql('postgres', "SET synchronous_commit = off; INSERT INTO plain VALUES ($try)");
	$node->stop('immediate');
	$node->start;
	$kept = $node->safe_psql('postgres', "SELECT count(*) FROM plain WHERE n = $try");
	last if $kept eq '0';
}
is($kept, 0, 'a crash takes away what was committed asynchronously');

my $acknowledged = 0;
foreach my $round (1 .. $rounds)
{
	# sessions that came before are part of what is lost otherwise
	wait_until(sub { return status($node, 'connection') eq 'connected' }, 'the publisher is there', 60);
	my $emits = join '', map { "SELECT outbox_emit('$topic', '$round.$_', '$round');" } 1 .. $per_round;
	my $before = status($node, 'published');
	$node->safe_psql('postgres', "SET synchronous_commit = off; $emits");
	# The broker has it as soon as the publisher counts it; asking a consumer
	# would take longer, and give the server time to write.
	wait_until(sub { return status($node, 'published') > $before }, 'Kafka has an event', 60);
	$acknowledged++;
	$node->stop('immediate');
	$node->start;
}
wait_published($node);
is($acknowledged, $rounds, 'the server crashed right after Kafka had an event, each time');

my @records = $kafka->consume($topic);
my %table = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT uid FROM outbox.event');
my %seen = map { $_->{id} => 1 } @records;
cmp_ok(scalar keys %seen, '>=', $rounds, 'a consumer has seen events of these crashes');
is(scalar(grep { !$table{$_} } keys %seen), 0, 'each event that a consumer saw is in the table');
is(scalar(grep { !$seen{$_} } keys %table), 0, 'and each event in the table was seen');

# A synchronous standby that is away.  Commits that do not wait for it are
# visible, but not published.

my $held = $kafka->create_topic('synchronous', partitions => 1);
my $waits = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'outbox publisher' AND wait_event = 'SyncRep'";

$node->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
$node->reload;
wait_until(sub { return $node->safe_psql('postgres', 'SHOW synchronous_standby_names') eq 'standby' },
	'the setting is in effect');
$node->safe_psql('postgres',
	"SET synchronous_commit = local; SELECT outbox_emit('$held', i::text, 'key') FROM generate_series(1, 5) i");
my $pid = wait_until(sub { return $node->safe_psql('postgres', $waits) }, 'the publisher waits for the standby');
is($node->safe_psql('postgres', "SELECT count(*) FROM outbox.event WHERE topic = '$held'"), 5,
	'the events are visible');
is($kafka->record_count($held), 0, 'nothing is published while the standby is away');

# As SIGINT is ignored, what is looked for is that nothing changes; a second
# wait begins if the first has ended.
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)") foreach 1 .. 3;
$node->safe_psql('postgres',
	"SET synchronous_commit = local; SELECT outbox_emit('$held', '6', 'key')");
is($node->safe_psql('postgres', $waits), $pid, 'a publisher that is cancelled waits on');
is($kafka->record_count($held), 0, 'and nothing is published');

foreach my $round (1 .. 3)
{
	my $old = $pid;
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
	$pid = wait_until(
		sub {
			my $now = $node->safe_psql('postgres', $waits);
			return $now ne '' && $now ne $old ? $now : 0;
		},
		'the next publisher waits for the standby', 60);
}
is($kafka->record_count($held), 0, 'nor is it after the publisher was terminated');
$node->restart;
wait_until(sub { return $node->safe_psql('postgres', $waits) }, 'the publisher waits after a restart', 60);
is($kafka->record_count($held), 0, 'nor after a restart');

# Whoever receives the log under this name is the standby.
my $standby = IPC::Run::start(
	[ 'pg_receivewal', '--no-loop', '--synchronous', '-D', PostgreSQL::Test::Utils::tempdir(),
		'-d', $node->connstr('postgres') . ' application_name=standby' ],
	'<', \undef, '>', \my $out, '2>', \my $err);
@records = $kafka->consume($held, count => 6, timeout => 60);
is(join(' ', map { $_->{value} } @records), '1 2 3 4 5 6', 'all is published when the standby is back');
is($kafka->record_count($held), 6, 'once');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names');
$node->reload;
$standby->signal('INT');
IPC::Run::finish($standby);

$node->stop('fast');
done_testing();
