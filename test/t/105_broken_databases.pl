# 105_broken_databases.pl
#	  Databases that no publisher can connect to, before one that is well.
#
# The launcher looks at so many databases at a time whether they have the
# extension.  Those of which it cannot find out do not keep it from the others.
#
# IDENTIFICATION
#	  test/t/105_broken_databases.pl

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# As many as the launcher looks at at a time.
my $looks = 4;
my $node = new_node('main', bootstrap => '');

# They are listed in the order in which they were made.
$node->safe_psql('postgres', "CREATE DATABASE broken$_") foreach 1 .. $looks;
$node->safe_psql('postgres', 'CREATE DATABASE well');
$node->safe_psql('well', 'CREATE EXTENSION outbox');
is($node->safe_psql('postgres', q{SELECT string_agg(datname, ' ' ORDER BY ctid) ~ 'broken.*well' FROM pg_database}),
	't', 'those that will be broken come first');
my @folders = map { $node->data_dir . '/base/' . $_ }
  split /\n/, $node->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname ~ 'broken'});
$node->stop;
rename($_, "$_.away") or die "$_: $!" foreach @folders;
$node->start;
wait_until(
	sub {
		return $node->safe_psql('well', q{SELECT pid IS NOT NULL FROM outbox.status WHERE database = 'well'}) eq 't';
	},
	'the database that is well has a publisher');
wait_until(
	sub {
		my $failures = () = slurp_file($node->logfile) =~ /FATAL:  database "broken\d" does not exist/g;
		return $failures >= $looks;
	},
	'the others could not be connected to');
pass('it has one, and the others could not be connected to');
$node->stop;
done_testing();
