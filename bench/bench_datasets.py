"""Versions of a table: what a commit costs in time and space, and how fast versions are read.

A table of a million rows changes in one row of a hundred between versions. A commit is compared with what a user would
do instead, a full copy of the table with its key index; reading the newest and the oldest of 50 versions, in no
particular order, with a scan of the plain table. Both read every column. Two branches that each changed one row of a
hundred are merged; once more after one of them has got a column with a default, so that it has other rows throughout.

    make bench BENCHMARKS=bench/bench_datasets.py
"""

from __future__ import annotations

import argparse
import time
from itertools import count

from harness import machine
from harness.measure import Timings, goals, interleaved
from harness.server import connected, server
from support.cluster import Connection

COLUMNS = """
    i::bigint AS id, mod(i, 97) AS visits, mod(i, 1000) / 7.0::float8 AS balance, mod(i, 3) = 0 AS churned,
    '2024-01-01'::date + mod(i, 365) AS since, 'region ' || mod(i, 10) AS region, random()::float4 AS score,
    mod(i * 7, 10007) AS code, now() AS changed_at, random() AS rate, mod(i, 5)::smallint AS grade
"""
READ = (
    "SELECT count(visits), count(balance), count(churned), count(since), count(region), count(score), count(code),"
    " count(changed_at), count(rate), count(grade) FROM ({}) AS r"
)
steps = count()
copies = count()


def change(connection: Connection, share: int) -> None:
    """Changes one row of `share`, each time others."""
    connection.execute(
        "UPDATE customers SET visits = visits + 1 WHERE mod(id, %s) = mod(%s, %s)", [share, next(steps), share]
    )
    connection.execute("VACUUM customers")


def commit(connection: Connection, share: int) -> float:
    """The seconds that a commit takes."""
    change(connection, share)
    started = time.perf_counter()
    connection.execute("SELECT delc.commit_dataset('customers')")
    return time.perf_counter() - started


def copy(connection: Connection) -> float:
    """The seconds that a copy of the table with its key takes."""
    name = f"copy_{next(copies)}"
    started = time.perf_counter()
    connection.execute(f"CREATE TABLE {name} AS TABLE customers")
    connection.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
    taken = time.perf_counter() - started
    connection.execute(f"DROP TABLE {name}")
    return taken


def value(connection: Connection, statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])


def stored_bytes(connection: Connection) -> int:
    return value(connection, "SELECT bytes FROM delc.dataset_summary WHERE name = 'customers'")


def read(connection: Connection, version: str) -> None:
    row = connection.execute("SELECT delc.dataset_query(%s)", [version]).fetchone()
    assert row is not None
    connection.execute(READ.format(row[0]).encode()).fetchone()


def read_rows(connection: Connection, version: str) -> None:
    rows = f"SELECT * FROM delc.dataset_rows(NULL::customers, '{version}')"
    connection.execute(READ.format(rows).encode()).fetchone()


def through_function(connection: Connection) -> None:
    """Reads the plain table as the result of a function, which PostgreSQL keeps before it goes on."""
    connection.execute(READ.format("SELECT * FROM plain()").encode()).fetchone()


def prune(connection: Connection) -> float:
    """The seconds that dropping all versions but the newest takes."""
    started = time.perf_counter()
    connection.execute("SELECT delc.prune_dataset('customers', 1)")
    return time.perf_counter() - started


def merge(connection: Connection) -> None:
    """Merges the branch, and forgets it."""
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT delc.merge_dataset('customers', 'customers@other')")


def merging(connection: Connection, rounds: int) -> tuple[Timings, Timings]:
    """Merges of branches with the same columns, and where one side has a further column."""
    connection.execute("SELECT delc.branch_dataset('customers', 'other')")
    changed = "'SELECT id, visits + 1 AS visits FROM customers WHERE mod(id, 100) = ' || %s"
    correction = f"SELECT delc.correct_dataset(%s, {changed})".encode()
    connection.execute(correction, ["customers", "7"])
    connection.execute(correction, ["customers@other", "8"])
    same = interleaved({"merge": lambda: merge(connection)}, rounds, warm_up=0)
    connection.execute("ALTER TABLE customers ADD COLUMN level integer DEFAULT 1")
    connection.execute("SELECT delc.commit_dataset('customers')")
    wider = interleaved({"merge": lambda: merge(connection)}, rounds, warm_up=0)
    return same, wider


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--versions", type=int, default=50)
    chosen = parser.parse_args()
    with server() as cluster, connected(cluster) as connection, goals() as goal:
        machine.describe(connection)
        connection.execute(
            f"CREATE TABLE customers AS SELECT {COLUMNS} FROM generate_series(1, {int(chosen.rows)}) AS i".encode()
        )
        connection.execute("ALTER TABLE customers ADD PRIMARY KEY (id)")
        connection.execute("VACUUM ANALYZE customers")
        connection.execute("SELECT delc.create_dataset('customers', 'customers')")
        first = stored_bytes(connection)
        commit(connection, 100)
        added = stored_bytes(connection) - first
        ways = {"commit": lambda: commit(connection, 100), "copy with key": lambda: copy(connection)}
        writing = interleaved(ways, chosen.rounds, warm_up=0)
        print(f"\n{chosen.rows:,} rows, 1 % changed, medians:")
        for name in ways:
            writing.print(name)
        while value(connection, "SELECT last_number FROM delc.datasets") < chosen.versions:
            commit(connection, 100)
        connection.execute("VACUUM ANALYZE")
        connection.execute(
            "CREATE FUNCTION plain() RETURNS SETOF customers LANGUAGE plpgsql STABLE AS"
            " 'BEGIN RETURN QUERY EXECUTE ''TABLE customers''; END'"
        )
        reading_ways = {
            "plain table": lambda: connection.execute(READ.format("TABLE customers").encode()).fetchone(),
            "newest version": lambda: read(connection, "customers"),
            "oldest version": lambda: read(connection, "customers@1"),
            "dataset_rows": lambda: read_rows(connection, "customers"),
            "table through a function": lambda: through_function(connection),
        }
        reading = interleaved(reading_ways, 2 * chosen.rounds)
        print(f"\nreading one of {chosen.versions} versions, medians:")
        for name in reading_ways:
            reading.print(name)
        goal.at_most("new version, in % of the first's bytes", 100 * added / first, 1.5)
        goal.at_most("commit, in copies of the table with its key", writing.ratio("commit", "copy with key"), 1.3)
        for name in ("newest version", "oldest version"):
            goal.at_most(f"{name}, in scans of the plain table", reading.ratio(name, "plain table"), 2)
        through = reading.ratio("dataset_rows", "table through a function")
        goal.at_most("dataset_rows, in reads of the plain table through a function", through, 2)
        same, wider = merging(connection, min(3, chosen.rounds))
        print("\nmerging branches that changed 1 % each, medians:")
        same.print("merge")
        wider.print("merge", "one side has a column more")
        added_column = wider.median("merge") / same.median("merge")
        goal.at_most("merge where one side has added a column, in merges with the same columns", added_column, 2)
        connection.execute("SELECT delc.drop_dataset_ref('customers@other')")
        pruned = prune(connection) / copy(connection)
        goal.at_most("dropping all versions but the newest, in copies of the table with its key", pruned, 5)


if __name__ == "__main__":
    main()
