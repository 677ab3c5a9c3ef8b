"""What differs between two versions, as rows: SQL that the caller runs."""

from __future__ import annotations

from delc.datasets import images
from delc.datasets.columns import SourceColumn, describe_columns
from delc.datasets.difference import same_key
from delc.datasets.splits import SPLITS
from delc.datasets.versions import DatasetVersion
from delc.server import queries
from delc.server.errors import DatatypeMismatch, WrongState


def difference_query(a: DatasetVersion, b: DatasetVersion) -> str:
    """SQL for the rows in which ``b`` differs from ``a``: (change, key, old, new, columns), see
    ``delc.diff_dataset``.
    """
    own = {version.title: stored_columns(version) for version in (a, b)}
    keys = comparable_keys(a, b, own[a.title], own[b.title])
    # Rows that both versions have are not read twice.
    shared = a.dataset_id == b.dataset_id
    old = a.rows_query(but_not_in=b.stored if shared else None)
    new = b.rows_query(but_not_in=a.stored if shared else None)
    changed = _changed_columns(own[a.title], own[b.title])
    key = jsonb_object([(column.name, f"COALESCE(n.{column.quoted}, o.{column.quoted})") for column in keys])
    return (
        "SELECT CASE WHEN c.old_row IS NULL THEN 'added' WHEN c.new_row IS NULL THEN 'removed' ELSE 'changed' END,"
        " c.key, c.old, c.new, c.columns FROM ("
        f"SELECT o.delc_row AS old_row, n.delc_row AS new_row, {key} AS key,"
        f" CASE WHEN o.delc_row IS NOT NULL THEN {_image('o', a, own[a.title])} END AS old,"
        f" CASE WHEN n.delc_row IS NOT NULL THEN {_image('n', b, own[b.title])} END AS new,"
        f" CASE WHEN o.delc_row IS NOT NULL AND n.delc_row IS NOT NULL THEN {changed} END AS columns"
        f" FROM ({old}) AS o FULL JOIN ({new}) AS n ON {same_key(keys, 'o', 'n')}"
        ") AS c WHERE c.columns IS NULL OR c.columns OPERATOR(pg_catalog.<>) '{}'::pg_catalog.text[]"
    )


def change_counts(a: DatasetVersion, b: DatasetVersion) -> str:
    """SQL for how many rows of ``b`` are not in ``a`` (added), and how many of ``a`` are not in ``b`` (removed), with
    changed rows in both; both of one data set. Rows that ``b`` took away and put back as they were do not count.

    Such rows are found by the text of the whole row, and then compared by image: no function of a user's runs, so the
    extension's owner may run it.
    """
    columns = b.stored_columns(b.column_names)
    row_text = f"ROW({', '.join(f'r.{column.quoted}' for column in columns)})::pg_catalog.text"

    def hashed(rows: str) -> str:
        return f"SELECT r.*, pg_catalog.hashtextextended({row_text}, 0) AS delc_hash FROM ({rows}) AS r"

    alike = f"{images.alike(columns, 'o', 'n')} AND o.delc_split OPERATOR(pg_catalog.=) n.delc_split"
    return (
        f"WITH n AS MATERIALIZED ({hashed(b.rows_query(but_not_in=a.stored))}),"
        f" o AS MATERIALIZED ({hashed(a.in_shape_of(b).rows_query(but_not_in=b.stored))}),"
        f" same AS (SELECT pg_catalog.count(*) AS rows FROM n JOIN o ON o.delc_hash = n.delc_hash AND {alike})"
        " SELECT (SELECT pg_catalog.count(*) FROM n) - same.rows AS added,"
        " (SELECT pg_catalog.count(*) FROM o) - same.rows AS removed FROM same"
    )


def stored_columns(version: DatasetVersion) -> dict[str, SourceColumn]:
    """The version's columns by name, with what there is to know of their types."""
    return {column.name: column for column in describe_columns(version.query(None, version.column_names))}


def comparable_keys(
    a: DatasetVersion, b: DatasetVersion, columns_a: dict[str, SourceColumn], columns_b: dict[str, SourceColumn]
) -> list[SourceColumn]:
    """The key of both versions; errors where they have none or another."""
    for version in (a, b):
        if not version.key_columns:
            raise WrongState(
                f'data set "{version.name}" has no key, so its rows cannot be told apart',
                hint="Create it again with key => …, naming the columns that identify a row.",
            )
    described = [", ".join(f"{n} {own[n].base}" for n in v.key_columns) for v, own in ((a, columns_a), (b, columns_b))]
    if described[0] != described[1]:
        raise DatatypeMismatch(
            f'"{a.title}" and "{b.title}" have different keys',
            detail=f"They are ({described[0]}) and ({described[1]}).",
            hint="Rows are matched by key, so both need columns of the same names and types.",
        )
    return [columns_a[name] for name in a.key_columns]


def jsonb_object(items: list[tuple[str, str]]) -> str:
    """SQL for a jsonb object of named expressions; in pieces, since a function takes 100 arguments."""
    pieces = []
    for start in range(0, len(items), 40):
        named = ", ".join(f"{queries.quote_literal(name)}, {value}" for name, value in items[start : start + 40])
        pieces.append(f"pg_catalog.jsonb_build_object({named})")
    return f"({' OPERATOR(pg_catalog.||) '.join(pieces)})"


def _image(alias: str, version: DatasetVersion, columns: dict[str, SourceColumn]) -> str:
    named = [(name, f"{alias}.{columns[name].quoted}") for name in version.column_names]
    return jsonb_object([*named, ("delc_split", split_name(f"{alias}.delc_split"))])


def split_name(letter: str) -> str:
    """SQL for the name of a split that is given by its letter."""
    cases = " ".join(f"WHEN '{sign}' THEN '{name}'" for name, sign in SPLITS.items())
    return f"CASE {letter} {cases} END"


def _changed_columns(old: dict[str, SourceColumn], new: dict[str, SourceColumn]) -> str:
    """SQL for the names of the columns that differ; those of one version only differ where they are not NULL."""
    tests = []
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            there = f"o.{before.quoted}" if before else f"n.{after.quoted}" if after else ""
            tests.append((name, f"pg_catalog.num_nonnulls({there}) OPERATOR(pg_catalog.=) 1"))
        elif before.type != after.type:
            tests.append(
                (name, f"pg_catalog.num_nonnulls(o.{before.quoted}, n.{after.quoted}) OPERATOR(pg_catalog.>) 0")
            )
        else:
            tests.append((name, f"NOT {images.alike([before], 'o', 'n')}"))
    tests.append(("delc_split", "o.delc_split OPERATOR(pg_catalog.<>) n.delc_split"))
    listed = ", ".join(f"CASE WHEN {test} THEN {queries.quote_literal(name)} END" for name, test in tests)
    return f"pg_catalog.array_remove(ARRAY[{listed}]::pg_catalog.text[], NULL)"
