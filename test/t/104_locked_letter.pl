# 104_locked_letter.pl
#	  A dead letter that is asked for twice, and one that cannot be removed.
#
# It is sent once at a time; and one that is published and cannot be removed, as
# its row is locked, is not sent again, whatever becomes of the producer meanwhile.
#
# IDENTIFICATION
#	  test/t/104_locked_letter.pl

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
fake_command($node, 'poison payload=a1');
emit($node, 't', 'k', qw(a1 a2));
wait_for_holds($node, 't/k/dead letter');
fake_command($node, 'cure');
fake_command($node, 'hold');
my $from = fake_position($node);
$node->safe_psql('postgres', 'SELECT outbox_retry("all" => true)');
fake_wait($node, 'a1', from => $from);

# It is asked for once more while it is under way; then one more turn.
$node->safe_psql('postgres', 'SELECT outbox_retry("all" => true)');
$node->safe_psql('postgres', q{SELECT outbox_set_topic('z', paused => true)});
wait_for_holds($node, 't/k/dead letter', 'z/paused');
is_deeply([ grep { /^a/ } fake_payloads($node, from => $from) ], ['a1'], 'what is under way is not sent again');
$node->safe_psql('postgres', q{SELECT outbox_set_topic('z', paused => false)});
wait_for_holds($node, 't/k/dead letter');

# Its row is locked when it is acknowledged.
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; SELECT FROM outbox.dead_letter FOR UPDATE');
my $published = publisher_status($node, 'published');
fake_command($node, 'ack payload=a1');
wait_until(sub { publisher_status($node, 'published') == $published + 1 }, 'it is acknowledged');

# Another producer is started, and has been sent what there is to send.
fake_command($node, 'crash');
fake_command($node, 'auto');
emit($node, 'u', 'k', 'u1');
fake_wait($node, 'u1', from => $from);
emit($node, 'u', 'k', 'u2');
fake_wait($node, 'u2', from => $from);
is_deeply([ grep { /^a/ } fake_payloads($node, from => $from) ], ['a1'], 'it is not sent to the next producer');
is(letters($node), 'a1 dead 1 parks', 'its row is there as long as it is locked');
$session->query_safe('COMMIT');
$session->quit;
wait_for_holds($node);
wait_for_published($node);
is_deeply([ grep { /^a/ } fake_payloads($node, from => $from) ], [qw(a1 a2)], 'and its key follows');
is(letters($node), '', 'and it is gone');
is(publisher_pid($node), $pid, 'by the same publisher');

$node->stop;
done_testing();
