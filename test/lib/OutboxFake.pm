
=pod

=head1 NAME

OutboxFake - servers whose publishers talk to the fake producer

=head1 SYNOPSIS

  use OutboxTest;
  use OutboxFake;

  my $node = fake_node('main');
  fake_command($node, 'hold');
  $node->safe_psql('postgres', "SELECT outbox_emit('topic', 'payload', 'key')");
  fake_wait($node, 'payload');
  my $from = fake_position($node);
  fake_command($node, 'crash');
  fake_wait($node, 'payload', from => $from);
  my @payloads = fake_payloads($node, from => $from);

=head1 DESCRIPTION

The fake producer, its log and its commands are described in
test/fake/fake_producer.c.  Every function takes dbname => NAME (default
postgres); a position is a place in the log.

=cut

package OutboxFake;

use strict;
use warnings;

use Exporter 'import';
use OutboxTest;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(fake_node fake_command fake_position fake_events fake_payloads
  fake_wait fake_acknowledged fake_starts emit publisher_pid publisher_status
  wait_for_publisher wait_for_published wait_for_answer holds letters wait_for_holds
  wait_for_letters kill_publisher terminate_publisher);

my $root = $ENV{OUTBOX_ROOT} or die "OUTBOX_ROOT is not set; run tests by test/run";
my $program = "$root/test/fake/fake_producer";

# As new_node of OutboxTest; with the extension, unless start is false, and
# back by itself after a crash, unlike other nodes.
sub fake_node
{
	my ($name, %opt) = @_;
	my $conf = join("\n", "outbox.producer_program = '$program'",
		'restart_after_crash = on', $opt{conf} // '');
	my $node;

	die "there is no $program; make fake-producer builds it\n" unless -x $program;
	$node = new_node($name, %opt, bootstrap => 'fake:1', conf => $conf);
	$node->safe_psql('postgres', 'CREATE EXTENSION outbox') if $opt{start} // 1;
	return $node;
}

sub file
{
	my ($node, $opt, $ending) = @_;

	return $node->data_dir . '/fake_producer/' . ($opt->{dbname} // 'postgres') . ".$ending";
}

# Have a command carried out; returns when it is, by this producer or, where
# there is none now, by the next.  With wait => 0 it returns at once: the next
# producer then carries it out before its first event.
sub fake_command
{
	my ($node, $command, %opt) = @_;
	my $control = file($node, \%opt, 'control');
	my $state = file($node, \%opt, 'state');

	wait_until(sub { -e $control }, 'the fake producer has started');
	append_to_file($control, "$command\n");
	return if !($opt{wait} // 1);
	my $size = -s $control;
	wait_until(sub { (slurp_file($state) =~ /^(\d+)/ ? $1 : 0) >= $size },
		"the fake producer has done \"$command\"");
	return;
}

# The present end of the log.
sub fake_position
{
	my ($node, %opt) = @_;

	return -s file($node, \%opt, 'log') // 0;
}

# The events that were sent, from a position on (with topic => NAME, those of
# that topic): hash references with number, uid, topic, partition, key, payload,
# headers, and alone, which is "alone" if it was sent so and undefined if not.
sub fake_events
{
	my ($node, %opt) = @_;
	my $log = file($node, \%opt, 'log');
	my @names = qw(number uid topic partition key payload headers alone);
	my @events;

	return () unless -e $log;
	open(my $in, '<', $log) or die "$log: $!";
	seek($in, $opt{from} // 0, 0) or die "$log: $!";
	while (my $line = <$in>)
	{
		# the last line may not be complete yet
		last if chomp($line) == 0;
		my ($kind, @values) = split /\t/, $line, -1;
		my %event;
		next if $kind ne 'event';
		@event{@names} = @values;
		push @events, \%event if !defined $opt{topic} || $opt{topic} eq $event{topic};
	}
	close($in);
	return @events;
}

# Their payloads, each up to the first dot: what follows only makes them large.
sub fake_payloads
{
	my ($node, %opt) = @_;

	return map { $_->{payload} =~ s/\..*//r } fake_events($node, %opt);
}

# The payloads of events that were acknowledged, in the order of that, from a
# position on; options as for fake_payloads.
sub fake_acknowledged
{
	my ($node, %opt) = @_;
	my (%event, @payloads);

	# numbers mean something for the life of one publisher only
	open(my $in, '<', file($node, \%opt, 'log')) or die $!;
	while (my $line = <$in>)
	{
		last if chomp($line) == 0;
		my ($kind, $number, undef, $topic, undef, undef, $payload) = split /\t/, $line, -1;
		if ($kind eq 'event')
		{
			$event{$number} = [ $topic, $payload =~ s/\..*//r ];
		}
		elsif ($kind eq 'acknowledged' && tell($in) > ($opt{from} // 0))
		{
			my ($of, $text) = @{ $event{$number} };
			push @payloads, $text if !defined $opt{topic} || $opt{topic} eq $of;
		}
	}
	close($in);
	return @payloads;
}

# How many producers were started, from a position on.
sub fake_starts
{
	my ($node, %opt) = @_;
	my $log = slurp_file(file($node, \%opt, 'log'), $opt{from} // 0);

	return scalar(() = $log =~ /^start\t/mg);
}

# Emit events of one topic and key (undef: none), in one transaction.
sub emit
{
	my ($node, $topic, $key, @payloads) = @_;
	my $quoted = defined $key ? "'$key'" : 'NULL::text';

	$node->safe_psql('postgres',
		join('', "BEGIN;\n", map({ "SELECT outbox_emit('$topic', '$_', $quoted);\n" } @payloads), 'COMMIT'));
	return;
}

# Return when an event with this payload (up to the first dot) was sent.
sub fake_wait
{
	my ($node, $payload, %opt) = @_;

	wait_until(sub { grep { $_ eq $payload } fake_payloads($node, %opt) },
		"event \"$payload\" is sent", $opt{timeout});
	return;
}

sub publisher_status
{
	my ($node, $column, %opt) = @_;

	return $node->safe_psql($opt{dbname} // 'postgres',
		"SELECT $column FROM outbox.status WHERE database = current_database()");
}

sub publisher_pid { my ($node, %opt) = @_; return publisher_status($node, 'pid', %opt); }

# Return when there is a publisher, another one than not => PID, that sends.
sub wait_for_publisher
{
	my ($node, %opt) = @_;
	my $not = delete $opt{not} // 0;

	wait_until(
		sub {
			publisher_status($node,
				"pid IS NOT NULL AND pid <> $not AND state IN ('idle', 'publishing')",
				%opt) eq 't';
		},
		'the publisher is there');
	return;
}

# Return when the cursor says that all events are published.
sub wait_for_published
{
	my ($node, %opt) = @_;

	wait_until(
		sub {
			$node->safe_psql($opt{dbname} // 'postgres',
				'SELECT count(*) FROM outbox.event WHERE NOT outbox_is_published(xid, id, topic, key)')
			  eq '0';
		},
		'all is published');
	return;
}

# Return when a query answers so.
sub wait_for_answer
{
	my ($node, $query, $expected, $what, $limit) = @_;
	my $answer = '';

	eval {
		wait_until(
			sub {
				$answer = $node->safe_psql('postgres', $query);
				return $answer eq $expected;
			},
			$what // $query, $limit);
	} or die $@ . "instead of\n$expected\nthe answer is\n$answer\n";
	return;
}

# The hold rows: lines of topic, key and reason, parted by slashes.
my $holds = q{SELECT concat_ws('/', topic, convert_from(key, 'UTF8'), reason)
	FROM outbox.cursor WHERE topic IS NOT NULL ORDER BY 1};

sub holds { my ($node) = @_; return $node->safe_psql('postgres', $holds); }

sub wait_for_holds
{
	my ($node, @expected) = @_;

	return wait_for_answer($node, $holds, join("\n", sort @expected), 'the hold rows are there');
}

# The dead letters: lines of payload (up to the first dot), state, attempts and
# "parks" if it does, in the order of ids.
my $letters = q{SELECT concat_ws(' ', split_part(convert_from(payload, 'UTF8'), '.', 1), state, attempts,
	CASE WHEN parks THEN 'parks' END) FROM outbox.dead_letter ORDER BY id};

sub letters { my ($node) = @_; return $node->safe_psql('postgres', $letters); }

sub wait_for_letters
{
	my ($node, @expected) = @_;

	return wait_for_answer($node, $letters, join("\n", @expected), 'the dead letters are there');
}

# Kill the publisher, and so all sessions, when what it has stored is on disk;
# return when there is another one.
sub kill_publisher
{
	my ($node) = @_;
	my $pid = publisher_pid($node);

	$node->safe_psql('postgres', 'CHECKPOINT');
	kill('KILL', $pid);
	return wait_for_publisher($node, not => $pid);
}

# Have the publisher end in order; return when there is another one.
sub terminate_publisher
{
	my ($node) = @_;
	my $pid = publisher_pid($node);

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	return wait_for_publisher($node, not => $pid);
}

1;
