#!/usr/bin/perl

# Runs the examples of docs/forward.md in their order, each in a session of its
# own, in a database that has the tables they speak of; a table is forwarded by
# one example at a time.  Nothing is published: Kafka has no part in it.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('docs_forward', bootstrap => '', init => [ allows_streaming => 'logical' ]);
my $quiet = 'SET client_min_messages = error;';
my $text;
my $count = 0;

sub row
{
	my ($table, $columns) = @_;

	$node->safe_psql('shop', "INSERT INTO $table ($columns) VALUES (gen_random_uuid(), 'Order', '\"1\"', 'paid', '{}')");
	return $node->safe_psql('shop', 'SELECT count(*) FROM outbox.event');
}

$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', <<SQL);
$quiet
CREATE EXTENSION outbox;
CREATE ROLE app_owner;
CREATE TABLE outboxevent (n serial, id uuid, aggregatetype text, aggregateid text, type text, payload jsonb, published boolean DEFAULT false);
CREATE TABLE changes (n serial, entity uuid, what text, body text);
CREATE TABLE events (event_id uuid, created_at timestamptz DEFAULT clock_timestamp(), event_type text, aggregate_type text,
	aggregate_id jsonb, metadata jsonb, payload jsonb, published boolean DEFAULT false);
CREATE PUBLICATION dbz_publication FOR TABLE outboxevent, changes;
SELECT pg_create_logical_replication_slot('debezium', 'pgoutput');
SQL

foreach my $line (split /\n/, slurp_file("$ENV{OUTBOX_ROOT}/docs/forward.md"))
{
	if (!defined $text)
	{
		$text = '' if $line =~ /^\s*```sql$/;
	}
	elsif ($line !~ /^\s*```$/)
	{
		$text .= "$line\n";
	}
	else
	{
		$node->safe_psql('shop', 'SELECT outbox_unforward("table") FROM outbox.forward') if $text =~ /outbox_forward\(/;
		$node->safe_psql('shop', "$quiet DROP EXTENSION outbox CASCADE") if $text =~ /CREATE EXTENSION/;
		my ($status, undef, $errors) = $node->psql('shop', $text, on_error_stop => 1);
		my ($first) = $text =~ /^\s*(.*)/;

		is($status, 0, $first) or diag($errors);
		$count++;
		is($node->psql('shop', 'SET ROLE app_owner; TABLE outbox.forward', stderr => \$errors), 0,
			'... lets owners read the view') or diag($errors)
		  if $text =~ /SELECT ON outbox.forward/;
		if ($text =~ /take_over => true/)
		{
			my $before = $node->safe_psql('shop', 'SELECT count(*) FROM outbox.event');
			my $after = $text =~ /outboxevent/ ? row('outboxevent', 'id, aggregatetype, aggregateid, type, payload') :
			  row('events', 'event_id, aggregate_type, aggregate_id, event_type, payload');

			is($after, $before + 1, '... forwards');
		}
		undef $text;
	}
}
is($count, 13, 'all examples of the page');

$node->stop;
done_testing();
