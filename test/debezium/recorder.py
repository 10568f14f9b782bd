#!/usr/bin/env python3
"""Runs the cases of cases.json through Debezium; see README.md beside it.

    recorder.py --cases FILE --dsn DSN --bootstrap HOST:PORT tables --connectors FOLDER
    recorder.py --cases FILE --dsn DSN --bootstrap HOST:PORT record --rest URL
                --worker PID --versions NAME=VERSION ...

tables makes a table and writes the settings of a connector for each
configuration.  record waits until all connectors stream, inserts the rows, and
prints what arrived in Kafka as JSON.  It fails if anything arrived that no row
accounts for, or a row twice.

A record belongs to the row whose id it has in its header "id".  Rows have fixed
ids, made of the names of their configuration and themselves.
"""

import argparse
import json
import os
import re
import sys
import time
import urllib.request
import uuid

import psycopg2

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import kafka_client  # noqa: E402  (it lies in another folder)

# Any namespace does; this one makes the ids of this recording.
NAMESPACE = uuid.UUID("6f757462-6f78-4000-8000-7265636f7264")

# The row behind all others of a configuration, so that what those must not give
# would be there before it.
LAST = "(last)"

# Until when all connectors must stream, and until when all rows must have
# arrived, in seconds.
START_LIMIT = 300
ARRIVAL_LIMIT = 120


def header_id(headers):
    """The header "id", which need not be the first here."""
    return next((kafka_client.text(value) for name, value in headers or [] if name == "id"), None)


def row_id(configuration, row):
    return str(uuid.uuid5(NAMESPACE, "%s/%s" % (configuration["name"], row["row"])))


def table(configuration):
    return "outbox_" + configuration["name"].replace("-", "_")


def read_cases(name):
    """The configurations, with the defaults filled in."""
    with open(name, encoding="utf-8") as file:
        cases = json.load(file)
    defaults = cases["defaults"]
    for configuration in cases["configurations"]:
        configuration["columns"] = {**defaults["columns"], **configuration.get("columns", {})}
        configuration["connector"] = {**defaults["connector"], **configuration.get("connector", {})}
        names = [row["row"] for row in configuration["rows"]]
        if len(set(names)) != len(names):
            sys.exit("%s: two rows have the same name" % configuration["name"])
        configuration["rows"] = [{**defaults["row"], **row} for row in configuration["rows"]]
        configuration["rows"].append({**configuration["rows"][0], "row": LAST, "then": []})
    return cases["configurations"]


def make_tables(args, configurations):
    parameters = psycopg2.extensions.parse_dsn(args.dsn)
    with psycopg2.connect(args.dsn) as connection, connection.cursor() as cursor:
        for number, configuration in enumerate(configurations):
            name = configuration["name"]
            columns = ", ".join('"%s" %s' % column for column in configuration["columns"].items())
            cursor.execute("CREATE TABLE %s (%s)" % (table(configuration), columns))
            config = {
                "name": name,
                "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
                "tasks.max": "1",
                "plugin.name": "pgoutput",
                "database.hostname": parameters["host"],
                "database.port": parameters["port"],
                "database.user": parameters["user"],
                "database.dbname": parameters["dbname"],
                "topic.prefix": name,
                "table.include.list": "public." + table(configuration),
                "slot.name": table(configuration),
                "publication.name": table(configuration),
                "publication.autocreate.mode": "filtered",
                "snapshot.mode": "no_data",
                "transforms": "outbox",
                "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
                **configuration["connector"],
            }
            with open("%s/%03d.json" % (args.connectors, number), "w", encoding="utf-8") as file:
                json.dump(config, file)


def wait(condition, what, limit, worker):
    deadline = time.monotonic() + limit
    while True:
        if condition():
            return
        if time.monotonic() > deadline:
            sys.exit("timed out: " + what)
        os.kill(worker, 0)
        time.sleep(0.2)


def failed_tasks(rest):
    """What each task says that has failed, by the name of the connector."""
    try:
        with urllib.request.urlopen(rest + "/connectors?expand=status", timeout=10) as answer:
            connectors = json.load(answer)
    except OSError:
        return {}
    failed = {}
    for name, connector in connectors.items():
        status = connector["status"]
        for part in [status["connector"]] + status["tasks"]:
            if part["state"] == "FAILED":
                failed[name] = part["trace"]
    return failed


def reason(trace):
    """The innermost cause, which is what names the problem."""
    causes = [line for line in trace.splitlines() if not line.startswith("\t")]
    return re.sub(r"^Caused by: ", "", causes[-1])


def insert(cursor, configuration):
    for row in configuration["rows"]:
        event_id = row_id(configuration, row)
        values = {name: row[name] for name in configuration["columns"] if name in row}
        values["id"] = "'%s'" % event_id
        cursor.execute("INSERT INTO %s (%s) VALUES (%s)" % (
            table(configuration), ", ".join('"%s"' % name for name in values),
            ", ".join(values.values())))
        for command in row.get("then", []):
            cursor.execute(command.replace("%t", table(configuration)).replace("%i", "'%s'" % event_id))


def places_partition(configuration, row):
    """Whether the row says which partition it goes to."""
    placements = configuration["connector"].get(
        "transforms.outbox.table.fields.additional.placement", "").split(",")
    columns = [p.split(":")[0].strip() for p in placements if ":partition" in p]
    return any(row.get(column, "NULL") != "NULL" for column in columns)


def as_recorded(configuration, row, record):
    """What of a record is the same in each recording."""
    entry = {"row": row["row"], "id": header_id(record.headers()), "topic": record.topic()}
    # Without a key, and unless the row says otherwise, any partition will do.
    if record.key() is not None or places_partition(configuration, row):
        entry["partition"] = record.partition()
    if "timestamp" in configuration:
        entry["timestamp"] = record.timestamp()[1]
    entry["key"] = kafka_client.text(record.key())
    entry["value"] = kafka_client.text(record.value())
    entry["headers"] = [
        [name, "(of the run)" if name == "__debezium.context.runId" else kafka_client.text(value)]
        for name, value in record.headers() or []]
    return entry


def read_all(bootstrap):
    """All records of all topics, as they are now."""
    admin = kafka_client.AdminClient(kafka_client.quiet_config(bootstrap))
    topics = [name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")]
    if not topics:
        return []
    reader = kafka_client.Reader(bootstrap, topics, time.monotonic() + ARRIVAL_LIMIT)
    records = list(reader.rest())
    reader.consumer.close()
    return records


def record(args, configurations):
    connection = psycopg2.connect(args.dsn)
    connection.autocommit = True
    cursor = connection.cursor()

    def all_stream():
        cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE active")
        failed = failed_tasks(args.rest)
        if failed:
            sys.exit("\n".join("%s: %s" % (name, trace) for name, trace in failed.items()))
        return cursor.fetchone()[0] == len(configurations)

    wait(all_stream, "all connectors stream", START_LIMIT, args.worker)
    for configuration in configurations:
        insert(cursor, configuration)

    failed, seen = {}, []

    def all_arrived():
        nonlocal failed, seen
        failed = failed_tasks(args.rest)
        seen = read_all(args.bootstrap)
        ids = {header_id(r.headers()) for r in seen}
        return all(c["name"] in failed or all(row_id(c, row) in ids for row in c["rows"])
                   for c in configurations)

    wait(all_arrived, "all rows have arrived", ARRIVAL_LIMIT, args.worker)

    by_id = {}
    for item in seen:
        event_id = header_id(item.headers())
        if event_id in by_id or event_id is None:
            sys.exit("unexpected: %s %r %r %r" % (item.topic(), item.key(), item.value(), item.headers()))
        by_id[event_id] = item
    recorded = []
    for configuration in configurations:
        entry = {"name": configuration["name"]}
        if configuration["name"] in failed:
            entry["failed"] = reason(failed[configuration["name"]])
        entry["records"] = []
        for row in configuration["rows"]:
            item = by_id.pop(row_id(configuration, row), None)
            if row["row"] == LAST:
                continue
            if item is not None:
                entry["records"].append(as_recorded(configuration, row, item))
            elif "failed" not in entry:
                sys.exit("%s: nothing arrived of row %s" % (configuration["name"], row["row"]))
        recorded.append(entry)
    if by_id:
        sys.exit("records of no row: %s" % ", ".join(by_id))
    write(dict(version.split("=", 1) for version in args.versions), recorded)


def line(value):
    """JSON in ASCII, so that what looks the same is the same."""
    return json.dumps(value)


def write(versions, recorded):
    """A record a line, so that a difference between two recordings can be read."""
    parts = []
    for entry in recorded:
        records = ",\n\t\t\t\t".join(line(record) for record in entry["records"])
        failed = "\n\t\t\t\"failed\": %s," % line(entry["failed"]) if "failed" in entry else ""
        parts.append('{\n\t\t\t"name": %s,%s\n\t\t\t"records": [%s]\n\t\t}' % (
            line(entry["name"]), failed, "\n\t\t\t\t%s\n\t\t\t" % records if records else ""))
    sys.stdout.write('{\n\t"versions": %s,\n\t"configurations": [\n\t\t%s\n\t]\n}\n' % (
        line(versions), ",\n\t\t".join(parts)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", required=True)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--bootstrap", required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("tables")
    command.add_argument("--connectors", required=True)
    command.set_defaults(run=make_tables)
    command = commands.add_parser("record")
    command.add_argument("--rest", required=True)
    command.add_argument("--worker", type=int, required=True)
    command.add_argument("--versions", nargs="+", required=True)
    command.set_defaults(run=record)
    args = parser.parse_args()
    args.run(args, read_cases(args.cases))


if __name__ == "__main__":
    main()
