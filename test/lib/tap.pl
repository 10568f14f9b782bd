#!/usr/bin/perl
#
# tap.pl
#	  Run programs that print TAP, one after the other, and count.
#
#	  tap.pl LOG_FOLDER COUNTS PROGRAM ...
#
# A top-level line counts, so a subtest is one.  Whatever else goes wrong with a
# program (its plan, its exit status, its time limit) is one more failure.  What
# it skips is printed as not run.  Its output goes to LOG_FOLDER, and to the
# terminal where something failed.  COUNTS receives "passed failed skipped".
#
# IDENTIFICATION
#	  test/lib/tap.pl

use strict;
use warnings;

use File::Basename qw(basename);
use IO::Handle;
use TAP::Parser;
use Time::HiRes qw(sleep time);

# For how long one program may run, in seconds: many times what any takes.
my $limit = $ENV{OUTBOX_TEST_LIMIT} // 1800;

my ($log_folder, $counts_file, @programs) = @ARGV;
my ($passed, $failed, $skipped) = (0, 0, 0);
my $child;

STDOUT->autoflush(1);

# Tests stop their servers when they are asked to end.
sub end_child
{
	return if !$child;
	kill('TERM', -$child);
	for (1 .. 100)
	{
		return if !kill(0, -$child);
		sleep 0.1;
	}
	kill('KILL', -$child);
	return;
}

# What a program left running in its folder (a test that was ended while it
# started a server): an immediate shutdown for a server, kill -9 for the rest.
sub sweep
{
	my ($folder) = @_;

	foreach my $signal (('QUIT') x 30, 'KILL')
	{
		my @left;

		foreach my $process (glob('/proc/[0-9]*'))
		{
			open(my $in, '<', "$process/cmdline") or next;
			push @left, $process =~ s{.*/}{}r if index(<$in> // '', "$folder/") >= 0;
		}
		return if !@left;
		kill($signal, @left);
		sleep 0.1;
	}
	return;
}

$SIG{INT} = $SIG{TERM} = sub { end_child(); sweep($ENV{TESTDIR}) if $ENV{TESTDIR}; exit 130; };

foreach my $program (@programs)
{
	my $log = "$log_folder/" . basename($program) . '.log';
	my $started = time;
	my @problems;

	printf "%-44s ", $program;
	# Its own folder, so that two programs never meet in tmp_check.
	$ENV{TESTDIR} = $ENV{TESTLOGDIR} = $ENV{TESTDATADIR} = "$log_folder/" . basename($program) . '.dir';
	mkdir $ENV{TESTDIR};
	$child = fork() // die "fork: $!";
	if ($child == 0)
	{
		setpgrp(0, 0);
		open(STDIN, '<', '/dev/null') or die $!;
		open(STDOUT, '>', $log) or die "$log: $!";
		open(STDERR, '>&', \*STDOUT) or die $!;
		exec($program =~ /\.pl$/ ? ($^X, $program) : $program) or die "$program: $!";
	}
	setpgrp($child, $child);
	my $status;
	eval {
		local $SIG{ALRM} = sub { die "alarm\n"; };
		alarm $limit;
		waitpid($child, 0);
		$status = $?;
		alarm 0;
	};
	if (!defined $status)
	{
		end_child();
		waitpid($child, 0);
		push @problems, "did not end within $limit s";
	}
	# What a program left running would disturb the next.
	kill('KILL', -$child);
	$child = undef;
	sweep($ENV{TESTDIR});

	open(my $in, '<', $log) or die "$log: $!";
	my $output = do { local $/; <$in> } // '';
	# the parser takes no output at all for a mistake of its caller
	my $parser = TAP::Parser->new({ tap => $output eq '' ? "\n" : $output });
	my ($ok, $not_ok) = (0, 0);
	my (@red, @not_run);
	while (my $result = $parser->next)
	{
		next if !$result->is_test;
		if ($result->has_skip)
		{
			push @not_run, join(': ', grep { $_ ne '' } $result->description =~ s/^- //r, $result->explanation);
		}
		elsif ($result->is_ok)
		{
			$ok++;
		}
		else
		{
			$not_ok++;
			push @red, $result->as_string;
		}
	}
	push @not_run, 'all of it: ' . $parser->skip_all if defined $parser->skip_all;
	push @problems, $parser->parse_errors if defined $status;
	push @problems,
	  $status & 127 ? sprintf('ended by signal %d', $status & 127)
	  : sprintf('exit status %d', $status >> 8)
	  if $status && !$not_ok;
	push @problems, 'no test in it' if !$ok && !$not_ok && !@not_run && !@problems;
	$not_ok++ if @problems;

	$passed += $ok;
	$failed += $not_ok;
	$skipped += @not_run;
	printf "%s  %d passed%s  (%.1f s)\n", $not_ok ? 'FAILED' : 'ok', $ok,
	  $not_ok ? ", $not_ok failed" : '', time - $started;
	print "    $_\n" foreach @red, @problems;
	print "    not run: $_\n" foreach @not_run;
	if ($not_ok)
	{
		print "    the end of $log:\n";
		system('tail', '-n', '30', $log);
		# PostgreSQL::Test::Utils sends there why a test died.
		foreach my $more (glob("$log_folder/" . basename($program) . '.dir/tmp_check/log/regress_log_*'))
		{
			print "    the end of $more:\n";
			system('tail', '-n', '25', $more);
		}
	}
}

open(my $out, '>', $counts_file) or die "$counts_file: $!";
print $out "$passed $failed $skipped\n";
close($out) or die $!;
exit($failed ? 1 : 0);
