# 097_last_words.pl
#	  What a producer has said when it is ended.
#
# Acknowledgements that are on their way when a publisher ends its producer are
# taken: what they are about is not sent again (G5).
#
# IDENTIFICATION
#	  test/t/097_last_words.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main');

wait_for_publisher($node);
my $pid = publisher_pid($node);
fake_command($node, 'hold');
emit($node, 't', 'k', qw(a1 a2 a3 a4));
fake_wait($node, 'a4');
my $from = fake_position($node);
fake_command($node, 'failack 1-3');
fake_command($node, 'auto');
wait_for_published($node);
is_deeply([ fake_payloads($node, from => $from) ], ['a4'], 'what was acknowledged at the end is not sent again');
is(fake_starts($node, from => $from), 1, 'to the next producer');
is(publisher_pid($node), $pid, 'by the same publisher');

$node->stop;
done_testing();
