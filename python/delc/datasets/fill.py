"""Taking all rows of a source as the first version of a data set: one INSERT, which reads the source once."""

from __future__ import annotations

from collections.abc import Sequence

from delc.datasets import store
from delc.datasets.definition import Definition
from delc.datasets.layout import part_name
from delc.datasets.order import order_hash, position_hash
from delc.datasets.reading import StoredColumn
from delc.datasets.splits import Existing, letter, letter_of_column

FIRST_NUMBER = 1


def fill(dataset_id: int, definition: Definition, parts: Sequence[int], *, has_split: bool = False) -> None:
    """Inserts the rows, in the order of their numbers, each with its split, which the source says in a column
    delc_split (``has_split``) or which is dealt. Runs as the caller.
    """
    rows = _first_rows(definition, has_split=has_split)
    columns = [StoredColumn(column.quoted, part) for column, part in zip(definition.columns, parts, strict=True)]
    if max(parts) == 1:
        inserts = insert_parts(dataset_id, columns, f"({rows}) AS delc_rows")
        store.insert(inserts[0])
        return
    inserts = insert_parts(dataset_id, columns, "delc_rows")
    steps = "".join(f", delc_part{part} AS ({insert})" for part, insert in enumerate(inserts[1:], 2))
    store.insert(f"WITH delc_rows AS MATERIALIZED ({rows}){steps}\n{inserts[0]}")


def insert_parts(dataset_id: int, columns: Sequence[StoredColumn], rows: str) -> list[str]:
    """The INSERT of each part; ``rows`` has delc_row, delc_version, delc_split and all columns."""
    inserts = []
    for part in range(1, max(column.part for column in columns) + 1):
        own = ["delc_row", "delc_version", "delc_split"] if part == 1 else ["delc_row"]
        here = [column for column in columns if column.part == part]
        into = ", ".join(own + [column.stored or column.quoted for column in here])
        selected = ", ".join(own + [column.quoted for column in here])
        inserts.append(f"INSERT INTO {part_name(dataset_id, part)} ({into}) SELECT {selected} FROM {rows}")
    return inserts


def split_anew(definition: Definition) -> str:
    """SQL for the source's rows with the split (delc_split, "char") that each would have in a new data set."""
    columns = ", ".join(f"placed.{column.quoted}" for column in definition.columns)
    split = split_letter("placed", _place(definition), definition, Existing())
    return f'SELECT {columns}, ({split})::pg_catalog."char" AS delc_split FROM ({_placed(definition)}) AS placed'


def _place(definition: Definition) -> str:
    return "placed.delc_place" if definition.stratum else "placed.delc_row"


def _first_rows(definition: Definition, *, has_split: bool) -> str:
    columns = ", ".join(f"placed.{column.quoted}" for column in definition.columns)
    order = row_order("placed", definition)
    number = f"pg_catalog.row_number() OVER (ORDER BY {order})" if definition.stratum else "placed.delc_row"
    dealt = split_letter("placed", _place(definition), definition, Existing())
    split = "placed.delc_split" if has_split else dealt
    return (
        f"SELECT {number} AS delc_row, {FIRST_NUMBER} AS delc_version, {split} AS delc_split, {columns}"
        f" FROM ({_placed(definition)}) AS placed ORDER BY {order}"
    )


def _placed(definition: Definition) -> str:
    """The source's rows with their hash, and their place among the rows of their stratum (without strata: their
    number).
    """
    order = row_order("hashed", definition)
    if definition.stratum:
        # Numbers sort faster than texts; should two values have one hash, they are split as one stratum.
        stratum = f'hashed.{definition.stratum.quoted}::pg_catalog.text COLLATE pg_catalog."C"'
        window = f"PARTITION BY pg_catalog.hashtextextended({stratum}, 0) ORDER BY {order}"
        place = f"pg_catalog.row_number() OVER ({window}) AS delc_place"
    else:
        place = f"pg_catalog.row_number() OVER (ORDER BY {order}) AS delc_row"
    return f"SELECT hashed.*, {place} FROM ({_hashed(definition)}) AS hashed"


def _hashed(definition: Definition) -> str:
    source = definition.source.query
    if definition.keys:
        value = order_hash("source", definition.keys, definition.seed)
        return f"SELECT source.*, {value} AS delc_hash FROM (\n{source}\n) AS source"
    value = position_hash("numbered.delc_position", definition.seed)
    numbered = f"SELECT source.*, pg_catalog.row_number() OVER () AS delc_position FROM (\n{source}\n) AS source"
    return f"SELECT numbered.*, {value} AS delc_hash FROM ({numbered}) AS numbered"


def row_order(alias: str, definition: Definition) -> str:
    """What rows are sorted by: their hash, and the key itself in the unlikely case that two hashes are equal."""
    names = [column.quoted for column in definition.keys] or ["delc_position"]
    return ", ".join(f"{alias}.{name}" for name in ["delc_hash", *names])


def split_letter(alias: str, place: str, definition: Definition, existing: Existing) -> str:
    """SQL for the split of a row: what the user's column says, or what its place in its stratum gives."""
    if definition.split_column:
        return letter_of_column(f"{alias}.{definition.split_column.quoted}")
    return letter(place, definition.shares, existing)
