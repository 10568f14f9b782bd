
=pod

=head1 NAME

FaultMatrix - rows of the fault matrix: a fault under load, counted at a consumer

=head1 SYNOPSIS

  use OutboxTest;
  use FaultMatrix;

  my $matrix = FaultMatrix->new($node, $kafka);

  $matrix->row('kill -9 of the producer',
	sub { kill('KILL', status($node, 'producer_pid')); },
	repeats => ON_ITS_WAY);

  $matrix->row('producer stopped for %d s',
	sub { ...; sleep fault_seconds(4, 30); ... },
	seconds => fault_seconds(4, 30));

  $matrix->not_run('disk full', 'a tmpfs cannot be mounted here');

=head1 DESCRIPTION

A row starts a steady load from several clients on topics of its own, lets the
fault happen in the middle of it, keeps the load up until a while after the
fault is over, waits until the server says that all is published, and holds
Kafka against what was committed.  It is one TAP test: nothing lost, nothing
made up, no key out of order, no more repeated than the row allows, no emitter
kept waiting, publishing resumed in time.  What was measured is noted, and
appended to the file that test/run prints as one table.

Every event has a number among those of its key, taken under the lock of the
key's row, and is written down by the transaction that emits it; see load.py.

The rows of C<make test> are short; OUTBOX_FAULTS asks for the full ones.

=cut

package FaultMatrix;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(full_faults fault_seconds CRASH ON_ITS_WAY);

# What a crash of the server may repeat beside what was on its way: progress is
# stored asynchronously, and durable after 3 times wal_writer_delay, 0.6 s; 0.4 s
# more are for a machine that is busy.
use constant CRASH => [ 1.0, 'acknowledged in the last second before a crash, or on its way' ];

# What the death of a producer may repeat: what it had sent, and what the broker
# had appended and it had not reported, for as long as a busy machine takes.
use constant ON_ITS_WAY => [ 0.5, 'on its way to Kafka, or its acknowledgement on the way back' ];

# Longer than any emit may take, in milliseconds: shorter than every fault that
# lasts, so that an emitter that waits for its end shows.
use constant SLOW_EMIT => 3000;

# Whether the rows take as long as they are meant to.
sub full_faults { return $ENV{OUTBOX_FAULTS} ? 1 : 0; }

# How long a fault lasts, in seconds: in "make test", and in "make test-faults".
sub fault_seconds
{
	my ($short, $full) = @_;

	return full_faults() ? $full : $short;
}

# Rows about a server and a broker.  Options:
#	dbname		the database (default postgres)
#	load		more for start_load, for all rows
sub new
{
	my ($class, $node, $kafka, %opt) = @_;

	return bless { node => $node, kafka => $kafka, dbname => $opt{dbname} // 'postgres',
		load => $opt{load} // {} }, $class;
}

# Run a row.  The fault is over when $fault->($self) returns, unless it has said
# so by $self->over.  Options:
#	repeats		[seconds, reason]: events may be repeated that Kafka first had
#				no longer than this before the fault began (default: none may)
#	times		how often each of them (default 1)
#	slowest		milliseconds that an emit may take, beside what pause_load kept it;
#				undef: any (default SLOW_EMIT)
#	resumes		seconds after its end when publishing must have resumed, or code
#				that returns them when the fault is over (default 30)
#	limit		seconds until all must have arrived (default 120)
#	ahead		seconds for which the load goes on before the fault (default 0.7)
#	after		seconds for which the load goes on after the fault (default 1.5)
#	before		runs before the load starts
#	behind		runs when the load is over, before all must have arrived
#	discarded	true: what is discarded must not arrive, all else must
#	verify		runs when all is published; returns more options for verify
#	moves		true: keys may move to another partition; their order is that
#				within each
#	errors		SQLSTATEs, or classes of them, that clients go on after (a list
#				with commas; default: deadlocks and the like)
#	load		more for start_load
#	remark		text of the row in the table, or code that returns it
#	promised_not	[kind, reason], of lost, phantom and out_of_order: counted and
#				shown, but no failure
# Returns the counts, with the totals of the load as "load".
sub row
{
	my ($self, $name, $fault, %opt) = @_;
	my ($window, $reason) = @{ $opt{repeats} // [] };
	my @topics = map { $self->topic("row$_") } 1 .. 2;
	my $counts;

	$self->{topics} = \@topics;
	$opt{before}->($self) if $opt{before};
	my $load = $self->{running} = start_load($self->{node}, topics => \@topics, clients => 6, keys => 40,
		seconds => 3600, probe => 1, seed => $name, dbname => $self->{dbname},
		tolerate => $opt{errors} // '40', %{ $self->{load} }, %{ $opt{load} // {} });
	eval {
		# in the middle: the publisher is at work, and goes on for a while
		$self->wait_for_load;
		sleep($opt{ahead} // 0.7);

		my $begin = time;
		delete $self->{over};
		$self->{paused} = 0;
		$fault->($self);
		my $end = $self->{over} // time;
		$self->wait_for_server;
		sleep($opt{after} // 1.5);
		my $totals = $load->stop;
		$load = undef;
		$opt{behind}->($self) if $opt{behind};

		# so one that arrives is a phantom
		$self->{node}->safe_psql($self->{dbname}, q{DELETE FROM load.truth
			USING outbox.dead_letter l WHERE l.uid = truth.uid AND l.state = 'discarded'})
		  if $opt{discarded};

		# late ones may still come after the last that is missed: phantoms
		wait_published($self->{node}, $self->{dbname}, $opt{limit} // 120);
		$counts = $self->{kafka}->verify(
			$self->{node}->connstr($self->{dbname}),
			'SELECT topic, uid, key, n, at FROM load.truth',
			topics => \@topics,
			timeout => $opt{limit} // 120,
			fault => [ $begin, $end, $window // 0 ],
			$opt{verify} ? $opt{verify}->($self) : ());
		$counts->{load} = $totals;
		$self->{node}->safe_psql($self->{dbname}, 'TRUNCATE load.truth');
		1;
	} or do
	{
		my $error = $@;

		eval { $load->stop } if $load;
		fail("$name: $error");
		$self->write_row($name, 'FAILED', undef);
		# whatever the fault left behind may have locks
		$self->{node}->psql($self->{dbname}, "SET lock_timeout = '5s'; TRUNCATE load.truth");
		return;
	};

	my $most = defined $window ? ($opt{times} // 1) * $counts->{repeatable} : 0;
	my $limit = exists $opt{slowest} ? $opt{slowest} : SLOW_EMIT;
	my $resumes = (ref $opt{resumes} ? $opt{resumes}->() : $opt{resumes}) // 30;
	my $excused = $opt{promised_not} ? $opt{promised_not}[0] : '';
	$limit += int(1000 * $self->{paused}) if defined $limit;
	$counts->{most} = $most;
	$counts->{out_of_order} = $counts->{moved_order} if $opt{moves};
	my $ok = subtest $name => sub {
		cmp_ok($counts->{committed}, '>', 0, 'something was committed');
		foreach my $kind (qw(lost phantom out_of_order damaged split_keys))
		{
			next if $kind eq $excused || ($kind eq 'split_keys' && $opt{moves});
			is($counts->{$kind}, 0, "$kind: 0");
		}
		cmp_ok($counts->{duplicates}, '<=', $most,
			'duplicates: at most ' . (defined $window ? "$most, $reason" : 'none'));
		is($counts->{too_early}, 0, "none of what Kafka had $window s before") if defined $window;
		cmp_ok($counts->{load}{slowest_emit_ms}, '<=', $limit, "no emit took more than $limit ms")
		  if defined $limit;
		ok(defined $counts->{resumed}, 'publishing resumed');
		cmp_ok($counts->{resumed} // 0, '<=', $resumes, 'in time');
	};
	note(JSON::PP->new->canonical->encode($counts->{load}));
	diag("$name: " . JSON::PP->new->canonical->encode($counts->{samples}))
	  if %{ $counts->{samples} };
	diag(sprintf('%s: %s', $name, join(', ', map { "$_ $counts->{$_}" }
				qw(committed lost phantom out_of_order duplicates most))
		  . sprintf(', slowest emit %d ms, resumed after %.1f s, errors %d, lost connections %d',
			$counts->{load}{slowest_emit_ms}, $counts->{resumed} // -1,
			$counts->{load}{errors} // 0, $counts->{load}{lost_connections} // 0)));
	$self->write_row($name, $ok ? 'ok' : 'FAILED', $counts,
		$opt{promised_not} ? $opt{promised_not}[1] :
		ref $opt{remark} ? $opt{remark}->() : $opt{remark});
	return $counts;
}

# A row that this machine cannot do, printed so; usable without an object.
sub not_run
{
	my ($self, $name, $why) = @_;

	write_row(undef, $name, "not run: $why", undef);
  SKIP:
	{
		skip("$name: $why", 1);
	}
	return;
}

# The fault is over now, whatever else is still to be done.
sub over
{
	my ($self) = @_;

	$self->{over} = time;
	return;
}

# From here on the row is about another server: after a failover.
sub use_node
{
	my ($self, $node) = @_;

	$self->{node} = $node;
	return;
}

# The topics of the row that is under way.
sub topics { return @{ $_[0]->{topics} }; }

# Have the clients of the row stop where they are, in whatever transaction, and
# go on.  The time goes on for an emit that this has met.
sub pause_load
{
	my ($self) = @_;

	$self->{paused_at} = time;
	return kill('STOP', $self->{running}->pid);
}

sub resume_load
{
	my ($self) = @_;
	my $done = kill('CONT', $self->{running}->pid);

	$self->{paused} += time - $self->{paused_at};
	return $done;
}

# How many events are published, once that stands still while the broker is out
# of reach: what was acknowledged before may not have been read or counted yet,
# and two seconds are for a producer or publisher that a busy machine holds up.
sub published_at_rest
{
	my ($self) = @_;
	my $published = status($self->{node}, 'published', $self->{dbname});

	wait_until(
		sub {
			my $before = $published;

			sleep 2;
			$published = status($self->{node}, 'published', $self->{dbname});
			return $published eq $before;
		},
		'nothing more is acknowledged', 30);
	return $published;
}

# A topic whose records are stamped when the broker appends them.
sub topic
{
	my ($self, $name) = @_;

	return $self->{kafka}->create_topic($name,
		config => { 'message.timestamp.type' => 'LogAppendTime' });
}

# Return when the server takes commands, at the latest after a minute.
sub wait_for_server
{
	my ($self) = @_;

	return wait_until(sub { return $self->{node}->safe_psql($self->{dbname}, 'SELECT 1') },
		'the server takes commands', 60);
}

# Return when events are committed.
sub wait_for_load
{
	my ($self) = @_;

	wait_until(
		sub {
			return $self->{node}->safe_psql($self->{dbname},
				'SELECT count(*) > 50 FROM load.truth') eq 't';
		},
		'the load is under way', 60);
	return;
}

# Append a row to the table of the run, if there is one: name, verdict, form,
# and what was measured, parted by tabs.
sub write_row
{
	my ($self, $name, $verdict, $counts, $remark) = @_;
	my $file = $ENV{OUTBOX_FAULT_TABLE} or return;
	my @measured = ('') x 8;

	if ($counts)
	{
		@measured = (
			@{$counts}{qw(committed lost phantom out_of_order duplicates most)},
			$counts->{load}{slowest_emit_ms},
			defined $counts->{resumed} ? sprintf('%.1f', $counts->{resumed}) : '');
	}
	append_to_file($file, join("\t", $name, $verdict, full_faults() ? 'full' : 'short',
			@measured, $remark // '') . "\n");
	return;
}

1;
