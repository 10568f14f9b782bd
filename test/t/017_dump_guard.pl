
# A dump that would silently hold no events is refused.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('dump', bootstrap => '');
my @dump = ('pg_dump', '-d', $node->connstr('postgres'));
my ($stdout, $stderr);

$node->safe_psql('postgres', 'CREATE EXTENSION outbox');
$node->safe_psql('postgres', "SELECT outbox_emit('topic', 'payload-of-the-event')");

($stdout, $stderr) = run_command(\@dump);
is($stderr, '', 'a plain dump works');
is(scalar(() = $stdout =~ /^COPY outbox\.event /mg), 1, 'and holds one COPY of the events');
like($stdout, qr/\ttopic\t.*\\\\x7061796c6f61642d6f662d7468652d6576656e74$/m, 'with the event');

foreach my $option ('--inserts', '--column-inserts', '--rows-per-insert=10')
{
	($stdout, $stderr) = run_command([ @dump, $option ]);
	like($stderr, qr/events cannot be dumped as INSERT commands/, "$option is refused");
	($stdout, $stderr) = run_command([ @dump, $option, '--exclude-table-data=outbox.event*' ]);
	is($stderr, '', "$option works without the events");
}

is($node->safe_psql('postgres', 'SELECT outbox_dump_guard()'), 't', 'the guard lets others pass');
is($node->safe_psql('postgres', 'SELECT outbox_dump_guard() FROM ONLY outbox.event_0 LIMIT 1'),
	't', 'a segment is not its parent');

$node->stop('fast');
done_testing();
