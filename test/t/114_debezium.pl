
# Format debezium gives the records that Debezium's outbox event router was
# recorded to give (see test/debezium/README.md): topic, partition, key, value,
# headers, each byte of them.  Twice: the events as calls of outbox_emit_event,
# and as rows of a forwarded table, inserted as they were for the recording.

use strict;
use warnings;

use JSON::PP ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;

# the partition of a key is the broker's number of partitions away from another
need_real_kafka();

# For a row that is refused.
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

# Give all to each of both, then look at what has arrived.

my %topic;
foreach my $configuration (@compared)
{
	$topic{ $_->{topic} } = 1 foreach @{ $recorded{ $configuration->{name} }{records} };
}
$kafka->create_topic($_, exact => 1, partitions => 4) foreach sort keys %topic;

# Give the rows of all configurations to $give->($configuration, \@ids, \@rows, \$stderr),
# which returns the ids that it was told, and compare what arrives.  Rows that
# are refused go to it one by one.
my %seen;
sub compare
{
	my ($way, $give) = @_;
	my %expected;

	foreach my $configuration (@compared)
	{
		my $name = $configuration->{name};
		my %record = map { ($_->{row} => $_) } @{ $recorded{$name}{records} };
		my (@accepted, @ids);

		foreach my $row (@{ $configuration->{rows} })
		{
			my $record = $record{ $row->{row} };

			if (defined $row->{refused})
			{
				my $says = $recorded{$name}{failed} // "a record in $record->{topic}";

				$give->($configuration, [NO_ID], [$row], \my $stderr);
				like($stderr, qr/$row->{refused}/, "$way, $name, $row->{row}: refused; of Debezium: $says");
				next;
			}
			push @accepted, $row;
			push @ids, $record->{id};
			$expected{ $record->{id} } = [ "$way, $name, $row->{row}", $record ];
		}
		next if !@ids;
		is($give->($configuration, \@ids, \@accepted, \my $stderr), join("\n", @ids),
			"$way, $name: the ids are returned");
	}

	my $count = keys(%seen) + keys(%expected);
	foreach my $record ($kafka->consume([ sort keys %topic ], count => $count, timeout => 60))
	{
		next if $seen{"$record->{topic} $record->{partition} $record->{offset}"}++;
		my ($what, $wanted) = @{ delete $expected{ $record->{id} } // [ "$way, unexpected: $record->{id}", {} ] };
		my %got = (%$record, row => $wanted->{row});

		# what was not recorded may be anything: a time, the partition without a key
		delete @got{ grep { !exists $wanted->{$_} } keys %got };
		is_deeply(\%got, $wanted, $what);
	}
	is_deeply([ map { $_->[0] } values %expected ], [], "$way: all have arrived");
	return;
}

compare('outbox_emit_event',
	sub {
		my ($configuration, $ids, $rows, $stderr) = @_;
		my $i = 0;
		my $calls = join ";\n", map { call($configuration, $_, $ids->[ $i++ ]) } @$rows;

		$node->psql('postgres', settings($configuration) . $calls, stdout => \my $stdout, stderr => $stderr);
		return $stdout;
	});

# The same rows in a table like that of the recording; what a call casts, it
# forwards as it is.
compare('outbox_forward',
	sub {
		my ($configuration, $ids, $rows, $stderr) = @_;
		my %column = (%{ $cases->{defaults}{columns} }, %{ $configuration->{columns} // {} });
		my $time = $configuration->{timestamp};
		my @more = sort grep { !$usual{$_} && $_ ne ($time // '') } keys %column;
		my $table = 'outbox_' . ($configuration->{name} =~ tr/-/_/r);
		my $sql = settings($configuration);

		$sql .= sprintf "DROP TABLE IF EXISTS %s;\nCREATE TABLE %s (%s);\n", $table, $table,
		  join ', ', map { qq{"$_" $column{$_}} } sort keys %column;
		$sql .= "SET client_min_messages = warning;\nDO \$\$BEGIN PERFORM outbox_forward('$table'"
		  . (@more ? ", headers => '{" . join(',', @more) . "}'" : '') . "); END\$\$;\n";
		foreach my $i (0 .. $#$rows)
		{
			my %row = (%{ $cases->{defaults}{row} }, %{ $rows->[$i] }, id => "'$ids->[$i]'");
			my @columns = grep { exists $row{$_} } sort keys %column;

			$sql .= sprintf "INSERT INTO %s (%s) VALUES (%s) RETURNING id;\n", $table,
			  join(', ', map { qq{"$_"} } @columns), join(', ', map { value($row{$_}, $column{$_}) } @columns);
			$sql .= "$_;\n"
			  foreach map { s/%t/$table/gr =~ s/%i/'$ids->[$i]'/gr } @{ $rows->[$i]{then} // [] };
		}
		utf8::encode($sql);
		$node->psql('postgres', $sql, stdout => \my $stdout, stderr => $stderr);
		return $stdout;
	});

done_testing();
