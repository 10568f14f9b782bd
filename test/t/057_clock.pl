
# Rows of the fault matrix: a clock that is set back, and forward again.  The
# server asks a library for the time; clients and broker keep the right time.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use ShiftedClock;
use Test::More;

need_real_kafka();

my @rows = ('clock set back by an hour, in six steps', 'kill -9 of the publisher after the clock was set back',
	'kill -9 of the producer, and the clock set back', 'publisher terminated, and the clock set back',
	'clock set forward by three hours');

my ($clock, $reason) = ShiftedClock->new;

if (!$clock)
{
	note($reason);
	FaultMatrix->not_run($_, 'the library that shifts the clock does not build') foreach @rows;
	done_testing();
	exit 0;
}

# The producer keeps the right time: the waits of its threads are reckoned by the
# date, so that a library could not shift one without the other.
my $program = PostgreSQL::Test::Utils::tempdir() . '/producer';
my $real = (run_command([ 'pg_config', '--bindir' ]))[0] . '/outbox_producer';

append_to_file($program, <<"PROGRAM");
#!/bin/sh
unset LD_PRELOAD
exec '$real' "\$@"
PROGRAM
chmod(0755, $program) or die "$program: $!";

my $node = new_node('clock', start => 0, conf => <<"CONF");
restart_after_crash = on
outbox.producer_program = '$program'
CONF
$clock->start($node);
$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

my $matrix = FaultMatrix->new($node, shared_kafka());

my $publisher = status($node, 'pid');
my $uids;
$matrix->row($rows[0],
	sub {
		# again and again, as what it meets lasts some milliseconds
		foreach my $minutes (map { 10 * $_ } 1 .. 6)
		{
			$clock->set($node, -60 * $minutes);
		}
	},
	behind => sub {
		$uids = $node->safe_psql('postgres', 'SELECT count(*) = count(DISTINCT uid) FROM load.truth');
	},
	resumes => 30);
is($uids, 't', "$rows[0]: no uid is given twice");
is(status($node, 'pid'), $publisher, "$rows[0]: the publisher goes on");

# Progress is stored all the same.
$matrix->row($rows[1],
	sub { kill('KILL', status($node, 'pid')) or die "cannot kill: $!"; },
	ahead => 3,
	repeats => CRASH);

# What is due later is due after some seconds, not after an hour.
$matrix->row($rows[2],
	sub {
		my $pid = status($node, 'producer_pid');

		kill('KILL', $pid) or die "cannot kill $pid: $!";
		$clock->set($node, -7200);
	},
	repeats => ON_ITS_WAY,
	resumes => 30);
$matrix->row($rows[3],
	sub {
		$node->safe_psql('postgres', 'SELECT pg_terminate_backend(pid) FROM outbox.status');
		wait_until(sub { return status($node, 'pid') eq '' }, 'the publisher is gone');
		$clock->set($node, -10800);
	});

$matrix->row($rows[4],
	sub {
		$clock->set($node, 0);
	},
	resumes => 30);

$node->stop('fast');
done_testing();
