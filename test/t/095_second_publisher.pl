# 095_second_publisher.pl
#	  Two publishers of one database: the second one refuses.
#
# The launcher gives a database one slot, and a slot has one publisher.  Should
# both fail, a lock does not: here a session passes for a publisher.
#
# IDENTIFICATION
#	  test/t/095_second_publisher.pl

use strict;
use warnings;

use IPC::Run ();
use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $library = PostgreSQL::Test::Utils::tempdir() . '/publisher_lock.so';
my ($include) = run_command([ 'pg_config', '--includedir-server' ]);
my $reason;

IPC::Run::run(
	[ 'cc', '-shared', '-fPIC', '-I', $include, '-o', $library, "$ENV{OUTBOX_ROOT}/test/lib/publisher_lock.c" ],
	'<', \undef, '>&', \$reason)
  or plan(skip_all => "the function that takes the lock does not build: $reason");

my $node = fake_node('main');
wait_for_publisher($node);
my $pid = publisher_pid($node);

emit($node, 't', 'k', 'a1');
wait_for_published($node);
$node->safe_psql('postgres', "CREATE FUNCTION publisher_lock() RETURNS void AS '$library' LANGUAGE C");

# The session waits for the lock while the publisher has it, and gets it when the
# publisher ends: the next one is too late.
my $session = $node->background_psql('postgres');
$session->query_until(qr/asked/, "\\echo asked\nSELECT publisher_lock();\n");
wait_for_answer($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}, '1',
	'the session waits');
my $offset = -s $node->logfile;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_until(
	sub { slurp_file($node->logfile, $offset) =~ /another publisher of database \d+ is still there/ },
	'the next publisher says that there is another');
# it says so before it has ended, and others try after it
wait_until(sub { publisher_pid($node) eq '' }, 'the second publisher has ended');
pass('the second publisher refuses');
wait_until(
	sub { $node->safe_psql('postgres', 'SELECT error FROM outbox.status') =~ /another publisher of database \d+ is still there/ },
	'outbox.status says so');
pass('which is where an operator looks first');
emit($node, 't', 'k', 'a2');
is_deeply([ fake_payloads($node) ], ['a1'], 'and sends nothing');

$session->quit;
wait_for_publisher($node, not => $pid);
wait_for_published($node);
is_deeply([ fake_payloads($node) ], [qw(a1 a2)], 'when the first is gone, it goes on');

$node->stop;
done_testing();
