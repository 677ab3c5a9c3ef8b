"""Reading a version as rows of a type that the user names."""

from __future__ import annotations

from typing import Any

from delc.datasets.versions import DatasetVersion
from delc.server import queries
from delc.server.errors import DatatypeMismatch, InvalidParameter


def row_query(row_type: int, version: DatasetVersion, split: str | None) -> str:
    """SQL for the version's rows, or those of one split, as rows of a type, which is given by its oid.

    The type's columns are found in the version by name and have the same types there, or those under its domains.
    """
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
    text = version.query(split, [attribute["name"] for attribute in attributes], ordered=False)
    if all(attribute["type"] == attribute["base"] for attribute in attributes):
        return text
    columns = [f"r.{queries.quote_identifier(attribute['name'])}::{attribute['type']}" for attribute in attributes]
    return f"SELECT {', '.join(columns)} FROM ({text}) AS r"


def _check_type(attribute: dict[str, Any], stored: str, version: DatasetVersion) -> None:
    if attribute["base"] != stored:
        raise DatatypeMismatch(
            f'column "{attribute["name"]}" of "{version.title}" has the type {stored}, not {attribute["type"]}',
            hint="Give a row type with the version's types, or use delc.dataset_query().",
        )


_ATTRIBUTES = """
    WITH RECURSIVE step AS (
        SELECT attribute.attnum, attribute.atttypid AS type_id, attribute.atttypmod AS modifier
        FROM pg_type AS type
        JOIN pg_attribute AS attribute ON attribute.attrelid = type.typrelid
        WHERE type.oid = $1 AND attribute.attnum > 0 AND NOT attribute.attisdropped
        UNION ALL
        SELECT step.attnum, type.typbasetype, type.typtypmod
        FROM step JOIN pg_type AS type ON type.oid = step.type_id AND type.typtype = 'd'
    )
    SELECT attribute.attname::text AS name, format_type(attribute.atttypid, attribute.atttypmod) AS type,
           format_type(step.type_id, step.modifier) AS base
    FROM step
    JOIN pg_type AS base ON base.oid = step.type_id AND base.typtype <> 'd'
    JOIN pg_type AS type ON type.oid = $1
    JOIN pg_attribute AS attribute ON attribute.attrelid = type.typrelid AND attribute.attnum = step.attnum
    ORDER BY attribute.attnum
"""
