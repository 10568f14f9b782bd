
# Records of formats cloudevents-binary and cloudevents-structured, as they are
# and as CloudEvents' own SDKs for Python and Java read them.

use strict;
use warnings;
use utf8;

use Encode ();
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local ();

need_real_kafka();

my $folder = "$ENV{OUTBOX_ROOT}/test/cloudevents";
my $json = JSON::PP->new->allow_nonref;
my %mode = ('cloudevents-binary' => 'binary', 'cloudevents-structured' => 'structured');
my $kafka = shared_kafka();
my $node = new_node('cloudevents');
$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

# Each case: the arguments behind aggregate type, id and event type (and those, if
# they are not order, 1 and OrderPaid); the attributes that are not as usual
# (undef: not there); and the data: raw, its bytes; json, true if it is JSON;
# bytes, true if the payload is bytea.  And headers, those beside the event's own;
# key, if it is not that of the attributes; refused_by_java and refused_by_python,
# modes in which these SDKs do not read it.

my $time = q{"timestamp" => '2020-02-03 04:05:06.789012+00'};
my $micros = 1580702706789012;
my $id = '01907c2e-1f4b-7c3a-9d55-0f6c1b1e2a77';
my $trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

my @cases = (
	{ name => 'defaults', arguments => q{'{"id":1,"paid":true}'::jsonb},
		raw => '{"id": 1, "paid": true}', json => 1 },
	{ name => 'nested, unicode', arguments => q{'{"é":["你好","😀",{"a":null}],"\u2028":"\"\\\\"}'::json},
		raw => q({"é":["你好","😀",{"a":null}],"\u2028":"\"\\\\"}), json => 1 },
	{ name => 'numbers', arguments => q{'[2.50, 1e3, -0.1, 9007199254740993, 0]'::json},
		raw => '[2.50, 1e3, -0.1, 9007199254740993, 0]', json => 1 },
	{ name => 'text that is JSON', arguments => qq{E' {\\n "a" : 1 } '}, raw => qq( {\n "a" : 1 } ), json => 1 },
	{ name => 'JSON string', arguments => q{'"a string"'::jsonb}, raw => '"a string"', json => 1 },
	{ name => 'JSON false', arguments => q{'false'::jsonb}, raw => 'false', json => 1 },
	{ name => 'JSON null', arguments => q{'null'::jsonb}, raw => 'null', json => 1 },
	{ name => 'row', arguments => q{x}, from => q{ FROM (VALUES (1, 'é')) AS x (number, name)},
		raw => '{"number":1,"name":"é"}', json => 1 },
	{ name => 'no data', arguments => 'NULL', raw => undef, attributes => { datacontenttype => undef } },
	{ name => 'no data, but its type', arguments => q{NULL, datacontenttype => 'application/json'}, raw => undef },
	{ name => 'bytes', arguments => q{'\x0001feff00'::bytea}, raw => "\x00\x01\xfe\xff\x00", bytes => 1,
		attributes => { datacontenttype => 'application/octet-stream' } },
	{ name => 'bytes that are UTF-8', arguments => q{convert_to('é 😀', 'UTF8')}, raw => utf8('é 😀'), bytes => 1,
		attributes => { datacontenttype => 'application/octet-stream' } },
	{ name => 'bytes of a registered schema',
		arguments => q{'\x000000002a0206'::bytea, datacontenttype => 'application/vnd.apache.avro+binary'},
		raw => "\0\0\0\0\x2a\x02\x06", bytes => 1,
		attributes => { datacontenttype => 'application/vnd.apache.avro+binary' } },
	{ name => 'no bytes', arguments => q{''::bytea}, raw => '', bytes => 1,
		attributes => { datacontenttype => 'application/octet-stream' } },
	{ name => 'plain text', arguments => qq{E'paid, 5 €\\n"quoted" \\\\ 😀', datacontenttype => 'text/plain; charset=utf-8'},
		raw => qq(paid, 5 €\n"quoted" \\ 😀), attributes => { datacontenttype => 'text/plain; charset=utf-8' } },
	{ name => 'text like a number', arguments => q{'0012', datacontenttype => 'text/plain'}, raw => '0012',
		attributes => { datacontenttype => 'text/plain' } },
	{ name => 'XML', arguments => q{'<a b="c">é</a>', datacontenttype => 'application/xml'}, raw => '<a b="c">é</a>',
		attributes => { datacontenttype => 'application/xml' } },
	{ name => 'a type of JSON', arguments => q{'{"a":1}', datacontenttype => 'application/hal+json'},
		raw => '{"a":1}', json => 1, attributes => { datacontenttype => 'application/hal+json' } },
	{ name => 'a type of JSON with a parameter', arguments => q{'{"a":1}', datacontenttype => 'application/json; charset=utf-8'},
		raw => '{"a":1}', json => 1, attributes => { datacontenttype => 'application/json; charset=utf-8' } },
	# this SDK sees JSON only in letters before the plus
	{ name => 'a type of JSON with dots', arguments => q{'{"a":1}', datacontenttype => 'application/vnd.shop.order+json'},
		raw => '{"a":1}', json => 1, attributes => { datacontenttype => 'application/vnd.shop.order+json' },
		refused_by_java => [ 'structured' ] },
	{ name => 'all attributes',
		arguments => qq{'{}'::jsonb, event_id => '$id', $time, subject => 'lines/7 é', }
		  . q{dataschema => 'https://schemas.example.com/order-v1.json', source => '//shop.example.com/orders?x=%20'},
		raw => '{}', json => 1,
		attributes => { id => $id, time => $micros, subject => 'lines/7 é',
			dataschema => 'https://schemas.example.com/order-v1.json', source => '//shop.example.com/orders?x=%20' } },
	{ name => 'extensions',
		arguments => q{'{}'::jsonb, extensions => '{"tenant": "é 1", "attempt": 3, "urgent": true, "a0": "", "low": -2147483648}'},
		raw => '{}', json => 1,
		attributes => { tenant => 'é 1', attempt => 3, urgent => JSON::PP::true, a0 => '', low => -2147483648 } },
	{ name => 'trace context', arguments => qq{'{}'::jsonb, traceparent => '$trace', tracestate => 'vendor=a:b,other=1'},
		raw => '{}', json => 1, attributes => { traceparent => $trace, tracestate => 'vendor=a:b,other=1' } },
	{ name => 'trace context of the session', arguments => q{'{}'::jsonb}, before => "SET LOCAL outbox.traceparent = '$trace';",
		raw => '{}', json => 1, attributes => { traceparent => $trace } },
	{ name => 'plain trace id', arguments => q{'{}'::jsonb, trace_id => 'request-17'},
		raw => '{}', json => 1, attributes => { traceid => 'request-17' } },
	{ name => 'source by a setting', arguments => q{'{}'::jsonb}, before => q{SET LOCAL outbox.cloudevents_source = '/shop/{database}/{aggregate_type}';},
		of => q{'Order Item é', '1', 'OrderPaid'}, raw => '{}', json => 1,
		attributes => { source => '/shop/postgres/Order%20Item%20%C3%A9' } },
	{ name => 'without a key', of => q{'order', NULL::text, 'OrderPaid'}, arguments => q{'{}'::jsonb},
		raw => '{}', json => 1, attributes => { subject => undef, partitionkey => undef } },
	{ name => 'integer key', of => q{'order', 42, 'OrderPaid'}, arguments => q{'{}'::jsonb},
		raw => '{}', json => 1, attributes => { subject => '42', partitionkey => '42' } },
	{ name => 'unicode in key and type', of => q{'order', 'é/你 "😀"', 'commandé payée'}, arguments => q{'{}'::jsonb},
		raw => '{}', json => 1,
		attributes => { type => 'commandé payée', subject => 'é/你 "😀"', partitionkey => 'é/你 "😀"' } },
	{ name => 'metadata', arguments => q{'{}'::jsonb, metadata => '{"n": 1, "actor": "é", "Region": "eu"}'},
		raw => '{}', json => 1, headers => [ [ 'n', '1' ], [ 'actor', 'é' ], [ 'Region', 'eu' ] ] },
	# the SDK for Python takes every header and key for text
	{ name => 'metadata that is no text', arguments => q{'{}'::jsonb, metadata => '{"raw": {"base64": "AP8="}}'},
		raw => '{}', json => 1, headers => [ [ 'raw', { base64 => 'AP8=' } ] ], refused_by_python => [ 'binary' ] },
	# nor can it read a header without a value
	{ name => 'metadata that is null', arguments => q{'{}'::jsonb, metadata => '{"none": null, "some": [null, "x"]}'},
		raw => '{}', json => 1, headers => [ [ 'some', 'x' ] ] },
	{ name => 'key that is no text', of => q{'order', '\x00ff'::bytea, 'OrderPaid'}, arguments => q{'{}'::jsonb},
		raw => '{}', json => 1, key => { base64 => 'AP8=' }, attributes => { subject => undef, partitionkey => undef },
		refused_by_python => [ 'binary', 'structured' ] });

sub utf8 { my ($text) = @_; utf8::encode($text); return $text; }
sub base64 { return MIME::Base64::encode_base64($_[0], ''); }

# The bytes of data: they are written in the table above as text, unless bytes.
sub raw
{
	my ($case) = @_;

	return !defined $case->{raw} || $case->{bytes} ? $case->{raw} : utf8($case->{raw});
}

sub wanted_attributes
{
	my ($case) = @_;
	my %attributes = (specversion => '1.0', source => '/postgres', type => 'OrderPaid', subject => '1',
		partitionkey => '1', datacontenttype => 'application/json', id => $case->{id}, time => $case->{time},
		%{ $case->{attributes} // {} });

	return { map { ($_ => $attributes{$_}) } grep { defined $attributes{$_} } keys %attributes };
}

# Attributes as an SDK gives them; in binary mode all of them are text.
sub as_text
{
	my ($attributes) = @_;

	return { map { ($_ => JSON::PP::is_bool($attributes->{$_}) ? ($attributes->{$_} ? 'true' : 'false')
			  : "$attributes->{$_}") } keys %$attributes };
}

# What JSON says, whichever way a number is written: 2.50 is 2.5 to consumers.
sub plain
{
	my ($data) = @_;

	return ref $data eq 'ARRAY' ? [ map { plain($_) } @$data ]
	  : ref $data eq 'HASH' ? { map { ($_ => plain($data->{$_})) } keys %$data }
	  : JSON::PP::is_bool($data) ? ($data ? 'true' : 'false')
	  : defined $data && $data =~ /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/ ? $data + 0
	  : $data;
}

# The folder of an SDK, which test/env/drivers has fetched; undefined if it could not.
sub libraries
{
	my ($language) = @_;

	chomp(my $path = `bash -c '. "$ENV{OUTBOX_ROOT}/test/env/common.sh" && driver_folder $language'`);
	return -e "$path/complete" ? "$path/lib" : undef;
}

# Emit each case in both modes.

my (%topic, %records);
foreach my $format (sort keys %mode)
{
	$topic{$format} = $kafka->create_topic($mode{$format}, partitions => 1);
	my @calls = map {
		my $of = $_->{of} // q{'order', '1', 'OrderPaid'};

		sprintf("BEGIN; %s SELECT outbox_emit_event(%s, %s, format => '%s', topic => '%s')%s; COMMIT;\n",
			$_->{before} // '', $of, $_->{arguments}, $format, $topic{$format}, $_->{from} // '')
	} @cases;
	my @uids = split /\n/, $node->safe_psql('postgres', utf8(join '', @calls));

	$cases[$_]{uid}{$format} = $uids[$_] foreach 0 .. $#cases;
	$records{$format} = [ $kafka->consume($topic{$format}, count => scalar @cases) ];
	is(scalar @{ $records{$format} }, scalar @cases, "$format: as many records as events");
}

# As they are: headers, and the value.

sub value_of { return ref $_[0] ? MIME::Base64::decode_base64($_[0]{base64}) : defined $_[0] ? utf8($_[0]) : undef; }

foreach my $index (0 .. $#cases)
{
	my $case = $cases[$index];
	my @more = @{ $case->{headers} // [] };

	foreach my $format (sort keys %mode)
	{
		my $record = $records{$format}[$index];
		my $name = "$format, $case->{name}";
		my ($first, @headers) = @{ $record->{headers} };

		$case->{id} = $case->{attributes}{id} // $case->{uid}{$format};
		is_deeply($first, [ 'id', $case->{id} ], "$name: the first header is the id");
		is($case->{uid}{$format}, $case->{id}, "$name: which the call returned");
		is_deeply([ splice(@headers, @headers - @more) ], \@more, "$name: metadata are the last headers");
		is_deeply($record->{key}, $case->{key} // wanted_attributes($case)->{partitionkey}, "$name: the key");
		if ($mode{$format} eq 'binary')
		{
			my %header = map { @$_ } @headers;
			my $written = delete $header{ce_time};
			my %wanted = %{ as_text(wanted_attributes({ %$case, time => 0 })) };
			my $type = delete $wanted{datacontenttype};

			delete $wanted{time};
			%wanted = map { ("ce_$_" => $wanted{$_}) } keys %wanted;
			$wanted{'content-type'} = $type if defined $type;
			is_deeply(\%header, \%wanted, "$name: a header for each attribute");
			is(scalar @headers, 1 + scalar keys %wanted, "$name: each once");
			like($written, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, "$name: the time");
			is(value_of($record->{value}), raw($case), "$name: the data is the value");
		}
		else
		{
			my $document = $json->decode($record->{value} // 'null');
			my $raw = raw($case);
			my %data = !defined $raw ? () : $case->{bytes} ? (data_base64 => base64($raw))
			  : (data => $case->{json} ? $json->decode($case->{raw}) : $case->{raw});
			my %wanted = (%{ wanted_attributes({ %$case, time => 0 }) }, %data);

			like(delete $document->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, "$name: the time");
			delete $wanted{time};
			is_deeply(\@headers, [ [ 'content-type', 'application/cloudevents+json; charset=UTF-8' ] ],
				"$name: the only other header is the content type");
			is_deeply($document, \%wanted, "$name: the value is the event");
			like($record->{value}, qr/"data":\Q$case->{raw}\E/, "$name: JSON is in it as it was written")
			  if $case->{json};
		}
	}
}

# What a record says of its own time, in microseconds.
sub written_time
{
	my ($format, $record) = @_;
	my %header = map { @$_ } @{ $record->{headers} };
	my $written = $mode{$format} eq 'binary' ? $header{ce_time} : $json->decode($record->{value})->{time};

	my ($year, $month, $day, $hour, $minute, $second, $micros) = $written =~ /(\d+)/g;

	return Time::Local::timegm($second, $minute, $hour, $day, $month - 1, $year) * 1_000_000 + $micros;
}

# Whether the SDK's attributes and data are those of the case.
sub check
{
	my ($name, $format, $index, $got, $data, $data_wanted) = @_;
	my $case = $cases[$index];
	my $record = $records{$format}[$index];
	my $wanted;

	$case->{id} = $case->{attributes}{id} // $case->{uid}{$format};
	$case->{time} = $case->{attributes}{time} // written_time($format, $record);
	$wanted = wanted_attributes($case);
	ok(!defined $got->{error}, "$name: is read") or diag($got->{error});
	is_deeply(as_text($got->{attributes} // {}), as_text($wanted), "$name: the attributes");
	is_deeply($data, $data_wanted, "$name: the data");
	return;
}

sub lines
{
	my @command = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err) or diag($err);
	return map { $json->decode(Encode::decode('UTF-8', $_)) } split /\n/, $out;
}

# The SDK for Python: its two interfaces, the present one also where it finds out
# the mode by itself.

SKIP:
{
	my $libraries = libraries('python') or skip("CloudEvents' SDK for Python could not be fetched", 1);
	local $ENV{PYTHONPATH} = $libraries;

	foreach my $format (sort keys %mode)
	{
		my @lines = lines($ENV{OUTBOX_PYTHON}, "$folder/read_cloudevents.py", $kafka->bootstrap,
			$topic{$format}, scalar @cases, $mode{$format});

		is(scalar @lines, scalar @cases, "Python, $format: as many as there are");
		foreach my $line (@lines)
		{
			my $case = $cases[ $line->{offset} ];
			my $raw = raw($case);
			my ($wanted, %old);

			if (grep { $_ eq $mode{$format} } @{ $case->{refused_by_python} // [] })
			{
				like($line->{told}{error}, qr/decode/, "Python, $format, $case->{name}: not read");
				next;
			}
			# to this SDK empty data in binary mode is none, and bytes are text if they can be
			$wanted = !defined $raw ? undef
			  : $case->{json} ? { value => plain($json->decode($case->{raw})) }
			  : $case->{bytes} && ($mode{$format} eq 'structured' || $raw =~ /[\xf8-\xff]/) ? { base64 => base64($raw) }
			  : { value => Encode::decode('UTF-8', $raw) };
			$wanted = undef if $wanted && exists $wanted->{value} && (!defined $wanted->{value} || $raw eq '');
			foreach my $way (qw(detected told))
			{
				my $data = $line->{$way}{data};

				$data = { value => plain($data->{value}) } if $case->{json} && $data;
				check("Python, $format, $case->{name}, mode $way", $format, $line->{offset}, $line->{$way}, $data, $wanted);
			}

			next if $case->{refused_by_python};

			# the older interface leaves data as it is; in structured mode it takes
			# all headers for attributes, and the content type for that of the data
			%old = %{ $line->{old}{attributes} // {} };
			if ($mode{$format} eq 'structured')
			{
				$wanted = !defined $raw ? undef : $case->{bytes} ? { base64 => base64($raw) }
				  : { value => $case->{json} ? plain($json->decode($case->{raw})) : $case->{raw} };
				delete $old{ lc $_->[0] } foreach @{ $case->{headers} // [] };
				$old{datacontenttype} = wanted_attributes($case)->{datacontenttype};
				delete $old{datacontenttype} if !defined $old{datacontenttype};
				$wanted = undef if $wanted && exists $wanted->{value} && !defined $wanted->{value};
			}
			else
			{
				$wanted = defined $raw ? { base64 => base64($raw) } : undef;
			}
			my $data = $line->{old}{data};
			$data = { value => plain($data->{value}) }
			  if $case->{json} && $data && exists $data->{value};
			check("Python, $format, $case->{name}, older interface", $format, $line->{offset},
				{ %{ $line->{old} }, attributes => \%old }, $data, $wanted);
		}
	}
}

# The SDK for Java: the deserializer, as a consumer is given it.

SKIP:
{
	my $libraries = libraries('java') or skip("CloudEvents' SDK for Java could not be fetched", 1);
	`"$ENV{OUTBOX_JAVA}" --list-modules` =~ /^jdk\.compiler\b/m or skip("Java has no compiler here", 1);

	# one start for both: most of its time is the compiler's and the JVM's
	my @all = lines($ENV{OUTBOX_JAVA}, '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Dfile.encoding=UTF-8',
		'-Dstdout.encoding=UTF-8', '-cp', "$libraries/*", "$folder/ReadCloudEvents.java",
		$kafka->bootstrap, scalar @cases, map { $topic{$_} } sort keys %mode);

	foreach my $format (sort keys %mode)
	{
		my @lines = grep { $_->{topic} eq $topic{$format} } @all;

		is(scalar @lines, scalar @cases, "Java, $format: as many as there are");
		foreach my $line (@lines)
		{
			my $case = $cases[ $line->{offset} ];
			my ($data, $wanted) = ($line->{data}, raw($case));

			# to this SDK, too, empty data in binary mode is none
			$wanted = undef if defined $wanted && $wanted eq '' && $mode{$format} eq 'binary';
			if (grep { $_ eq $mode{$format} } @{ $case->{refused_by_java} // [] })
			{
				like($line->{error}, qr/content type is not a json/, "Java, $format, $case->{name}: not read");
				next;
			}
			$data = MIME::Base64::decode_base64($data) if defined $data;
			if ($mode{$format} eq 'structured' && $case->{json})
			{
				$data = plain($json->decode(Encode::decode('UTF-8', $data))) if defined $data;
				$wanted = plain($json->decode($case->{raw}));
			}
			check("Java, $format, $case->{name}", $format, $line->{offset}, $line, $data, $wanted);
			is(lc($line->{mode} // ''), $mode{$format}, "Java, $format, $case->{name}: the mode");
			is(!!$line->{tombstone}, !defined $records{$format}[ $line->{offset} ]{value},
				"Java, $format, $case->{name}: by the deserializer, unless the value is null");
		}
	}
}

done_testing();
