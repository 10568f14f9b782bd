
=pod

=head1 NAME

ShiftedClock - servers whose clock is set back and forth

=head1 SYNOPSIS

  use ShiftedClock;

  my ($clock, $reason) = ShiftedClock->new;
  my $node = new_node('main', start => 0);
  $clock->start($node);
  $clock->set($node, -3600);		# seconds from the right time

=head1 DESCRIPTION

The server, and what it starts, asks a library for the date (see
shifted_clock.c); this process keeps the right time.

=cut

package ShiftedClock;

use strict;
use warnings;

use IPC::Run ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

# Builds the library; undefined and the reason if it cannot be built.
sub new
{
	my ($class) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { library => "$folder/shifted_clock.so", file => "$folder/shift" }, $class;
	my $reason;

	IPC::Run::run([ 'cc', '-shared', '-fPIC', '-O1', '-o', $self->{library}, "$ENV{OUTBOX_ROOT}/test/lib/shifted_clock.c" ],
		'<', \undef, '>&', \$reason)
	  or return (undef, $reason);
	$self->shift_by(0);
	return $self;
}

# Starts a server that has this clock.
sub start
{
	my ($self, $node) = @_;

	local $ENV{LD_PRELOAD} = $self->{library};
	local $ENV{SHIFTED_CLOCK} = $self->{file};
	return $node->start;
}

sub shift_by
{
	my ($self, $seconds) = @_;

	# in place: it is mapped
	open(my $out, -e $self->{file} ? '+<' : '+>', $self->{file}) or die "$self->{file}: $!";
	syswrite($out, pack('q', $seconds)) == 8 or die "$self->{file}: $!";
	close($out);
	return;
}

# Returns when the server has that clock.
sub set
{
	my ($self, $node, $seconds) = @_;

	$self->shift_by($seconds);
	return wait_until(
		sub {
			return $node->safe_psql('postgres',
				sprintf('SELECT abs(extract(epoch FROM clock_timestamp()) - (%.3f)) < 60', time + $seconds)) eq 't';
		},
		"the clock is $seconds s away");
}

1;
