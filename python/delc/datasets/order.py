"""The order of a data set's rows: by a hash of the key, so that it depends on the seed and the keys alone.

A key is hashed by a text form that no setting of the session changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from delc.datasets.columns import SourceColumn

_BY_EPOCH = frozenset(
    {
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "time without time zone",
        "time with time zone",
        "interval",
    }
)
_BY_BYTES = {"real": "float4send", "double precision": "float8send", "bytea": "byteasend"}


def order_hash(alias: str, keys: Sequence[SourceColumn], seed: int) -> str:
    """SQL for the hash of a row's key (bigint); ``alias`` is the relation in FROM that has the key columns."""
    texts = [_text(f"{alias}.{column.quoted}", column.base) for column in keys]
    text = texts[0] if len(texts) == 1 else f"ROW({', '.join(texts)})::pg_catalog.text"
    return f'pg_catalog.hashtextextended(({text}) COLLATE pg_catalog."C", {_seed(seed)})'


def position_hash(position: str, seed: int) -> str:
    """SQL for the hash of a row without a key, by its position in the source."""
    return f"pg_catalog.hashint8extended({position}, {_seed(seed)})"


def _seed(seed: int) -> str:
    """The seed as SQL; a bare number would not be a bigint at the lower end of its range."""
    return f"'{int(seed)}'::pg_catalog.int8"


def _text(column: str, base: str) -> str:
    if base in _BY_EPOCH:
        return f"EXTRACT(epoch FROM {column})::pg_catalog.text"
    if base in _BY_BYTES:
        return f"pg_catalog.encode(pg_catalog.{_BY_BYTES[base]}({column}), 'hex')"
    return f"{column}::pg_catalog.text"
