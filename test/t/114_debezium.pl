
# Format debezium gives the records that Debezium's outbox event router was
# recorded to give (see test/debezium/README.md): topic, partition, key, value,
# headers, each byte of them.

use strict;
use warnings;

use JSON::PP ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

# the partition of a key is the broker's number of partitions away from another
need_real_kafka();

# For a call that fails.
use constant NO_ID => '00000000-0000-4000-8000-000000000000';

my $folder = "$ENV{OUTBOX_ROOT}/test/debezium";
my $cases = JSON::PP::decode_json(slurp_file("$folder/cases.json"));
my $recording = JSON::PP::decode_json(slurp_file("$folder/recorded.json"));
my %recorded = map { ($_->{name} => $_) } @{ $recording->{configurations} };
my %usual = map { ($_ => 1) } keys %{ $cases->{defaults}{columns} };

# topics have the names that were recorded, so nobody else may have them
my $kafka = own_kafka();
my $node = new_node('debezium', kafka => $kafka);
$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# A literal of a column, and what it is cast to besides.
sub value
{
	my ($literal, $type, $as) = @_;
	my $value = "CAST($literal AS " . ($type =~ s/ NOT NULL.*//r) . ')';

	return defined $as ? "CAST($value AS $as)" : $value;
}

# The call that stands for the row of an outbox table.
sub call
{
	my ($configuration, $given, $id) = @_;
	my %column = (%{ $cases->{defaults}{columns} }, %{ $configuration->{columns} // {} });
	my %row = (%{ $cases->{defaults}{row} }, %$given);
	my $time = $configuration->{timestamp};
	my @more = sort grep { !$usual{$_} && $_ ne ($time // '') } keys %column;
	my %value = map { ($_ => value($row{$_} // 'NULL', $column{$_}, $row{as}{$_})) } keys %column;
	my @arguments = (
		$value{aggregatetype}, $value{aggregateid}, $value{type}, $value{payload},
		"format => 'debezium'", "event_id => '$id'");

	push @arguments, 'metadata => jsonb_build_object(' . join(', ', map { "'$_', $value{$_}" } @more) . ')'
	  if @more;
	push @arguments, qq{"timestamp" => $value{$time} AT TIME ZONE 'UTC'} if defined $time;
	my $sql = 'SELECT outbox_emit_event(' . join(', ', @arguments) . ')';
	utf8::encode($sql);
	return $sql;
}

sub settings
{
	my ($configuration) = @_;
	my $settings = $configuration->{settings} // {};

	return join '', map { "SET $_ = '$settings->{$_}';\n" } sort keys %$settings;
}

# Both files were made for each other.

my @compared = grep { !exists $_->{compare} } @{ $cases->{configurations} };
foreach my $configuration (@{ $cases->{configurations} })
{
	my $name = $configuration->{name};
	my $recorded = $recorded{$name} // { records => [] };

	is_deeply(
		[ map { $_->{row} } @{ $recorded->{records} } ],
		[ defined $recorded->{failed} ? () : map { $_->{row} } @{ $configuration->{rows} } ],
		"$name: each row was recorded; if not: make record-debezium");
}

# Emit all, then look at what has arrived.

my (%topic, %expected);
foreach my $configuration (@compared)
{
	$topic{ $_->{topic} } = 1 foreach @{ $recorded{ $configuration->{name} }{records} };
}
$kafka->create_topic($_, exact => 1, partitions => 4) foreach sort keys %topic;

foreach my $configuration (@compared)
{
	my $name = $configuration->{name};
	my %record = map { ($_->{row} => $_) } @{ $recorded{$name}{records} };
	my $settings = settings($configuration);
	my ($sql, @ids) = ($settings);

	foreach my $row (@{ $configuration->{rows} })
	{
		my $record = $record{ $row->{row} };

		if (defined $row->{refused})
		{
			my $says = $recorded{$name}{failed} // "a record in $record->{topic}";

			$node->psql('postgres', $settings . call($configuration, $row, NO_ID), stderr => \my $stderr);
			like($stderr, qr/$row->{refused}/, "$name, $row->{row}: refused; of Debezium: $says");
			next;
		}
		push @ids, $record->{id};
		$expected{ $record->{id} } = [ "$name, $row->{row}", $record ];
		$sql .= call($configuration, $row, $record->{id}) . ";\n";
	}
	next if !@ids;
	is($node->safe_psql('postgres', $sql), join("\n", @ids), "$name: the calls return the ids");
}

my @arrived = $kafka->consume([ sort keys %topic ], count => scalar keys %expected, timeout => 60);
foreach my $record (@arrived)
{
	my ($what, $wanted) = @{ delete $expected{ $record->{id} } // [ "unexpected: $record->{id}", {} ] };
	my %got = (%$record, row => $wanted->{row});

	# what was not recorded may be anything: a time, the partition without a key
	delete @got{ grep { !exists $wanted->{$_} } keys %got };
	is_deeply(\%got, $wanted, $what);
}
is_deeply([ map { $_->[0] } values %expected ], [], 'all have arrived');

done_testing();
