
# Settings: where they may be set, what they may be, and who sees them.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('settings', bootstrap => '', conf => "log_statement = none\n");
my ($stdout, $stderr);

# What psql prints on stderr for one statement.
sub complaint
{
	my ($sql) = @_;

	$node->psql('postgres', $sql, stderr => \$stderr);
	return $stderr;
}

like(complaint("SET outbox.no_such = 'x'"), qr/invalid configuration parameter name/,
	'an unknown setting is refused');
like(complaint("ALTER DATABASE postgres SET outbox.no_such = 'x'"),
	qr/invalid configuration parameter name/, 'also by ALTER DATABASE');

# Secrets

my $secret = 'Wh1sper';
foreach my $where ('DATABASE postgres', 'ROLE postgres', 'ROLE ALL',
	'ROLE postgres IN DATABASE postgres')
{
	like(
		complaint("ALTER $where SET outbox.kafka_options = 'linger.ms=1 sasl.password=$secret'"),
		qr/ERROR: .*outbox\.kafka_options.*DETAIL: .*sasl\.password.*HINT: .*kafka_options_file/s,
		"a secret is refused in ALTER $where SET");
	unlike($stderr, qr/$secret/, 'and not shown');
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_db_role_setting'), 0, 'nothing is stored');
is(complaint("ALTER DATABASE postgres SET outbox.kafka_options = 'linger.ms=1'"),
	'', 'an option that is not secret is accepted');
is(complaint("ALTER DATABASE postgres RESET outbox.kafka_options"), '', 'and reset');
is(complaint("ALTER SYSTEM SET outbox.kafka_options = 'sasl.password=$secret'"),
	'', 'a secret is accepted in a configuration file');
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
wait_until(
	sub { return $node->safe_psql('postgres', 'SHOW outbox.kafka_options') =~ /$secret/ },
	'a reload has brought the options');

$node->safe_psql('postgres', 'CREATE ROLE reader LOGIN');
like(complaint('SET ROLE reader; SHOW outbox.kafka_options'), qr/ERROR: .*permission|must be superuser/s,
	'only superusers see them');
is( $node->safe_psql('postgres',
		"SET ROLE reader; SELECT count(*) FROM pg_settings WHERE name = 'outbox.kafka_options'"),
	0, 'also in pg_settings');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET outbox.kafka_options');

# Kafka options

like(complaint("SET outbox.kafka_options = 'linger.ms=$secret $secret'"),
	qr/ERROR: .*DETAIL: .*Syntax error/s, 'bad syntax is refused');
unlike($stderr, qr/$secret/, 'and not shown');
like(complaint("SET outbox.kafka_options = 'acks=1'"), qr/DETAIL: .*"acks" cannot be set, because/s,
	'an option that we depend on is refused');

# Contexts, units and ranges

like(complaint('SET outbox.max_publishers = 5'), qr/cannot be changed without restarting/,
	'outbox.max_publishers needs a restart');
like(complaint("SET outbox.kafka_options_file = 'x'"), qr/cannot be changed now/,
	'outbox.kafka_options_file is of the server');
foreach my $setting ('outbox.enabled = off', "outbox.retention = '1h'",
	"outbox.bootstrap_servers = 'host:1'", "outbox.max_event_size = '2MB'",
	"outbox.spool_memory = '64MB'")
{
	is(complaint("ALTER DATABASE template1 SET $setting"), '', "a database may have its own $setting");
	like(complaint("SET ROLE reader; SET $setting"), qr/permission denied to set parameter/,
		'but not anybody');
}
$node->safe_psql('postgres', 'ALTER DATABASE template1 RESET ALL');

foreach my $bad ('outbox.retention = -2', 'outbox.max_event_size = 0',
	"outbox.max_event_size = '65MB'", "outbox.spool_memory = '1023kB'",
	'outbox.topic_timeout = -1', 'outbox.dead_letter_limit = 0')
{
	like(complaint("SET $bad"), qr/outside the valid range/, "$bad is refused");
}
is( $node->safe_psql('postgres', <<'SQL'),
SELECT string_agg(name || ' ' || boot_val || coalesce(' ' || unit, ''), ', ' ORDER BY name)
  FROM pg_settings WHERE name LIKE 'outbox.%'
SQL
	join(', ',
		'outbox.bootstrap_servers ', 'outbox.cloudevents_source /{database}',
		'outbox.dead_letter_limit 100', 'outbox.debezium_placement ', 'outbox.debezium_tombstone off',
		'outbox.enabled on', 'outbox.format plain', 'outbox.kafka_options ', 'outbox.kafka_options_file ', 'outbox.max_event_size 976 kB',
		'outbox.max_held_topics 1000', 'outbox.max_publishers 32',
		'outbox.publish_on_hosts ', 'outbox.retention 86400 s', 'outbox.spool_memory 16384 kB',
		'outbox.topic_template outbox.event.{aggregate_type}', 'outbox.topic_timeout 5000 ms',
		'outbox.trace_id ', 'outbox.traceparent ', 'outbox.tracestate '),
	'the settings that people see, and their defaults');

$node->stop('fast');
done_testing();
