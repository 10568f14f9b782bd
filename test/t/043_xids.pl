
# Transaction ids that go backwards (pg_resetwal): publishing stops with an
# error and stays stopped, emitters go on, and nothing is lost on the quiet.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = shared_kafka();
my $topic = $kafka->create_topic('xids', partitions => 1);
my $node = new_node('xids', conf => "autovacuum = off\n");

sub next_xid { return $node->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())'); }

sub burn
{
	my ($count) = @_;

	$node->safe_psql('postgres',
		"DO \$\$ BEGIN FOR i IN 1 .. $count LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END \$\$");
	return;
}

sub stopped
{
	my ($when) = @_;

	wait_until(sub { return status($node, 'error') =~ /transaction ids went backwards/ }, $when, 60);
	is(status($node, 'error_class'), 'server', "$when: publishing stops with an error");
	like(status($node, 'error_hint'), qr/adopt them/, 'that says what to do');
	return;
}

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');
my $early = next_xid();
burn(2000);
$node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'before', 'key')");
$kafka->consume($topic, count => 1);
wait_published($node);

# Frozen, all rows stay visible whatever the next id is.
$node->safe_psql('postgres', 'ALTER SYSTEM SET outbox.enabled = off');
$node->reload;
wait_until(sub { return status($node, 'state') eq 'paused' }, 'publishing pauses', 30);
$node->safe_psql('postgres', 'VACUUM FREEZE');
$node->stop('fast');
$node->append_conf('postgresql.auto.conf', "outbox.enabled = on\n");
$node->command_ok([ 'pg_resetwal', '-f', '-x', $early, $node->data_dir ], 'transaction ids are set back');
$node->start;
cmp_ok(next_xid(), '<', $early + 500, 'they are');
stopped('after the reset');

my @lost = split /\n/, $node->safe_psql('postgres',
	"SELECT outbox_emit('$topic', 'after ' || i, 'key') FROM generate_series(1, 3) i");
is(scalar @lost, 3, 'emitters go on');

# When the ids have caught up nothing looks wrong any more.

burn(2500);
$node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'later', 'key')");
$node->restart;
stopped('when the ids have caught up');
is($kafka->record_count($topic), 1, 'nothing is published');

# What the documentation says: set aside, create anew, adopt.

is($node->safe_psql('postgres', <<SQL), 4, 'what was emitted since is set aside, and adopted');
SET client_min_messages = error;
BEGIN;
CREATE TABLE events_to_publish AS
	SELECT * FROM outbox.event
	WHERE uid > (SELECT uid FROM outbox.event WHERE payload = 'before');
DROP EXTENSION outbox;
CREATE EXTENSION outbox;
INSERT INTO outbox.event SELECT * FROM events_to_publish ORDER BY id;
DROP TABLE events_to_publish;
SELECT outbox_adopt();
COMMIT;
SQL
is_deeply([ map { $_->{value} } $kafka->consume($topic, count => 5, timeout => 60) ],
	[ 'before', 'after 1', 'after 2', 'after 3', 'later' ], 'they are published, in order');
wait_published($node);
is($kafka->record_count($topic), 5, 'once');

$node->stop('fast');
done_testing();
