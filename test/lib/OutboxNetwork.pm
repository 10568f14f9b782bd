
=pod

=head1 NAME

OutboxNetwork - a network that loses packets, for the TAP tests

=head1 SYNOPSIS

  # before anything else is loaded
  BEGIN { require OutboxNetwork; OutboxNetwork->enter; }
  use OutboxTest;

  my $network = OutboxNetwork->new;
  my $kafka = own_kafka($network->place);
  $network->cut;
  $network->mend;

=head1 DESCRIPTION

The test runs in a network namespace of its own, and what is started at place()
in another; a pair of virtual interfaces joins them.  While the network is cut,
packets vanish in both directions: no end is told, no connection is reset.

That is done by neighbour entries with a hardware address that nobody has. It
takes no firewall, and neither interface nor route ever looks broken.

No root is needed where users may make namespaces. The test goes on as the same
user, since PostgreSQL refuses to run as root, of whatever namespace.

=cut

package OutboxNetwork;

use strict;
use warnings;

use Time::HiRes qw(sleep);

my %address = (here => '10.79.0.1', there => '10.79.0.2');

# Run the test again in a namespace of its own; where that is not allowed, end
# it as one that was skipped.
sub enter
{
	my @unshare = qw(unshare --user --map-current-user --keep-caps --net);

	return if $ENV{OUTBOX_NETWORK};
	if (system("@unshare ip link add outbox0 type veth peer name outbox1 >/dev/null 2>&1") != 0)
	{
		print "1..0 # SKIP no network namespaces here\n";
		exit 0;
	}
	$ENV{OUTBOX_NETWORK} = 1;
	exec(@unshare, $^X, $0, @ARGV) or die "unshare: $!";
}

sub run
{
	my @command = @_;

	system(@command) == 0 or die "failed: @command";
	return;
}

sub new
{
	my ($class) = @_;

	# a process to hold the other namespace; it ends with the test, at the end of its input
	my $pid = open(my $pipe, '|-', 'unshare', '--net', 'cat') or die "unshare: $!";
	my $self = bless { pid => $pid, pipe => $pipe }, $class;

	for (1 .. 500)
	{
		last if (readlink("/proc/$pid/ns/net") // '') ne readlink('/proc/self/ns/net');
		sleep 0.01;
	}
	run(qw(ip link add outbox0 type veth peer name outbox1 netns), $pid);
	foreach my $place (qw(here there))
	{
		my $interface = $place eq 'here' ? 'outbox0' : 'outbox1';

		run($self->at($place), qw(ip link set lo up));
		run($self->at($place), qw(ip address add), "$address{$place}/24", 'dev', $interface);
		run($self->at($place), qw(ip link set), $interface, 'up');
	}
	return $self;
}

# What to put before a command so that it runs in one of the two places.
sub at
{
	my ($self, $place) = @_;

	return $place eq 'here' ? () : ('nsenter', '-t', $self->{pid}, '-n');
}

# Arguments for own_kafka().
sub place { my ($self) = @_; return (address => $address{there}, network => $self->{pid}); }

sub cut
{
	my ($self) = @_;

	# an address of the kind that is given out locally
	my @nobody = qw(lladdr 02:00:00:00:00:fe nud permanent);

	run(qw(ip neighbour replace), $address{there}, @nobody, qw(dev outbox0));
	run($self->at('there'), qw(ip neighbour replace), $address{here}, @nobody, qw(dev outbox1));
	return;
}

sub mend
{
	my ($self) = @_;

	run(qw(ip neighbour delete), $address{there}, qw(dev outbox0));
	run($self->at('there'), qw(ip neighbour delete), $address{here}, qw(dev outbox1));
	return;
}

1;
