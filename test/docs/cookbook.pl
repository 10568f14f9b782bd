#!/usr/bin/perl

# Runs the cookbook: docs/cookbook.md and the pages below docs/cookbook.
#
# A page is taken from top to bottom.  Its blocks marked sql go to psql, as the
# owner of the database.  A block marked with a language and the name of a file is
# a program, which is run by itself, as the role that docs/cookbook.md creates,
# with the driver of that language (test/cookbook has which version).  What has
# arrived in Kafka since the program or statement before must be what a block
# "text arrives" says, no more and no less; what the program has printed, what
# "text prints" says.  "..." in these stands for anything.  A program that does not
# end by itself is ended when it has printed that.
#
# Programs that must do their work once, whatever happens, are killed, and given
# the same event again.
#
# Blocks that name packages must name those that test/cookbook brings.  No other
# block may be in these pages.

use strict;
use warnings;

use File::Basename qw(basename dirname);
use MIME::Base64 ();
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# For how long a program may run, in seconds.
my $limit = 120;

my $root = $ENV{OUTBOX_ROOT};
my $folder = PostgreSQL::Test::Utils::tempdir('cookbook');
my ($kafka, $node, %position, %unavailable, %driver);

# The blocks of a page: [words after the backticks, text].
sub blocks
{
	my ($file) = @_;
	my ($mark, $text, @blocks);

	foreach my $line (split /\n/, slurp_file($file))
	{
		if (defined $mark)
		{
			if ($line =~ /^```\s*$/)
			{
				push @blocks, [ $mark, $text ];
				undef $mark;
			}
			else
			{
				$text .= "$line\n";
			}
		}
		elsif ($line =~ /^```\s*(.*?)\s*$/)
		{
			($mark, $text) = ($1, '');
		}
	}
	die "a block in $file has no end\n" if defined $mark;
	return @blocks;
}

# ---- languages ----

my %language = (
	python => { extension => 'py', tool => 'python3', lock => 'requirements.txt' },
	js => { folder => 'node', extension => 'mjs', tool => 'node', lock => 'package.json' },
	java => { extension => 'java', tool => 'javac', lock => 'pom.xml' },
	go => { extension => 'go', tool => 'go', lock => 'go.mod' });

# Compiled or not: the command that runs a program.  Dies if it does not compile.
my %command = (
	python => sub {
		my ($file) = @_;
		return [ $ENV{OUTBOX_PYTHON}, $file ];
	},
	js => sub {
		my ($file) = @_;
		return [ 'node', $file ];
	},
	java => sub {
		my ($file) = @_;
		return [ $ENV{OUTBOX_JAVA}, '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp',
			"$folder/java/classes:$driver{java}/lib/*", basename($file, '.java') ];
	},
	go => sub {
		my ($file) = @_;
		return [ "$folder/go/bin/" . basename($file, '.go') ];
	});

# A Java compiler beside the Java that runs Kafka, or any.
sub javac
{
	my ($found) = grep { -x } map { "$_/javac" }
	  (dirname($ENV{OUTBOX_JAVA}), split /:/, $ENV{PATH});
	return $found;
}

# Why a language's programs cannot be run; undef if they can.
sub why_not
{
	my ($name) = @_;
	my $language = $language{$name};
	my $where = $language->{folder} // $name;

	chomp(my $path = `bash -c '. "$root/test/env/common.sh" && driver_folder $where'`);
	$driver{$name} = $path;
	my $found = $name eq 'java' ? javac()
	  : $name eq 'python' ? 1
	  : grep { -x "$_/$language->{tool}" } split /:/, $ENV{PATH};
	return "there is no $language->{tool}" if !$found;
	return "its libraries could not be fetched (see test/env/drivers)" if !-e "$path/complete";
	return undef;
}

# Put the programs of a language where its tools expect them, and compile them.
sub build
{
	my ($name, @programs) = @_;
	my $dir = "$folder/$name";
	my @compile;

	mkdir $dir or die "$dir: $!";
	foreach my $program (@programs)
	{
		my ($file, $text) = @$program;
		my $to = "$dir/$file";
		if ($name eq 'go')
		{
			$to = "$dir/" . basename($file, '.go');
			mkdir $to or die "$to: $!";
			$to .= "/$file";
		}
		append_to_file($to, $text);
	}
	if ($name eq 'js')
	{
		symlink("$driver{js}/node_modules", "$dir/node_modules") or die $!;
	}
	elsif ($name eq 'java')
	{
		@compile = (javac(), '-Xlint:all', '-cp', "$driver{java}/lib/*", '-d', "$dir/classes",
			glob("$dir/*.java"));
	}
	elsif ($name eq 'go')
	{
		append_to_file("$dir/$_", slurp_file("$root/test/cookbook/go/$_")) foreach ('go.mod', 'go.sum');
		mkdir "$dir/bin" or die $!;
		@compile = ('go', 'build', '-o', "$dir/bin/", './...');
	}
	return if !@compile;
	my $output = '';
	my $ok = IPC::Run::run(\@compile, '<', \undef, '>&', \$output, init => sub { chdir $dir or die $!; });
	ok($ok, "$name: the programs compile") or diag($output);
	return;
}

# ---- Kafka ----

# What has arrived since the last call, as the pages show it: one line for each
# record, in the order of topics, keys, and offsets.
sub arrived
{
	my ($error, @lines) = '';

	wait_published($node, 'shop');
	IPC::Run::run([ 'kcat', '-L', '-b', $kafka->bootstrap ], '<', \undef, '>', \my $list, '2>', \$error)
	  or die $error;
	my @topics = grep { !/^__/ } $list =~ /^ +topic "([^"]+)"/mg;
	return if !@topics;
	foreach my $record ($kafka->consume(\@topics))
	{
		my $place = "$record->{topic} $record->{partition}";

		next if $record->{offset} < ($position{$place} // 0);
		$position{$place} = $record->{offset} + 1;
		my ($first, @headers) = @{ $record->{headers} };
		isnt($record->{id}, undef, 'the header "id" is the first') if !defined $record->{id};
		push @lines,
		  [ $record->{topic}, shown($record->{key}), shown($record->{value}),
			join(' ', map { "$_->[0]=" . shown($_->[1]) } @headers) ];
	}
	return map { join('  ', grep { $_ ne '' } @$_) }
	  sort { $a->[0] cmp $b->[0] || $a->[1] cmp $b->[1] } @lines;
}

sub shown
{
	my ($value) = @_;

	return 'null' if !defined $value;
	return '\x' . unpack('H*', MIME::Base64::decode_base64($value->{base64})) if ref $value;
	return $value;
}

# Hold lines against those of a page, where "..." is anything.
sub compare
{
	my ($got, $expected, $name) = @_;
	my @expected = split /\n/, $expected;

	for my $i (0 .. $#expected)
	{
		my $pattern = join('.*', map { quotemeta } split /\Q...\E/, $expected[$i], -1);
		$expected[$i] = $got->[$i] if defined $got->[$i] && $got->[$i] =~ /^$pattern$/;
	}
	is(join("\n", @$got), join("\n", @expected), $name);
	return;
}

# ---- programs ----

sub start_program
{
	my ($language, $file) = @_;
	my $run = { out => '', err => '', name => $file };

	$run->{handle} = IPC::Run::start($command{$language}->($file),
		'<', \undef, '>', \$run->{out}, '2>', \$run->{err});
	return $run;
}

sub end_program
{
	my ($run, $signal) = @_;

	kill($signal, $run->{handle}{KIDS}[0]{PID});
	eval { IPC::Run::finish($run->{handle}) };
	return;
}

# Run a program until it ends, or has printed as many lines as are expected.
sub run_program
{
	my ($language, $file, $expected) = @_;
	my $run = start_program($language, $file);
	my $lines = defined $expected ? () = $expected =~ /\n/g : undef;
	my $deadline = time + $limit;

	while ($run->{handle}->pumpable)
	{
		eval { $run->{handle}->pump_nb };
		if (time > $deadline || defined $lines && (() = $run->{out} =~ /\n/g) >= $lines)
		{
			kill('TERM', $run->{handle}{KIDS}[0]{PID});
			last;
		}
		sleep 0.02;
	}
	$run->{ok} = eval { IPC::Run::finish($run->{handle}) } || defined $lines;
	$run->{ok} = 0 if time > $deadline;
	return $run;
}

sub sql
{
	my ($text) = @_;

	return $node->safe_psql('shop', $text);
}

sub reset_orders
{
	sql('TRUNCATE orders RESTART IDENTITY') if sql(q(SELECT to_regclass('orders'))) ne '';
	return;
}

# ---- consumers that must do their work once ----

sub pay
{
	my ($amount) = @_;

	return sql(qq(SELECT outbox_emit('payments', '{"customer": "ann", "amount": $amount}', key => 'ann')));
}

sub spent_is
{
	my ($total, $name) = @_;

	eval {
		wait_until(sub { sql(q(SELECT total FROM spent WHERE customer = 'ann')) eq $total }, $name, $limit);
	};
	return is(sql(q(SELECT total FROM spent WHERE customer = 'ann')), $total, $name);
}

# Wait until a session of the programs' role waits for something; returns what.
sub wait_for_wait
{
	my ($event) = @_;

	return wait_until(
		sub {
			return sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop' AND wait_event = '$event'") > 0;
		},
		"the program waits ($event)", $limit);
}

sub wait_for_no_session
{
	return wait_until(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop'") == 0 },
		'the sessions of the program are gone');
}

sub lag
{
	my ($answer) = $kafka->client('lag', 'spent', 'payments');
	return $answer->{lag};
}

# Keep the program from going on with its work; what is returned lets it.
sub hold_up
{
	my $session = $node->background_psql('shop');

	$session->query_safe('BEGIN');
	$session->query_safe('LOCK TABLE spent IN SHARE ROW EXCLUSIVE MODE');
	return sub {
		$session->query_safe('ROLLBACK');
		$session->quit;
	};
}

# Have commits of the programs' role return never, or again.
my @probes;

sub withhold_commits
{
	my ($on) = @_;

	sql("ALTER SYSTEM SET synchronous_standby_names = '" . ($on ? 'nobody' : '') . "'");
	$node->reload;
	IPC::Run::finish(shift @probes) while !$on && @probes;
	return if !$on;

	# The server begins to withhold them some time after the reload.
	my $probe;
	wait_until(
		sub {
			return 1 if sql("SELECT count(*) FROM pg_stat_activity"
				  . " WHERE application_name = 'probe' AND wait_event = 'SyncRep'") > 0;
			return 0 if $probe && $probe->pumpable;
			IPC::Run::finish($probe) if $probe;
			$probe = IPC::Run::start([ 'psql', '-X', '-q', '-c', 'INSERT INTO probe VALUES (1)',
				$node->connstr('shop') . " application_name=probe options='-c synchronous_commit=on'" ],
				'<', \undef, '>&', \my $output);
			return 0;
		},
		'commits are withheld');
	push @probes, $probe;
	return;
}

sub once
{
	my ($language, $file) = @_;
	my $name = basename($file);
	my $run;

	sql('TRUNCATE inbox, spent; ALTER ROLE shop SET synchronous_commit = on');
	pay(10);
	$run = start_program($language, $file);
	spent_is(10, "$name: an event is processed") or diag($run->{err});
	wait_until(sub { lag() == 0 }, 'its offset is committed', $limit);

	# in the middle of its transaction
	my $lock = hold_up();
	my $uid = pay(20);
	wait_for_wait('relation');
	end_program($run, 'KILL');
	$lock->();
	wait_for_no_session();
	is(sql('SELECT sum(total) FROM spent'), 10, "$name: killed in its transaction, it has done nothing");
	is(lag(), 1, "$name: and the event comes again");
	$run = start_program($language, $file);
	spent_is(30, "$name: is then processed") or diag($run->{err});

	# between the two commits
	wait_until(sub { lag() == 0 }, 'its offset is committed', $limit);
	$lock = hold_up();
	pay(40);
	wait_for_wait('relation');
	withhold_commits(1);
	$lock->();
	wait_for_wait('SyncRep');
	end_program($run, 'KILL');
	withhold_commits(0);
	wait_for_no_session();
	is(sql('SELECT sum(total) FROM spent'), 70, "$name: killed between the commits, it has done the work");
	is(lag(), 1, "$name: and the event comes again");
	$run = start_program($language, $file);
	wait_until(sub { lag() == 0 }, 'it was read again', $limit);
	spent_is(70, "$name: is then skipped") or diag($run->{err});

	# what a crash of the server can lead to
	IPC::Run::run([ 'kcat', '-P', '-b', $kafka->bootstrap, '-t', 'payments', '-k', 'ann', '-H', "id=$uid" ],
		'<', \'{"customer": "ann", "amount": 20}') or die 'kcat failed';
	pay(80);
	wait_published($node, 'shop');
	wait_until(sub { lag() == 0 }, 'both were read', $limit);
	spent_is(150, "$name: an event that was published twice is processed once") or diag($run->{err});
	is(sql('SELECT count(*) FROM inbox'), 4, "$name: four ids are remembered");
	end_program($run, 'TERM');
	wait_for_no_session();
	return;
}

my %special = ('spent.py' => \&once, 'Spent.java' => \&once);

# ---- pages ----

sub run_page
{
	my ($page) = @_;
	my @blocks = blocks("$root/docs/$page");
	my $skipped;

	reset_orders();
	arrived();
	while (my $block = shift @blocks)
	{
		my ($mark, $text) = @$block;
		my ($kind, $what) = split ' ', $mark;
		my ($first) = split /\n/, $text;
		my ($prints) = map { $_->[1] } grep { $_->[0] eq 'text prints' } @blocks ? $blocks[0] : ();

		$kind //= '';
		if ($kind eq 'sql' && !defined $what)
		{
			my $status = $node->psql('shop', $text, stdout => \my $out, stderr => \my $err, on_error_stop => 1);
			is("$status", '0', "$page: sql: $first") or diag($err);
			$skipped = undef;
		}
		elsif ($kind eq 'text' && defined $what && $what eq 'arrives')
		{
			compare([ arrived() ], $text, "$page: what arrives") if !$skipped;
		}
		elsif ($kind eq 'text' && defined $what && $what eq 'prints')
		{
			# looked at where the program was run
		}
		elsif ($language{$kind} && defined $what && $what =~ /^\w+\.$language{$kind}{extension}$/)
		{
			my $file = "$folder/$kind/" . ($kind eq 'go' ? basename($what, '.go') . '/' : '') . $what;

			$skipped = $unavailable{$kind};
			if ($skipped)
			{
			  SKIP:
				{
					skip("$page: $what ($skipped)", 1);
				}
			}
			elsif ($special{$what})
			{
				$special{$what}->($kind, $file);
				arrived();
			}
			else
			{
				reset_orders();
				arrived();
				my $run = run_program($kind, $file, $prints);
				ok($run->{ok}, "$page: $what runs") or diag($run->{out} . $run->{err});
				compare([ split /\n/, $run->{out} ], $prints, "$page: what $what prints") if defined $prints;
			}
		}
		elsif ($kind eq 'sh' && $text =~ /^(pip|npm) install (\S+)\n\z|^(go) get (\S+)\n\z/)
		{
			my ($tool, $package) = ($1 // $3, $2 // $4);
			my ($name) = { pip => 'python', npm => 'js', go => 'go' }->{$tool};
			my $lock = "$root/test/cookbook/" . ($language{$name}{folder} // $name) . "/$language{$name}{lock}";

			like(slurp_file($lock), qr/(?<![\w-])\Q$package\E(?![\w-])/, "$page: $package is what is tested");
		}
		elsif ($kind eq 'xml')
		{
			like(slurp_file("$root/test/cookbook/java/pom.xml"), qr{<artifactId>\Q$_\E<}, "$page: $_ is what is tested")
			  foreach $text =~ m{<artifactId>(.*?)<}g;
		}
		else
		{
			fail("$page: a block is not run: ```$mark");
		}
	}
	return;
}

# ---- the test ----

need_real_kafka();

my @pages = ('cookbook.md', map { "cookbook/" . basename($_) } glob("$root/docs/cookbook/*.md"));
my %programs;

foreach my $page (@pages)
{
	foreach my $block (blocks("$root/docs/$page"))
	{
		my ($kind, $what) = split ' ', $block->[0];
		push @{ $programs{$kind} }, [ $what, $block->[1] ]
		  if defined $kind && $language{$kind} && defined $what;
	}
}

# What is fetched is there: nothing is to be looked for elsewhere.
foreach my $name (sort keys %programs)
{
	$unavailable{$name} = why_not($name);
}
my $go_cache = -w "$driver{go}/build" ? "$driver{go}/build" : "$ENV{OUTBOX_WORK}/go-build";
local $ENV{GOMODCACHE} = "$driver{go}/mod";
local $ENV{GOCACHE} = $go_cache;
local $ENV{GOPROXY} = 'off';
local $ENV{GOTOOLCHAIN} = 'local';
local $ENV{GOFLAGS} = '-mod=readonly';
local $ENV{CGO_ENABLED} = 0;
local $ENV{PYTHONPATH} = "$driver{python}/lib";

foreach my $name (sort keys %programs)
{
	build($name, @{ $programs{$name} }) if !defined $unavailable{$name};
}

$kafka = own_kafka();
$node = new_node('cookbook', kafka => $kafka, conf => "listen_addresses = '127.0.0.1'\nsynchronous_commit = local\n"
	  . "wal_level = replica\nmax_wal_senders = 1\n");
$node->safe_psql('postgres', 'CREATE DATABASE shop');
sql('CREATE EXTENSION outbox; CREATE TABLE probe (n integer)');

my $port = $node->port;
local $ENV{DATABASE_URL} = "postgresql://shop\@127.0.0.1:$port/shop";
local $ENV{JDBC_URL} = "jdbc:postgresql://127.0.0.1:$port/shop?user=shop";
local $ENV{KAFKA} = $kafka->bootstrap;

foreach my $page (@pages)
{
	my $started = time;
	run_page($page);
	note(sprintf('%s: %.1f s', $page, time - $started));
}

$node->stop('fast');
done_testing();
