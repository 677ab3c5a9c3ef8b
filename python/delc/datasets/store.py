"""The tables that hold the rows of data sets. They belong to a role without rights, and only this room writes to them.

Rows are inserted by the caller's own query, so that it reads what the caller may read; the caller has the right to
insert only meanwhile. Functions that the query calls may not use it: versions have the rows that the query gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import _delc

from delc.datasets import row_rights
from delc.datasets.columns import SourceColumn
from delc.datasets.layout import part_name, removed_name
from delc.server import queries, rights

_STORE_OWNER = "delc_store"
_being_written: list[int] = []
_BOOKKEEPING = {
    "delc_row": ("bigint", "Number of the row, in the shuffled order in which versions are read."),
    "delc_version": ("integer", "Number of the version that added the row."),
    "delc_split": ('"char"', "t: to train on, v: to validate on, e: to test on. A row keeps its split."),
}


def create_tables(dataset_id: int, dataset: str, columns: Sequence[SourceColumn], parts: Sequence[int]) -> None:
    """Makes the empty tables of a data set; ``parts`` gives the part of each column."""
    with queries.as_owner():
        for part in range(1, max(parts) + 1):
            own = list(_BOOKKEEPING) if part == 1 else ["delc_row"]
            declared = [f"{name} {_BOOKKEEPING[name][0]} NOT NULL" for name in own]
            declared += [column.declaration for column, place in zip(columns, parts, strict=True) if place == part]
            table = part_name(dataset_id, part)
            queries.execute(f"CREATE TABLE {table} ({', '.join(declared)})")
            queries.execute(f"ALTER TABLE {table} OWNER TO {_STORE_OWNER}")
            _comment(
                table, f'Rows of the data set "{dataset}"' + (f", columns of part {part}" if part > 1 else ""), own
            )
        removed = removed_name(dataset_id)
        # Without an index, which would be most of it: it has one row for each version.
        queries.execute(f"CREATE TABLE {removed} (delc_version integer NOT NULL, delc_rows bytea NOT NULL)")
        queries.execute(f"ALTER TABLE {removed} OWNER TO {_STORE_OWNER}")
        _comment(removed, f'Rows that versions of the data set "{dataset}" leave out', [])


def add_row_numbers_index(dataset_id: int, parts: int) -> None:
    """Makes delc_row the primary key of every part, once the first rows are in, and tells the planner how they lie."""
    with queries.as_owner():
        for part in range(1, parts + 1):
            table = part_name(dataset_id, part)
            queries.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (delc_row)")
            queries.execute(f"ANALYZE {table} (delc_row{', delc_version, delc_split' if part == 1 else ''})")


@contextmanager
def writable(dataset_id: int) -> Iterator[None]:
    """Lets the caller insert rows within the block, by ``insert()`` alone; other sessions never see that right, since
    it goes in the same transaction.
    """
    caller = queries.quote_identifier(rights.caller())
    tables = ", ".join(_tables(dataset_id))
    before = _delc.open_store()
    _being_written.append(dataset_id)
    try:
        with queries.as_owner():
            queries.execute(f"GRANT INSERT ON {tables} TO {caller}")
        yield
        with queries.as_owner():
            queries.execute(f"REVOKE INSERT ON {tables} FROM {caller}")
    finally:
        _being_written.remove(dataset_id)
        _delc.close_store(before)


def is_writable(dataset_id: int) -> bool:
    """Whether a statement of the session is within ``writable()`` of the data set."""
    return dataset_id in _being_written


def insert(statement: str) -> list[dict[str, Any]]:
    """Runs a statement that inserts rows, within ``writable()``; the rows that it returns."""
    _delc.expect_insert()
    return queries.rows(statement)


def grant_reading(dataset_id: int, role: str) -> None:
    """Lets a role read all versions."""
    with queries.as_owner():
        tables = ", ".join(_tables(dataset_id))
        queries.execute(f"GRANT SELECT ON {tables} TO {queries.quote_identifier(role)}")


def revoke_reading(dataset_id: int, role: str) -> None:
    """Takes the right to read from a role."""
    with queries.as_owner():
        tables = ", ".join(_tables(dataset_id))
        queries.execute(f"REVOKE SELECT ON {tables} FROM {queries.quote_identifier(role)}")


def views(dataset_id: int) -> list[str]:
    """Users' views, materialized ones too, that read the tables."""
    with queries.as_owner():
        found = queries.rows(_VIEWS, queries.typed(_tables(dataset_id), "text[]"))
    return [row["name"] for row in found]


def drop_tables(dataset_id: int) -> None:
    """Drops the tables with all rows. Views of users' that read them stand in the way, as they should."""
    with queries.as_owner():
        queries.execute(f"DROP TABLE {', '.join(_tables(dataset_id))}")


@contextmanager
def bulk_settings() -> Iterator[None]:
    """For statements over all rows: sorts within maintenance_work_mem, as building an index does, and no just-in-time
    compilation, which takes longer on them than it saves. An error puts the settings back with the rest of the
    transaction.
    """
    before = queries.rows(
        "SELECT pg_catalog.current_setting('work_mem') AS work_mem, pg_catalog.current_setting('jit') AS jit"
    )[0]
    queries.execute(_RAISE_WORK_MEM)
    queries.execute(_SET_LOCAL, "jit", "off")
    yield
    for name, value in before.items():
        queries.execute(_SET_LOCAL, name, value)


def count_parts(dataset_id: int) -> int:
    """How many tables the columns of a data set's rows are spread over."""
    with queries.as_owner():
        found: int = queries.value(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'delc_data'::regnamespace AND relkind = 'r'"
            " AND relname ~ ('^d' || $1 || '(_part[0-9]+)?$')",
            str(dataset_id),
        )
    return found


def column_widths(dataset_id: int, part: int) -> dict[str, int]:
    """The users' columns in a part: the bytes that a value takes, -1 where that varies."""
    with queries.as_owner():
        found = queries.rows(
            "SELECT attname::text AS name, attlen::integer AS width FROM pg_attribute"
            " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attname <> ALL ($2)"
            " ORDER BY attnum",
            part_name(dataset_id, part),
            queries.typed(list(_BOOKKEEPING), "name[]"),
        )
    return {row["name"]: row["width"] for row in found}


def add_columns(dataset_id: int, part: int, dataset: str, columns: Mapping[str, SourceColumn], *, is_new: bool) -> None:
    """Adds columns, by their names in the store, to a part, which is made first where it ``is_new``."""
    table = part_name(dataset_id, part)
    with queries.as_owner():
        if is_new:
            queries.execute(f"CREATE TABLE {table} (delc_row bigint NOT NULL PRIMARY KEY)")
            queries.execute(f"ALTER TABLE {table} OWNER TO {_STORE_OWNER}")
            _comment(table, f'Rows of the data set "{dataset}", columns of part {part}', ["delc_row"])
            for row in queries.rows(_READERS, part_name(dataset_id, 1)):
                queries.execute(f"GRANT SELECT ON {table} TO {queries.quote_identifier(row['role'])}")
            if row_rights.is_on(dataset_id):
                row_rights.switch_on(dataset_id, part)
        declared = [replace(column, name=name).declaration for name, column in columns.items()]
        queries.execute(f"ALTER TABLE {table} {', '.join(f'ADD COLUMN {text}' for text in declared)}")


def size(dataset_id: int) -> int:
    """Bytes that the tables take, with indexes."""
    with queries.as_owner():
        found: int = queries.value(
            "SELECT sum(pg_total_relation_size(to_regclass(name)))::int8 FROM unnest($1) AS name",
            queries.typed(_tables(dataset_id), "text[]"),
        )
    return found


def delete_dead(dataset_id: int, gone: Sequence[int], takers: Mapping[int, int]) -> int:
    """Deletes the rows that no version has any more; how many went.

    ``gone``: numbers of versions that went with what they added. ``takers``: for versions that went into another one,
    and for those others, the one that has their rows now. Rows are deleted one by one and nothing is emptied, so that
    older snapshots go on seeing what there was.
    """
    with queries.as_owner(), bulk_settings():
        dead: bytes | None = queries.value(
            _DEAD_ROWS.format(rows=part_name(dataset_id, 1), removed=removed_name(dataset_id)),
            queries.typed(list(gone), "integer[]"),
            queries.typed(list(takers), "integer[]"),
            queries.typed(list(takers.values()), "integer[]"),
        )
        queries.execute(
            f"DELETE FROM {removed_name(dataset_id)} WHERE delc_version = ANY ($1)",
            queries.typed(list(gone), "integer[]"),
        )
        count = 0
        if dead is not None:
            for statement in _FORGET_REMOVALS:
                queries.execute(statement.format(removed=removed_name(dataset_id)), queries.typed(dead, "bytea"))
            for part in range(count_parts(dataset_id), 0, -1):
                table = part_name(dataset_id, part)
                count = queries.execute(
                    f"DELETE FROM {table} WHERE delc.row_set_contains($1, delc_row)", queries.typed(dead, "bytea")
                )
    return count


def compact(dataset_id: int) -> None:
    """Writes the tables anew without the rows that nobody can see any more, each in the order of its row numbers."""
    with queries.as_owner():
        for part in range(1, count_parts(dataset_id) + 1):
            index = queries.value(_PRIMARY_KEY, part_name(dataset_id, part))
            queries.execute(f"CLUSTER {part_name(dataset_id, part)} USING {index}")


def _tables(dataset_id: int) -> list[str]:
    return [*(part_name(dataset_id, part) for part in range(1, count_parts(dataset_id) + 1)), removed_name(dataset_id)]


def _comment(table: str, text: str, own_columns: Sequence[str]) -> None:
    text = f"{text}; written by delc. Read a version with delc.dataset_query()."
    queries.execute(f"COMMENT ON TABLE {table} IS {queries.quote_literal(text)}")
    for name in own_columns:
        queries.execute(f"COMMENT ON COLUMN {table}.{name} IS {queries.quote_literal(_BOOKKEEPING[name][1])}")


_DEAD_ROWS = """
    WITH here AS (SELECT * FROM unnest($2, $3) AS here(number, taker)), left_out AS (
        SELECT DISTINCT member.delc_row, here.taker FROM {removed} AS r JOIN here ON here.number = r.delc_version
        CROSS JOIN LATERAL delc.row_set_members(r.delc_rows) AS member(delc_row)
    ), added AS MATERIALIZED (
        SELECT d.delc_row, d.delc_version, left_out.taker
        FROM left_out JOIN {rows} AS d ON d.delc_row = left_out.delc_row
    ), dead AS (
        SELECT d.delc_row FROM {rows} AS d WHERE d.delc_version = ANY ($1)
        UNION ALL
        SELECT added.delc_row FROM added JOIN here ON here.number = added.delc_version AND here.taker = added.taker
    )
    SELECT delc.row_set(delc_row) FROM dead HAVING count(*) > 0
"""
"""A row is dead with the version that added it, or where the version that has its rows now leaves it out as well.

Which row a version added is looked up before its taker is, lest each row meet all versions.
"""

# Numbers of rows that went may be given again, so no set may keep them.
_FORGET_REMOVALS = (
    """
    DELETE FROM {removed} AS r WHERE NOT EXISTS (
        SELECT FROM delc.row_set_members(r.delc_rows) AS member(delc_row)
        WHERE NOT delc.row_set_contains($1, member.delc_row))
    """,
    """
    UPDATE {removed} AS r SET delc_rows = (
        SELECT delc.row_set(member.delc_row) FROM delc.row_set_members(r.delc_rows) AS member(delc_row)
        WHERE NOT delc.row_set_contains($1, member.delc_row))
    WHERE EXISTS (
        SELECT FROM delc.row_set_members(r.delc_rows) AS member(delc_row)
        WHERE delc.row_set_contains($1, member.delc_row))
    """,
)

_VIEWS = """
    SELECT DISTINCT rule.ev_class::regclass::text AS name
    FROM pg_depend AS depend JOIN pg_rewrite AS rule ON rule.oid = depend.objid
    WHERE depend.classid = 'pg_rewrite'::regclass AND depend.refclassid = 'pg_class'::regclass
      AND depend.refobjid IN (SELECT to_regclass(name) FROM unnest($1) AS name)
    ORDER BY 1
"""

_PRIMARY_KEY = """
    SELECT quote_ident(class.relname) FROM pg_index AS index JOIN pg_class AS class ON class.oid = index.indexrelid
    WHERE index.indrelid = to_regclass($1) AND index.indisprimary
"""

_READERS = """
    SELECT DISTINCT role.rolname::text AS role
    FROM pg_class AS class CROSS JOIN LATERAL aclexplode(class.relacl) AS granted
    JOIN pg_roles AS role ON role.oid = granted.grantee
    WHERE class.oid = to_regclass($1) AND granted.privilege_type = 'SELECT' AND granted.grantee <> class.relowner
"""

_SET_LOCAL = "SELECT pg_catalog.set_config($1, $2, true)"

_RAISE_WORK_MEM = """
    SELECT pg_catalog.set_config('work_mem', pg_catalog.current_setting('maintenance_work_mem'), true)
    WHERE pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem'))
          > pg_catalog.pg_size_bytes(pg_catalog.current_setting('work_mem'))
"""
