
# Rows of the fault matrix: a clock that is set back, and forward again.  The
# server runs under libfaketime; clients and broker keep the right time.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

my ($library) = grep { -e } glob '/usr/lib/*/faketime/libfaketime.so.1 /usr/lib*/faketime/libfaketime.so.1';
my @rows = ('clock set back by an hour', 'kill -9 of the publisher after the clock was set back',
	'kill -9 of the producer, and the clock set back', 'clock set forward by two hours');

if (!$library)
{
	FaultMatrix->not_run($_, 'there is no libfaketime') foreach @rows;
	done_testing();
	exit 0;
}

my $folder = PostgreSQL::Test::Utils::tempdir();
my $offset = "$folder/offset";

sub set_clock
{
	my ($seconds) = @_;

	append_to_file("$offset.new", sprintf("%+d\n", $seconds));
	rename("$offset.new", $offset) or die "$offset: $!";
	return;
}

set_clock(0);
$ENV{FAKETIME_TIMESTAMP_FILE} = $offset;
# looked at by every question for the time; timers and timeouts are not meant
$ENV{FAKETIME_NO_CACHE} = 1;
$ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
$ENV{DONT_FAKE_MONOTONIC} = 1;

my $node = new_node('clock', start => 0, conf => "restart_after_crash = on\n");
{
	local $ENV{LD_PRELOAD} = $library;
	$node->start;
}
$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

my $matrix = FaultMatrix->new($node, shared_kafka());

# Whether the server has another time than we.
sub clock_is_off_by
{
	my ($seconds) = @_;

	return wait_until(
		sub {
			return $node->safe_psql('postgres',
				sprintf('SELECT abs(extract(epoch FROM clock_timestamp()) - (%.3f)) < 60', Time::HiRes::time() + $seconds)) eq 't';
		},
		"the clock is $seconds s away");
}

my $publisher = status($node, 'pid');
my $uids;
$matrix->row($rows[0],
	sub {
		set_clock(-3600);
		clock_is_off_by(-3600);
	},
	behind => sub {
		$uids = $node->safe_psql('postgres', 'SELECT count(*) = count(DISTINCT uid) FROM load.truth');
	},
	resumes => 5);
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
		set_clock(-7200);
		clock_is_off_by(-7200);
	},
	repeats => ON_ITS_WAY,
	resumes => 5);

$matrix->row($rows[3],
	sub {
		set_clock(0);
		clock_is_off_by(0);
	},
	resumes => 5);

$node->stop('fast');
done_testing();
