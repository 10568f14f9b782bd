"""Tests of the producer alone: the real program, driven over a socket pair.

Prints TAP.  Arguments are names of tests to run; none means all of them.
"""
import sys
import time
import traceback

import harness
import test_alone
import test_kafka
import test_producer


def main():
    tests = {}
    for module in (test_producer, test_alone, test_kafka):
        tests.update((name, function) for name, function in vars(module).items()
                     if name.startswith("test_"))
    names = sys.argv[1:] or list(tests)
    bad = 0
    for number, name in enumerate(names, 1):
        begin = time.monotonic()
        try:
            note = tests[name]()
        except harness.Skip as reason:
            print("ok %d - %s # SKIP %s: %s" % (number, name, name, reason))
        except Exception:
            bad += 1
            print("not ok %d - %s" % (number, name))
            for line in traceback.format_exc().splitlines():
                print("# " + line[:1000])
        else:
            print("ok %d - %s%s # %.1f s" % (
                number, name, " (%s)" % note if note else "",
                time.monotonic() - begin))
        sys.stdout.flush()
    test_kafka.stop()
    print("1..%d" % len(names))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
