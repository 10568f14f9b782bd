# 092_alone.pl
#	  How many events are sent alone at a time.
#
# First events of held topics, dead letters and suspects share what a producer
# takes, each up to its part, and none of them more: a producer that is sent more
# ends.  What does not fit follows when others are reported.
#
# IDENTIFICATION
#	  test/t/092_alone.pl

use strict;
use warnings;

use List::Util qw(max sum);
use OutboxFake;
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What may be under way alone, by the topic of the events: half of it first
# events, a quarter letters, a quarter suspects; and more of each than that.
my %limits = (first => 32, letter => 16, suspect => 16);
my $topics = 40;
my $events = 20;

my $node = fake_node('main', conf => "outbox.dead_letter_limit = 1000\n");

# How many of each kind were under way alone, at the most, from a position on,
# and how many are.
sub under_way
{
	my ($from) = @_;
	my (%of_number, %now, %most);

	foreach my $line (split /\n/, slurp_file($node->data_dir . '/fake_producer/postgres.log', $from))
	{
		my ($what, $number, undef, $topic, @more) = split /\t/, $line;
		if ($what eq 'start')
		{
			%of_number = %now = ();
		}
		elsif ($what eq 'event' && $line =~ /\talone$/)
		{
			my $kind = $topic =~ s/\d+$//r;
			$of_number{$number} = $kind;
			$now{$kind}++;
			$now{all} = keys %of_number;
			$most{$_} = max($most{$_} // 0, $now{$_}) foreach keys %now;
		}
		elsif ($what =~ /^(acknowledged|refused)$/ && $of_number{$number})
		{
			$now{ delete $of_number{$number} }--;
		}
	}
	return (\%most, \%now);
}

sub wait_for_alone
{
	my ($from, @kinds) = @_;

	wait_until(
		sub {
			my (undef, $now) = under_way($from);
			return !grep { ($now->{$_} // 0) < $limits{$_} } @kinds;
		},
		"so many are under way alone: @kinds");
	return;
}

# Dead letters, each with a key of its own.
wait_for_publisher($node);
fake_command($node, 'poison topic=letter');
$node->safe_psql('postgres', "SELECT count(outbox_emit('letter', 'l' || i, 'k' || i)) FROM generate_series(1, $events) i");
wait_for_answer($node, 'SELECT count(*) FROM outbox.dead_letter', $events, 'all are dead letters');
fake_command($node, 'cure');

# Topics that take no events.
my $from = fake_position($node);
fake_command($node, 'hold');
$node->safe_psql('postgres', "SELECT count(outbox_emit('first' || i, 'f' || i, 'k')) FROM generate_series(1, $topics) i");
fake_wait($node, "f$topics");
fake_command($node, join("\n", map { "topic 3 first$_ blocks" } 1 .. $topics));
wait_for_answer($node, q{SELECT count(*) FROM outbox.held_topic}, $topics, 'the topics are held');

# Suspects, beside the first tries of the topics; then the letters.
$node->safe_psql('postgres', "SELECT count(outbox_emit('suspect', 's' || i, 'k' || i)) FROM generate_series(1, $events) i");
fake_wait($node, "s$events");
fake_command($node, 'refusebatch topic=suspect');
wait_for_alone($from, qw(first suspect));
is($node->safe_psql('postgres', q{SELECT outbox_retry('letter')}), $events, 'all letters are to be sent again');
wait_for_alone($from, qw(first suspect letter));

# One that is reported makes room for one.
fake_command($node, 'ack topic=first1');
fake_command($node, 'ack topic=first2');
wait_for_answer($node, q{SELECT count(*) FROM outbox.held_topic WHERE topic IN ('first1', 'first2')}, '2', 'both join');
fake_command($node, 'auto');
wait_for_published($node);
wait_for_holds($node);
is(letters($node), '', 'all letters are published');
my ($most) = under_way($from);
is($most->{$_}, $limits{$_}, "$_: so many at a time") foreach sort keys %limits;
is($most->{all}, sum(values %limits), 'all of them together: what a producer takes');

my %times;
$times{$_}++ foreach fake_acknowledged($node, from => $from);
is_deeply(\%times,
	{ map { $_ => 1 } (map { "f$_" } 1 .. $topics), map({ ("l$_", "s$_") } 1 .. $events) },
	'everything is published, once');

# A suspect waits for what is in front of it, which may be of its key, and is sent
# by another client.
fake_command($node, 'hold');
emit($node, 't', 'k', qw(a1 a2));
fake_wait($node, 'a2');
$from = fake_position($node);
fake_command($node, 'refusebatch payload=a2');
fake_wait($node, 'a1', from => $from);
# one turn more
$node->safe_psql('postgres', q{SELECT outbox_set_topic('z', paused => true)});
wait_for_holds($node, 'z/paused');
is_deeply([ fake_payloads($node, from => $from) ], ['a1'], 'a suspect waits for what is in front of it');
fake_command($node, 'ack payload=a1');
fake_wait($node, 'a2', from => $from);
is_deeply([ map { "$_->{payload} " . ($_->{alone} // 'with others') } fake_events($node, from => $from) ],
	[ 'a1 with others', 'a2 alone' ], 'and is sent when that is acknowledged');
fake_command($node, 'auto');
wait_for_published($node);

$node->stop;
done_testing();
