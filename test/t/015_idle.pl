
# An idle server runs no query, starts no transaction and writes no WAL for us.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

# Seconds without a sign of life; longer than any fallback of the publisher.
my $window = 5;

# Nothing of the server's own may write or run either.
my $kafka = shared_kafka();
my $topic = $kafka->create_topic('idle');
my $node = new_node('idle', kafka => $kafka, conf => <<'CONF');
autovacuum = off
checkpoint_timeout = 1h
wal_level = minimal
max_wal_senders = 0
CONF

# What is counted for all databases but the one that is asked from.
my $counters = <<'SQL';
SELECT pg_current_wal_insert_lsn(),
	(SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datname IS DISTINCT FROM 'postgres')
SQL

$node->safe_psql('postgres', "CREATE DATABASE app$_") foreach (1 .. 2);
$node->safe_psql("app$_", 'CREATE EXTENSION outbox') foreach (1 .. 2);
$node->safe_psql('app1', "SELECT outbox_emit('$topic', 'payload')");
wait_until(
	sub {
		return $node->safe_psql('app1',
			"SELECT string_agg(state || ' ' || published, ', ' ORDER BY database) FROM outbox.status")
		  eq 'idle 1, idle 0';
	},
	'both publishers are idle');

# Counters are flushed by a session that idles or ends, a late one perhaps between
# two looks: wait until they rest.
my $before = '';
my $equal = 0;
wait_until(
	sub {
		my $now = $node->safe_psql('postgres', $counters);

		$equal = $now eq $before ? $equal + 1 : 1;
		$before = $now;
		return 1 if $equal == 3;
		sleep 2;
		return 0;
	},
	'the server rests', 60);

sleep $window;
is($node->safe_psql('postgres', $counters), $before, "no WAL and no transaction in $window seconds");

# The proof that the counters would show them.
$node->safe_psql('app1', "SELECT outbox_emit('$topic', 'payload')");
wait_until(sub { return $node->safe_psql('postgres', $counters) ne $before },
	'the counters show a transaction');
pass('the counters show a transaction');

$node->stop('fast');
done_testing();
