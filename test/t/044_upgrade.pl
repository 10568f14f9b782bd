
# pg_upgrade: events that waited in the old cluster are published by the new
# one, each once, and nothing has to be done for it.
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

my $kafka = shared_kafka();
my $bindir = `pg_config --bindir`;
chomp $bindir;

sub upgrade_to
{
	my ($name, $new_bindir) = @_;
	my $topic = $kafka->create_topic("upgrade-$name", partitions => 1);
	my $old = new_node("old_$name");
	my $new = PostgreSQL::Test::Cluster->new("new_$name",
		$new_bindir eq $bindir ? () : (install_path => $new_bindir =~ s{/bin$}{}r));
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $here = getcwd();

	# The source database publishes some; the twin of it has foreign events.
	$old->safe_psql('postgres', 'CREATE DATABASE app');
	$old->safe_psql('app', 'CREATE EXTENSION outbox');
	$old->safe_psql('app',
		"SELECT outbox_emit('$topic', 'published ' || i, 'key') FROM generate_series(1, 5) i");
	$kafka->consume($topic, count => 5);
	wait_published($old, 'app');
	$old->safe_psql('postgres', 'ALTER SYSTEM SET outbox.enabled = off');
	$old->reload;
	wait_until(sub { return status($old, 'state', 'app') eq 'paused' }, 'publishing pauses', 60);
	$old->safe_psql('app',
		"SELECT outbox_emit('$topic', 'pending ' || i, 'key') FROM generate_series(1, 5) i");
	$old->safe_psql('postgres', 'CREATE DATABASE twin TEMPLATE app');
	my $identity = 'SELECT (SELECT token FROM outbox.installation), (SELECT done FROM outbox.cursor), count(*), sum(hashtextextended(e::text, 0)) FROM outbox.event e';
	my $before = $old->safe_psql('app', $identity);
	$old->stop('fast');

	$new->init;
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
