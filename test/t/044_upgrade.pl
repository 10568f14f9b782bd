
# pg_upgrade: events that waited in the old cluster are published by the new
# one, each once, and nothing has to be done for it.  What was held back stays
# held back, and can be let go there.
#
# With OUTBOX_UPGRADE_BINDIR naming the programs of a newer server that has the
# extension, the same once more to that server.

use strict;
use warnings;

use Cwd qw(getcwd);
use OutboxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = real_kafka() ? own_kafka(config => { 'auto.create.topics.enable' => 'false' }) : shared_kafka();
my $bindir = `pg_config --bindir`;
chomp $bindir;

# Has a database hold events back in each way: a key behind a dead letter (its
# partition is not there), a topic that is paused, one that is missing (which
# the mock broker's never are).  Returns the topics.
sub hold_back
{
	my ($node, $name) = @_;
	my %topic = map { ($_ => $kafka->create_topic("$_-$name", partitions => 1)) } qw(parked paused);

	$topic{missing} = $kafka->topic_name("missing-$name") if real_kafka();
	$node->safe_psql('postgres', 'CREATE DATABASE held');
	$node->safe_psql('held', 'CREATE EXTENSION outbox');
	$node->safe_psql('held', "SELECT outbox_set_topic('$topic{paused}', paused => true)");
	$node->safe_psql('held', "SELECT outbox_emit('$topic{parked}', 'dead', 'key', partition => 99)");
	$node->safe_psql('held', "SELECT outbox_emit('$topic{$_}', '$_ 1', 'key')") foreach grep { $_ ne 'parked' } sort keys %topic;
	wait_until(
		sub {
			return $node->safe_psql('held', 'SELECT count(*) FROM outbox.cursor WHERE topic IS NOT NULL') == keys %topic;
		},
		'each of them is held back', 60);
	$node->safe_psql('held', "SELECT outbox_emit('$topic{$_}', '$_ 2', 'key')") foreach sort keys %topic;
	return %topic;
}

# What is held back, and why; not for how long, and how often it was tried.
my $held = q{SELECT topic, reason, waiting FROM outbox.held_topic
	UNION ALL SELECT topic, dead_letter::text, parked FROM outbox.parked_key
	UNION ALL SELECT topic, uid::text || state || error, attempts FROM outbox.dead_letter WHERE state <> 'discarded'
	ORDER BY 1, 2};

# Let all of it go.
sub let_go
{
	my ($node, $name, %topic) = @_;

	$node->safe_psql('held', "SELECT outbox_set_topic('$topic{paused}', paused => false)");
	$kafka->create_topic($topic{missing}, exact => 1) if $topic{missing};
	is($node->safe_psql('held', 'SELECT outbox_discard("all" => true)'), 1, "$name: the dead letter can be given up");
	foreach my $kind (sort keys %topic)
	{
		my @expected = map { "$kind $_" } $kind eq 'parked' ? 2 : 1 .. 2;

		is_deeply([ map { $_->{value} } $kafka->consume($topic{$kind}, count => scalar @expected, timeout => 60) ],
			\@expected, "$name: $kind: what was held back is published, in order");
	}
	wait_published($node, 'held');
	is($node->safe_psql('held', $held), '', "$name: nothing is held back any more");
	return;
}

sub upgrade_to
{
	my ($name, $new_bindir) = @_;
	my $topic = $kafka->create_topic("upgrade-$name", partitions => 1);
	my @init = (extra => ['--data-checksums']);		# the default depends on the version
	my $old = new_node("old_$name", kafka => $kafka, init => \@init, conf => "outbox.topic_timeout = 500\n");
	my $new = PostgreSQL::Test::Cluster->new("new_$name",
		$new_bindir eq $bindir ? () : (install_path => $new_bindir =~ s{/bin$}{}r));
	# a short name: pg_upgrade has its sockets there
	my $folder = PostgreSQL::Test::Utils::tempdir_short();
	my $here = getcwd();

	# The source database publishes some; the twin of it has foreign events.
	$old->safe_psql('postgres', 'CREATE DATABASE app');
	$old->safe_psql('app', 'CREATE EXTENSION outbox');
	$old->safe_psql('app',
		"SELECT outbox_emit('$topic', 'published ' || i, 'key') FROM generate_series(1, 5) i");
	$kafka->consume($topic, count => 5);
	wait_published($old, 'app');
	my %topic = hold_back($old, $name);
	$old->safe_psql('postgres', 'ALTER SYSTEM SET outbox.enabled = off');
	$old->reload;
	wait_until(sub { return status($old, 'state', 'app') eq 'paused' }, 'publishing pauses', 60);
	$old->safe_psql('app',
		"SELECT outbox_emit('$topic', 'pending ' || i, 'key') FROM generate_series(1, 5) i");
	$old->safe_psql('postgres', 'CREATE DATABASE twin TEMPLATE app');
	my $identity = 'SELECT (SELECT token FROM outbox.installation), (SELECT done FROM outbox.cursor), count(*), sum(hashtextextended(e::text, 0)) FROM outbox.event e';
	my $before = $old->safe_psql('app', $identity);
	my $held_before = $old->safe_psql('held', $held);
	$old->stop('fast');

	$new->init(@init);
	$new->append_conf('postgresql.conf', slurp_file($old->data_dir . '/postgresql.conf'));
	$new->append_conf('postgresql.conf', 'port = ' . $new->port . "\n");
	chdir $folder or die $!;
	$new->command_ok(
		[
			'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir,
			'-b', $bindir, '-B', $new_bindir, '-s', $folder, '-p', $old->port, '-P', $new->port
		],
		"$name: pg_upgrade, with the library preloaded");
	chdir $here or die $!;

	$new->start;
	my @values = map { $_->{value} } $kafka->consume($topic, count => 10, timeout => 60);
	is_deeply([ @values[5 .. $#values] ], [ map { "pending $_" } 1 .. 5 ],
		"$name: what was pending is published, in order");
	wait_published($new, 'app');
	is($kafka->record_count($topic), 10, "$name: and nothing again");
	is($new->safe_psql('app', $identity) =~ s/\|[^|]*//r, $before =~ s/\|[^|]*//r,
		"$name: it is the same installation, with the same events");
	$new->safe_psql('app', "SELECT outbox_emit('$topic', 'new', 'key')");
	is(($kafka->consume($topic, count => 11))[10]{value}, 'new', "$name: new events are published");
	is( $new->safe_psql('app',
			"SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger WHERE tgname = 'route_event'"),
		'A', "$name: rows that come by SQL stay foreign");
	wait_until(sub { return status($new, 'foreign_rows', 'twin') eq '5' }, 'foreign events are counted');
	is($new->safe_psql('twin', 'SELECT outbox_adopt()'), 5, "$name: foreign events stay foreign, until adopted");
	$kafka->consume($topic, count => 16);
	wait_published($new, 'twin');
	is($kafka->record_count($topic), 16, "$name: then they are published");
	is($new->safe_psql('held', $held), $held_before, "$name: what was held back stays so");
	let_go($new, $name, %topic);
	$new->stop('fast');
	return;
}

upgrade_to('same', $bindir);
SKIP:
{
	skip 'upgrade to a newer server: OUTBOX_UPGRADE_BINDIR names none', 1
	  if !$ENV{OUTBOX_UPGRADE_BINDIR};
	upgrade_to('newer', $ENV{OUTBOX_UPGRADE_BINDIR});
}

done_testing();
