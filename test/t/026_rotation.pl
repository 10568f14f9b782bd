
# Rotation: growth is bounded, what is not published is never emptied away, and
# who delays it is named.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $kafka = shared_kafka();
my $node = new_node('rotation', conf => "outbox.retention = 0\n");

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# Files of the segments.  Emptying one gives it a new file.
sub files
{
	return split /\|/, $node->safe_psql('postgres',
		'SELECT ' . join(', ', map { "pg_relation_filenode('outbox.event_$_')" } 0 .. 3));
}

# The segment that is filled now.
sub filled
{
	return $node->safe_psql('postgres',
		'SELECT number FROM outbox.segment WHERE opened IS NOT NULL AND closed IS NULL');
}

# Publish steadily until $condition holds.
sub publish_until
{
	my ($topic, $condition, $what) = @_;

	return wait_until(
		sub {
			$node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'steady', 'steady')");
			sleep 0.1;
			return $condition->();
		},
		$what, 60);
}

sub size
{
	return $node->safe_psql('postgres',
		'SELECT ' . join(' + ', map { "pg_total_relation_size('outbox.event_$_')" } 0 .. 3));
}

# Steady load, until the ring has gone round twice.  At any time four segments
# hold something, so about half of it must have gone by then.

my @topics = map { $kafka->create_topic('steady') } 1 .. 2;
my $empty = size();
my ($emptied, $largest, $rounds) = (0, 0, 0);
my @before = files();
while ($emptied < 8 && $rounds++ < 12)
{
	my $load = start_load($node, topics => \@topics, clients => 3, seconds => 5, filler => 1500,
		seed => $rounds);
	wait_until(
		sub {
			my @now = files();
			my $size = size();

			$emptied += scalar grep { $now[$_] != $before[$_] } 0 .. 3;
			@before = @now;
			$largest = $size if $size > $largest;
			sleep 0.1;
			return !$load->running;
		},
		'the load is over', 60);
	$load->finish;
}
wait_published($node);
my $bytes = $node->safe_psql('postgres', 'SELECT 800 * count(*) FROM load.truth');
diag(sprintf('steady load: %.1f MB emitted, at most %.1f MB held, segments emptied %d times',
	$bytes / 1e6, $largest / 1e6, $emptied));
cmp_ok($emptied, '>=', 8, 'segments are emptied again and again');
cmp_ok($largest, '<', $bytes * 0.7, 'growth is bounded');
wait_until(sub { return size() <= $empty }, 'all segments are emptied', 60);
pass('where nothing more comes, all of them are emptied');
verify_load($node, $kafka, 'nothing is lost while segments are emptied', topics => \@topics);

# A reader keeps its segment, and is named.  Publishing goes on.

my $topic = $kafka->create_topic('delays', partitions => 1);
my $reader = $node->background_psql('postgres');
my $pid = $reader->query_safe('SELECT pg_backend_pid()');
$reader->query_safe('BEGIN');
my $late = $reader->query_safe("SELECT outbox_emit('$topic', 'late', 'late')");

# It reads nothing, so that its only lock of this kind is on its own segment.
my $held = $node->safe_psql('postgres', <<SQL);
SELECT right(relation::regclass::text, 1) FROM pg_locks
 WHERE pid = $pid AND mode = 'RowExclusiveLock' AND relation::regclass::text ~ 'event_[0-9]\$'
SQL
my $file = (files())[$held];
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; SELECT count(*) FROM outbox.event');
my $other = $session->query_safe('SELECT pg_backend_pid()');
publish_until($topic,
	sub { return status($node, 'rotation_delayed_by') =~ /process (?:$pid|$other)\b.*\bevent_\d/ },
	'outbox.status names who delays rotation');
pass('outbox.status names the session that delays rotation');
$session->query_safe('COMMIT');
$session->quit;

# The emitter is still there: its lock keeps the segment that its event is in,
# and its late commit is published.
publish_until($topic,
	sub { return status($node, 'rotation_delayed_by') =~ /process $pid\b.*\bevent_$held\b/ && filled() != $held },
	'an emitter that is not finished delays its segment');
is((files())[$held], $file, 'the segment of an open transaction stays');
$reader->query_safe('COMMIT');
$reader->quit;
wait_published($node);
is(scalar(grep { ($_->{id} // '') eq $late } $kafka->consume($topic)), 1,
	'a late commit in an old segment is published');
publish_until($topic, sub { return (files())[$held] != $file }, 'the segment is emptied afterwards');
pass('the segment is emptied afterwards');
publish_until($topic, sub { return status($node, 'rotation_delayed_by IS NULL') eq 't' },
	'nobody delays rotation');

# A prepared transaction, which is in no list of sessions.

$node->safe_psql('postgres',
	"BEGIN; SELECT outbox_emit('$topic', 'prepared', 'late'); PREPARE TRANSACTION 'late'");
publish_until($topic,
	sub { return status($node, 'rotation_delayed_by') =~ /prepared transaction/ },
	'a prepared transaction is named');
$node->safe_psql('postgres', "COMMIT PREPARED 'late'");
wait_published($node);
is(scalar(grep { ($_->{value} // '') eq 'prepared' } $kafka->consume($topic)), 1,
	'a prepared transaction that commits late is published');
publish_until($topic, sub { return status($node, 'rotation_delayed_by IS NULL') eq 't' },
	'nobody delays rotation');

# Without rotation all is kept.

$node->safe_psql('postgres', 'ALTER SYSTEM SET outbox.retention = -1');
$node->reload;
wait_until(sub { return $node->safe_psql('postgres', 'SHOW outbox.retention') eq '-1' },
	'the setting is in effect');
$node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'kept', 'kept')");
wait_published($node);
my @files = files();
my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM outbox.event');
my $since = time;
my $more = 0;
publish_until($topic, sub { $more++; return time > $since + 6 }, 'some time has gone');
wait_published($node);
is_deeply([ files() ], \@files, 'outbox.retention = -1: no segment is emptied');
is($node->safe_psql('postgres', 'SELECT count(*) FROM outbox.event'), $rows + $more,
	'and all events are kept');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET outbox.retention');
$node->reload;
wait_until(sub { return (files())[filled()] ne '' && size() <= $empty }, 'all segments are emptied', 60);
pass('with a retention again, all is emptied');

# Rows that come by SQL are foreign: counted, kept, and not published.

$node->safe_psql('postgres', <<SQL);
INSERT INTO outbox.event (id, xid, uid, origin, created, topic, key, payload)
SELECT -i, pg_current_xact_id(), gen_random_uuid(), 0, now(), '$topic', 'foreign', 'foreign'
  FROM generate_series(1, 3) i
SQL
$held = $node->safe_psql('postgres',
	"SELECT DISTINCT right(tableoid::regclass::text, 1) FROM outbox.event WHERE key = 'foreign'");
wait_until(sub { return status($node, 'foreign_rows') eq '3' }, 'foreign rows are counted');
$file = (files())[$held];
publish_until($topic,
	sub { return status($node, 'rotation_delayed_by') =~ /foreign rows in outbox\.event_$held/ },
	'outbox.status names foreign rows');
my $next;
publish_until($topic,
	sub {
		$next //= (files())[($held + 1) % 4];
		return (files())[($held + 1) % 4] ne $next;
	},
	'other segments are emptied');
is((files())[$held], $file, 'foreign rows keep their segment, and no other');
is($node->safe_psql('postgres', "SELECT count(*) FROM outbox.event WHERE key = 'foreign'"), 3,
	'the rows are still there');
$node->restart;
wait_published($node);
is(status($node, 'foreign_rows'), 3, 'foreign rows are counted after a restart');
is(scalar(grep { ($_->{key} // '') eq 'foreign' } $kafka->consume($topic)), 0,
	'foreign rows are not published');

$node->stop('fast');
done_testing();
