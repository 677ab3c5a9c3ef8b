"""Who may make, read, commit to, grant and drop data sets."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from support.cluster import Connection
from support.datasets import commit, create, keys, make_customers, message, read, value

Connect = Callable[..., Connection]
Roles = Callable[..., str]


@pytest.fixture
def alice(new_role: Roles) -> str:
    return new_role("delc_trainer")


@pytest.fixture
def bob(new_role: Roles) -> str:
    return new_role("delc_trainer")


def grant_customers(db: Connection, *roles: str) -> None:
    for role in roles:
        db.execute(f'GRANT SELECT ON customers TO "{role}"'.encode())


def test_rows_that_the_caller_may_not_see_are_not_taken(
    alice: str, bob: str, fresh_db: Connection, connect_as: Connect
) -> None:
    make_customers(fresh_db, 100)
    grant_customers(fresh_db, alice, bob)
    fresh_db.execute("ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
    fresh_db.execute(f'CREATE POLICY few ON customers TO "{alice}" USING (id <= 10)'.encode())
    fresh_db.execute(f'CREATE POLICY all_rows ON customers TO "{bob}" USING (true)'.encode())
    with connect_as(alice) as hers:
        create(hers, "customers", "customers")
        assert sorted(keys(hers, "customers")) == list(range(1, 11))
        fresh_db.execute("UPDATE customers SET age = age + 1")
        assert commit(hers, "customers")["added"] == 10
        assert sorted(keys(hers, "customers")) == list(range(1, 11))
    with connect_as(bob) as his:
        assert create(his, "his", "customers")["rows"] == 100


def test_a_source_that_the_caller_may_not_read_is_refused(
    alice: str, fresh_db: Connection, connect_as: Connect
) -> None:
    make_customers(fresh_db)
    for source in ("customers", "SELECT * FROM customers", "SELECT id FROM customers"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table customers"):
            create(connect_as(alice), "x", source)


def test_another_role_reads_a_data_set_only_when_granted(
    alice: str, bob: str, fresh_db: Connection, connect_as: Connect
) -> None:
    make_customers(fresh_db)
    grant_customers(fresh_db, alice)
    hers, his = connect_as(alice), connect_as(bob)
    create(hers, "customers", "customers")
    text = value(hers, "SELECT delc.dataset_query('customers')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match='may not read data set "customers"') as error:
        value(his, "SELECT delc.dataset_query('customers')")
    assert "delc.grant_dataset('customers'" in message(error.value)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        his.execute(text.encode())
    hers.execute("SELECT delc.grant_dataset('customers', %s)", (bob,))
    assert len(keys(his, "customers")) == 100
    hers.execute("SELECT delc.revoke_dataset('customers', %s)", (bob,))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        keys(his, "customers")


def test_rights_given_hold_for_later_versions_and_removed_rows(
    alice: str, bob: str, fresh_db: Connection, connect_as: Connect
) -> None:
    make_customers(fresh_db)
    grant_customers(fresh_db, alice)
    hers, his = connect_as(alice), connect_as(bob)
    create(hers, "customers", "customers")
    hers.execute("SELECT delc.grant_dataset('customers', %s)", (bob,))
    fresh_db.execute("DELETE FROM customers WHERE id > 60; UPDATE customers SET age = 0")
    commit(hers, "customers")
    assert (len(keys(his, "customers")), len(keys(his, "customers@1"))) == (60, 100)


def test_nobody_writes_to_the_store(alice: str, fresh_db: Connection, connect_as: Connect) -> None:
    make_customers(fresh_db)
    grant_customers(fresh_db, alice)
    hers = connect_as(alice)
    create(hers, "customers", "customers")
    fresh_db.execute("DELETE FROM customers WHERE id = 1")
    commit(hers, "customers")
    for statement in (
        "INSERT INTO delc_data.d1 (delc_row, delc_version, delc_split) VALUES (0, 1, 't')",
        "UPDATE delc_data.d1 SET age = 1",
        "DELETE FROM delc_data.d1",
        "INSERT INTO delc_data.d1_removed VALUES (1, '')",
        "DELETE FROM delc_data.d1_removed",
        "TRUNCATE delc_data.d1",
        "DROP TABLE delc_data.d1",
        "ALTER TABLE delc_data.d1 ADD COLUMN x integer",
        "CREATE TABLE delc_data.mine ()",
        "UPDATE delc.dataset_versions SET rows = 0",
        "DELETE FROM delc.datasets",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            hers.execute(statement.encode())


def test_the_store_s_owner_has_no_rights(fresh_db: Connection) -> None:
    create(fresh_db, "x", "SELECT 1 AS id")
    owners = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relname IN ('d1', 'd1_removed')"
    assert value(fresh_db, owners) == "delc_store"
    row = fresh_db.execute(
        "SELECT rolsuper, rolcanlogin, rolinherit AND EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)"
        " FROM pg_roles AS r WHERE rolname = 'delc_store'"
    ).fetchone()
    assert row == (False, False, False)


def test_functions_of_a_type_never_run_with_the_owner_s_rights(
    alice: str, fresh_db: Connection, connect_as: Connect
) -> None:
    # The difference function of a range runs when the table is analysed, as the table's owner.
    fresh_db.execute(f'CREATE SCHEMA hers AUTHORIZATION "{alice}"'.encode())
    hers = connect_as(alice)
    hers.execute("""
        CREATE FUNCTION hers.difference(a float8, b float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            RAISE NOTICE 'run as %', current_user;
            RETURN a - b;
        END $$;
        CREATE TYPE hers.span AS RANGE (subtype = float8, subtype_diff = hers.difference);
    """)
    source = "SELECT i AS id, hers.span(i, i + 1) AS span FROM generate_series(1, 100) AS i"
    create(hers, "x", source, key="id")
    notices: set[str | None] = set()
    fresh_db.add_notice_handler(lambda notice: notices.add(notice.message_primary))
    fresh_db.execute("ANALYZE delc_data.d1")
    assert notices == {"run as delc_store"}


def test_the_source_runs_as_the_caller(alice: str, fresh_db: Connection, connect_as: Connect) -> None:
    row = create(connect_as(alice), "x", "SELECT 1 AS id, current_user::text AS who, session_user::text AS session")
    assert row["rows"] == 1
    assert fresh_db.execute("SELECT who, session FROM delc_data.d1").fetchone() == (alice, alice)


def test_only_members_of_the_owner_commit(alice: str, bob: str, fresh_db: Connection, connect_as: Connect) -> None:
    make_customers(fresh_db)
    grant_customers(fresh_db, alice, bob)
    create(connect_as(alice), "customers", "customers")
    his = connect_as(bob)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match='may not commit to data set "customers"'):
        commit(his, "customers")
    fresh_db.execute(f'GRANT "{alice}" TO "{bob}"'.encode())
    fresh_db.execute("DELETE FROM customers WHERE id = 1")
    assert commit(his, "customers")["removed"] == 1
    assert not value(his, "SELECT has_table_privilege('delc_data.d1', 'INSERT')")


def test_only_owner_and_administrators_drop_and_grant(
    alice: str, bob: str, new_role: Roles, fresh_db: Connection, connect_as: Connect
) -> None:
    create(connect_as(alice), "x", "SELECT 1 AS id")
    his, admin = connect_as(bob), connect_as(new_role("delc_admin"))
    for statement in ("SELECT delc.drop_dataset('x')", f"SELECT delc.grant_dataset('x', '{bob}')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f'It belongs to "{alice}"|may not'):
            his.execute(statement.encode())
        admin.execute(statement.replace("drop_dataset('x')", "grant_dataset('x', 'delc_user')").encode())
    assert value(admin, "SELECT delc.drop_dataset('x')") == 1


def test_a_role_that_does_not_exist_is_named(db: Connection) -> None:
    create(db, "x", "SELECT 1 AS id")
    with pytest.raises(psycopg.errors.UndefinedObject, match='unknown role "public"'):
        db.execute("SELECT delc.grant_dataset('x', 'public')")


def test_the_owner_keeps_the_right_to_read(db: Connection) -> None:
    create(db, "x", "SELECT 1 AS id")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="keeps the right to read it"):
        db.execute("SELECT delc.revoke_dataset('x', 'postgres')")


def test_a_user_without_the_trainer_s_role_makes_nothing(
    new_role: Roles, fresh_db: Connection, connect_as: Connect
) -> None:
    user = connect_as(new_role("delc_user"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function create_dataset"):
        create(user, "x", "SELECT 1 AS id")


@pytest.fixture
def secured(alice: str, bob: str, fresh_db: Connection, connect_as: Connect) -> tuple[Connection, Connection]:
    """Alice's and Bob's connections; of alice's 40 customers in two versions, 20 are Bob's."""
    make_customers(fresh_db, 40)
    fresh_db.execute("ALTER TABLE customers ADD who text")
    fresh_db.execute("UPDATE customers SET who = CASE WHEN id <= 20 THEN %s ELSE 'nobody' END", (bob,))
    fresh_db.execute("ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
    fresh_db.execute(f'CREATE POLICY everything ON customers TO "{alice}" USING (true)'.encode())
    grant_customers(fresh_db, alice, bob)
    hers = connect_as(alice)
    create(hers, "customers", "customers", target="churned")
    fresh_db.execute("UPDATE customers SET age = age + 1 WHERE mod(id, 2) = 0")
    commit(hers, "customers")
    return hers, connect_as(bob)


def test_a_role_reads_its_rows_of_all_versions(
    secured: tuple[Connection, Connection], bob: str, fresh_db: Connection
) -> None:
    hers, his = secured
    hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'who = current_user')", (bob,))
    fresh_db.execute("UPDATE customers SET age = age + 1 WHERE id > 10")
    assert commit(hers, "customers")["rows"] == 40
    for version in ("customers@1", "customers@2", "customers@3"):
        assert sorted(keys(his, version)) == list(range(1, 21))
        assert len(keys(hers, version)) == 40
        assert value(his, f"SELECT count(*) FROM delc.dataset_rows(NULL::customers, '{version}')") == 20
    assert value(his, "SELECT count(*) FROM delc_data.d1 WHERE who <> current_user") == 0
    assert value(his, "SELECT count(*) FROM delc.diff_dataset('customers@2', 'customers@3')") == 10
    assert value(his, "SELECT count(*) FROM delc.row_history('customers', '30')") == 0
    assert value(his, "SELECT count(*) FROM delc.row_history('customers', '3')") == 1
    his.execute("SELECT delc.train('m', 'customers', epochs => 1)")
    hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'true')", (bob,))
    assert len(keys(his, "customers@1")) == 40
    hers.execute("SELECT delc.revoke_dataset('customers', %s)", (bob,))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        keys(his, "customers@1")


@pytest.mark.parametrize("source", [None, "SELECT * FROM customers WHERE id > 3", "seen"])
def test_rows_have_to_be_said_where_the_source_has_row_level_security(
    secured: tuple[Connection, Connection], bob: str, fresh_db: Connection, alice: str, source: str | None
) -> None:
    hers, _ = secured
    fresh_db.execute(f'CREATE VIEW seen AS TABLE customers; GRANT SELECT ON seen TO "{alice}"'.encode())
    name = "customers"
    if source:
        name = create(hers, "other", source, key="id")["dataset"].removesuffix("@1")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="row-level security, and no rows are said") as error:
        hers.execute("SELECT delc.grant_dataset(%s, %s)", (name, bob))
    assert "reads public.customers" in message(error.value) or "reads customers" in message(error.value)


def test_rights_follow_a_role_that_gets_another_name(
    secured: tuple[Connection, Connection], bob: str, fresh_db: Connection
) -> None:
    hers, his = secured
    hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'true')", (bob,))
    fresh_db.execute(f'ALTER ROLE "{bob}" RENAME TO "{bob}_married"'.encode())
    try:
        hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'id = 1')", (f"{bob}_married",))
        assert keys(his, "customers@1") == [1]
        hers.execute("SELECT delc.revoke_dataset('customers', %s)", (f"{bob}_married",))
        hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'false')", (f"{bob}_married",))
        assert keys(his, "customers@1") == []
    finally:
        fresh_db.execute(f'ALTER ROLE "{bob}_married" RENAME TO "{bob}"'.encode())


def test_rows_have_to_be_said_for_a_sample_too(secured: tuple[Connection, Connection], bob: str) -> None:
    hers, his = secured
    hers.execute("SELECT delc.sample_dataset('customers', 'few', fraction => 0.5)")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="no rows are said"):
        hers.execute("SELECT delc.grant_dataset('few', %s)", (bob,))
    hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'who = current_user')", (bob,))
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="roles may read some rows only"):
        hers.execute("SELECT delc.grant_dataset('few', %s)", (bob,))
    hers.execute("SELECT delc.grant_dataset('few', %s, rows => 'who = current_user')", (bob,))
    assert 0 < len(keys(his, "few")) <= 20


@pytest.mark.parametrize(
    "rows", ["age", "true) AS a, (true", "true); DROP TABLE customers; SELECT (true", "nothing > 1"]
)
def test_rows_are_one_condition(secured: tuple[Connection, Connection], bob: str, rows: str) -> None:
    hers, his = secured
    with pytest.raises((psycopg.DataError, psycopg.ProgrammingError)):
        hers.execute("SELECT delc.grant_dataset('customers', %s, rows => %s)", (bob, rows))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        keys(his, "customers")


def test_a_column_that_rights_depend_on_stays(
    secured: tuple[Connection, Connection], bob: str, fresh_db: Connection
) -> None:
    hers, his = secured
    hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'who = current_user')", (bob,))
    for change in ("ALTER who TYPE name", "DROP who"):
        fresh_db.execute(f"ALTER TABLE customers {change}".encode())
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="rights to read rows depend on it"):
            commit(hers, "customers")
    assert len(read(his, "customers")) == 20


def test_the_owner_is_not_kept_from_rows(secured: tuple[Connection, Connection], alice: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="reads all rows"):
        secured[0].execute("SELECT delc.grant_dataset('customers', %s, rows => 'false')", (alice,))


def test_rights_to_rows_hold_for_columns_that_lie_in_another_table(
    alice: str, bob: str, fresh_db: Connection, connect_as: Connect
) -> None:
    hers, his = connect_as(alice), connect_as(bob)
    columns = ", ".join(f"i AS c{n}" for n in range(1599))
    create(hers, "wide", f"SELECT i AS id, {columns} FROM generate_series(1, 9) AS i", key="id")
    hers.execute("SELECT delc.grant_dataset('wide', %s, rows => 'id < 4')", (bob,))
    assert sorted(keys(his, "wide")) == [1, 2, 3]
    assert value(his, "SELECT count(*) FROM delc_data.d1_part2") == 3
    told = "is about a column that conditions cannot be about: column \"c1598\" does not exist"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=told) as error:
        hers.execute("SELECT delc.grant_dataset('wide', %s, rows => 'c1598 < 4')", (bob,))
    assert "conditions can be about the 1590 columns in the first" in message(error.value)


def test_a_source_that_got_row_level_security_is_not_committed_for_all_to_read(
    alice: str, bob: str, fresh_db: Connection, connect_as: Connect
) -> None:
    make_customers(fresh_db, 10)
    grant_customers(fresh_db, alice)
    hers = connect_as(alice)
    create(hers, "customers", "customers")
    hers.execute("SELECT delc.grant_dataset('customers', %s)", (bob,))
    fresh_db.execute("ALTER TABLE customers ENABLE ROW LEVEL SECURITY")
    fresh_db.execute(f'CREATE POLICY everything ON customers TO "{alice}" USING (true)'.encode())
    fresh_db.execute("UPDATE customers SET age = age + 1")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has row-level security now") as error:
        commit(hers, "customers")
    assert f"granted to {bob} without rows being said" in message(error.value)
    hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'id < 4')", (bob,))
    assert commit(hers, "customers")["added"] == 10
    assert sorted(keys(connect_as(bob), "customers")) == [1, 2, 3]


def test_numbers_of_rows_are_those_of_rows_that_may_be_seen(
    secured: tuple[Connection, Connection], bob: str
) -> None:
    hers, his = secured
    hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'who = current_user')", (bob,))
    counts = "SELECT DISTINCT old_rows, new_rows FROM delc.summarize_diff('customers@1', 'customers@2')"
    assert his.execute(counts).fetchall() == [(20, 20)]
    assert hers.execute(counts).fetchall() == [(40, 40)]
    sampled = his.execute("SELECT rows FROM delc.sample_dataset('customers', 'few', fraction => 0.5)").fetchone()
    assert sampled == (10,)
    with pytest.raises(psycopg.errors.InvalidParameterValue) as error:
        his.execute("SELECT delc.sample_dataset('customers', 'all_of_them', rows => 30)")
    assert "It has 20 rows" in message(error.value)


def test_conditions_cannot_be_about_columns_that_were_of_another_type(
    bob: str, secured: tuple[Connection, Connection], fresh_db: Connection
) -> None:
    hers, his = secured
    fresh_db.execute("ALTER TABLE customers ALTER who TYPE varchar(90)")
    commit(hers, "customers")
    told = 'about column "who", which has had another type'
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=told) as error:
        hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'id > 0 AND who = current_user')", (bob,))
    assert 'It is text in "customers@1", and character varying(90) in "customers@3"' in message(error.value)
    hers.execute("SELECT delc.grant_dataset('customers', %s, rows => 'id = 1')", (bob,))
    assert keys(his, "customers") == [1]


INSERTING_FUNCTION = """
    CREATE OR REPLACE FUNCTION s.inner(integer) RETURNS integer LANGUAGE plpgsql AS $body$
    BEGIN
        EXECUTE (
            SELECT format('INSERT INTO %s VALUES (%s, {version}, ''t'', %s, 6)', max(oid)::regclass, $1 + 99, $1 + 99)
            FROM pg_class WHERE relnamespace = 'delc_data'::regnamespace AND relname ~ '^d[0-9]+$');
        RETURN $1;
    END $body$;
    CREATE OR REPLACE FUNCTION s.nice(integer) RETURNS integer LANGUAGE sql {volatility} AS 'SELECT s.inner($1)'
"""


def test_a_function_of_the_source_cannot_use_the_right_to_insert(
    alice: str, bob: str, fresh_db: Connection, connect_as: Connect
) -> None:
    fresh_db.execute("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT i AS k, i AS v FROM generate_series(1, 5) AS i")
    fresh_db.execute(f'GRANT ALL ON SCHEMA s TO "{bob}"; GRANT SELECT ON s.t TO "{alice}", "{bob}"'.encode())
    fresh_db.execute(f'GRANT USAGE ON SCHEMA s TO "{alice}"'.encode())
    hers, his = connect_as(alice), connect_as(bob)
    his.execute("CREATE FUNCTION s.nice(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1'")
    create(hers, "t", "SELECT k, s.nice(v) AS v FROM s.t", key="k")
    before, number = read(hers, "t@1"), value(fresh_db, "SELECT id FROM delc.datasets")
    for version, volatility in ((1, "VOLATILE"), (2, "VOLATILE"), (2, "IMMUTABLE")):
        his.execute(INSERTING_FUNCTION.format(version=version, volatility=volatility).encode())
        fresh_db.execute("UPDATE s.t SET v = v + 1 WHERE k = 5")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not insert rows into the schema delc_data"):
            commit(hers, "t")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not insert rows into the schema delc_data"):
            create(hers, "other", "SELECT k, s.nice(7) AS v FROM s.t", key="k")
        assert read(hers, "t") == before
    his.execute("CREATE OR REPLACE FUNCTION s.nice(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1'")
    assert commit(hers, "t")["added"] == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table d"):
        hers.execute(f"INSERT INTO delc_data.d{number} VALUES (1000, 2, 't', 700, 666)".encode())
