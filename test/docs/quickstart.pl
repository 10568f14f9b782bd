#!/usr/bin/perl

# Runs the quick start of README.md, every line of it, against a server as it
# comes from initdb; then, where there is an Apache Kafka, what docs/trouble.md
# says to try.
#
# Fenced blocks under the headings are taken in order: those marked sql go to
# psql, the others to a shell in the tree.  What differs from the reader's
# machine is kept away from the commands themselves: sudo, apt-get, systemctl and
# kafka-topics.sh are stand-ins, make is told which server to install for, and
# localhost:9092 is read as the address of the tests' broker.  A setting that asks
# for a restart gets it, as the text beside it says.  What a reader looks up in the
# extension's views is looked up until it is there.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = $ENV{OUTBOX_ROOT};
my $heading = 'Quick start';

# The blocks below a heading, up to the next one of its rank: [language, text].
sub blocks
{
	my ($file, $title) = @_;
	my ($rank, $language, $text, @blocks);

	foreach my $line (split /\n/, slurp_file($file))
	{
		if (defined $language)
		{
			if ($line =~ /^```\s*$/)
			{
				push @blocks, [ $language, $text ];
				undef $language;
			}
			else
			{
				$text .= "$line\n";
			}
		}
		elsif ($line =~ /^(#+)\s+(.*?)\s*$/)
		{
			my ($marks, $name) = ($1, $2);
			last if $rank && length $marks <= $rank;
			$rank = length $marks if lc $name eq lc $title;
		}
		elsif ($rank && $line =~ /^```\s*(\w*)/)
		{
			($language, $text) = ($1, '');
		}
	}
	die "a block in $file has no end\n" if defined $language;
	return @blocks;
}

my @blocks = -e "$root/README.md" ? blocks("$root/README.md", $heading) : ();
plan(skip_all => "README.md has no commands under \"$heading\"") if !@blocks;

my @trouble = blocks("$root/docs/trouble.md", 'Try it');
die "docs/trouble.md has nothing to try\n" if !@trouble;

my $kafka = shared_kafka();
my $node = PostgreSQL::Test::Cluster->new('quickstart');

$node->init;
$node->start;

# Stand-ins, before all else in PATH.  Options of kafka-topics.sh have the order
# that the docs have: --bootstrap-server, --create or --alter, --topic, --partitions.
my $stand_ins = PostgreSQL::Test::Utils::tempdir();
my $client = qq{exec "\${OUTBOX_PYTHON:-python3}" "$root/test/lib/kafka_client.py" -b "\$2"};
my ($make) = grep { -x } map { "$_/make" } split /:/, $ENV{PATH};
my %script = (
	'sudo' => 'exec "$@"',
	'apt-get' => 'exit 0',
	'systemctl' => 'exit 0',
	'kafka-topics.sh' => join("\n",
		'case "$3" in',
		qq{--create) $client create "\$5" --partitions "\$7" ;;},
		qq{--alter) $client grow "\$5" "\$7" ;;},
		'esac',
		'exit 2'),
	'make' => qq{exec "$make" -s PG_CONFIG="\$PG_CONFIG" "\$@"});
foreach my $name (keys %script)
{
	append_to_file("$stand_ins/$name", "#!/bin/sh\n$script{$name}\n");
	chmod 0755, "$stand_ins/$name" or die $!;
}

local $ENV{PATH} = "$stand_ins:$ENV{PATH}";
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
chdir $root or die "$root: $!";

# Restart the server if a setting waits for it.
sub restart_if_asked
{
	$node->reload;
	my $asks = $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_file_settings f JOIN pg_settings s USING (name)"
		  . " WHERE s.context = 'postmaster' AND f.sourcefile LIKE '%postgresql.auto.conf'"
		  . " AND f.setting IS DISTINCT FROM s.setting");
	$node->restart if $asks;
	return;
}

my ($emitted, $read) = (0, 0);

# What a block says; in views, as soon as it says something.
sub ask
{
	my ($text, $out, $err) = @_;
	my $status;
	my $try = sub {
		$status = $node->psql('postgres', $text, stdout => $out, stderr => $err,
			on_error_stop => 1);
		return $status != 0 || $$out ne '' || $text !~ /\bFROM outbox\./;
	};
	eval { wait_until($try, "rows of: $text") };
	return $status;
}

sub run_block
{
	my ($block) = @_;
	my ($language, $text) = @$block;
	my ($out, $err) = ('', '');
	my ($name) = split /\n/, $text;

	$text =~ s/localhost:9092/$kafka->bootstrap/ge;
	if ($language eq 'sql')
	{
		my $status = ask($text, \$out, \$err);
		is("$status $err", '0 ', "sql: $name");
		isnt($out, '', "sql: $name: gives a result")
		  if $text =~ /^SELECT/ && $text !~ /outbox_set_topic/;
		$emitted += () = $text =~ /^SELECT outbox_emit\(/mg;
		restart_if_asked() if $text =~ /ALTER SYSTEM/;
	}
	else
	{
		wait_published($node) if $emitted && $text =~ /\bkcat\b/;
		my $ok = IPC::Run::run([ 'bash', '-euc', $text ], '<', \undef, '>', \$out, '2>', \$err);
		ok($ok, "sh: $name") or diag($err);
		if ($text =~ /\bkcat\b.*-t\s*(\S+)/)
		{
			my $topic = $1;
			my $from = "FROM outbox.event WHERE topic = '$topic'";
			my $count = $node->safe_psql('postgres', "SELECT count(*) $from");
			cmp_ok($count, '>', 0, "there are events in topic $topic");
			is(scalar(() = $out =~ /\bvalue\b/g), $count, 'kcat shows every one of them') or diag($out);
			my $uid = $node->safe_psql('postgres', "SELECT uid $from LIMIT 1");
			like($out, qr/\bid=\Q$uid\E/, 'with its uid') if $out =~ /headers/;
			$read++;
		}
	}
	return;
}

run_block($_) foreach @blocks;
cmp_ok($emitted, '>', 0, 'the quick start emits');
cmp_ok($read, '>', 0, 'and reads what arrived');
like(slurp_file($node->logfile), qr/connected to Kafka/, 'the log says that Kafka is there');

SKIP:
{
	skip('no Apache Kafka: what docs/trouble.md says to try', 1) if !real_kafka();

	run_block($_) foreach @trouble;
	wait_published($node);
	my $count = $kafka->record_count([ 'orders', 'audit' ]);
	my %arrived = map { $_->{id} => 1 } $kafka->consume([ 'orders', 'audit' ], count => $count);
	is(join("\n", sort keys %arrived),
		$node->safe_psql('postgres', 'SELECT uid FROM outbox.event ORDER BY uid::text COLLATE "C"'),
		'after the trouble every event has arrived');
}

$node->stop('fast');
done_testing();
