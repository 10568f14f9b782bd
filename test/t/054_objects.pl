
# Rows of the fault matrix: what people do to the extension and to databases
# while others emit.

use strict;
use warnings;

use FaultMatrix;
use List::Util qw(max);
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

need_real_kafka();

# A database that is dropped by force has sessions to be rid of, on a busy machine.
my $prompt = 60;

my $kafka = shared_kafka();
my $node = new_node('objects');

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

my $matrix = FaultMatrix->new($node, $kafka);

# Where everything is: what a change of schema would change.
sub objects
{
	return $node->safe_psql('postgres', <<'SQL');
SELECT string_agg(pg_describe_object(classid, objid, objsubid), E'\n' ORDER BY 1)
  FROM (SELECT classid, objid, objsubid FROM pg_depend
         WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
           AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'outbox')) AS member
SQL
}

my $publisher = status($node, 'pid');
my $before = objects();
$node->safe_psql('postgres', 'CREATE SCHEMA elsewhere');
$matrix->row('ALTER EXTENSION ... SET SCHEMA',
	sub {
		foreach my $round (1 .. 5)
		{
			my $status = $node->psql('postgres', 'ALTER EXTENSION outbox SET SCHEMA elsewhere',
				stderr => \my $stderr);
			isnt($status, 0, 'ALTER EXTENSION ... SET SCHEMA is refused');
			like($stderr, qr/extension "outbox" does not support SET SCHEMA/, 'for what it is');
		}
	});
is(objects(), $before, 'ALTER EXTENSION ... SET SCHEMA: nothing has changed');
is(status($node, 'pid'), $publisher, 'ALTER EXTENSION ... SET SCHEMA: the publisher has not noticed');

# Another database goes away with its sessions and its publisher; this one is
# not concerned.

$node->safe_psql('postgres', 'CREATE DATABASE victim');
$node->safe_psql('victim', 'CREATE EXTENSION outbox');
my $topic = $kafka->create_topic('victim');
my ($victims, $took);
$matrix->row('DROP DATABASE of another database under load',
	sub {
		$victims = start_load($node, dbname => 'victim', topics => [$topic], clients => 4,
			seconds => 3600, prepared => 0, tolerate => '3D000');
		wait_until(sub { return status($node, 'published > 100', 'victim') eq 't' },
			'the other database publishes', 60);
		my $start = time;
		# its clients come back at once, and may be in the way of the command
		wait_until(sub { return $node->psql('postgres', 'DROP DATABASE victim WITH (FORCE)') == 0 },
			'it is dropped', 120);
		$took = time - $start;
		$victims->stop;
	});
cmp_ok($took, '<', $prompt, 'DROP DATABASE of another database under load: it is prompt');
is($node->safe_psql('postgres', "SELECT count(*) FROM outbox.status WHERE database = 'victim'"), 0,
	'DROP DATABASE of another database under load: nothing is left of its publisher');
unlike(slurp_file($node->logfile), qr/terminating any other active server processes/,
	'DROP DATABASE of another database under load: the server has met no crash');

# The extension itself.  Who drops it is told what is lost, and it is that.

my ($pending, $slowest, $refused) = (0, 0, 0);
my $rounds = 6;
my $counts = $matrix->row('DROP EXTENSION under load, and CREATE EXTENSION',
	sub {
		foreach my $round (1 .. $rounds)
		{
			my $stderr = '';
			my $start = time;

			if ($node->psql('postgres', 'DROP EXTENSION outbox', stderr => \$stderr) != 0)
			{
				diag($stderr);
				$refused++;
				next;
			}
			$slowest = max($slowest, time - $start);
			$pending += $1 if $stderr =~ /not published: (\d+)/;
			sleep 0.3;
			$node->safe_psql('postgres', 'CREATE EXTENSION outbox');
			sleep 0.5;
		}
	},
	# no such function, no such table, and functions that are dropped as they run
	errors => '40,42,XX000',
	# what is lost is waited for, when all that is stored is published
	verify => sub { return (timeout => 20); },
	promised_not => [ 'lost', 'lost: what DROP EXTENSION warned of' ]);
is($refused, 0, 'DROP EXTENSION under load: it is dropped each time');
diag(sprintf('DROP EXTENSION took %.1f s at most, warned of %d events, and %d are lost', $slowest, $pending, $counts->{lost}));
cmp_ok($slowest, '<', $prompt, 'DROP EXTENSION under load: it is prompt');
unlike(slurp_file($node->logfile), qr/deadlock detected/, 'DROP EXTENSION under load: no deadlock');
cmp_ok($counts->{lost}, '<=', $pending, 'DROP EXTENSION under load: no more is lost than it has warned of');

$node->stop('fast');
done_testing();
