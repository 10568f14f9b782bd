#!/usr/bin/perl

# Runs the examples of docs/capture.md in their order: the blocks marked sql are
# one session's, and each block marked json is what they have emitted since the
# one before.  Nothing is published: Kafka has no part in it.

use strict;
use warnings;

use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('docs_capture', bootstrap => '');
my ($language, $text);
my $compared = 0;
my $seen = -1;

$node->safe_psql('postgres', "SET client_min_messages = error; CREATE EXTENSION outbox");
foreach my $line (split /\n/, slurp_file("$ENV{OUTBOX_ROOT}/docs/capture.md"))
{
	if (!defined $language)
	{
		($language, $text) = ($1, '') if $line =~ /^```(\w*)$/;
	}
	elsif ($line ne '```')
	{
		$text .= "$line\n";
	}
	else
	{
		if ($language eq 'sql')
		{
			my ($status, undef, $errors) = $node->psql('postgres', $text, on_error_stop => 1);

			is($status, 0, (split /\n/, $text)[0]) or diag($errors);
			is($node->psql('postgres', 'SET ROLE shop; TABLE outbox.capture', stderr => \$errors), 0,
				'... lets others read the view') or diag($errors)
			  if $text =~ /SELECT ON outbox.capture/;
		}
		elsif ($language eq 'json')
		{
			my $topic = ++$compared == 1 ? 'customers' : 'credit_changes';

			is( $node->safe_psql('postgres',
					"SELECT convert_from(payload, 'UTF8') FROM outbox.event WHERE topic = '$topic' AND id > $seen ORDER BY id") . "\n",
				$text, "events of $topic");
			$seen = $node->safe_psql('postgres', 'SELECT max(id) FROM outbox.event');
		}
		undef $language;
	}
}
is($compared, 2, 'the page shows events');

$node->stop;
done_testing();
