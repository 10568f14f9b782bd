
# Statements that need a database without connections are not held up by its
# publisher, and the publisher is back afterwards.

use strict;
use warnings;

use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# Where the server finds a connection it waits 5 seconds and then refuses, which
# fails the test.  This is for whatever else a statement could wait for.
my $quick = 60;

my $node = new_node('drop', bootstrap => '');
my ($pid, $stderr, $session);

sub publisher
{
	my ($database) = @_;

	my $pid = $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'outbox publisher'"
		  . " AND datname = '$database'");
	return $pid =~ /^\d+$/ ? $pid : 0;
}

sub wait_for_publisher
{
	my ($database, $not) = @_;

	return wait_until(
		sub {
			my $pid = publisher($database);
			return $pid && $pid != ($not // 0) && $node->safe_psql($database,
				"SELECT pid FROM outbox.status WHERE pid = $pid");
		},
		"database $database has a publisher");
}

# Run a statement in a database that has no outbox.
sub quickly
{
	my ($statement, $name) = @_;
	my $start = time;

	$node->safe_psql('elsewhere', $statement);
	cmp_ok(time - $start, '<', $quick, $name // $statement);
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', 'CREATE EXTENSION outbox');

wait_for_publisher('app');
quickly('ALTER DATABASE app RENAME TO application');
wait_for_publisher('application');

quickly('BEGIN; ALTER DATABASE application RENAME TO never; ROLLBACK',
	'a rename that is rolled back');
wait_for_publisher('application');

quickly('BEGIN; ALTER DATABASE application RENAME TO one; ALTER DATABASE one RENAME TO app; COMMIT',
	'two renames in one transaction');
wait_for_publisher('app');

quickly(
	q{DO $$ BEGIN ALTER DATABASE app RENAME TO application; ALTER DATABASE application RENAME TO app; END $$},
	'renames in a DO block');
wait_for_publisher('app');

# An error that is caught ends the hold at once, though the transaction goes on.
$pid = wait_for_publisher('app');
$session = $node->background_psql('elsewhere', on_error_stop => 0);
$session->query_safe(q{BEGIN});
$session->query_safe(
	q{DO $$ BEGIN ALTER DATABASE app RENAME TO elsewhere; EXCEPTION WHEN duplicate_database THEN NULL; END $$});
wait_for_publisher('app', $pid);
pass('a rename that fails and is caught');
$session->query_safe('COMMIT');

# A session that dies in the middle releases what it holds.
$pid = wait_for_publisher('app');
my $backend = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe('BEGIN; ALTER DATABASE app RENAME TO lost');
is(publisher('app'), 0, 'the publisher is away until the transaction has ended');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($backend)");
wait_for_publisher('app', $pid);
pass('a session that is terminated lets the publisher come back');
eval { $session->quit; };

my $directory = PostgreSQL::Test::Utils::tempdir;
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$directory'");
quickly('ALTER DATABASE app SET TABLESPACE elsewhere');
wait_for_publisher('app');
quickly('ALTER DATABASE app SET TABLESPACE pg_default');
wait_for_publisher('app');

quickly('CREATE DATABASE copy TEMPLATE app');
wait_for_publisher($_) foreach qw(app copy);
quickly('CREATE DATABASE plain', 'CREATE DATABASE from the default template');

# One who may not do it cannot stop the publisher either.

$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN; CREATE ROLE creator LOGIN CREATEDB');
$pid = wait_for_publisher('app');
foreach my $role (qw(stranger creator))
{
	foreach my $statement (
		'DROP DATABASE app',
		'DROP DATABASE app WITH (FORCE)',
		'ALTER DATABASE app RENAME TO mine',
		'ALTER DATABASE app SET TABLESPACE elsewhere',
		'CREATE DATABASE mine TEMPLATE app',
		'ALTER DATABASE app SET outbox.enabled = off')
	{
		$node->psql('elsewhere', "SET ROLE $role; $statement", stderr => \$stderr);
		like($stderr, qr/permission denied|must be owner/, "$role: $statement: refused");
	}
}
is(publisher('app'), $pid, 'the publisher has not noticed');

# DROP DATABASE

quickly('DROP DATABASE copy');
quickly('DROP DATABASE plain');
quickly('DROP DATABASE app WITH (FORCE)');
is( $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'outbox publisher'"),
	0, 'the publishers are gone');

# While another session is connected the drop is refused, and publishing goes on.
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', 'CREATE EXTENSION outbox');
$pid = wait_for_publisher('app');
$session = $node->background_psql('app');
$session->query_safe('SELECT 1');
$node->psql('elsewhere', 'DROP DATABASE app', stderr => \$stderr);
like($stderr, qr/is being accessed by other users/, 'a drop is refused for another session');
like($stderr, qr/There is 1 other session/, 'and for that session alone');
$pid = wait_for_publisher('app', $pid);
pass('the publisher is back after a drop that was refused');

# The one who drops is terminated while he waits for that session, for 5 seconds:
# where that came too late, another one is.
my ($out, $err);
foreach my $try (1 .. 5)
{
	$pid = wait_for_publisher('app');
	my $dropper = IPC::Run::start(
		[ 'psql', '-X', '-d', $node->connstr('elsewhere'), '-c', 'DROP DATABASE app' ],
		'<', \undef, '>', \$out, '2>', \$err);
	wait_until(sub { return !publisher('app') || process_name($dropper->{KIDS}[0]{PID}) eq '' },
		'the publisher is away');
	$node->safe_psql('postgres',
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'DROP DATABASE app'"
		  . " AND state = 'active'");
	$dropper->finish;
	last if $err =~ /terminating connection/;
}
like($err, qr/terminating connection/, 'DROP DATABASE is terminated');
wait_for_publisher('app', $pid);
pass('the publisher is back after that, too');
$session->quit;
quickly('DROP DATABASE app');

# Slots of dropped databases are free again.
foreach my $i (1 .. 3)
{
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	$node->safe_psql('app', 'CREATE EXTENSION outbox');
	wait_for_publisher('app');
	$node->safe_psql('elsewhere', 'DROP DATABASE app');
}
$node->safe_psql('elsewhere', 'CREATE EXTENSION outbox');
is( wait_until(
		sub { return $node->safe_psql('elsewhere', 'SELECT count(*) FROM outbox.status') },
		'there is a row'),
	1, 'dropped databases leave no row in outbox.status');

$node->stop('fast');
done_testing();
