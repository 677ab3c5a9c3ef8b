"""Are the keys of a new version's rows whole and unique, and do all rows have a split?"""

from __future__ import annotations

from collections.abc import Sequence

from delc.datasets.columns import SourceColumn
from delc.datasets.images import compared_key
from delc.datasets.splits import unknown_split_error
from delc.server import queries
from delc.server.errors import InvalidData

_IN_SOURCE = "Take such rows out of the source, or make the data set with another key => …."
_IN_QUERY = "Give each key once in the query, and none that is NULL."


def check_keys(rows: str, keys: Sequence[SourceColumn], dataset: str, *, given: bool = False) -> None:
    """``InvalidData`` where a key is NULL or repeated in ``rows`` (a relation as it stands in FROM), which the user
    has ``given`` in a query or which come from the data set's source.
    """
    if not keys:
        return
    nulls = queries.row(_null_keys(rows, keys))
    for column in keys:
        count = (nulls or {}).get(column.name, 0)
        if count:
            raise InvalidData(
                f'key column "{column.name}" of data set "{dataset}" is NULL in {count} row{"s" if count > 1 else ""}',
                detail="A key identifies its row, so it is never NULL.",
                hint=_IN_QUERY if given else _IN_SOURCE,
            )
    repeated = queries.row(_repeated_keys(rows, keys))
    if repeated is not None:
        raise repeated_key_error(keys, repeated, dataset, given=given)


def check_splits(rows: str, column: SourceColumn | None) -> None:
    """``InvalidData`` where the user's split column said something else than train, validation or test."""
    if column is None:
        return
    found = queries.row(
        f"SELECT r.{column.quoted}::pg_catalog.text AS said, pg_catalog.count(*) OVER () AS rows FROM {rows}"
        " WHERE r.delc_split = '?' ORDER BY r.delc_row LIMIT 1"
    )
    if found is not None:
        raise unknown_split_error(column.name, found["said"], found["rows"])


def find_repeated_key(rows: str, keys: Sequence[SourceColumn], dataset: str) -> InvalidData | None:
    """The error for a repeated key in ``rows``, if there is one."""
    repeated = queries.row(_repeated_keys(rows, keys))
    return None if repeated is None else repeated_key_error(keys, repeated, dataset)


def repeated_key_error(
    keys: Sequence[SourceColumn], repeated: dict[str, object], dataset: str, *, given: bool = False
) -> InvalidData:
    """The error for a repeated key: ``repeated`` has an example's texts, how often it occurs, and how many keys are
    repeated.
    """
    names = ", ".join(column.name for column in keys)
    values = ", ".join(str(repeated[f"k{i}"]) for i in range(len(keys)))
    count, total = repeated["times"], repeated["keys"]
    others = f"; so are {total} keys in all" if total != 1 else ""
    by = "".join(f" Column {column.name} is compared by {column.collation}." for column in keys if column.collation)
    return InvalidData(
        f'key ({names}) of data set "{dataset}" is not unique',
        detail=f"({values}) is there {count} times{others}.{by}",
        hint=_IN_QUERY if given else _IN_SOURCE,
    )


def _null_keys(rows: str, keys: Sequence[SourceColumn]) -> str:
    counts = ", ".join(
        f"pg_catalog.count(*) - pg_catalog.count(r.{column.quoted}) AS {column.quoted}" for column in keys
    )
    return f"SELECT {counts} FROM {rows}"


def _repeated_keys(rows: str, keys: Sequence[SourceColumn]) -> str:
    grouped = ", ".join(compared_key(column, "r") for column in keys)
    texts = ", ".join(
        f"pg_catalog.min(r.{column.quoted}::pg_catalog.text COLLATE \"C\") AS k{i}" for i, column in enumerate(keys)
    )
    return (
        f"SELECT {texts}, pg_catalog.count(*) AS times, pg_catalog.count(*) OVER () AS keys FROM {rows}"
        f" GROUP BY {grouped} HAVING pg_catalog.count(*) > 1 LIMIT 1"
    )
