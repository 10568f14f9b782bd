
# Two topics that are missing at the same time, each held while the events of
# both are under way: each comes back with all of its events, in order.  Events
# may be repeated: a producer that knows of a topic that was made just now may
# send what it has before it is replaced.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

need_real_kafka();

my $kafka = own_kafka(config => { 'auto.create.topics.enable' => 'false' });
my $node = new_node('held_topics', kafka => $kafka, conf => "outbox.topic_timeout = 500\n");
my $emitted;

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# Emit for the topics in turn, in transactions of 20 events.
sub emit
{
	my ($transactions, @topics) = @_;
	my $list = join(', ', map { "'$_'" } @topics);
	my $script = '';

	for (1 .. $transactions)
	{
		$script .= "SELECT count(outbox_emit((ARRAY[$list])[1 + i % 2], i::text, 'key'))"
		  . sprintf(" FROM generate_series(%d, %d) i;\n", $emitted + 1, $emitted + 20);
		$emitted += 20;
	}
	$node->safe_psql('postgres', $script);
	return;
}

# Two topics that do not exist take events; both are held, then created.
#	before		runs before the events are emitted
#	then		runs when they are, and are to be published
#	held		runs while both are held
sub two_held
{
	my ($name, %opt) = @_;
	my @topics = map { $kafka->topic_name("missing$_") } 1 .. 2;

	$emitted = 0;
	$opt{before}->() if $opt{before};
	emit(100, @topics);
	$opt{then}->() if $opt{then};
	wait_until(
		sub {
			return $node->safe_psql('postgres', 'SELECT count(*) FROM outbox.held_topic') == 2;
		},
		'both topics are held', 60);
	emit(50, @topics);
	$opt{held}->() if $opt{held};
	$kafka->create_topic($_, exact => 1) foreach @topics;
	wait_published($node);
	foreach my $i (0, 1)
	{
		my %seen;
		my @all = map { $_->{value} } $kafka->consume($topics[$i]);
		my @values = grep { !$seen{$_}++ } @all;

		note(sprintf('%d records, %d of them repeated', scalar @all, @all - @values));
		is_deeply(\@values, [ grep { $_ % 2 == $i } 1 .. $emitted ],
			"$name: topic " . ($i + 1));
	}
	return;
}

sub set_enabled
{
	my ($value) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET outbox.enabled = $value");
	$node->reload;
	return;
}

two_held('one batch after the other');

two_held(
	'all in one batch',
	before => sub {
		set_enabled('off');
		wait_until(sub { return status($node, 'state') eq 'paused' }, 'publishing pauses');
	},
	then => sub { set_enabled('on'); });

two_held('restarted meanwhile', held => sub { $node->restart; });

$node->stop('fast');
done_testing();
