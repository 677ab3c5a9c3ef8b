"""Reading a version as rows of a type that the user names."""

from __future__ import annotations

from typing import Any

from delc.datasets.versions import DatasetVersion
from delc.server import queries
from delc.server.errors import DatatypeMismatch, InvalidParameter


def columns_of(row_type: int, version: DatasetVersion) -> list[str]:
    """The names of a row type's columns, which are columns of the version with the same types."""
    with queries.as_owner():
        attributes = queries.rows(_ATTRIBUTES, queries.typed(row_type, "oid"))
        type_name = queries.value("SELECT format_type($1, NULL)", queries.typed(row_type, "oid"))
    if not attributes:
        raise InvalidParameter(
            f"{type_name} is not a row type",
            hint="Give a table's type or a composite type, as in NULL::public.customers; or use delc.dataset_query().",
        )
    stored = {column.name: column.type for column in version.columns}
    version.stored_columns([attribute["name"] for attribute in attributes])
    for attribute in attributes:
        _check_type(attribute, stored[attribute["name"]], version)
    return [attribute["name"] for attribute in attributes]


def _check_type(attribute: dict[str, Any], stored: str, version: DatasetVersion) -> None:
    if attribute["type"] != stored:
        raise DatatypeMismatch(
            f'column "{attribute["name"]}" of "{version.title}" has the type {stored}, not {attribute["type"]}',
            hint="Give a row type with the version's types, or use delc.dataset_query().",
        )


_ATTRIBUTES = """
    SELECT attribute.attname::text AS name, format_type(attribute.atttypid, attribute.atttypmod) AS type
    FROM pg_type AS type
    JOIN pg_attribute AS attribute ON attribute.attrelid = type.typrelid
    WHERE type.oid = $1 AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ORDER BY attribute.attnum
"""
