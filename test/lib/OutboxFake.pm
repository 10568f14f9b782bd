
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
  fake_wait publisher_pid publisher_status wait_for_publisher wait_for_published);

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

# The events that were sent, from a position on: hash references with number,
# uid, topic, partition, key, payload, headers, and alone, which is "alone" if
# it was sent so and undefined if not.
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
		push @events, \%event;
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

1;
