# 087_held_backlog.pl
#	  Many events wait for a held topic, and others flow meanwhile.
#
# IDENTIFICATION
#	  test/t/087_held_backlog.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Far more than a window of a large batch, and than fits into the spool.
my $rounds = 4;
my $events = 5000;
my $keys = 50;

my $node = fake_node('main', conf => 'outbox.spool_memory = 1MB');

wait_for_publisher($node);
my $pid = publisher_pid($node);
fake_command($node, 'poison topic=held 3 2');
emit($node, 'held', 'k0', '0');
wait_for_holds($node, 'held/error');
foreach my $round (1 .. $rounds)
{
	# commits late, so that the order of commits is not that of ids
	$node->safe_psql('postgres',
		"BEGIN; SELECT outbox_emit('held', 'late $round', 'late'); PREPARE TRANSACTION 'late $round'");
	$node->safe_psql('postgres', qq{
		SELECT count(outbox_emit('held', ($round * $events + i) || '.' || repeat('x', 100), 'k' || i % $keys)),
			count(outbox_emit('good', '$round ' || i, 'k')) FILTER (WHERE i % 50 = 0)
		FROM generate_series(1, $events) i});
	fake_wait($node, "$round $events");
	$node->safe_psql('postgres', "COMMIT PREPARED 'late $round'");
}
is_deeply([ fake_acknowledged($node, topic => 'good') ],
	[ map { my $r = $_; map { "$r " . 50 * $_ } 1 .. $events / 50 } 1 .. $rounds ],
	'the other topic flows meanwhile, in order, once');
is_deeply([ grep { $_->{payload} ne '0' } fake_events($node, topic => 'held') ], [], 'nothing of the held one is sent');
is($node->safe_psql('postgres', 'SELECT waiting FROM outbox.held_topic'), $rounds * ($events + 1) + 1,
	'the view counts what waits');
is($node->safe_psql('postgres', 'SELECT count(*) FROM outbox.cursor'), '2', 'by one row');
is($node->safe_psql('postgres', 'SELECT count(*) FROM outbox.dead_letter'), '0', 'and no copy');

# It comes back while new events come.
my $from = fake_position($node);
fake_command($node, 'cure');
emit($node, 'good', 'k', 'while it joins');
wait_for_answer($node, "SELECT count(*) FROM outbox.cursor", '1', 'it is back', 120);
emit($node, 'held', 'k1', ($rounds + 1) * $events + 1);
wait_for_published($node);
my @sent = fake_acknowledged($node, from => $from, topic => 'held');
is(scalar(@sent), $rounds * ($events + 1) + 2, 'all of it is published, once');
is_deeply([ grep { !/late/ } @sent ],
	[ 0, (map { $events + $_ } 1 .. $rounds * $events), ($rounds + 1) * $events + 1 ], 'in order');
is_deeply([ grep { /late/ } @sent ], [ map { "late $_" } 1 .. $rounds ], 'late commits as well');
is(publisher_pid($node), $pid, 'by the same publisher');

$node->stop;
done_testing();
