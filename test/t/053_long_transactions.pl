
# Rows of the fault matrix: transactions that last.  They delay what they emitted
# themselves, and nothing else, while rotation goes on around them.

use strict;
use warnings;

use FaultMatrix;
use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

my $node = new_node('long_transactions', conf => "outbox.retention = 0\n");
my $seconds = fault_seconds(3, 60);

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

my $matrix = FaultMatrix->new($node, shared_kafka());

# Rows in load.key and load.truth, and an event: what a client does.
sub emit
{
	my ($session, $key) = @_;
	my ($topic) = $matrix->topics;

	return $session->query_safe(
		"SELECT load.emit('$topic', '$key', 'x', extract(epoch FROM clock_timestamp()))");
}

sub add_key
{
	my ($key) = @_;

	$node->safe_psql('postgres', "INSERT INTO load.key VALUES ('$key')");
	return;
}

# Events of others come through meanwhile, and soon.
sub others_are_published
{
	my ($name) = @_;
	my $before = status($node, 'published');

	wait_until(sub { return status($node, "published > $before + 100") eq 't' },
		'others are published', 60);
	sleep $seconds;
	# what piles up becomes more and more
	ok(eval { wait_until(sub { return status($node, 'waiting_estimate < 5000') eq 't' }, 'little waits', 60) },
		"$name: nothing piles up behind it");
	return;
}

my $name = "PREPARE TRANSACTION left for $seconds s";
$matrix->row($name,
	sub {
		my $session = $node->background_psql('postgres');

		add_key('key-prepared');
		$session->query_safe('BEGIN');
		emit($session, 'key-prepared') foreach 1 .. 3;
		$session->query_safe("PREPARE TRANSACTION 'left'");
		$session->quit;
		others_are_published($name);
		$node->safe_psql('postgres', "COMMIT PREPARED 'left'");
	});

$name = 'a session idle in transaction throughout';
$matrix->row($name,
	sub {
		my $session = $node->background_psql('postgres');

		add_key('key-idle');
		$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
		emit($session, 'key-idle');
		others_are_published($name);
		emit($session, 'key-idle');
		$session->query_safe('COMMIT');
		$session->quit;
	});

# A dump that nobody reads from: it keeps its snapshot and its locks, until the
# load is over.
$name = 'a pg_dump throughout';
$node->safe_psql('postgres',
	"CREATE TABLE wide AS SELECT repeat(md5(i::text), 100) AS filler FROM generate_series(1, 2000) i");
my $dump;
my $bytes = 0;
my $copies = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^COPY .* TO stdout'";
$matrix->row($name,
	sub {
		open($dump, '-|', 'pg_dump', '-d', $node->connstr('postgres'))
		  or die "cannot start pg_dump: $!";
		wait_until(sub { return $node->safe_psql('postgres', $copies) }, 'pg_dump copies');
		others_are_published($name);
		is($node->safe_psql('postgres', $copies), 1, "$name: it is still there");
	},
	behind => sub {
		while (read($dump, my $chunk, 65536))
		{
			$bytes += length $chunk;
		}
	});
ok(close($dump), "$name: it ends well, after $bytes bytes");

$node->stop('fast');
done_testing();
