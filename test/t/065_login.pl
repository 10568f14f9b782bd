
# Passwords and certificates, right and wrong. What is wrong is corrected by a
# reload, and nothing but time is lost.

use strict;
use warnings;

use FaultMatrix;
use OutboxTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

need_real_kafka();

# From the reload on: a new producer is started and logs in.
my $resumes = 10;

my $kafka = own_kafka(listeners => [ 'SASL_PLAINTEXT', 'SASL_SSL' ]);
my $password = $kafka->password;
my $ca = $kafka->file('ca.crt');
my $node = new_node('login', bootstrap => $kafka->listener('SASL_PLAINTEXT'),
	conf => "outbox.kafka_options_file = 'kafka.conf'\n", start => 0);
my $matrix = FaultMatrix->new($node, $kafka);

my $wrong = fault_seconds(3, 30);

# Write the client's options, in effect from the next start or reload on.
sub set_options
{
	my (@options) = @_;
	my $file = $node->data_dir . '/kafka.conf';

	unlink $file;
	append_to_file($file, join("\n", @options, ''));
	return;
}

# The options of a login by a password, plain or through TLS.
sub plain
{
	my ($secret) = @_;

	return ('security.protocol=sasl_plaintext', 'sasl.mechanisms=PLAIN', 'sasl.username=outbox',
		"sasl.password=$secret");
}

sub tls
{
	my ($authority) = @_;

	return ('security.protocol=sasl_ssl', 'sasl.mechanisms=PLAIN', 'sasl.username=outbox',
		"sasl.password=$password", "ssl.ca.location=$authority");
}

sub wait_for
{
	my ($condition) = @_;

	return wait_until(sub { return status($node, $condition) eq 't' }, $condition, 60);
}

# Bring a mistake by a reload, see that it shows, and correct it by another.
sub mistake
{
	my ($wrong_options, $right_options, $text) = @_;

	set_options(@$wrong_options);
	$node->reload;
	wait_for("connection = 'disconnected' AND error_class = 'connection'");
	# the first error may be another, of the same class
	wait_until(sub { return status($node, 'error') =~ $text }, "the error is like $text", 60);
	pass('it shows what is wrong');
	isnt(status($node, 'error_hint'), '', 'and what to do');
	sleep $wrong;
	set_options(@$right_options);
	$node->reload;
	return;
}

set_options(plain($password));
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION outbox');

$matrix->row('SASL PLAIN', sub { });

$matrix->row(
	'wrong password, corrected by reload',
	sub { mistake([ plain('mistaken') ], [ plain($password) ], qr/authentication/i); },
	resumes => $resumes);
wait_for('error IS NULL');

$node->safe_psql('postgres', sprintf("ALTER SYSTEM SET outbox.bootstrap_servers = '%s'",
		$kafka->listener('SASL_SSL')));
set_options(tls($ca));
$node->reload;
wait_for("error IS NULL AND connection = 'connected'");

$matrix->row('SASL PLAIN through TLS', sub { });

$matrix->row(
	'certificate not trusted, corrected by reload',
	sub {
		mistake([ tls($kafka->file('other-ca.crt')) ], [ tls($ca) ], qr/certificate/);
	},
	resumes => $resumes);
wait_for('error IS NULL');

unlike(slurp_file($node->logfile), qr/\Q$password\E/, 'the password is not in the log');

$node->stop('fast');
done_testing();
