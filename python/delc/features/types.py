"""What sort of values a PostgreSQL type holds, told from the name that ``format_type`` prints."""

from __future__ import annotations

import re
from enum import Enum


class Family(Enum):
    """The sorts of types that features and targets tell apart; the value is how an error calls it."""

    INTEGER = "an integer"
    FLOAT = "a floating-point number"
    DECIMAL = "a numeric"
    BOOLEAN = "a boolean"
    INTERVAL = "an interval"
    DATE = "a date"
    TIMESTAMP = "a timestamp"
    TIME = "a time of day"
    TEXT = "a text"
    NUMBERS = "an array of numbers"
    FLAGS = "an array of booleans"
    TEXTS = "an array of texts"
    BYTES = "a byte string"
    OTHER = "some other type"
    UNUSABLE = "a type that cannot be packed"


NUMBER_FAMILIES = frozenset({Family.INTEGER, Family.FLOAT, Family.DECIMAL})
ARRAY_FAMILIES = frozenset({Family.NUMBERS, Family.FLAGS})
MOMENT_FAMILIES = frozenset({Family.DATE, Family.TIMESTAMP, Family.TIME})
LABEL_FAMILIES = frozenset({Family.TEXT, Family.OTHER})

_SCALARS = {
    "smallint": Family.INTEGER,
    "integer": Family.INTEGER,
    "bigint": Family.INTEGER,
    "real": Family.FLOAT,
    "double precision": Family.FLOAT,
    "numeric": Family.DECIMAL,
    "boolean": Family.BOOLEAN,
    "interval": Family.INTERVAL,
    "date": Family.DATE,
    "timestamp without time zone": Family.TIMESTAMP,
    "timestamp with time zone": Family.TIMESTAMP,
    "time without time zone": Family.TIME,
    "time with time zone": Family.TIME,
    "text": Family.TEXT,
    "character varying": Family.TEXT,
    "character": Family.TEXT,
    "bpchar": Family.TEXT,
    "name": Family.TEXT,
    "citext": Family.TEXT,
    "uuid": Family.TEXT,
    "bytea": Family.BYTES,
    "vector": Family.NUMBERS,
    "tensor": Family.NUMBERS,
}

_UNUSABLE = {
    "json": "take the values out of it: (document ->> 'age')::integer",
    "jsonb": "take the values out of it: (document ->> 'age')::integer",
    "xml": "take the values out of it with xpath()",
    "money": "cast it to numeric",
    "halfvec": "cast it to vector",
    "sparsevec": "cast it to vector",
    "bit": "cast it to text or to integer",
    "bit varying": "cast it to text or to integer",
    "tsvector": "use the text that it was made from",
    "point": "use its coordinates: place[0] and place[1]",
    "record": "name its fields as columns of the query",
}

_DOUBLE_ELEMENTS = frozenset({"double precision", "integer", "bigint", "numeric"})

_MODIFIER = re.compile(r"\([^()]*\)")


def base_name(type_name: str) -> str:
    """The type's name without its modifier, schema, quotes and array brackets: ``public.vector(3)`` → ``vector``."""
    name = _MODIFIER.sub("", type_name).replace("[]", "").strip()
    name = name.rsplit(".", 1)[-1].strip('"')
    return " ".join(name.split())


def family(type_name: str) -> Family:
    """The family of a type. A name that is not known here, such as an enum's or a domain's, is ``OTHER``."""
    name = base_name(type_name)
    if name in _UNUSABLE:
        return Family.UNUSABLE
    element = _SCALARS.get(name, Family.OTHER)
    return _array_family(element) if type_name.endswith("[]") else element


def _array_family(element: Family) -> Family:
    if element in NUMBER_FAMILIES:
        return Family.NUMBERS
    if element is Family.BOOLEAN:
        return Family.FLAGS
    return Family.TEXTS if element in LABEL_FAMILIES else Family.UNUSABLE


def advice(type_name: str) -> str:
    """What to do with a column whose type cannot be used."""
    known = _UNUSABLE.get(base_name(type_name))
    return (
        known
        if known and not type_name.endswith("[]")
        else "cast it in the query to numbers, text or an array of numbers"
    )


def needs_double(type_name: str) -> bool:
    """Whether the elements of an array type may not fit float32 without loss."""
    return type_name.endswith("[]") and base_name(type_name) in _DOUBLE_ELEMENTS
