
# A server whose shared_preload_libraries does not name outbox stores events,
# says that it does not publish them, and fails nowhere else.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('unloaded', bootstrap => '127.0.0.1:1', conf => <<'CONF');
shared_preload_libraries = ''
outbox.max_publishers = 7
CONF
my ($stdout, $stderr);

$node->psql('postgres', 'CREATE EXTENSION outbox', stderr => \$stderr);
like($stderr, qr/WARNING: .*"outbox" must be loaded via "shared_preload_libraries".*HINT: /s,
	'CREATE EXTENSION warns and hints');

is( $node->psql('postgres', "SELECT outbox_emit('topic', 'payload')", stderr => \$stderr),
	0, 'outbox_emit works');
is($stderr, '', 'without a word');
is($node->safe_psql('postgres', 'SELECT count(*) FROM outbox.event'), 1, 'the event is stored');

$node->psql('postgres', '\set VERBOSITY verbose
SELECT * FROM outbox.status', stderr => \$stderr);
like($stderr, qr/ERROR:  55000: "outbox" must be loaded via "shared_preload_libraries"/,
	'outbox.status fails with object_not_in_prerequisite_state');
like($stderr, qr/HINT: /, 'and a hint');

is( $node->psql('postgres', "LOAD 'outbox'; SHOW outbox.max_publishers",
		stdout => \$stdout, stderr => \$stderr),
	0, 'settings are defined');
is($stdout, '7', 'and have the values of postgresql.conf');
is($stderr, '', 'and loading the library says nothing');

$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template1');
$node->safe_psql('postgres', 'DROP DATABASE copy');
is($node->psql('postgres', 'DROP EXTENSION outbox'), 0, 'DROP EXTENSION works');

$node->stop('fast');
done_testing();
