"""Whether two rows are stored alike: SQL that compares them by image, column by column.

Values of most common types are equal only when their images are, so their own operator does it; numbers that can be
equal and still differ (0 and -0, 1.0 and 1.00) get a second look. What is left is compared as a record, by image
(``*=``), so that types without equality can be compared too. That takes several times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

from delc.datasets.columns import SourceColumn

_EQUAL_IS_ALIKE = frozenset(
    {
        "smallint",
        "integer",
        "bigint",
        "boolean",
        "oid",
        "uuid",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "time without time zone",
        "bytea",
    }
)
_TEXTS = frozenset({"text", "character varying"})
_FLOATS = {"real": "float4send", "double precision": "float8send"}


def alike(columns: Sequence[SourceColumn], left: str, right: str) -> str:
    """SQL, never NULL: whether two rows, given by their aliases, have the same images in all the columns."""
    tests = []
    rest = []
    for column in columns:
        test = _equal(column, f"{left}.{column.quoted}", f"{right}.{column.quoted}")
        if test is None:
            rest.append(column)
        else:
            missing = f"{left}.{column.quoted} IS NULL AND {right}.{column.quoted} IS NULL"
            tests.append(f"(({test}) IS TRUE OR ({missing}))")
    if rest:
        images = [f"ROW({', '.join(f'{side}.{c.quoted}' for c in rest)})::pg_catalog.record" for side in (left, right)]
        tests.append(f"{images[0]} OPERATOR(pg_catalog.*=) {images[1]}")
    return f"({' AND '.join(tests)})" if tests else "true"


def _equal(column: SourceColumn, left: str, right: str) -> str | None:
    """SQL for whether two values that are not NULL are alike; None where the type needs its image compared."""
    if column.base in _EQUAL_IS_ALIKE or column.is_enum:
        return f"{left} OPERATOR(pg_catalog.=) {right}"
    if column.base in _TEXTS:
        sides = (f'{side}::pg_catalog.text COLLATE pg_catalog."C"' for side in (left, right))
        return " OPERATOR(pg_catalog.=) ".join(sides)
    if column.base in _FLOATS:
        send = f"pg_catalog.{_FLOATS[column.base]}"
        plain = f"{left} OPERATOR(pg_catalog.<>) 0 AND {left} OPERATOR(pg_catalog.<>) 'NaN'"
        image = f"{send}({left}) OPERATOR(pg_catalog.=) {send}({right})"
        return f"{left} OPERATOR(pg_catalog.=) {right} AND (({plain}) OR {image})"
    if column.base == "numeric":
        scales = (f"COALESCE(pg_catalog.scale({side}), -1)" for side in (left, right))
        return f"{left} OPERATOR(pg_catalog.=) {right} AND {' OPERATOR(pg_catalog.=) '.join(scales)}"
    return None


def same_key(keys: Sequence[SourceColumn], left: str, right: str, schemas: Sequence[str]) -> str:
    """SQL for whether two rows have the same key; ``schemas`` says where each type's operator = lies."""
    return " AND ".join(
        f"{left}.{column.quoted} OPERATOR({schema}.=) {right}.{column.quoted}"
        for column, schema in zip(keys, schemas, strict=True)
    )
