
# DROP EXTENSION says how many events are lost with it.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# No broker: nothing is published.
my $node = new_node('drop_extension', bootstrap => '');
my $stderr;

my $create = 'SET client_min_messages = error; CREATE EXTENSION outbox';

# What DROP says after three events were emitted and one was rolled back.
sub complaint
{
	my ($sql, $with_events) = @_;

	$node->safe_psql('postgres', $create);
	$node->safe_psql('postgres', <<'SQL') if $with_events;
BEGIN;
SELECT outbox_emit('topic', 'one');
SAVEPOINT s;
SELECT outbox_emit('topic', 'not');
ROLLBACK TO s;
SELECT outbox_emit('topic', 'two');
COMMIT;
SELECT outbox_emit('other', NULL, 'three');
SQL
	$node->psql('postgres', $sql, stderr => \$stderr);
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_extension WHERE extname = 'outbox'"),
		0, "$sql: the extension is dropped");
	return $stderr;
}

my $warning = qr/WARNING:  dropping extension "outbox" with events that are not published: 3\n/;

is(complaint('DROP EXTENSION outbox', 0), '', 'nothing is said where nothing is lost');
like(complaint('DROP EXTENSION outbox', 1), $warning, 'DROP EXTENSION warns');
like(complaint('DROP EXTENSION IF EXISTS nothing, outbox CASCADE', 1), $warning, 'also in a list');

$node->safe_psql('postgres', 'CREATE SCHEMA ours');
$create = 'SET client_min_messages = error; CREATE EXTENSION outbox SCHEMA ours';
$node->safe_psql('postgres', $create);
$node->safe_psql('postgres', "SELECT ours.outbox_emit('topic', 'one')");
$node->psql('postgres', 'DROP SCHEMA ours CASCADE', stderr => \$stderr);
like($stderr, qr/WARNING: .*not published: 1\n/, 'DROP SCHEMA ... CASCADE of its schema warns');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_extension WHERE extname = 'outbox'"),
	0, 'and drops it');

# One who may not drop it does not learn the number.
$create = 'SET client_min_messages = error; CREATE EXTENSION outbox';
$node->safe_psql('postgres', $create);
$node->safe_psql('postgres', "SELECT outbox_emit('topic', 'one'); CREATE ROLE stranger");
$node->psql('postgres', 'SET ROLE stranger; DROP EXTENSION outbox', stderr => \$stderr);
like($stderr, qr/ERROR: .*must be owner/, 'a stranger is refused');
unlike($stderr, qr/WARNING/, 'and told nothing');

# The publisher is at work when it is dropped: nobody waits for the other.
my $kafka = shared_kafka();
my $topic = $kafka->create_topic('drop');
my $busy = new_node('busy', kafka => $kafka);

foreach my $round (1 .. 5)
{
	my $session = $busy->background_psql('postgres');

	$session->query_safe('SET client_min_messages = error; CREATE EXTENSION outbox');
	$session->query_safe("SELECT outbox_emit('$topic', 'first')");
	wait_until(
		sub {
			return $session->query_safe(
				'SELECT published FROM outbox.status WHERE database = current_database()') > 0;
		},
		'the publisher is at work');
	$session->query_safe("SELECT count(outbox_emit('$topic', 'x')) FROM generate_series(1, 20000)");
	my $start = time;
	$session->query_safe('DROP EXTENSION outbox');
	cmp_ok(time - $start, '<', 4, "round $round: DROP EXTENSION is not held up by a busy publisher");
	$session->quit;
}
$busy->stop('fast');

$node->stop('fast');
done_testing();
