"""Who may do what with queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from support.alexnets import DATASET, DIGITS, train
from support.cluster import Cluster, Connection
from support.workplace import prepared

STATEMENTS = (
    DIGITS,
    DATASET.format(name="digits", seed=0),
    train("alexnet_1"),
    "SELECT delc.save_query('all', 'select m')",
    "SELECT delc.save_config('c', '{\"epochs\": 1}')",
)


@pytest.fixture(scope="module")
def template(cluster: Cluster, template: str) -> Iterator[str]:
    """A database with a model, a query and a configuration."""
    with prepared(cluster, template, *STATEMENTS) as name:
        yield name


def test_users_select_and_make_nothing(new_role: Callable[..., str], connect_as: Callable[..., Connection]) -> None:
    user = connect_as(new_role("delc_user"))
    assert user.execute("SELECT model FROM delc.dql('select m from \"all\"')").fetchall() == [("alexnet_1@1",)]
    for query in (
        'construct n from m mutate m["conv1"].insert = RELU',
        'slice n from m mutate n.input = m["conv1"] and n.output = m["fc6"]',
        'select m from (construct n from m mutate m["conv1"].insert = RELU)',
        'explain evaluate m from "all" with config = "c"',
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"permission denied to (make|try) models"):
            user.execute("SELECT delc.dql(%s)", [query])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        user.execute("SELECT delc.save_query('mine', 'select m')")


def test_trainers_make_models_and_own_what_they_save(
    new_role: Callable[..., str], connect_as: Callable[..., Connection], fresh_db: Connection
) -> None:
    role = new_role("delc_trainer")
    trainer = connect_as(role)
    trainer.execute("SELECT delc.save_query('mine', 'construct n from m mutate m[\"conv1\"].insert = RELU')")
    (made,) = trainer.execute("SELECT model FROM delc.dql('select m from \"mine\"')").fetchall()
    owner = fresh_db.execute("SELECT owner FROM delc.models WHERE name || '@1' = %s", made).fetchall()
    assert owner == [(role,)]
    for statement in ("SELECT delc.save_query('all', 'select m limit 1')", "SELECT delc.drop_config('c')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="belongs to another role"):
            trainer.execute(statement.encode())
    trainer.execute("SELECT delc.drop_query('mine')")
    with pytest.raises(psycopg.errors.UndefinedObject, match='unknown stored query "mine"'):
        trainer.execute("SELECT delc.drop_query('mine')")


def test_trials_need_the_right_to_read_the_data(
    new_role: Callable[..., str], connect_as: Callable[..., Connection]
) -> None:
    trainer = connect_as(new_role("delc_trainer"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="digits"):
        trainer.execute('SELECT delc.dql(\'evaluate m from "all" with config = "c"\')')


def test_a_name_that_belongs_to_another_role_is_refused(
    new_role: Callable[..., str], connect_as: Callable[..., Connection]
) -> None:
    trainer = connect_as(new_role("delc_trainer"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match='model "alexnet_1" belongs to another role'):
        trainer.execute('SELECT delc.dql(\'construct n from m mutate m["conv1"].insert = RELU as "$name"\')')
