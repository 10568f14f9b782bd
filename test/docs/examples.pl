#!/usr/bin/perl

# Runs the SQL in the docs, page by page, each in a database of its own with what
# examples.sql brings.
#
# Of a synopsis (name, arguments and types), a function with these arguments must
# be there.  Statements with parameters are prepared, and those with PERFORM
# become the body of a trigger's function, which is fired.  All else is run as it
# stands.
#
# Of docs/trouble.md these are the grants, which are tried out as the role that got
# them.
#
# Not here: README.md and what docs/trouble.md says to try (quickstart.pl),
# docs/forward.md (forward.pl) and the cookbook (cookbook.pl).

use strict;
use warnings;

use File::Basename qw(basename);
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = $ENV{OUTBOX_ROOT};
my $node = new_node('examples', bootstrap => '');

# The blocks of a page that are marked sql.
sub blocks
{
	my ($file) = @_;

	my $text = slurp_file($file);

	$text =~ s/^## Try it\n.*//ms if basename($file) eq 'trouble.md';
	return $text =~ /^```sql\s*\n(.*?)^```\s*$/msg;
}

# Functions with their arguments, if that is all there is: [name, arguments].
sub synopses
{
	my ($text) = @_;
	my @found;

	while ($text =~ /\G\s*(\w+)\(([^()]*)\)(?: RETURNS [^\n]+)?\n/gc)
	{
		my ($name, $arguments) = ($1, $2);
		push @found, [ $name, join(',', map { /^\s*"?(\w+)/ ? $1 : '?' } split /,/, $arguments) ];
	}
	return ($text =~ /\G\s*\z/gc) ? @found : ();
}

sub run_block
{
	my ($page, $text) = @_;
	my ($first) = split /\n/, $text;
	my @synopses = synopses($text);

	if (@synopses)
	{
		foreach my $synopsis (@synopses)
		{
			my ($name, $arguments) = @$synopsis;
			my $found = $node->safe_psql('shop',
				"SELECT count(*) FROM pg_proc WHERE proname = '$name'"
				  . " AND array_to_string(proargnames[1:pronargs], ',') = '$arguments'");
			cmp_ok($found, '>', 0, "$page: there is $name($arguments)");
		}
		return;
	}
	if ($text =~ /\$1/)
	{
		$text = join('', map { "PREPARE s AS $_; DEALLOCATE s;\n" } grep { /\S/ } split /;/, $text);
	}
	elsif ($text =~ /^PERFORM/)
	{
		$text =
			"CREATE FUNCTION example() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN $text RETURN NULL; END \$\$;"
		  . "CREATE TRIGGER example AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION example();"
		  . "UPDATE orders SET state = state;"
		  . "DROP FUNCTION example CASCADE;";
	}
	my $status = $node->psql('shop', $text, stdout => \my $out, stderr => \my $err, on_error_stop => 1);
	is($status, 0, "$page: $first") or diag($err);
	return;
}

$node->safe_psql('postgres', 'CREATE ROLE app; CREATE ROLE ops');
foreach my $file (sort glob("$root/docs/*.md"))
{
	my $page = basename($file);
	my @blocks = blocks($file);

	next if !@blocks || $page eq 'forward.md' || $page eq 'cookbook.md';
	# roles that others depend on stay; a database with these goes
	$node->safe_psql('postgres', $_) foreach ('DROP DATABASE IF EXISTS shop WITH (FORCE)', 'CREATE DATABASE shop');
	$node->safe_psql('shop', 'CREATE EXTENSION outbox');
	$node->safe_psql('shop', slurp_file("$root/test/docs/examples.sql"));
	run_block($page, $_) foreach @blocks;
	next if $page ne 'trouble.md';
	run_block($page, "SET ROLE ops; $_") foreach (
		(map { ("SELECT outbox_$_(topic => 'a')", "SELECT outbox_$_(topic => 'a', key => 'b')",
			"SELECT outbox_$_(uid => '01907c2e-1f4b-7c3a-9d55-0f6c1b1e2a77')", "SELECT outbox_$_(\"all\" => true)") }
			'retry', 'discard'),
		"SELECT outbox_set_topic('a', on_refusal => 'skip', paused => true, format => 'plain')",
		'TABLE outbox.held_topic; TABLE outbox.parked_key; TABLE outbox.dead_letter; TABLE outbox.topic');
}

$node->stop('fast');
done_testing();
