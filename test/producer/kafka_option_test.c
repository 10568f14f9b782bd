/*-------------------------------------------------------------------------
 *
 * kafka_option_test.c
 *	  Tests of option strings and of the rules about properties.
 *
 * Prints TAP; needs nothing but src/kafka_option.c.
 *
 * IDENTIFICATION
 *	  test/producer/kafka_option_test.c
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "kafka_option.h"

static int	tests = 0;
static int	failures = 0;

static void
check(bool ok, const char *what)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", ++tests, what);
	if (!ok)
		failures++;
}

/* Appends "name=[value];" to the string at argument. */
static bool
collect(const char *name, const char *value, void *argument,
		char *error, size_t error_size)
{
	char	   *all = argument;

	if (strcmp(name, "stop") == 0)
	{
		snprintf(error, error_size, "stopped");
		return false;
	}
	sprintf(all + strlen(all), "%s=[%s];", name, value);
	return true;
}

/* expected: what is collected, or with a leading "!" the error. */
static void
parses(const char *text, const char *expected)
{
	char		all[1000] = "";
	char		error[200] = "";
	char		what[300];
	bool		ok = kafka_option_parse(text, collect, all,
										error, sizeof(error));

	snprintf(what, sizeof(what), "parse %s", text ? text : "NULL");
	if (expected[0] == '!')
		ok = !ok && strcmp(error, expected + 1) == 0;
	else
		ok = ok && strcmp(all, expected) == 0;
	if (!ok)
		printf("# got {%s} error {%s}\n", all, error);
	check(ok, what);
}

static void
integer(const char *text, bool valid, int64_t expected)
{
	char		what[100];
	int64_t		value = -99;
	bool		ok = kafka_option_integer(text, -1000, 1000000, &value);

	snprintf(what, sizeof(what), "integer \"%s\"", text);
	check(ok == valid && value == (valid ? expected : -99), what);
}

int
main(void)
{
	static const char *const denied[] = {
		"bootstrap.servers", "metadata.broker.list", "acks",
		"request.required.acks", "enable.idempotence", "message.timeout.ms",
		"delivery.timeout.ms", "transactional.id", "plugin.library.paths",
		"ssl.engine.location", "ssl.providers", "sasl.kerberos.kinit.cmd",
		"max.in.flight", "max.in.flight.requests.per.connection",
		"enable.gapless.guarantee", "queuing.strategy",
		"delivery.report.only.error", "test.mock.num.brokers", "group.id",
		"message.max.bytes", "opaque", "log_cb"
	};
	static const char *const allowed[] = {
		"linger.ms", "compression.type", "security.protocol",
		"sasl.mechanism", "sasl.username", "sasl.password", "ssl.ca.location",
		"partitioner", "batch.size", "client.id", "debug",
		"allow.auto.create.topics", "topic.metadata.refresh.interval.ms"
	};
	static const char *const secret[] = {
		"sasl.password", "sasl.username", "ssl.key.password", "ssl.key.pem",
		"ssl.keystore.password", "sasl.oauthbearer.client.secret",
		"sasl.oauthbearer.config", "some.future.secret", "a.passphrase"
	};
	static const char *const open[] = {
		"linger.ms", "ssl.ca.location", "sasl.mechanism", "client.id"
	};
	size_t		i;

	parses(NULL, "");
	parses("", "");
	parses(" \t\n ", "");
	parses("a=1", "a=[1];");
	parses("  a.b=1 c-d_e = x  ", "a.b=[1];c-d_e=[x];");
	parses("a=1\nb=2", "a=[1];b=[2];");
	parses("a='with space' b=''", "a=[with space];b=[];");
	parses("a='it\\'s' b=back\\\\slash", "a=[it's];b=[back\\slash];");
	parses("a=with\\ space", "a=[with space];");
	parses("a=x=y", "a=[x=y];");
	parses("a=", "a=[];");
	parses("a=\xc3\xa9", "a=[\xc3\xa9];");
	parses("a=1 a=2", "a=[1];a=[2];");
	parses("a=x\\", "a=[x\\];");
	parses("a", "!\"=\" is expected at character 2");
	parses("a=1 b c=2", "!\"=\" is expected at character 7");
	parses("=1", "!an option name is expected at character 1");
	parses("a=1 ?=2", "!an option name is expected at character 5");
	parses("a='open", "!the quote at character 3 is not closed");
	parses("a='open\\'", "!the quote at character 3 is not closed");
	parses("a='x'y", "!white space is expected after the quoted value at character 6");
	parses("a=1 stop=1 b=2", "!stopped");

	integer("0", true, 0);
	integer("-5", true, -5);
	integer("010", true, 10);
	integer("1000000", true, 1000000);
	integer("1000001", false, 0);
	integer("-1001", false, 0);
	integer("99999999999999999999999", false, 0);
	integer("", false, 0);
	integer("-", false, 0);
	integer("1MB", false, 0);
	integer(" 1", false, 0);
	integer("1 ", false, 0);
	integer("+1", false, 0);
	integer("1e3", false, 0);
	integer("0x10", false, 0);

	for (i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
		check(kafka_option_denied(denied[i], NULL) != NULL, denied[i]);
	for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		check(kafka_option_denied(allowed[i], "random2") == NULL, allowed[i]);
	for (i = 0; i < sizeof(secret) / sizeof(secret[0]); i++)
		check(kafka_option_is_secret(secret[i]), secret[i]);
	for (i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		check(!kafka_option_is_secret(open[i]), open[i]);

	printf("1..%d\n", tests);
	return failures > 0;
}
