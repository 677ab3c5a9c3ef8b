"""Types of stored columns: what may be done to them while versions have values of theirs."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import commit, create, message, read, value

TYPES = """
    CREATE TYPE place AS (x integer, y integer);
    CREATE TYPE route AS (start place, name text);
    CREATE DOMAIN port AS place;
    CREATE TYPE span AS RANGE (subtype = place);
    CREATE TABLE house (id integer, street text);
    CREATE TABLE villa () INHERITS (house);
    CREATE TYPE area AS (x integer, y integer);
    CREATE TABLE lot OF area;
    CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TYPE feeling AS (mood mood, at date);
"""


@pytest.fixture
def types(db: Connection) -> Connection:
    db.execute(TYPES)
    return db


REFUSED = [
    ("ROW(1, 2)::place", "ALTER TYPE place DROP ATTRIBUTE y"),
    ("ARRAY[ROW(1, 2)::place]", "ALTER TYPE place DROP ATTRIBUTE y"),
    ("ROW(ROW(1, 2)::place, 'a')::route", "ALTER TYPE place DROP ATTRIBUTE y"),
    ("ARRAY[ROW(ROW(1, 2)::place, 'a')::route]", "ALTER TYPE place DROP ATTRIBUTE y CASCADE"),
    ("ARRAY[ROW(1, 2)::port]", "ALTER TYPE place DROP ATTRIBUTE y"),
    ("span(ROW(1, 2)::place, NULL)", "ALTER TYPE place DROP ATTRIBUTE y"),
    ("ROW(1, 'a')::house", "ALTER TABLE house DROP COLUMN street"),
    ("ROW(ROW(1, 2)::place, 'a')::route", "DROP TYPE place CASCADE"),
    ("'sad'::mood", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"),
    ("ARRAY['sad'::mood]", "ALTER TYPE public.mood RENAME VALUE 'sad' TO 'blue'"),
    ("ROW(ROW(1, 2)::place, 'a')::route", "ALTER TYPE place RENAME ATTRIBUTE y TO z"),
    ("ROW(1, 'a')::house", "ALTER TABLE house RENAME street TO road"),
    ("ROW(1, 'a')::villa", "ALTER TABLE house RENAME COLUMN street TO road"),
    ("ROW(1, 2)::lot", "ALTER TYPE area RENAME ATTRIBUTE y TO z CASCADE"),
    ("ROW('sad', now())::feeling", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'"),
]


@pytest.mark.parametrize(("stored", "command"), REFUSED)
def test_commands_that_would_change_stored_values_are_refused(types: Connection, stored: str, command: str) -> None:
    create(types, "v", f"SELECT 1 AS id, {stored} AS v", key="id")
    before = read(types, "v@1")
    number = value(types, "SELECT max(id) FROM delc.datasets")
    refused = pytest.raises(psycopg.errors.DependentObjectsStillExist, match="versions of data sets have")
    with refused as error, types.transaction():
        types.execute(command.encode())
    assert f"column v of table delc_data.d{number}" in message(error.value)
    assert read(types, "v@1") == before
    types.execute("SELECT delc.drop_dataset('v')")
    types.execute(command.encode())


ELSEWHERE = [
    ("ROW(1, 2)::place", "ALTER TYPE place ALTER ATTRIBUTE y TYPE text"),
    ("ARRAY[ROW(ROW(1, 2)::place, 'a')::route]", "ALTER TYPE place ALTER ATTRIBUTE y TYPE text"),
    ("ROW(1, 'a')::house", "ALTER TABLE house ALTER id TYPE text"),
]


@pytest.mark.parametrize(("stored", "command"), ELSEWHERE)
def test_fields_of_stored_values_keep_their_types(types: Connection, stored: str, command: str) -> None:
    create(types, "v", f"SELECT 1 AS id, {stored} AS v", key="id")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match=r'because column "d\d+\.v" uses'):
        types.execute(command.encode())


def test_a_field_that_is_added_is_null_in_older_values(types: Connection) -> None:
    types.execute("CREATE TABLE spots AS SELECT i AS id, ROW(i, i)::place AS at FROM generate_series(1, 2) AS i")
    create(types, "v", "spots", key="id")
    types.execute("ALTER TYPE place ADD ATTRIBUTE z integer")
    types.execute("UPDATE spots SET at.z = 5 WHERE id = 2")
    commit(types, "v")
    text = "SELECT id, (at).x, (at).y, (at).z FROM ({}) AS r ORDER BY id"
    rows = {v: types.execute(text.format(value(types, "SELECT delc.dataset_query(%s)", v)).encode()).fetchall()
            for v in ("v@1", "v@2")}  # fmt: skip
    assert rows == {"v@1": [(1, 1, 1, None), (2, 2, 2, None)], "v@2": [(1, 1, 1, None), (2, 2, 2, 5)]}


MOVES = [
    "ALTER TYPE mood RENAME TO humour; ALTER TYPE place RENAME TO spot",
    "CREATE SCHEMA elsewhere; ALTER TYPE mood SET SCHEMA elsewhere; ALTER TYPE place SET SCHEMA elsewhere",
    "ALTER TYPE mood RENAME TO humour; CREATE TYPE mood AS (x integer); ALTER TABLE house RENAME TO home",
    "ALTER SCHEMA other RENAME TO further",
]


@pytest.mark.parametrize("command", MOVES)
def test_types_that_get_another_name_are_those_that_they_were(types: Connection, command: str) -> None:
    types.execute("CREATE SCHEMA other; CREATE TYPE other.size AS ENUM ('s', 'l')")
    types.execute(
        "CREATE TABLE t AS SELECT i AS id, 'sad'::mood AS mood, ROW(i, i)::place AS at, ARRAY[ROW(i, 'a')::house] AS h,"
        " 's'::other.size AS size FROM generate_series(1, 20) AS i"
    )
    create(types, "t", "t", key="id, mood, size")
    types.execute("ALTER TABLE t ADD was mood; UPDATE t SET was = mood")
    commit(types, "t")
    types.execute(command.encode())
    rows = types.execute("SELECT * FROM t ORDER BY id").fetchall()
    assert types.execute("SELECT * FROM delc.dataset_rows(NULL::t, 't') ORDER BY id").fetchall() == rows
    types.execute("UPDATE t SET at = ROW(0, 0) WHERE id = 3")
    made = commit(types, "t")
    assert (made["dataset"], made["added"], made["removed"]) == ("t@3", 1, 1)
    alike = "SELECT count(*) FROM delc.dataset_rows(NULL::t, %s) JOIN t USING (id, mood, at, h, size, was)"
    assert (value(types, alike, "t"), value(types, alike, "t@2")) == (20, 19)
    types.execute("ALTER TABLE t DROP was; ALTER TABLE t ADD was integer; ALTER TABLE t DROP was")
    types.execute("SELECT delc.branch_dataset('t@1', 'old')")
    assert commit(types, "t@old")["added"] == 1
    (merged,) = types.execute("SELECT rows FROM delc.merge_dataset('t', 't@old')").fetchall()
    assert merged == (20,)


def test_what_changes_no_value_is_allowed(types: Connection) -> None:
    create(types, "v", "SELECT 1 AS id, ROW(1, 2)::place AS at, 'sad'::mood AS mood, ROW(1, 2)::port AS port", key="id")
    before = read(types, "v@1")
    types.execute("ALTER TYPE mood ADD VALUE 'calm'; ALTER TYPE place OWNER TO CURRENT_USER")
    types.execute("ALTER DOMAIN port ADD CONSTRAINT c CHECK ((VALUE).x > 0) NOT VALID; DROP DOMAIN port")
    types.execute("CREATE VIEW homes AS TABLE house; ALTER VIEW homes RENAME street TO road")
    types.execute("ALTER TYPE route RENAME ATTRIBUTE name TO title; ALTER TABLE house RENAME id TO number")
    types.execute("ALTER TYPE feeling DROP ATTRIBUTE at; ALTER TABLE house DROP COLUMN street CASCADE")
    types.execute("DROP TYPE route CASCADE")
    assert read(types, "v@1") == before


def test_roles_that_have_nothing_to_do_with_delc_change_their_own_types(
    new_role: Callable[..., str], fresh_db: Connection, connect_as: Callable[..., Connection]
) -> None:
    role = new_role()
    fresh_db.execute(f'CREATE SCHEMA hers AUTHORIZATION "{role}"'.encode())
    hers = connect_as(role)
    hers.execute("SET search_path = hers")
    hers.execute(TYPES)
    hers.execute("ALTER TYPE place DROP ATTRIBUTE y CASCADE")
    hers.execute("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    hers.execute("ALTER TABLE house RENAME street TO road; ALTER TYPE feeling RENAME ATTRIBUTE mood TO m")
    hers.execute("ALTER TABLE house DROP COLUMN road; DROP TABLE villa, house; DROP TYPE place CASCADE")
    with pytest.raises(psycopg.errors.UndefinedObject, match='type "moods" does not exist'):
        hers.execute("ALTER TYPE moods RENAME VALUE 'sad' TO 'blue'")
