# shellcheck shell=bash
#
# common.sh
#	  What the scripts of demo and tests share: where things are, who runs them.
#
# Sourced, never run.  A script that starts servers goes through two stages.
# In the first, as the user who typed the command, it installs what is missing
# and fetches the Kafka jars.  Then enter() copies the tree to the work folder
# and starts the script again there, as an ordinary user if the first one was
# root (PostgreSQL refuses to run as root).  All building and running happens
# in that copy: the checkout stays as it is, no installed server is touched,
# and a checkout under a home folder that nobody else may read is no obstacle.
#
# IDENTIFICATION
#	  test/env/common.sh

set -euo pipefail

# A make above us must not lend its switches to those below.
unset MAKEFLAGS MFLAGS MAKELEVEL

# Clusters get their encoding from it, whoever runs the tests; the server's test
# modules take LC_ALL away.
export LANG=C.UTF-8 LC_ALL=C.UTF-8

KAFKA_VERSION=4.1.0

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die()
{
	printf 'error: %s\n' "$1" >&2
	shift
	for hint in "$@"; do
		printf '  %s\n' "$hint" >&2
	done
	exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# The ordinary user who runs the servers when root asks.
ordinary_user() { printf '%s\n' "${OUTBOX_USER:-postgres}"; }

# The cache folder: jars, the private server, the copy of the tree.
cache_folder()
{
	local dir

	if [ -n "${OUTBOX_CACHE:-}" ]; then
		dir=$OUTBOX_CACHE
	elif is_root; then
		dir=/var/cache/outbox-test
	elif [ -w "$ROOT" ]; then
		dir=$ROOT/.cache
	else
		dir=${XDG_CACHE_HOME:-$HOME/.cache}/outbox-test
	fi
	case $dir in
		/*) ;;
		*) dir=$PWD/$dir ;;
	esac
	# PGXS cannot build in a folder with a blank in its name.
	case $dir in
		*[[:space:]]*) dir=/var/tmp/outbox-test-$(id -u) ;;
	esac
	printf '%s\n' "$dir"
}

# A Java of version 17 or newer (what Kafka 4 asks for); fails if there is none.
find_java()
{
	local java version

	for java in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" \
		/usr/lib/jvm/default-java/bin/java /usr/lib/jvm/*/bin/java; do
		[ -x "$java" ] || continue
		version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
		if [ "${version:-0}" -ge 17 ]; then
			printf '%s\n' "$java"
			return 0
		fi
	done
	return 1
}

# A Python that has the two drivers; fails if there is none.  The system's own
# comes second because a user's version manager may hide it.
find_python()
{
	local python

	for python in "${OUTBOX_PYTHON:-}" "$(command -v python3 || true)" /usr/bin/python3; do
		[ -x "$python" ] || continue
		if "$python" -c 'import confluent_kafka, psycopg2' 2>/dev/null; then
			printf '%s\n' "$python"
			return 0
		fi
	done
	return 1
}

# Where the Kafka jars are, once test/env/kafka-jars has fetched them.
kafka_jars() { printf '%s\n' "$OUTBOX_CACHE/kafka-$KAFKA_VERSION"; }
have_kafka() { [ -e "$(kafka_jars)/complete" ] && [ -n "${OUTBOX_JAVA:-}" ]; }

# Have Maven put what the pom $1 names into folder $2, once.  The remaining
# arguments are Maven's.  Fails if it cannot; its output is in maven.log there.
# Maven's own defaults let a dead connection hang for half an hour.
fetch_jars()
{
	local pom=$1 jars=$2
	shift 2

	[ ! -e "$jars/complete" ] || return 0
	mkdir -p "$jars"
	mvn -q -B -f "$pom" "$@" \
		-Dmaven.wagon.http.connectionTimeout=20000 -Dmaven.wagon.http.readTimeout=60000 \
		-Dmaven.wagon.rto=60000 -Daether.connector.connectTimeout=20000 \
		dependency:copy-dependencies -DoutputDirectory="$jars" </dev/null >"$jars/maven.log" 2>&1 || return 1
	chmod -R a+rX "$jars"
	touch "$jars/complete"
}

# Where the libraries for the cookbook's programs in language $1 are, once
# test/env/drivers has fetched them.
driver_folder()
{
	printf '%s/cookbook/%s-%s\n' "$OUTBOX_CACHE" "$1" \
		"$(cat "$ROOT/test/cookbook/$1"/* | cksum | cut -d' ' -f1)"
}

# Copy the source tree to $1, leaving alone what was built there before, and
# removing what an earlier copy brought and the tree has no longer.
# Reads as the caller; writes through the command in the remaining arguments
# (empty, or a change of user).
copy_tree()
{
	local to=$1
	shift

	"$@" mkdir -p "$to"
	(
		cd "$ROOT"
		find . \( -path ./.git -o -path ./.cache -o -name tmp_check \
			-o -name results -o -name output_iso -o -name __pycache__ \) -prune -o \
			\( -type f -o -type l \) ! -name '*.o' ! -name '*.so' ! -name '*.bc' \
			! -path ./outbox_producer ! -path ./test/fake/fake_producer -print | LC_ALL=C sort
	) | "$@" tee "$to.list.new" >/dev/null
	if [ -e "$to.list" ]; then
		# shellcheck disable=SC2016
		LC_ALL=C comm -23 "$to.list" "$to.list.new" |
			(cd / && "$@" sh -c 'cd "$1" && while IFS= read -r f; do rm -f -- "$f"; done' sh "$to")
	fi
	tar -C "$ROOT" --no-recursion -c -f - -T "$to.list.new" |
		"$@" tar -C "$to" --no-same-owner -x -f -
	"$@" mv "$to.list.new" "$to.list"
}

# Go on with script $1 (a path inside the tree) in the work folder, as an
# ordinary user.  Does not return.
enter()
{
	local script=$1
	shift
	local user work as=()

	OUTBOX_CACHE=$(cache_folder)
	export OUTBOX_CACHE
	# One work folder per checkout, so that two of them do not disturb each other.
	work=$OUTBOX_CACHE/work-$(printf '%s' "$ROOT" | cksum | cut -d' ' -f1)

	if is_root; then
		user=$(ordinary_user)
		id "$user" >/dev/null 2>&1 ||
			die "there is no user \"$user\" to run PostgreSQL as" \
				"Name an ordinary user in OUTBOX_USER."
		as=(setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups)
		mkdir -p "$OUTBOX_CACHE" "$work"
		chown "$user:$(id -gn "$user")" "$work"
		HOME=$(getent passwd "$user" | cut -d: -f6)
		export HOME
		export USER=$user LOGNAME=$user
		(cd / && "${as[@]}" test -r "$work" -a -w "$work" -a -x "$work") ||
			die "user \"$user\" cannot use the folder $work" \
				"Name a folder that it can reach in OUTBOX_CACHE."
		if [ -n "${TMPDIR:-}" ] && ! (cd / && "${as[@]}" test -w "$TMPDIR"); then
			unset TMPDIR
		fi
	else
		mkdir -p "$work"
	fi
	export OUTBOX_WORK=$work
	export OUTBOX_INSIDE=1
	OUTBOX_JAVA=$(find_java || true)
	OUTBOX_PYTHON=$(find_python)
	export OUTBOX_JAVA OUTBOX_PYTHON

	copy_tree "$work/tree" ${as[@]+"${as[@]}"}
	cd "$work/tree"
	exec ${as[@]+"${as[@]}"} "$work/tree/$script" "$@"
}

# A free TCP port of 127.0.0.1, below the range that the system hands out to
# outgoing connections: a broker must find its port free when it comes back.
free_port()
{
	perl -MSocket -e '
		for (1 .. 1000)
		{
			my $port = 20000 + int(rand(10000));
			socket(my $s, PF_INET, SOCK_STREAM, 0) or die $!;
			if (bind($s, sockaddr_in($port, INADDR_LOOPBACK)))
			{
				print "$port\n";
				exit 0;
			}
		}
		die "no free port\n";'
}
