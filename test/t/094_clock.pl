# 094_clock.pl
#	  A clock that is set back, at the moments at which it matters.
#
# What was to be done at a time that was reckoned before the clock was set back is
# done at once: progress is stored, and a publisher is started.
#
# IDENTIFICATION
#	  test/t/094_clock.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ShiftedClock;
use Test::More;

my ($clock, $reason) = ShiftedClock->new;
plan(skip_all => "the library that shifts the clock does not build: $reason") unless $clock;

my $node = fake_node('main', start => 0);

$clock->start($node);
$node->safe_psql('postgres', 'CREATE EXTENSION outbox');
wait_for_publisher($node);
my $pid = publisher_pid($node);

# The time of the last store is in the future.
emit($node, 't', 'k', 'a1');
wait_for_published($node);
$clock->set($node, -3600);
emit($node, 't', 'k', 'a2');
wait_for_published($node);
is_deeply([ fake_acknowledged($node) ], [qw(a1 a2)], 'set back behind the last store: progress is stored');
is(publisher_pid($node), $pid, 'by the same publisher');

# A publisher is to be started in some seconds, and these are far away then.
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_until(sub { publisher_pid($node) eq '' }, 'the publisher is gone');
$clock->set($node, -7200);
emit($node, 't', 'k', 'a3');
wait_for_publisher($node, not => $pid);
wait_for_published($node);
is_deeply([ fake_acknowledged($node) ], [qw(a1 a2 a3)], 'set back before a publisher is started: it is started');

$node->stop;
done_testing();
