"""The settings: who may change them, and to what."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from support.cluster import Cluster, Connection
from support.workplace import failure, value


@pytest.mark.parametrize("setting", ["delc.python_path = '/tmp'", "delc.memory_limit = '1TB'"])
def test_an_ordinary_user_cannot_change_what_is_the_administrators(
    setting: str, new_role: Callable[..., str], connect_as: Callable[..., Connection]
) -> None:
    connection = connect_as(new_role("delc_admin"))
    assert failure(connection, f"SET {setting}").sqlstate == "42501"


def test_an_ordinary_user_cannot_change_it_for_sessions_to_come(
    new_role: Callable[..., str], connect_as: Callable[..., Connection]
) -> None:
    role = new_role("delc_admin")
    connection = connect_as(role)
    assert failure(connection, f"ALTER ROLE \"{role}\" SET delc.python_path = '/tmp'").sqlstate == "42501"


def test_an_ordinary_user_cannot_bring_a_path_along_when_connecting(
    new_role: Callable[..., str], connect_as: Callable[..., Connection]
) -> None:
    role = new_role("delc_user")
    with pytest.raises(psycopg.OperationalError, match="permission denied to set parameter"):
        connect_as(role, options="-c delc.python_path=/tmp")


def test_a_path_set_before_the_library_is_loaded_is_not_taken(bare_cluster: Cluster) -> None:
    with bare_cluster.connect() as administration:
        expected = value(administration, "SELECT delc.dtype('{1}'::real[]::delc.tensor)") and value(
            administration, "SHOW delc.python_path"
        )
        administration.execute("CREATE ROLE guest LOGIN IN ROLE delc_user; GRANT CREATE ON SCHEMA public TO guest")
    with bare_cluster.connect(user="guest", options="-c delc.python_path=/tmp/evil") as connection:
        assert value(connection, "SELECT delc.predict('flowers', ARRAY[1, 2, 3])") is not None
        assert value(connection, "SHOW delc.python_path") == expected != "/tmp/evil"
    with bare_cluster.connect(user="guest") as connection:
        connection.execute("SET delc.python_path = '/tmp/evil'")
        assert value(connection, "SELECT delc.predict('flowers', ARRAY[1, 2, 3])") is not None
        assert value(connection, "SHOW delc.python_path") == expected


def test_a_superuser_can_change_the_path(db: Connection) -> None:
    db.execute("SET LOCAL delc.python_path = '/tmp'")
    assert value(db, "SHOW delc.python_path") == "/tmp"


def test_everybody_may_choose_threads(new_role: Callable[..., str], connect_as: Callable[..., Connection]) -> None:
    connection = connect_as(new_role())
    connection.execute("SET delc.threads = 3")
    assert value(connection, "SHOW delc.threads") == "3"


@pytest.mark.parametrize("setting", ["delc.threads = -1", "delc.threads = 'many'", "delc.memory_limit = '1kB'"])
def test_a_value_out_of_range_is_refused(db: Connection, setting: str) -> None:
    assert failure(db, f"SET {setting}").sqlstate == "22023"


def test_a_misspelt_setting_is_refused(db: Connection) -> None:
    error = failure(db, "SET delc.memory_limits = '1GB'")
    assert error.sqlstate in ("42602", "42704")


def test_every_setting_is_described(db: Connection) -> None:
    described = "SELECT bool_and(short_desc <> ''), count(*) FROM pg_settings WHERE name LIKE 'delc.%'"
    assert db.execute(described).fetchone() == (True, 5)
