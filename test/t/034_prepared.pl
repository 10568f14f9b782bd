# 034_prepared.pl
#	  COMMIT PREPARED wakes the publisher.
#
# The session that commits has emitted nothing.  Unless it wakes the publisher
# all the same, that looks by itself only a second after its last look.
#
# IDENTIFICATION
#	  test/t/034_prepared.pl

use strict;
use warnings;

use List::Util qw(min);
use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = fake_node('main');
my @seconds;

wait_for_publisher($node);
# sessions that are there already, and as often as a busy machine needs
my $emitter = $node->background_psql('postgres');
my $committer = $node->background_psql('postgres');
foreach my $round (1 .. 20)
{
	$emitter->query_safe(
		"BEGIN; SELECT outbox_emit('t', 'prepared $round', 'k'); PREPARE TRANSACTION 'p'");
	# it has just looked, and sleeps again
	$emitter->query_safe("SELECT outbox_emit('t', 'other $round', 'k')");
	fake_wait($node, "other $round");
	sleep 0.1;
	my $start = time;
	$committer->query_safe("COMMIT PREPARED 'p'");
	fake_wait($node, "prepared $round");
	push @seconds, time - $start;
	last if $seconds[-1] < 0.5;
}
$_->quit foreach $emitter, $committer;
cmp_ok(min(@seconds), '<', 0.5, 'published at once, not when the publisher looks by itself');
note("seconds: @seconds");

$node->stop;
done_testing();
