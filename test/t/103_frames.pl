# 103_frames.pl
#	  A producer that says what it must not.
#
# A frame that is not as it must be ends the publisher with an error, and no
# session notices (G9); acknowledgements of events that were not sent, or sent
# long ago, and refusals of such events, change nothing.
#
# IDENTIFICATION
#	  test/t/103_frames.pl

use strict;
use warnings;

use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fake_node('main');
my $number = 0;

# Frames as in frame.h.
sub frame
{
	my ($type, $body, $length) = @_;

	return pack('L a x3', $length // length($body), $type) . $body;
}

sub acknowledgement
{
	my ($base, $count, @offsets) = @_;

	return frame('A', pack('Q L x4 L*', $base, $count, @offsets));
}

sub refusal
{
	my ($event, $flags, $text) = @_;

	return frame('R', pack('Q l C C S', $event, 10, 1, 0, $flags) . $text);
}

# Has the producer say that, and go on: to end it by that, wait => 0.
sub send_raw
{
	my ($bytes, %opt) = @_;

	return fake_command($node, 'raw ' . unpack('H*', $bytes), %opt);
}

# An event is emitted and published.
sub publish
{
	my $payload = 'e' . ++$number;

	emit($node, 't', 'k', $payload);
	wait_until(sub { grep { $_ eq $payload } fake_acknowledged($node) }, "$payload is acknowledged");
	return;
}

wait_for_publisher($node);
publish();
my $pid = publisher_pid($node);

# What is wrong but harmless.  The number of an event is that of the publisher.
my $next = (fake_events($node))[-1]{number} + 1;
send_raw(acknowledgement($next, 1, 0));
send_raw(acknowledgement(1, 1, 0));
send_raw(acknowledgement(1, 3, 0, 0, 0));
send_raw(acknowledgement(2**63, 1, 0));
send_raw(refusal(1, 1, "t\0too large"));
send_raw(refusal($next, 1, "t\0too large"));
send_raw(refusal(2**63, 1, "t\0too large"));
send_raw(frame('L', pack('Q l C C S', 0, 0, 0, 7, 0)));
publish();
is((fake_payloads($node))[-1], 'e2', 'what is acknowledged before it is sent is sent');
wait_for_published($node);
publish();
is_deeply([ fake_acknowledged($node) ], [qw(e1 e2 e3)], 'and all is published, once');
is(letters($node), '', 'what is refused without having been sent is no dead letter');

# It says twice that it is ready, while an event is under way.
fake_command($node, 'hold');
emit($node, 't', 'k', 'e' . ++$number);
fake_wait($node, "e$number");
send_raw(frame('Y', ''));
fake_command($node, 'auto');
publish();
is_deeply([ fake_payloads($node) ], [ map { "e$_" } 1 .. $number ], 'who is ready twice is sent nothing twice');
is(publisher_pid($node), $pid, 'by the same publisher');

# What is no frame.
my @broken = (
	[ 'an unknown type', frame('?', ''), qr/sent a frame that is not understood/ ],
	[ "a publisher's type", frame('E', 'x' x 72), qr/sent a frame that is not understood/ ],
	[ 'a length without end', frame('A', '', 2**31), qr/sent a frame of 2147483648 bytes/ ],
	[ 'a short acknowledgement', frame('A', 'x' x 8), qr/sent an acknowledgement of 8 bytes/ ],
	[ 'an acknowledgement of more than it lists', acknowledgement(1, 1000, 1), qr/acknowledgement of 20 bytes for 1000 events/ ],
	[ 'an acknowledgement of far more than it lists', acknowledgement(1, 2**30 + 1, 1), qr/acknowledgement of 20 bytes for 1073741825 events/ ],
	[ 'a short trouble', frame('F', 'x' x 4), qr/sent a frame of type 70 with 4 bytes/ ],
	[ 'a short greeting', frame('H', 'x' x 4), qr/introduced itself in 4 bytes/ ],
	[ 'another protocol', frame('H', pack('L L x64', 99, 0)), qr/speaks protocol 99/ ]);

my $session = $node->background_psql('postgres');
foreach my $case (@broken)
{
	my ($what, $bytes, $error) = @$case;
	my $offset = -s $node->logfile;

	send_raw($bytes, wait => 0);
	wait_until(sub { slurp_file($node->logfile, $offset) =~ /ERROR:.*$error/ }, "the publisher ends: $what");
	wait_for_publisher($node, not => $pid);
	$pid = publisher_pid($node);
	publish();
	pass("$what: the publisher says so, and another one goes on");
}
is($session->query_safe('SELECT 1'), '1', 'no session noticed anything');
$session->quit;
wait_for_published($node);
is_deeply([ fake_acknowledged($node) ], [ map { "e$_" } 1 .. $number ], 'all is published, once, in order');

$node->stop;
done_testing();
