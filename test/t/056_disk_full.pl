
# Rows of the fault matrix: a disk that is full, and has room again.  The data
# folder is on a small file system of its own, in a mount namespace of its own.

use strict;
use warnings;

use FaultMatrix;
use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

my $folder = PostgreSQL::Test::Utils::tempdir();

# An ordinary user may mount where he is root, and PostgreSQL does not run as
# root: so one user namespace inside another.
my @mounted = ('unshare', '--user', '--map-root-user', '--mount');
my @ordinary = ('unshare', '--user', "--map-user=$>", '--map-group=' . (split ' ', $))[0]);

# Room for a new cluster and some seconds of load.
my $disk_size = '200m';

# What is mounted hides what was there, so that is moved there.
my $move = <<'SH';
set -e
folder=$1 size=$2
shift 2
mv "$folder" "$folder.before"
mkdir "$folder"
mount -t tmpfs -o mode=0700,size="$size" none "$folder"
cp -a "$folder.before/." "$folder/"
rm -rf "$folder.before"
exec "$@"
SH

my @rows = map { "$_ full" } ('disk of the data', 'disk of the write-ahead log');
mkdir("$folder/try") or die $!;
if (!IPC::Run::run([ @mounted, 'sh', '-c', $move, 'sh', "$folder/try", '1m', @ordinary, 'true' ],
		'<', \undef, '>&', \my $reason))
{
	note($reason);
	FaultMatrix->not_run($_, 'a file system cannot be mounted here') foreach @rows;
	done_testing();
	exit 0;
}

# Only one of the two folders is on the small disk.
foreach my $what (0, 1)
{
	my $name = $rows[$what];
	my $node = new_node("disk$what", start => 0, conf => <<'CONF');
restart_after_crash = on
min_wal_size = 32MB
max_wal_size = 48MB
autovacuum = off
CONF
	my $data = $node->data_dir;
	my $wal = "$folder/wal$what";
	my $disk = $what == 0 ? $data : $wal;
	my $server;

	rename("$data/pg_wal", $wal) or die $!;
	symlink($wal, "$data/pg_wal") or die $!;

	# A second start finds nothing on the disk of the first: that is gone with its
	# namespace, so it is kept by a process that holds it.
	my $keeper = IPC::Run::start(
		[ @mounted, 'sh', '-c', $move, 'sh', $disk, $disk_size, 'sleep', '3600' ],
		'<', \undef, '>', \my $out, '2>', \my $err);
	my $inside = $keeper->{KIDS}[0]{PID};
	my @inside = ('nsenter', '--preserve-credentials', '--user', '--mount', '--target', $inside);

	wait_until(sub { return process_name($inside) eq 'sleep' }, 'the disk is there');

	# the postmaster of this node; returns when it takes commands
	my $start = sub {
		my $log = $node->logfile;

		$server = IPC::Run::start([ @inside, @ordinary, 'postgres', '-D', $data ],
			'<', \undef, '>>', $log, '2>>', $log);
		wait_until(sub { return $node->safe_psql('postgres', 'SELECT 1') }, 'the server is up', 60);
		return;
	};
	my $run = sub {
		my (@command) = @_;
		return IPC::Run::run([ @inside, @command ], '<', \undef, '>&', \my $said);
	};

	$start->();
	$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

	my $matrix = FaultMatrix->new($node, shared_kafka());
	my $file = $node->logfile;
	my ($offset, $counts);
	$counts = $matrix->row($name,
		sub {
			$offset = -s $file;
			$run->('dd', 'if=/dev/zero', "of=$disk/filler", 'bs=8k');
			if ($what == 0)
			{
				wait_until(sub { return slurp_file($file, $offset) =~ /No space left on device/ },
					'somebody finds no room', 60);
				sleep fault_seconds(3, 60);
				$run->('rm', "$disk/filler");
			}
			else
			{
				# PostgreSQL itself gives up where it cannot write its log
				wait_until(sub { return slurp_file($file, $offset) =~ /PANIC: / }, 'the server gives up', 60);
				sleep fault_seconds(2, 20);
				$run->('rm', "$disk/filler");
				# it may be about to end still
				wait_until(
					sub {
						if (process_name($server->{KIDS}[0]{PID}) eq '')
						{
							eval { $server->finish };
							$start->();
						}
						return $node->safe_psql('postgres', 'SELECT 1');
					},
					'the server is up again', 120);
			}
		},
		errors => '40,53',
		# the launcher starts a publisher that failed again after 1, 2, 4 ... seconds,
		# a minute at most
		resumes => 65,
		repeats => CRASH);
	cmp_ok(($counts->{load}{errors} // 0) + ($counts->{load}{lost_connections} // 0), '>', 0,
		"$name: emitters were told");

	kill('INT', $server->{KIDS}[0]{PID});
	$server->finish;
	$keeper->signal('KILL');
	eval { $keeper->finish };
}

done_testing();
