# 096_marks.pl
#	  Marks alone: what happens when there are too many.
#
# The tests are in mark_test.c.
#
# IDENTIFICATION
#	  test/t/096_marks.pl

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $program = PostgreSQL::Test::Utils::tempdir() . '/mark_test';
my $root = $ENV{OUTBOX_ROOT};
my ($include) = run_command([ 'pg_config', '--includedir-server' ]);
my $reason;

IPC::Run::run(
	[ 'cc', '-std=gnu99', "-I$include", "-I$root/src", '-o', $program, "$root/test/lib/mark_test.c", "$root/src/mark.c" ],
	'<', \undef, '>&', \$reason)
  or die "mark_test does not build: $reason";
IPC::Run::run([$program], '<', \undef, '>', \my $output);
ok(!$1, $2) while $output =~ /^(not |)ok \d+ - (.*)$/mg;
done_testing();
