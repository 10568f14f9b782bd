# 069_terminated_twice.pl
#	  Signals that come while a publisher is already on its way out.
#
# A request to end comes as two signals, and people repeat theirs: whichever
# moment of its exit they meet, no publisher may crash, as that restarts the
# whole server.
#
# IDENTIFICATION
#	  test/t/069_terminated_twice.pl

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

# The moment that matters is short: several publishers are met at theirs.
my @databases = map { "db$_" } 1 .. 8;
my $node = new_node('terminated', conf => "max_worker_processes = 20\n");
my $signals = 0;

foreach my $dbname (@databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $dbname");
	$node->safe_psql($dbname, 'CREATE EXTENSION outbox');
}
foreach my $dbname (@databases)
{
	wait_until(sub { return status($node, 'state', $dbname) eq 'idle' }, 'a publisher is idle');
	my $pid = status($node, 'pid', $dbname);

	$signals++ while kill('TERM', $pid);
}

cmp_ok($signals, '>', 2 * @databases, 'signals came until they were gone');

# a crash would have ended the server
foreach my $dbname (@databases)
{
	wait_until(sub { return status($node, 'state', $dbname) eq 'idle' }, 'it is back');
}
unlike(slurp_file($node->logfile), qr/was terminated by signal/, 'no process crashed');

$node->stop('fast');
done_testing();
