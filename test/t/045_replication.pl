
# Logical replication FOR ALL TABLES, both ways, between two servers that have
# the extension: each publishes what was emitted there and nothing else, and
# what the extension keeps of itself holds up neither publishing nor apply.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = shared_kafka();
my $topic = $kafka->create_topic('replication', partitions => 1);
my $conf = "outbox.retention = 0\nwal_retrieve_retry_interval = 100ms\n";
my %node = map { $_ => new_node($_, init => [ allows_streaming => 'logical' ], conf => $conf) } qw(left right);
my %other = (left => 'right', right => 'left');
my %expected;
my %stored;
my $marker = 0;

# Whatever was done in one server so far has been applied in the other.
sub applied
{
	my ($from) = @_;

	$marker++;
	$node{$from}->safe_psql('postgres', "INSERT INTO marker VALUES ($marker)");
	return wait_until(
		sub { return $node{ $other{$from} }->safe_psql('postgres', "SELECT count(*) FROM marker WHERE id = $marker") eq '1' },
		"changes of $from are applied", 60);
}

sub emit
{
	my ($where, $prefix) = @_;

	push @{ $expected{$where} }, map { "$prefix $_" } 1 .. 10;
	$node{$where}->safe_psql('postgres',
		"SELECT outbox_emit('$topic', '$prefix ' || i, '$where') FROM generate_series(1, 10) i");
	return;
}

sub rows
{
	my ($where) = @_;

	return $node{$where}->safe_psql('postgres',
		"SELECT count(*), count(*) FILTER (WHERE key <> '$where') FROM outbox.event");
}

# Each has published, and has events that wait, when replication begins. What
# comes back to where it came from would fail on its key, so a trigger drops it.

foreach my $where (sort keys %node)
{
	$node{$where}->safe_psql('postgres', <<SQL);
CREATE EXTENSION outbox;
CREATE TABLE marker (id int PRIMARY KEY);
CREATE FUNCTION drop_known() RETURNS trigger LANGUAGE plpgsql AS
\$\$ BEGIN IF EXISTS (SELECT FROM public.marker WHERE id = NEW.id) THEN RETURN NULL; END IF; RETURN NEW; END \$\$;
CREATE TRIGGER drop_known BEFORE INSERT ON marker FOR EACH ROW EXECUTE FUNCTION drop_known();
ALTER TABLE marker ENABLE REPLICA TRIGGER drop_known;
SQL
	emit($where, "$where early");
	wait_published($node{$where});
	$node{$where}->safe_psql('postgres', 'ALTER SYSTEM SET outbox.enabled = off');
	$node{$where}->reload;
	wait_until(sub { return status($node{$where}, 'state') eq 'paused' }, 'publishing pauses', 30);
	emit($where, "$where waiting");
	# what was published may be there still, or not
	$stored{$where} = rows($where);
	$node{$where}->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
}
my $state = 'SELECT token FROM outbox.installation UNION ALL SELECT uid FROM outbox.event';
my %before = map { $_ => $node{$_}->safe_psql('postgres', "$state ORDER BY 1") } keys %node;
foreach my $where (sort keys %node)
{
	my $from = $node{ $other{$where} }->connstr('postgres');

	# whatever the defaults of the servers are
	$from .= " options='-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0'";
	$node{$where}->safe_psql('postgres',
		"CREATE SUBSCRIPTION from_$other{$where} CONNECTION \$conn\$$from application_name=to_$where\$conn\$ PUBLICATION everything");
}
foreach my $where (sort keys %node)
{
	wait_until(
		sub {
			return $node{$where}->safe_psql('postgres',
				"SELECT count(*) FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')") eq '0';
		},
		"the first copy to $where is complete", 90);
	is($node{$where}->safe_psql('postgres', "$state ORDER BY 1"), $before{$where},
		"$where: the first copy brings no event and no state of the other");
}

# Publishing goes on in both, and what waits in one is not touched by what the
# other does: emit, publish, rotate, adopt.

applied($_) foreach sort keys %node;
foreach my $where (sort keys %node)
{
	$node{$where}->safe_psql('postgres', 'ALTER SYSTEM RESET outbox.enabled');
	$node{$where}->reload;
	wait_published($node{$where});
	is(status($node{$where}, q{coalesce(error, 'none')}), 'none', "$where: publishing goes on");
	my @files = ($node{$where}->safe_psql('postgres', "SELECT pg_relation_filenode('outbox.event_0')"));
	my $rounds = 0;
	wait_until(
		sub {
			emit($where, "$where steady " . ++$rounds);
			$files[1] = $node{$where}->safe_psql('postgres', "SELECT pg_relation_filenode('outbox.event_0')");
			return $files[1] ne $files[0];
		},
		"$where: a segment is emptied", 60);
	applied($where);
	if ($where eq 'left')
	{
		is(rows('right'), $stored{right}, 'right: what left has emptied is not emptied here, and nothing came');
	}
}
foreach my $where (sort keys %node)
{
	push @{ $expected{$where} }, "$where adopted";
	$node{$where}->safe_psql('postgres', <<SQL);
INSERT INTO outbox.event (id, xid, uid, origin, created, topic, key, payload)
SELECT 1, pg_current_xact_id(), gen_random_uuid(), 0, now(), '$topic', '$where', '$where adopted'
SQL
	is($node{$where}->safe_psql('postgres', 'SELECT outbox_adopt()'), 1, "$where: foreign events are adopted");
	applied($where);
	wait_published($node{$where});
	is(status($node{$where}, 'foreign_rows'), 0, "$where: there are no foreign events");
}

# Each event once, by its own server.

my $count = 0;
$count += @$_ foreach values %expected;
my @records = $kafka->consume($topic, count => $count, timeout => 60);
foreach my $where (sort keys %node)
{
	emit($where, "$where last");
	applied($where);
	wait_published($node{$where});
	is(rows($where) =~ s/.*\|//r, 0, "$where has no event of the other");
	is($node{$where}->safe_psql('postgres', 'SELECT count(*) FROM outbox.cursor'), 1, "$where has its own cursor");
	is( $node{$where}->safe_psql('postgres', 'SELECT sum(apply_error_count + sync_error_count) FROM pg_stat_subscription_stats'),
		0, "$where has applied everything without an error");
}
@records = $kafka->consume($topic, count => $count + 20, timeout => 60);
foreach my $where (sort keys %node)
{
	is_deeply([ map { $_->{value} } grep { $_->{key} eq $where } @records ],
		$expected{$where}, "the events of $where are published once, in order");
}

$node{$_}->stop('fast') foreach keys %node;
done_testing();
