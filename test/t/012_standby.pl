
# A standby publishes nothing until it is promoted, and then at once.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_node('primary', bootstrap => '', init => [ allows_streaming => 1 ]);
my $standby = PostgreSQL::Test::Cluster->new('standby');
my $stderr;

my $workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'outbox %'";

$primary->safe_psql('postgres', 'CREATE EXTENSION outbox');
$primary->safe_psql('postgres', "SELECT outbox_emit('topic', 'payload')");
$primary->backup('backup');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

is($standby->safe_psql('postgres', $workers), 0, 'a standby has no launcher and no publisher');
is( $standby->safe_psql('postgres', 'SELECT database, state, pid FROM outbox.status'),
	'postgres|none|', 'outbox.status on a standby');
is( $standby->safe_psql('postgres', 'SELECT oldest_waiting IS NOT NULL FROM outbox.status'),
	't', 'with the age of the oldest event that waits');
foreach my $call ("outbox_emit('topic', 'payload')", "outbox_emit_many('topic', '{}')",
	"outbox_emit_rows('topic', 'payload')", "outbox_emit_rows('topic', 'payload') FILTER (WHERE false)")
{
	$standby->psql('postgres', "SELECT $call", stderr => \$stderr);
	like($stderr, qr/ERROR: .*(recovery|read-only)/, "$call is refused on a standby");
}

# While it replays, databases and extensions come and go.
$primary->safe_psql('postgres', 'CREATE DATABASE later');
$primary->safe_psql('later', 'CREATE EXTENSION outbox');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $workers), 0, 'nor after it has replayed CREATE EXTENSION');

$standby->promote;
wait_until(
	sub {
		return $standby->safe_psql('postgres',
			'SELECT count(DISTINCT database) FROM outbox.status WHERE pid IS NOT NULL') == 2;
	},
	'publishers run after promotion');
pass('promotion starts publishers');

$standby->stop('fast');
$primary->stop('fast');
done_testing();
