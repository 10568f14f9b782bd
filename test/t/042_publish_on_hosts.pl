
# outbox.publish_on_hosts: elsewhere events are stored, and nothing is published.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Sys::Hostname qw(hostname);
use Test::More;

my $kafka = shared_kafka();
my $topic = $kafka->create_topic('hosts', partitions => 1);
my $host = hostname();
my $node = new_node('hosts', conf => "outbox.publish_on_hosts = 'elsewhere.example, other-host'\n");
my ($stdout, $stderr);

sub set
{
	my ($value) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET outbox.publish_on_hosts = $value");
	$node->reload;
	return;
}

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');
wait_until(sub { return status($node, 'state') eq 'paused' }, 'this host does not publish');
is( status($node, q{concat_ws('|', error_class, error)}),
	"configuration|this host, $host, is not in outbox.publish_on_hosts",
	'outbox.status says why');
like(status($node, 'error_hint'), qr/add the host to outbox\.publish_on_hosts and reload/,
	'and what to do');
is(status($node, 'producer_pid'), '', 'there is no producer');
$node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'a' || i, 'key') FROM generate_series(1, 5) i");
$node->restart;
wait_until(sub { return status($node, 'state') eq 'paused' }, 'nor after a restart');
is($kafka->record_count($topic), 0, 'nothing is published');

# A reload is enough, both ways.

set("'elsewhere', '" . uc($host) . "'");
is_deeply([ map { $_->{value} } $kafka->consume($topic, count => 5) ],
	[ map { "a$_" } 1 .. 5 ], 'with this host in the list, in whatever case, all is published');
wait_published($node);
is(status($node, 'error'), '', 'there is no error any more');

set("'x$host', '${host}x'");
wait_until(sub { return status($node, 'state') eq 'paused' }, 'taken off the list, it pauses', 60);
$node->safe_psql('postgres', "SELECT outbox_emit('$topic', 'b', 'key')");
is(status($node, 'producer_pid'), '', 'its producer is gone');
is($kafka->record_count($topic), 5, 'and events wait');

# One reason replaces the other.

$node->safe_psql('postgres', 'ALTER SYSTEM SET outbox.enabled = off');
$node->reload;
wait_until(sub { return status($node, 'error') eq '' }, 'outbox.enabled = off is no error', 60);
is(status($node, 'state'), 'paused', 'but a pause');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET outbox.enabled');
$node->reload;
wait_until(sub { return status($node, 'error') =~ /publish_on_hosts/ }, 'then the host counts again', 60);
pass('the host counts again');

set('DEFAULT');
$node->reload;
wait_until(sub { return status($node, 'state') eq 'paused' }, 'postgresql.conf names other hosts', 60);
set("''");
is(scalar(() = $kafka->consume($topic, count => 6)), 6, 'an empty list means any host');
wait_published($node);
is($kafka->record_count($topic), 6, 'nothing is published twice');

# What is no list of hosts is refused.

foreach my $bad ("'a,,b'", "'a,'", "','", "'a b'", "'a;b'", "'host:5432'", "'" . 'x' x 256 . "'")
{
	$node->psql('postgres', "ALTER SYSTEM SET outbox.publish_on_hosts = $bad", stderr => \$stderr);
	like($stderr, qr/ERROR: .*invalid value for parameter "outbox\.publish_on_hosts".*DETAIL: .*host name.*HINT/s,
		"$bad is refused");
}
foreach my $statement ("SET outbox.publish_on_hosts = 'a'",
	"ALTER DATABASE postgres SET outbox.publish_on_hosts = 'a'")
{
	$node->psql('postgres', $statement, stderr => \$stderr);
	like($stderr, qr/cannot be changed now/, "refused: $statement");
}

$node->stop('fast');
done_testing();
