
# The launcher: which databases have a publisher, and when.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# The process ids of the publishers of a database.
sub publishers
{
	my ($node, $database) = @_;

	return split /\n/, $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'outbox publisher'"
		  . " AND datname = '$database'");
}

# A publisher that is there to stay: outbox.status knows it, and no other runs.
sub publisher
{
	my ($node, $database) = @_;

	my $pid = $node->safe_psql('postgres',
		"SELECT a.pid FROM pg_stat_activity a WHERE backend_type = 'outbox publisher'"
		  . " AND datname = '$database'");
	return 0 if $pid !~ /^\d+$/;
	return $node->safe_psql($database,
		"SELECT pid FROM outbox.status WHERE database = '$database' AND pid = $pid") || 0;
}

sub wait_for_publisher
{
	my ($node, $database, $limit, $not) = @_;

	return wait_until(
		sub {
			my $pid = publisher($node, $database);
			return $pid && $pid != ($not // 0) ? $pid : 0;
		},
		"database $database has a publisher", $limit);
}

sub wait_for_no_publisher
{
	my ($node, $database) = @_;

	return wait_until(sub { return !publishers($node, $database) },
		"database $database has no publisher");
}

sub launcher
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'outbox launcher'");
}

my $node = new_node('launcher', bootstrap => '');
my ($start, $pid, $other, $stdout, $stderr);

# CREATE EXTENSION

$node->psql('postgres', 'CREATE EXTENSION outbox', stderr => \$stderr);
$start = time;
like($stderr, qr/WARNING: .*outbox\.bootstrap_servers.*HINT: /s,
	'CREATE EXTENSION without a broker warns and hints');
wait_for_publisher($node, 'postgres', 60);
cmp_ok(time - $start, '<', 30, 'CREATE EXTENSION starts a publisher at once');

# A rolled back one starts nothing.  The database created after it shows that
# the launcher had the time.
$node->safe_psql('postgres', 'CREATE DATABASE rolled_back');
$node->safe_psql('rolled_back', 'BEGIN; CREATE EXTENSION outbox; ROLLBACK');
$node->safe_psql('postgres', 'CREATE DATABASE later');
$node->safe_psql('later', 'CREATE EXTENSION outbox');
wait_for_publisher($node, 'later');
wait_for_no_publisher($node, 'rolled_back');
pass('a database created later gets a publisher, a rolled back extension does not');

# in a prepared transaction
$node->safe_psql('rolled_back',
	"BEGIN; CREATE EXTENSION outbox; PREPARE TRANSACTION 'create'");
is(scalar(publishers($node, 'rolled_back')), 0, 'no publisher before COMMIT PREPARED');
$node->safe_psql('rolled_back', "COMMIT PREPARED 'create'");
wait_for_publisher($node, 'rolled_back');
pass('COMMIT PREPARED of CREATE EXTENSION starts a publisher');

# a copy has the extension of its template
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE later');
wait_for_publisher($node, 'copy');
wait_for_publisher($node, 'later');
pass('a database made from a template gets a publisher, and its template has one again');

# a template has none
$node->safe_psql('postgres', 'ALTER DATABASE copy IS_TEMPLATE true');
wait_for_no_publisher($node, 'copy');
$node->safe_psql('postgres', 'ALTER DATABASE copy IS_TEMPLATE false');
wait_for_publisher($node, 'copy');
pass('ALTER DATABASE IS_TEMPLATE takes the publisher away and gives it back');

# DROP EXTENSION

$node->safe_psql('copy', 'DROP EXTENSION outbox');
wait_for_no_publisher($node, 'copy');
is( $node->safe_psql('postgres', "SELECT count(*) FROM outbox.status WHERE database = 'copy'"),
	0, 'DROP EXTENSION ends the publisher');
$node->safe_psql('copy', 'CREATE EXTENSION outbox');
wait_for_publisher($node, 'copy');
$node->safe_psql('copy', 'DROP EXTENSION outbox; CREATE EXTENSION outbox');
wait_for_publisher($node, 'copy');
pass('DROP and CREATE EXTENSION in one go leave one publisher');

# ALTER DATABASE SET

$pid = wait_for_publisher($node, 'copy');
$node->safe_psql('postgres', "ALTER DATABASE copy SET outbox.retention = '2h'");
$pid = wait_for_publisher($node, 'copy', 30, $pid);
pass('ALTER DATABASE SET restarts the publisher');
$node->safe_psql('postgres', q{DO $$ BEGIN ALTER DATABASE copy RESET outbox.retention; END $$});
$pid = wait_for_publisher($node, 'copy', 30, $pid);
pass('so does RESET in a DO block');
$node->safe_psql('postgres', "BEGIN; ALTER DATABASE copy SET outbox.retention = '3h'; ROLLBACK");
$node->safe_psql('postgres', "ALTER DATABASE copy SET work_mem = '5MB'");
$other = wait_for_publisher($node, 'later');
$node->safe_psql('postgres', "ALTER DATABASE later SET outbox.retention = '3h'");
wait_for_publisher($node, 'later', 30, $other);
is(publisher($node, 'copy'), $pid, 'a rolled back one and one of another setting do not');

# Ends that nobody asked for

$pid = wait_for_publisher($node, 'copy');
$start = time;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for_publisher($node, 'copy', 30, $pid);
cmp_ok(time - $start, '>=', 5, 'a terminated publisher comes back, and not before a DROP DATABASE would have had its time');

my $launcher = launcher($node);
my %before = map { $_ => wait_for_publisher($node, $_) } qw(postgres later copy);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
wait_until(sub { my $new = launcher($node); return $new && $new != $launcher },
	'there is another launcher');
$node->safe_psql('postgres', 'CREATE DATABASE after_launcher');
$node->safe_psql('after_launcher', 'CREATE EXTENSION outbox');
wait_for_publisher($node, 'after_launcher');
is(publisher($node, $_), $before{$_}, "the new launcher adopts the publisher of $_")
  foreach sort keys %before;

# a publisher that leaves while there is no launcher
$launcher = launcher($node);
$pid = wait_for_publisher($node, 'copy');
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend($launcher), pg_terminate_backend($pid)");
wait_for_publisher($node, 'copy', 60, $pid);
pass('a publisher that left while there was no launcher comes back');

# Restart

$start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 60, 'a fast shutdown is not held up');
$node->start;
wait_for_publisher($node, $_) foreach qw(postgres later copy rolled_back after_launcher);
pass('all publishers are back after a restart');

# More databases than slots: those without the extension do not need one.

$node->safe_psql('postgres', "CREATE DATABASE empty$_") foreach (1 .. 4);
$node->append_conf('postgresql.conf', 'outbox.max_publishers = 5');
$node->restart;
wait_for_publisher($node, $_) foreach qw(postgres later copy rolled_back after_launcher);
pass('databases without the extension take no slot');

my $offset = -s $node->logfile;
$node->safe_psql('empty1', 'CREATE EXTENSION outbox');
wait_until(
	sub {
		return slurp_file($node->logfile, $offset) =~
		  /outbox has no free slot for another publisher.*outbox\.max_publishers/s;
	},
	'the log says that there are too few slots');
is( $node->safe_psql('empty1', "SELECT state FROM outbox.status WHERE database = 'empty1'"),
	'none', 'outbox.status shows a database that found no slot');
$node->safe_psql('later', 'DROP EXTENSION outbox');
wait_for_publisher($node, 'empty1');
pass('it gets a slot that is given back');
is(scalar(() = slurp_file($node->logfile, $offset) =~ /outbox has no free slot/g),
	1, 'the shortage is logged once');

$node->stop('fast');

# No worker to be had: one is taken by the launcher, one by a publisher.

my $short = new_node('short', bootstrap => '', conf => <<'CONF');
max_worker_processes = 2
max_logical_replication_workers = 0
max_parallel_workers = 0
CONF
$short->safe_psql('postgres', 'CREATE EXTENSION outbox');
wait_for_publisher($short, 'postgres');
$offset = -s $short->logfile;
$short->safe_psql('postgres', 'CREATE DATABASE second');
$short->safe_psql('second', 'CREATE EXTENSION outbox');
wait_until(
	sub {
		return slurp_file($short->logfile, $offset) =~
		  /could not start outbox publisher.*max_worker_processes/s;
	},
	'the log says that there is no worker');
like(
	$short->safe_psql('second', "SELECT error, error_hint FROM outbox.status WHERE database = 'second'"),
	qr/no free background worker.*max_worker_processes/,
	'outbox.status says that there is no worker');
$short->safe_psql('postgres', 'DROP EXTENSION outbox');
wait_for_publisher($short, 'second', 60);
unlike(
	$short->safe_psql('second', "SELECT error FROM outbox.status WHERE database = 'second'"),
	qr/no free background worker/, 'a publisher starts when a worker is free again');
is(scalar(() = slurp_file($short->logfile, $offset) =~ /could not start outbox publisher/g),
	1, 'the lack of workers is logged once');
$short->stop('fast');

done_testing();
