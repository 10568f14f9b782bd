
# A server with nothing to publish: a restart publishes nothing again, and
# neither an idle publisher nor one that waits for its broker holds anything.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# Seconds of silence; longer than any fallback of the publisher.
my $window = 4;

my $kafka = shared_kafka();
my $node = new_node('idle_restart', conf => <<'CONF');
autovacuum = off
checkpoint_timeout = 1h
wal_level = minimal
max_wal_senders = 0
CONF
my $topic = $kafka->create_topic('idle');

$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', 'CREATE EXTENSION outbox');
$node->safe_psql('app', "SELECT outbox_emit('$topic', i::text, i % 10) FROM generate_series(1, 500) i");
is(scalar $kafka->consume($topic, count => 500, timeout => 60), 500, 'events are published');

# Five restarts.  A publisher is idle again only after it has looked for events
# and has a producer that would have sent them.

foreach my $round (1 .. 5)
{
	wait_published($node, 'app');
	$node->restart;
}
wait_published($node, 'app');
is($kafka->record_count($topic), 500, 'five restarts publish nothing again');
$node->safe_psql('app', "SELECT outbox_emit('$topic', 'one more', '1')");
my @records = $kafka->consume($topic, count => 501);
is(scalar @records, 501, 'and the next event is published once');

# Connected and idle: no transaction, no WAL, nothing held.

my $counters = <<'SQL';
SELECT pg_current_wal_insert_lsn(), xact_commit + xact_rollback
  FROM pg_stat_database WHERE datname = 'app'
SQL
my $held = <<'SQL';
SELECT count(*), count(backend_xmin), count(backend_xid), count(xact_start)
  FROM pg_stat_activity WHERE backend_type = 'outbox publisher'
SQL

# Counters are flushed by a session that idles or ends: wait until they rest.
my $before = '';
wait_until(
	sub {
		my $now = $node->safe_psql('postgres', $counters);
		my $same = $now eq $before;
		$before = $now;
		sleep 2 if !$same;
		return $same;
	},
	'the server rests', 60);

my $looks = 0;
my $nothing = 0;
for (my $time = 0; $time < $window; $time += 0.2)
{
	$looks++;
	$nothing++ if $node->safe_psql('postgres', $held) eq '1|0|0|0';
	sleep 0.2;
}
is($nothing, $looks, 'an idle publisher holds no snapshot and no transaction');
is($node->safe_psql('postgres', $counters), $before,
	"no WAL and no transaction in $window idle seconds with a broker");

# The same with a backlog that nobody takes.

$node->append_conf('postgresql.conf', "outbox.bootstrap_servers = '127.0.0.1:1'");
$node->reload;
wait_until(sub { return status($node, 'connection', 'app') ne 'connected' }, 'the broker is gone');
$node->safe_psql('app', "SELECT outbox_emit('$topic', i::text, i % 10) FROM generate_series(1, 5000) i");
wait_until(sub { return status($node, 'waiting_estimate >= 5000', 'app') eq 't' },
	'the publisher knows of the backlog');
wait_until(sub { return $node->safe_psql('postgres', $held) eq '1|0|0|0' }, 'the publisher waits');
($looks, $nothing) = (0, 0);
for (1 .. 15)
{
	$looks++;
	$nothing++ if $node->safe_psql('postgres', $held) eq '1|0|0|0';
	sleep 0.1;
}
is($nothing, $looks, 'a publisher that waits for its broker holds no snapshot and no transaction');
isnt(status($node, 'state', 'app'), 'idle', 'and does not pretend that nothing waits');

$node->append_conf('postgresql.conf', "outbox.bootstrap_servers = '" . $kafka->bootstrap . "'");
$node->reload;
@records = $kafka->consume($topic, count => 5501, timeout => 60);
is(scalar @records, 5501, 'the backlog is published when there is a broker again');

$node->stop('fast');
done_testing();
