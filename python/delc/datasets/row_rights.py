"""Rights to read some rows of a data set: policies of row-level security on the tables of the store.

Each role that was granted the data set has one policy on the first part, called like the role was then. The other parts
show the rows that the first shows. Without such a grant there are no policies, and row-level security is off.
"""

from __future__ import annotations

from itertools import chain, count

from delc.datasets.layout import part_name
from delc.datasets.source import Source
from delc.server import queries


def allow(dataset_id: int, role: str, rows: str | None) -> None:
    """Lets a role that may read the store see the rows for which a condition holds, or all. The condition was checked
    to be one expression.
    """
    with queries.as_owner():
        first = part_name(dataset_id, 1)
        if rows is None and not is_on(dataset_id):
            return
        if not is_on(dataset_id):
            for part in _parts(dataset_id):
                switch_on(dataset_id, part)
            for reader in readers(dataset_id):
                _write(first, reader, "true")
        _write(first, role, "true" if rows is None else rows)


def forget(dataset_id: int, role: str) -> None:
    """Takes the policy of a role away, where it has one."""
    with queries.as_owner():
        _drop(part_name(dataset_id, 1), role)


def is_on(dataset_id: int) -> bool:
    """Whether some role may read some rows only."""
    with queries.as_owner():
        found: bool = queries.value(
            "SELECT relrowsecurity FROM pg_class WHERE oid = to_regclass($1)", part_name(dataset_id, 1)
        )
    return found


def switch_on(dataset_id: int, part: int) -> None:
    """Shows the rows of a part to nobody whom no policy lets see them; who may insert rows may insert any."""
    first, table = part_name(dataset_id, 1), part_name(dataset_id, part)
    with queries.as_owner():
        queries.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        queries.execute(f'CREATE POLICY "delc: insert" ON {table} FOR INSERT WITH CHECK (true)')
        if part > 1:
            queries.execute(
                f'CREATE POLICY "delc: part" ON {table} FOR SELECT'
                f" USING (EXISTS (SELECT FROM {first} AS d WHERE d.delc_row = {table}.delc_row))"
            )


def readers(dataset_id: int) -> list[str]:
    """The roles that were granted the data set, and its owner."""
    with queries.as_owner():
        return [row["role"] for row in queries.rows(_READERS, part_name(dataset_id, 1))]


def columns(dataset_id: int) -> list[str]:
    """The columns of the first part that conditions name."""
    with queries.as_owner():
        found = queries.rows(_COLUMNS, part_name(dataset_id, 1))
    return [row["name"] for row in found]


def secured_tables(source: Source) -> list[str]:
    """The tables with row-level security that a source reads, through views as well."""
    if source.relation is not None:
        return _secured(source.relation)
    with queries.rolled_back():
        # PostgreSQL notes what a view reads; the query is parsed with the caller's rights and not run.
        queries.execute(f"CREATE TEMPORARY VIEW delc_source AS SELECT FROM (\n{source.query}\n) AS source")
        return _secured(queries.value("SELECT 'pg_temp.delc_source'::pg_catalog.regclass::pg_catalog.oid::int8"))


def _secured(relation: int) -> list[str]:
    with queries.as_owner():
        found = queries.rows(_SECURED, queries.typed(relation, "oid"))
    return [row["name"] for row in found]


def _write(table: str, role: str, rows: str) -> None:
    _drop(table, role)
    taken = {row["name"] for row in queries.rows(_NAMES, table)}
    name = next(name for name in chain([role], (f"{role[:50]} {n}" for n in count(2))) if name not in taken)
    quoted = queries.quote_identifier(name)
    queries.execute(
        f"CREATE POLICY {quoted} ON {table} FOR SELECT TO {queries.quote_identifier(role)} USING (\n{rows}\n)"
    )


def _drop(table: str, role: str) -> None:
    """Takes the policies of a role away, whatever they are called: roles get other names, and policies keep theirs."""
    for row in queries.rows(_POLICIES, table, role):
        queries.execute(f"DROP POLICY {queries.quote_identifier(row['name'])} ON {table}")


def _parts(dataset_id: int) -> range:
    found: int = queries.value(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'delc_data'::regnamespace AND relkind = 'r'"
        " AND relname ~ ('^d' || $1 || '(_part[0-9]+)?$')",
        str(dataset_id),
    )
    return range(1, found + 1)


_READERS = """
    SELECT DISTINCT role.rolname::text AS role
    FROM pg_class AS class CROSS JOIN LATERAL aclexplode(class.relacl) AS granted
    JOIN pg_roles AS role ON role.oid = granted.grantee
    WHERE class.oid = to_regclass($1) AND granted.privilege_type = 'SELECT' AND granted.grantee <> class.relowner
"""

_NAMES = "SELECT polname::text AS name FROM pg_policy WHERE polrelid = to_regclass($1)"

_POLICIES = """
    SELECT policy.polname::text AS name FROM pg_policy AS policy
    JOIN pg_roles AS role ON policy.polroles = ARRAY[role.oid]
    WHERE policy.polrelid = to_regclass($1) AND role.rolname = $2
"""

_COLUMNS = """
    SELECT DISTINCT attribute.attname::text AS name
    FROM pg_policy AS policy
    JOIN pg_depend AS depend ON depend.classid = 'pg_policy'::regclass AND depend.objid = policy.oid
    JOIN pg_attribute AS attribute ON attribute.attrelid = policy.polrelid AND attribute.attnum = depend.refobjsubid
    WHERE policy.polrelid = to_regclass($1) AND depend.refclassid = 'pg_class'::regclass
      AND depend.refobjid = policy.polrelid AND depend.refobjsubid > 0 AND attribute.attname NOT LIKE 'delc\\_%'
    ORDER BY 1
"""

_SECURED = """
    WITH RECURSIVE used AS (
        SELECT $1 AS oid
        UNION
        SELECT depend.refobjid
        FROM used JOIN pg_rewrite AS rule ON rule.ev_class = used.oid
        JOIN pg_depend AS depend ON depend.classid = 'pg_rewrite'::regclass AND depend.objid = rule.oid
             AND depend.refclassid = 'pg_class'::regclass
    )
    SELECT DISTINCT class.oid::regclass::text AS name
    FROM used JOIN pg_class AS class ON class.oid = used.oid WHERE class.relrowsecurity ORDER BY 1
"""
