
=pod

=head1 NAME

OutboxTest - servers, Kafka and load for the TAP tests

=head1 SYNOPSIS

  use OutboxTest;

  my $kafka = shared_kafka();		# or: own_kafka(brokers => 3, config => {...})
  my $topic = $kafka->create_topic('orders', partitions => 4);
  my $node = new_node('main', kafka => $kafka);
  $node->safe_psql('postgres', 'CREATE EXTENSION outbox');
  $node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'payload', 'key')");
  my @records = $kafka->consume($topic, count => 1);

  my $load = start_load($node, topics => [$topic], clients => 8, seconds => 5);
  $load->finish;
  verify_load($node, $kafka, 'after load', topics => [$topic]);

  wait_until(sub { ... }, 'the publisher is gone', 10);

=head1 DESCRIPTION

Run by test/run, which sets up the private server and the shared broker.  With
OUTBOX_HOSTILE set, servers get the defaults of test/env/hostile.conf, and the
sessions of the tests are protected from them by PGOPTIONS.

Tests that break a broker start their own; the names of topics on the shared
one are made unique by create_topic, which returns the name.

=cut

package OutboxTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(basename);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(new_node shared_kafka own_kafka real_kafka need_real_kafka
  start_load verify_load wait_until status wait_published start_again
  process_name private_memory stop_asleep);

# The copy of the tree, and the tools in it.
my $root = $ENV{OUTBOX_ROOT} or die "OUTBOX_ROOT is not set; run tests by test/run";
my $client = "$root/test/lib/kafka_client.py";
my $hostile = $ENV{OUTBOX_HOSTILE};

# PostgreSQL::Test::Utils has emptied PGOPTIONS by now.
if ($hostile)
{
	my $options = slurp_file("$root/test/env/hostile.pgoptions");
	chomp $options;
	$ENV{PGOPTIONS} = $options;
}

# Whether there is an Apache Kafka, and not only the mock broker.
sub real_kafka { return $ENV{OUTBOX_REAL_KAFKA} ? 1 : 0; }

# Ends a test file that asks for what the mock broker cannot do.
sub need_real_kafka
{
	plan(skip_all => 'needs an Apache Kafka') unless real_kafka();
	return;
}

# The broker that all tests of a run share.
my $shared;

sub shared_kafka
{
	if (!$shared)
	{
		$shared =
		  $ENV{OUTBOX_KAFKA_DIR}
		  ? OutboxTest::Kafka->attach($ENV{OUTBOX_KAFKA_DIR})
		  : OutboxTest::Kafka->start();
	}
	return $shared;
}

# A cluster of this test's own:
#	brokers		how many (default 1)
#	config		broker settings
#	listeners	more of them, a list of SASL_PLAINTEXT, SSL, SASL_SSL
#	authorize	true: the user "outbox" may do only what grant() gives
#	address		where brokers listen (default 127.0.0.1)
#	network		a process in whose network namespace that is
sub own_kafka { return OutboxTest::Kafka->start(@_); }

# A server with the extension preloaded, started.
#	kafka		what outbox.bootstrap_servers names (default: the shared broker)
#	bootstrap	the same as text; '' for none
#	conf		lines for postgresql.conf
#	fsync		true: as on a real server (default: off, as in all TAP tests)
#	start		false: only initialised
#	init		list of arguments for PostgreSQL::Test::Cluster->init
sub new_node
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $bootstrap = $opt{bootstrap}
	  // ($opt{kafka} // shared_kafka())->bootstrap;

	$node->init(@{ $opt{init} // [] });
	$node->append_conf('postgresql.conf', slurp_file("$root/test/outbox.conf"));
	$node->append_conf('postgresql.conf', "log_statement = none");
	$node->append_conf('postgresql.conf', "outbox.bootstrap_servers = '$bootstrap'")
	  if $bootstrap ne '';
	$node->append_conf('postgresql.conf', "fsync = on") if $opt{fsync};
	$node->append_conf('postgresql.conf', slurp_file("$root/test/env/hostile.conf"))
	  if $hostile;
	$node->append_conf('postgresql.conf', $opt{conf}) if defined $opt{conf};
	if ($opt{start} // 1)
	{
		$node->start;
		add_hostile_schema($node);
	}
	return $node;
}

# Where databases get the trap of hostile.conf's search_path from.
sub add_hostile_schema
{
	my ($node) = @_;

	if ($hostile)
	{
		my $sql = slurp_file("$root/test/env/hostile.sql");
		$node->safe_psql($_, $sql) foreach ('template1', 'postgres');
	}
	return;
}

# Poll until $condition->() is true; dies after $limit seconds (default 30).
# Errors inside count as "not yet": servers may be down meanwhile.
sub wait_until
{
	my ($condition, $what, $limit) = @_;
	my $deadline = time + ($limit // 30);
	my $error = '';

	while (1)
	{
		my $answer = eval { $condition->() };
		return $answer if $answer;
		$error = $@;
		die "timed out waiting until $what" . ($error ? ": $error" : '') . "\n"
		  if time > $deadline;
		sleep 0.02;
	}
}

# A column, or an expression, of the database's own row in outbox.status; the
# empty string if it has none.
sub status
{
	my ($node, $column, $dbname) = @_;

	return $node->safe_psql($dbname // 'postgres',
		"SELECT $column FROM outbox.status WHERE database = current_database()");
}

# Wait until the cursor says that no event of the database waits, and the
# publisher has nothing to do.
sub wait_published
{
	my ($node, $dbname, $limit) = @_;

	return wait_until(
		sub { return status($node, "oldest_waiting IS NULL AND state = 'idle'", $dbname) eq 't' },
		'everything is published', $limit // 60);
}

# Start a server whose postmaster was killed: its children need a moment to
# notice, and hold on to the shared memory until then.
sub start_again
{
	my ($node) = @_;

	return wait_until(
		sub {
			# what a failed start finds in the pid file is the old one
			$node->{_pid} = undef;
			return $node->start(fail_ok => 1);
		},
		'the server starts again', 60);
}

# What the kernel calls a process, and the letter of its state (see proc(5)):
# nothing if there is none.
sub name_and_state
{
	my ($pid) = @_;

	open(my $in, '<', "/proc/$pid/stat") or return;
	return (<$in> // '') =~ /^\d+ \((.*)\) (\S)/;
}

# What the kernel calls a process: the empty string if there is none, or if it
# only waits for its parent to notice that it has ended.
sub process_name
{
	my ($name, $state) = name_and_state(@_) or return '';

	return $state eq 'Z' ? '' : $name;
}

# Stop a server process in its main loop, asleep: elsewhere it may have a lock
# that all others wait for, even a session that begins.
sub stop_asleep
{
	my ($node, $pid) = @_;
	my $type = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid";

	return wait_until(
		sub {
			kill('STOP', $pid) or die "cannot signal $pid: $!";

			# it may have begun something before the signal reached it
			wait_until(sub { return ((name_and_state($pid))[1] // '') eq 'T' }, 'it is stopped');
			my $answer = eval { $node->safe_psql('postgres', $type, timeout => 2) } // $@;
			return 1 if $answer =~ /^(Activity|Extension)$/;
			kill('CONT', $pid);
			die "it is in \"$answer\"\n";
		},
		"process $pid is stopped asleep", 60);
}

# Memory of a process that it shares with no other, in megabytes.
sub private_memory
{
	my ($pid) = @_;

	open(my $in, '<', "/proc/$pid/status") or return 0;
	while (my $line = <$in>)
	{
		return $1 / 1024 if $line =~ /^RssAnon:\s+(\d+) kB/;
	}
	return 0;
}

# Start test/lib/load.py against a node.  Options become its switches (topics:
# a list; savepoints, rollbacks, prepared, waits, asynchronous: shares; clients,
# seconds, transactions, keys_per_transaction, filler, seed, tolerate; probe: a
# switch without a value; keys; dbname).  The tables are made at the first call
# for a database; connstr says where the clients connect, if not there.
my %has_tables;

sub start_load
{
	my ($node, %opt) = @_;
	my $dbname = delete $opt{dbname} // 'postgres';
	my $dsn = $node->connstr($dbname);
	my @keys = ('--keys', delete $opt{keys} // 50);
	my @program = ($ENV{OUTBOX_PYTHON}, "$root/test/lib/load.py");

	if (!$has_tables{$dsn}++)
	{
		system_or_bail(@program, '--dsn', $dsn, @keys, 'setup');
	}
	my @command = (@program, '--dsn', delete $opt{connstr} // $dsn, @keys);
	$opt{topics} = join(',', @{ $opt{topics} }) if ref $opt{topics};
	my $probe = delete $opt{probe};
	my @switches = map { (my $name = "--$_") =~ tr/_/-/; ($name, $opt{$_}) } sort keys %opt;
	unshift @switches, '--probe' if $probe;
	my $self = bless { out => '', err => '' }, 'OutboxTest::Load';
	$self->{handle} = IPC::Run::start([ @command, 'run', @switches ],
		'<', \undef, '>', \$self->{out}, '2>', \$self->{err});
	return $self;
}

# Hold what Kafka has against what the load committed: four tests in a subtest.
#	topics		also look into these, for phantoms
#	timeout		seconds until everything must have arrived (default 120)
#	duplicates	how many are allowed (default 0; undef: any number)
# Returns the counts.
sub verify_load
{
	my ($node, $kafka, $name, %opt) = @_;
	my $limit = exists $opt{duplicates} ? $opt{duplicates} : 0;
	my $counts = $kafka->verify(
		$node->connstr($opt{dbname} // 'postgres'),
		'SELECT topic, uid, key, n FROM load.truth',
		topics => $opt{topics},
		timeout => $opt{timeout});

	subtest $name => sub {
		cmp_ok($counts->{committed}, '>', 0, 'something was committed');
		is($counts->{$_}, 0, "$_: 0") foreach qw(lost phantom out_of_order damaged split_keys);
		cmp_ok($counts->{duplicates}, '<=', $limit, "duplicates: at most $limit")
		  if defined $limit;
		note("$_: $counts->{$_}") foreach qw(committed received duplicates);
		diag(JSON::PP->new->canonical->encode($counts->{samples}))
		  if %{ $counts->{samples} };
	};
	return $counts;
}

package OutboxTest::Load;

use strict;
use warnings;

sub pid { return $_[0]->{handle}{KIDS}[0]{PID}; }

# Whether it still runs.
sub running
{
	my ($self) = @_;

	return OutboxTest::process_name($self->pid) ne '';
}

# End it now, as if its time were up; returns the totals.
sub stop
{
	my ($self) = @_;

	kill('TERM', $self->pid);
	return $self->finish;
}

# Wait for the end; returns the totals (see load.py).
sub finish
{
	my ($self) = @_;

	IPC::Run::finish($self->{handle}) or die "load failed: $self->{err}";
	return JSON::PP::decode_json($self->{out});
}

package OutboxTest::Kafka;

use strict;
use warnings;

my $tool = "$root/test/env/kafka";
my @started;
my $unique = 0;

sub run_tool
{
	my @command = @_;
	my $errors = '';

	IPC::Run::run([ $tool, @command ], '<', \undef, '>', \my $out, '2>', \$errors)
	  or die "kafka @command: $errors";
	return;
}

# The cluster that somebody else started in a folder.
sub attach
{
	my ($class, $dir) = @_;

	return bless { dir => $dir, bootstrap => first_line("$dir/bootstrap"), brokers => 1 }, $class;
}

sub first_line
{
	my ($file) = @_;

	return (split /\n/, PostgreSQL::Test::Utils::slurp_file($file))[0];
}

sub start
{
	my ($class, %opt) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir('kafka');
	my $config = $opt{config} // {};
	my $brokers = $opt{brokers} // 1;

	push @started, [ $$, $dir ];
	local $ENV{OUTBOX_KAFKA_NETWORK} = $opt{network} if defined $opt{network};
	run_tool(
		'start', $dir, '-n', $brokers,
		(map { ('-l', $_) } @{ $opt{listeners} // [] }),
		($opt{authorize} ? '-z' : ()),
		(defined $opt{address} ? ('-a', $opt{address}) : ()),
		map { "$_=$config->{$_}" } sort keys %$config);
	my $self = $class->attach($dir);
	$self->{network} = $opt{network};
	$self->{brokers} = $brokers;
	return $self;
}

END
{
	my $status = $?;
	foreach my $entry (@started)
	{
		my ($pid, $dir) = @$entry;
		next if $pid != $$;
		IPC::Run::run([ $tool, 'resume', $dir ]);
		IPC::Run::run([ $tool, 'kill', $dir ]);
	}
	$? = $status;
}

sub bootstrap { return $_[0]->{bootstrap}; }
sub dir { return $_[0]->{dir}; }

# Each of these takes a broker's number, or means all of them.  restart brings
# back what was stopped or killed, on the same ports, with the same records.
sub stop { my ($self, @broker) = @_; return run_tool('stop', $self->{dir}, @broker); }
sub kill9 { my ($self, @broker) = @_; return run_tool('kill', $self->{dir}, @broker); }
sub pause { my ($self, @broker) = @_; return run_tool('pause', $self->{dir}, @broker); }
sub resume { my ($self, @broker) = @_; return run_tool('resume', $self->{dir}, @broker); }
sub restart
{
	my ($self) = @_;

	local $ENV{OUTBOX_KAFKA_NETWORK} = $self->{network} if defined $self->{network};
	return run_tool('start', $self->{dir});
}

# What clients of the listener SASL_PLAINTEXT, SSL or SASL_SSL connect to, the
# password of its user "outbox", and a file of the cluster's (see test/env/kafka).
sub listener { my ($self, $name) = @_; return first_line("$self->{dir}/bootstrap.$name"); }
sub password { my ($self) = @_; return first_line("$self->{dir}/password"); }
sub file { my ($self, $name) = @_; return "$self->{dir}/$name"; }

# Let the user "outbox" write to a topic ('*': to all), and take that back.
# What was granted for all is not taken back for one.
sub grant { my ($self, $topic) = @_; return run_tool('grant', $self->{dir}, $topic); }
sub revoke { my ($self, $topic) = @_; return run_tool('revoke', $self->{dir}, $topic); }

# Make a broker the leader of all partitions of topics.
sub lead
{
	my ($self, $broker, @topics) = @_;

	return run_tool('lead', $self->{dir}, $broker,
		map { "$_:" . scalar $self->leaders($_) } @topics);
}

# Return when another client than the one under test gets a record into a topic,
# acknowledged by as many brokers as the topic asks for.
sub wait_writable
{
	my ($self, $topic) = @_;

	return OutboxTest::wait_until(
		sub {
			# half a second: long enough for a cluster that is well
			return IPC::Run::run(
				[ 'kcat', '-P', '-b', $self->{bootstrap}, '-t', $topic, '-X', 'acks=all',
					'-X', 'message.timeout.ms=500' ],
				'<', \"record\n", '>', '/dev/null', '2>', '/dev/null');
		},
		"a client can write to $topic", 90);
}

# The leader of each partition of a topic, by number; with in_sync, how many
# replicas of each are in sync.
sub leaders { my ($self, $topic) = @_; return map { $_->{leader} } $self->client('leaders', $topic); }
sub in_sync
{
	my ($self, $topic) = @_;

	return map { scalar @{ $_->{in_sync} } } $self->client('leaders', $topic);
}

sub add_partitions
{
	my ($self, $topic, $partitions) = @_;

	$self->client('grow', $topic, $partitions);
	return;
}

# Read topics into a file while they exist; the return value is given to
# stop_watch(), which returns the file's name for verify(earlier => ...).
sub watch
{
	my ($self, @topics) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir('watch') . '/records';
	my $handle = IPC::Run::start(
		[ $ENV{OUTBOX_PYTHON}, $client, '-b', $self->{bootstrap}, 'watch', @topics ],
		'<', \undef, '>', $file);

	return { handle => $handle, file => $file };
}

sub stop_watch
{
	my ($self, $watch) = @_;

	$watch->{handle}->signal('TERM');
	$watch->{handle}->finish or die "kafka_client.py watch failed";
	return $watch->{file};
}

# Run the client; returns the objects that it prints.
sub client
{
	my ($self, @arguments) = @_;
	my @lines;

	open(my $out, '-|', $ENV{OUTBOX_PYTHON}, $client, '-b', $self->{bootstrap}, @arguments)
	  or die "cannot start $client: $!";
	while (my $line = <$out>)
	{
		push @lines, JSON::PP::decode_json($line);
	}
	close($out) or die "kafka_client.py @arguments failed";
	return @lines;
}

# Create a topic; returns its name, which is made unique among all tests that
# share the broker.  Options: partitions (default 4), config, exact => 1 for
# the very name.
sub create_topic
{
	my ($self, $name, %opt) = @_;
	my $config = $opt{config} // {};

	$name = $self->topic_name($name) unless $opt{exact};
	$self->client('create', $name,
		'--partitions', $opt{partitions} // 4,
		'--replicas', $opt{replicas} // $self->{brokers},
		map { ('--config', "$_=$config->{$_}") } sort keys %$config);
	return $name;
}

# Give a topic settings, by name, and of all others the defaults.
sub configure
{
	my ($self, $topic, %config) = @_;

	$self->client('configure', $topic, map { ('--config', "$_=$config{$_}") } sort keys %config);
	return;
}

# A unique name for a topic that does not exist yet.
sub topic_name
{
	my ($self, $name) = @_;

	return sprintf('%s.%d.%d', $name, $$, ++$unique);
}

sub delete_topic
{
	my ($self, @topics) = @_;

	$self->client('delete', @topics);
	return;
}

# Read a topic (or a list reference of them) from the beginning: until count
# records are there (and then to the present end) or timeout seconds are over
# (default 30); without count, to the present end.  Returns hash references:
# topic, partition, offset, timestamp, id, key, value, headers.
sub consume
{
	my ($self, $topics, %opt) = @_;

	return $self->client(
		'consume', ref $topics ? @$topics : $topics,
		'--timeout', $opt{timeout} // 30,
		defined $opt{count} ? ('--count', $opt{count}) : ());
}

# How many records the topics have.
sub record_count
{
	my ($self, $topics) = @_;
	my $count = 0;

	$count += $_->{high} - $_->{low}
	  foreach $self->client('ends', ref $topics ? @$topics : $topics);
	return $count;
}

# Hold Kafka against a query that gives topic, uid, key, order number; returns
# counts: committed, received, distinct, duplicates, lost, phantom,
# out_of_order, damaged, split_keys, and samples of each problem.  With fault
# (a reference to begin, end and window) more; see kafka_client.py.
sub verify
{
	my ($self, $dsn, $query, %opt) = @_;
	my ($answer) = $self->client('verify', @{ $opt{topics} // [] },
		'--dsn', $dsn, '--truth', $query, '--timeout', $opt{timeout} // 120,
		$opt{fault} ? ('--fault', @{ $opt{fault} }) : (),
		$opt{gone} ? ('--gone', @{ $opt{gone} }) : (),
		defined $opt{earlier} ? ('--earlier', $opt{earlier}) : ());

	return $answer;
}

1;
