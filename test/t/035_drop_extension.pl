# 035_drop_extension.pl
#	  DROP EXTENSION while the publisher is woken: neither fails.
#
# A prepared transaction holds a segment, the drop waits for it, and its commit
# wakes the publisher just as the drop goes on.
#
# IDENTIFICATION
#	  test/t/035_drop_extension.pl

use strict;
use warnings;

use IPC::Run ();
use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main');

foreach my $round (1 .. 5)
{
	my ($out, $err) = ('', '');

	wait_for_publisher($node);
	$node->safe_psql('postgres',
		"BEGIN; SELECT outbox_emit('t', 'pending', 'k'); PREPARE TRANSACTION 'p'");
	my $drop = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'DROP EXTENSION outbox' ],
		'<', \undef, '>', \$out, '2>', \$err);
	wait_until(
		sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pg_locks WHERE NOT granted') ne '0' },
		'the drop waits');
	$node->safe_psql('postgres', "COMMIT PREPARED 'p'");
	ok(IPC::Run::finish($drop), "round $round: dropped");
	like($err, qr/events that are not published: 1\b/, "round $round: the event it waited for is counted");
	$node->safe_psql('postgres', 'CREATE EXTENSION outbox');
}

wait_for_publisher($node);
unlike(slurp_file($node->logfile), qr/ ERROR: .*|exited with exit code 1/, 'nobody failed');
$node->stop;
done_testing();
