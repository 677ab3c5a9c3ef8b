"""What each role can do, and whose rights hold where delc works for somebody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, record, rows, value, workplace

ROLES = {"user": "delc_user", "trainer": "delc_trainer", "other": "delc_trainer", "admin": "delc_admin", "nobody": None}
QUICK = {"network": "'linear'", "epochs": "1"}
OWN = "CREATE TABLE own AS SELECT * FROM flowers"
FLOWER = "(SELECT f FROM flowers AS f WHERE id = 3)"


@pytest.fixture(scope="module")
def sessions(cluster: Cluster, template: str) -> Iterator[dict[str, Connection]]:
    """An autocommit session for each role, and "owner", the superuser's."""
    with cluster.connect() as administration:
        for name, group in ROLES.items():
            administration.execute(f"CREATE ROLE rights_{name} LOGIN" + (f" IN ROLE {group}" if group else ""))
    statements = [
        FLOWERS,
        "CREATE TABLE secrets AS SELECT * FROM flowers",
        "GRANT SELECT ON flowers TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC",
        "ALTER TABLE flowers ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON flowers USING (id <= 90)",
        dataset("flowers", "flowers", "species"),
        train("flowers", "flowers", **QUICK),
    ]
    with workplace(cluster, template, *statements) as owner:
        owner.commit()
        owner.autocommit = True
        opened = {name: cluster.connect(owner.info.dbname, user=f"rights_{name}") for name in ROLES}
        yield {"owner": owner, **opened}
        for connection in opened.values():
            connection.close()
    with cluster.connect() as administration:
        for name in ROLES:
            administration.execute(f"DROP ROLE rights_{name}")


@pytest.fixture
def user(sessions: dict[str, Connection]) -> Connection:
    return sessions["user"]


@pytest.fixture
def trainer(sessions: dict[str, Connection]) -> Connection:
    return sessions["trainer"]


@pytest.fixture
def admin(sessions: dict[str, Connection]) -> Connection:
    return sessions["admin"]


# ---- what each may ----


def test_a_role_without_rights_can_do_nothing(sessions: dict[str, Connection]) -> None:
    nobody = sessions["nobody"]
    for statement in ("TABLE delc.runs", f"SELECT delc.predict('flowers', {FLOWER})", "SELECT NULL::delc.tensor"):
        assert failure(nobody, statement).sqlstate == "42501"


def test_a_user_predicts(user: Connection) -> None:
    assert value(user, f"SELECT delc.predict('flowers', {FLOWER})") is not None
    assert value(user, f"SELECT delc.predict_probability('flowers', {FLOWER}, 'setosa')") is not None
    assert value(user, f"SELECT delc.embed('flowers', {FLOWER}) IS NOT NULL") is True
    assert value(user, "SELECT count(*) FROM delc.predict_rows('flowers', 'SELECT * FROM flowers')") == 90


def test_a_user_evaluates_on_rows_of_its_own(user: Connection) -> None:
    query = "SELECT * FROM flowers"
    for store in ("false", "true"):
        measured = f"SELECT value FROM delc.evaluate('flowers', '{query}', store => {store}) WHERE metric = 'rows'"
        assert value(user, measured) == 90


@pytest.mark.parametrize(
    "relation",
    ["runs", "metrics", "models", "model_versions", "layers", "lineage", "leaderboard", "learning_curves", "progress",
     "runs_per_day", "dataset_summary"],
)  # fmt: skip
def test_a_user_reads_the_log_and_the_catalogue(user: Connection, relation: str) -> None:
    assert rows(user, f"SELECT * FROM delc.{relation} LIMIT 1") is not None


def test_a_user_cannot_read_parameters(user: Connection, trainer: Connection) -> None:
    assert failure(user, "SELECT value FROM delc.parameters").sqlstate == "42501"
    assert value(trainer, "SELECT count(value) FROM delc.parameters") == 2


@pytest.mark.parametrize(
    "call",
    [
        "delc.create_dataset('x', 'SELECT 1 AS a')", "delc.commit_dataset('flowers')", "delc.drop_dataset('flowers')",
        "delc.train('x', 'flowers')", "delc.set_alias('flowers', 'x')", "delc.drop_model('flowers')",
    ],
)  # fmt: skip
def test_a_user_makes_and_drops_nothing(user: Connection, call: str) -> None:
    error = failure(user, f"SELECT {call}")
    assert error.sqlstate == "42501"
    assert "permission denied for function" in message(error)


@pytest.mark.parametrize("role", ["user", "trainer", "admin"])
@pytest.mark.parametrize(
    "call", ["announce_run('{}')", "finish_run()", "record_failed_run('{}')", "write_failed_run('{}')"]
)
def test_nobody_calls_the_writers_of_the_log(sessions: dict[str, Connection], role: str, call: str) -> None:
    assert failure(sessions[role], f"SELECT delc.{call}").sqlstate == "42501"


@pytest.mark.parametrize("role", ["user", "trainer", "admin"])
@pytest.mark.parametrize(
    "relation",
    ["runs", "metrics", "models", "model_versions", "snapshots", "snapshot_parameters", "stored_tensors", "datasets"],
)
def test_nobody_writes_to_relations_but_through_functions(
    sessions: dict[str, Connection], role: str, relation: str
) -> None:
    assert failure(sessions[role], f"DELETE FROM delc.{relation}").sqlstate == "42501"
    assert failure(sessions[role], f"INSERT INTO delc.{relation} DEFAULT VALUES").sqlstate == "42501"


@pytest.mark.parametrize("role", ["user", "trainer", "admin"])
def test_nobody_moves_the_sequences(sessions: dict[str, Connection], role: str) -> None:
    assert failure(sessions[role], "SELECT setval('delc.run_ids', 1)").sqlstate == "42501"


def test_a_trainer_makes_trains_and_drops_what_is_its_own(trainer: Connection) -> None:
    trainer.execute(OWN)
    trainer.execute(dataset("own", "own", "species", key="'id'"))
    assert record(trainer, train("own", "own", **QUICK))["model"] == "own@1"
    assert value(trainer, "SELECT owner FROM delc.models WHERE name = 'own'") == "rights_trainer"
    assert value(trainer, "SELECT username FROM delc.runs WHERE subject = 'own' LIMIT 1") == "rights_trainer"
    assert value(trainer, "SELECT delc.drop_model('own')") == 1
    assert value(trainer, "SELECT delc.drop_dataset('own')") == 1
    trainer.execute("DROP TABLE own")


@pytest.mark.parametrize("call", ["delc.set_alias('flowers', 'x')", "delc.drop_model('flowers')"])
def test_a_trainer_does_not_change_models_of_others(trainer: Connection, call: str) -> None:
    error = failure(trainer, f"SELECT {call}")
    assert error.sqlstate == "42501"
    assert 'model "flowers" belongs to another role' in message(error)


def test_a_trainer_adds_no_version_to_a_model_of_others(trainer: Connection) -> None:
    trainer.execute(OWN)
    trainer.execute(dataset("own", "own", "species", key="'id'"))
    assert failure(trainer, train("flowers", "own", **QUICK)).sqlstate == "42501"
    trainer.execute("SELECT delc.drop_dataset('own'); DROP TABLE own")


def test_an_administrator_changes_models_of_others(admin: Connection) -> None:
    assert value(admin, "SELECT delc.set_alias('flowers', 'checked')") == "flowers@1"


def test_rows_of_a_data_set_are_read_by_those_it_was_granted_to(sessions: dict[str, Connection]) -> None:
    trainer, owner = sessions["trainer"], sessions["owner"]
    for statement in (train("any", "flowers", **QUICK), "SELECT * FROM delc.evaluate('flowers', 'flowers')"):
        assert failure(trainer, statement).sqlstate == "42501"
    owner.execute("SELECT delc.grant_dataset('flowers', 'rights_trainer', rows => 'true')")
    assert record(trainer, train("any", "flowers", **QUICK))["model"] == "any@1"
    trainer.execute("SELECT delc.drop_model('any')")
    owner.execute("SELECT delc.revoke_dataset('flowers', 'rights_trainer')")
    assert failure(trainer, train("any", "flowers", **QUICK)).sqlstate == "42501"


# ---- with whose rights ----


def test_prediction_reads_the_rows_that_the_caller_may_see(sessions: dict[str, Connection]) -> None:
    count = "SELECT count(*) FROM delc.predict_rows('flowers', 'SELECT * FROM flowers')"
    assert value(sessions["owner"], count) == 150
    assert value(sessions["user"], count) == 90


def test_a_data_set_takes_the_rows_that_the_caller_may_see(trainer: Connection) -> None:
    made = record(trainer, dataset("few", "SELECT * FROM flowers", "species", key="'id'"))
    trainer.execute("SELECT delc.drop_dataset('few')")
    assert made["rows"] == 90


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM delc.predict_rows('flowers', 'SELECT * FROM secrets')",
        "SELECT * FROM delc.evaluate('flowers', 'SELECT * FROM secrets')",
        "SELECT delc.create_dataset('stolen', 'secrets', target => 'species')",
        "SELECT delc.create_dataset('stolen', 'SELECT * FROM secrets', key => 'id', target => 'species')",
    ],
)
def test_a_table_that_the_caller_may_not_read_is_not_read_for_it(trainer: Connection, statement: str) -> None:
    error = failure(trainer, statement)
    assert error.sqlstate == "42501"
    assert "secrets" in message(error)


@pytest.mark.parametrize("table", ["delc.parameters", "pg_catalog.pg_authid"])
def test_a_query_does_not_read_what_is_the_owners(user: Connection, table: str) -> None:
    query = f"SELECT id, width, height, petal, (SELECT count(*) FROM {table}) AS n FROM flowers"
    assert failure(user, "SELECT * FROM delc.predict_rows('flowers', %s)", query).sqlstate == "42501"


def test_functions_in_a_query_run_as_the_caller(user: Connection) -> None:
    user.execute(
        "CREATE FUNCTION pg_temp.spy() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN current_user; END $$;"
        "CREATE TEMP VIEW spied AS SELECT pg_temp.spy() AS who, width, height, petal FROM flowers WHERE id = 3"
    )
    assert value(user, "SELECT key FROM delc.predict_rows('flowers', 'SELECT * FROM spied')") == "rights_user"


def test_operators_of_the_caller_never_run_with_the_owners_rights(sessions: dict[str, Connection]) -> None:
    trainer = sessions["trainer"]
    trainer.execute("CREATE TABLE public.caught (who text); GRANT INSERT ON public.caught TO PUBLIC")
    for left in ("text", "bigint", "integer"):
        trainer.execute(
            f"CREATE FUNCTION public.trap({left}, {left}) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
            f" INSERT INTO public.caught VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;"
            f"CREATE OPERATOR public.= (LEFTARG = {left}, RIGHTARG = {left}, FUNCTION = public.trap)"
        )
    trainer.execute(OWN)
    trainer.execute("SET search_path = public, pg_catalog")
    trainer.execute(dataset("own", "own", "species", key="'id'"))
    trainer.execute(train("own", "own", **QUICK))
    trainer.execute("SELECT * FROM delc.evaluate('own', 'own')")
    trainer.execute("SELECT delc.predict('own', o) FROM own AS o")
    failure(trainer, train("own", "nowhere"))
    trainer.execute("SELECT delc.set_alias('own', 'x'), delc.drop_model('own')")
    trainer.execute("SELECT delc.drop_dataset('own')")
    caught = rows(trainer, "SELECT DISTINCT who FROM public.caught")
    trainer.execute("RESET search_path; DROP TABLE own; DROP TABLE public.caught; DROP FUNCTION public.trap(text, text)"
                    " CASCADE; DROP FUNCTION public.trap(bigint, bigint) CASCADE;"
                    " DROP FUNCTION public.trap(integer, integer) CASCADE")  # fmt: skip
    assert set(caught) <= {("rights_trainer",)}


def test_the_owners_rights_end_when_an_error_does(user: Connection) -> None:
    failure(user, "SELECT delc.predict('nowhere', ARRAY[1])")
    assert value(user, "SELECT current_user") == "rights_user"
    assert failure(user, "SELECT value FROM delc.parameters").sqlstate == "42501"


def test_the_owners_rights_end_when_a_caught_error_does(user: Connection) -> None:
    user.execute(
        "CREATE FUNCTION pg_temp.who() RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
        " BEGIN PERFORM delc.predict('nowhere', ARRAY[1]); EXCEPTION WHEN undefined_object THEN NULL; END;"
        " RETURN current_user; END $$"
    )
    assert value(user, "SELECT pg_temp.who()") == "rights_user"
