"""Whether two rows are stored alike: SQL that compares them by image, value by value.

So numbers that are equal and still differ (0 and -0, 1.0 and 1.00) are told apart, and types without equality can be
compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from delc.datasets.columns import SourceColumn
from delc.datasets.reading import StoredColumn

_MOST_PAIRS = 50
"""PostgreSQL's functions take 100 arguments."""


def alike(columns: Sequence[SourceColumn | StoredColumn], left: str, right: str) -> str:
    """SQL, never NULL: whether two rows, given by their aliases, have the same images in all the columns."""
    return same([(f"{left}.{column.quoted}", f"{right}.{column.quoted}") for column in columns])


def same(pairs: Sequence[tuple[str, str]]) -> str:
    """SQL, never NULL: whether the two values of each pair of expressions, which are of one type, have the same
    image.
    """
    tests = []
    for start in range(0, len(pairs), _MOST_PAIRS):
        values = ", ".join(f"{left}, {right}" for left, right in pairs[start : start + _MOST_PAIRS])
        tests.append(f"delc.same_images({values})")
    return f"({' AND '.join(tests)})" if tests else "true"


def same_key(keys: Sequence[SourceColumn], left: str, right: str, schemas: Sequence[str]) -> str:
    """SQL for whether two rows have the same key, by the collations of ``keys``; ``schemas`` says where each type's
    operator = lies.
    """
    return " AND ".join(
        f"{compared_key(column, left)} OPERATOR({schema}.=) {right}.{column.quoted}"
        for column, schema in zip(keys, schemas, strict=True)
    )


def compared_key(column: SourceColumn, alias: str) -> str:
    """SQL for a key's value that is compared by the column's collation, whatever that of the row's own column is."""
    collation = f" COLLATE {column.compared_by}" if column.compared_by else ""
    return f"{alias}.{column.quoted}{collation}"
