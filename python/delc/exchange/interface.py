"""What a model that was made elsewhere reads and gives: its features and its target, as the caller describes them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from delc.features import FittedFeatures, FittedTarget, target_from_json
from delc.features.fitted_target import IMPORTED
from delc.features.numbered import MANY, Labels, labels_json, once, unnamed
from delc.features.settings import parse_settings, setting_names, settings_json
from delc.features.stored import FORMAT_VERSION
from delc.features.target_plan import INTEGERS, NUMBERS, TASKS, TEXTS
from delc.networks.graph import INPUT
from delc.server.errors import InvalidParameter, unknown
from delc.server.inputs import InputSpec

MOST_ELEMENTS = 2**31 - 1
TYPES = {
    "numeric": "double precision",
    "boolean": "boolean",
    "categorical": "text",
    "datetime": "timestamp with time zone",
    "array": "real[]",
    "image": "bytea",
    "text": "text",
    "tokens": "integer[]",
}
"""What type the columns are taken to have; at prediction types of the same family do."""

_FITTED: Mapping[str, tuple[str, ...]] = {
    "numeric": ("center", "scale"),
    "boolean": ("center", "scale"),
    "array": ("shape", "center", "scale"),
    "image": ("shape", "center", "scale"),
    "tokens": ("shape", "size"),
    "text": ("vocabulary", "length"),
    "categorical": ("vocabulary",),
}
"""The kinds that can be described, and what is told of each beside its settings."""


@dataclass(frozen=True)
class Description:
    """What the caller said of a model; None is left to the file or to the version that it is based on.

    The fields are the last arguments of the SQL functions that import, in their order; files that have a network leave
    out the first.
    """

    network: str | None = None
    input_shape: Sequence[int] | None = None
    labels: Sequence[str] | None = None
    columns: Sequence[str] | None = None
    features: Any = None
    task: str | None = None
    target: Sequence[str] | None = None
    based_on: str | None = None
    message: str | None = None

    @classmethod
    def told(cls, *arguments: Any, has_network: bool = False) -> Description:
        """The description from the arguments as PL/Python gives them: all of them, in order, without ``network`` where
        the file has it.
        """
        names = [field.name for field in fields(cls)][1 if has_network else 0 :]
        told = dict(zip(names, arguments, strict=True))
        if told["features"] is not None:
            told["features"] = read_json("features", told["features"])
        return cls(**told)

    @property
    def says_inputs(self) -> bool:
        """Whether it says what the model reads."""
        return any(value is not None for value in (self.input_shape, self.columns, self.features))

    def arguments(self) -> dict[str, Any]:
        """What is logged of it."""
        return {name: value for name, value in vars(self).items() if value is not None}


def read_json(what: str, text: str) -> Any:
    """The value of a JSON text; ``InvalidParameter`` says of what it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"{what} is not JSON", detail=str(error)[:200]) from None


def features_of(description: Description) -> FittedFeatures:
    """The features that the description tells of: all columns, named numbers, or one array."""
    if description.features is not None:
        return _described(description.features)
    if description.columns is not None:
        return _numbers(description.columns, description.input_shape)
    if description.input_shape is None:
        raise InvalidParameter(
            "nothing says what the model reads",
            hint="Give input_shape (one row's, such as '{1,28,28}'), columns (names of numbers), or features.",
        )
    return array_of_shape(INPUT, description.input_shape)


def array_of_shape(name: str, shape: Sequence[int]) -> FittedFeatures:
    """One array that goes in as it is; at prediction it may go by any name."""
    _check_shape(shape)
    return _described({name: {"kind": "array", "shape": list(shape)}})


def features_of_inputs(specs: Mapping[str, InputSpec]) -> FittedFeatures:
    """Features for the inputs that a file tells of: arrays, and tokens where they are whole numbers."""
    described: dict[str, Any] = {}
    for name, spec in specs.items():
        if spec.dtype == "int64":
            described[name] = {"kind": "tokens", "shape": list(spec.shape), "size": spec.categories or 1}
        else:
            described[name] = {"kind": "array", "shape": list(spec.shape), "input": name}
    return _described(described)


def target_of(description: Description, outputs: int) -> FittedTarget:
    """The target of a model with so many outputs."""
    labels, task = description.labels, description.task
    if task is not None and task not in TASKS:
        raise unknown("task", task, TASKS, kind=InvalidParameter)
    if labels is not None and (None in labels or len(set(labels)) != len(labels)):
        raise InvalidParameter(f"labels have a NULL or a label twice: {', '.join(map(str, labels))}")
    if labels is not None and len(labels) != outputs:
        raise InvalidParameter(
            f"{len(labels)} labels were given, but the network has {outputs} outputs",
            hint="Name the classes (or numbers) in the order of the outputs.",
        )
    task = task or ("regression" if labels is None else "classification")
    return target_from_json(_target_document(task, labels, outputs, description.target))


def _target_document(
    task: str, labels: Sequence[str] | None, outputs: int, names: Sequence[str] | None
) -> dict[str, Any]:
    told = _labels(task, labels, outputs, names)
    common = {"version": FORMAT_VERSION, "task": task, "labels": labels_json(told), "reason": IMPORTED}
    if task == "classification":
        column = _only(names, "label")
        whole = all(_is_whole(label) for label in told)
        columns = [{"name": column, "type": "bigint" if whole else "text"}]
        counts = once([1] * outputs)
        return {**common, "columns": columns, "reading": INTEGERS if whole else TEXTS, "counts": counts}
    columns = _number_columns(told, names, "boolean" if task == "multilabel" else "double precision")
    if task == "multilabel":
        return {**common, "columns": columns, "reading": NUMBERS, "counts": once([1] * outputs), "rows": 2}
    zeros, ones = once([0.0] * outputs), once([1.0] * outputs)
    return {**common, "columns": columns, "reading": NUMBERS, "center": zeros, "scale": ones}


def _labels(task: str, labels: Sequence[str] | None, outputs: int, names: Sequence[str] | None) -> Labels:
    """Those that are told, the target's columns where there is one for each output, or numbers."""
    if labels is not None:
        return tuple(labels)
    if task != "classification" and names is not None and len(names) == outputs <= MANY:
        return tuple(names)
    return unnamed(task, outputs)


def _number_columns(labels: Labels, names: Sequence[str] | None, kind: str) -> list[dict[str, str]]:
    """A column for each output, or one array where they are more than a table can have."""
    if len(labels) > MANY and (names is None or len(names) == 1):
        return [{"name": names[0] if names else "output", "type": f"{kind}[]"}]
    if names is not None and len(names) != len(labels):
        raise InvalidParameter(
            f"{len(names)} target columns were named, but the network has {len(labels)} outputs",
            hint="Name one column for each output.",
        )
    return [{"name": name, "type": kind} for name in (names or labels)]


def _only(names: Sequence[str] | None, default: str) -> str:
    if names is not None and len(names) != 1:
        raise InvalidParameter(f"classification has one target column, but {len(names)} were named")
    return names[0] if names else default


def _is_whole(label: str) -> bool:
    return label.removeprefix("-").isascii() and label.removeprefix("-").isdigit() and abs(int(label)) < 2**63


def _numbers(columns: Sequence[str], shape: Sequence[int] | None) -> FittedFeatures:
    if not columns or None in columns:
        raise InvalidParameter("columns are empty or NULL", hint="Name the numbers that the network reads, in order.")
    if shape is not None and list(shape) != [len(columns)]:
        raise InvalidParameter(
            f"{len(columns)} columns do not fill the input_shape {list(shape)}",
            detail="Columns of numbers lie side by side.",
            hint="Leave input_shape out, or describe arrays as features.",
        )
    if len(set(columns)) != len(columns):
        raise InvalidParameter("a column is named twice", detail=f"Named are: {', '.join(columns)}.")
    return _described({name: {"kind": "numeric"} for name in columns})


def _described(value: Any) -> FittedFeatures:
    """Features from the document of another version, or from {"column": {"kind": …, what is told of it}}."""
    if not isinstance(value, dict) or not value:
        raise InvalidParameter(
            f"features are {json.dumps(value):.100}", detail='Expected is {"column": {"kind": "array", "shape": [4]}}.'
        )
    if "columns" in value and "version" in value:
        return FittedFeatures.from_json(value)
    columns = [_column(name, {"kind": told} if isinstance(told, str) else told) for name, told in value.items()]
    return FittedFeatures.from_json({"version": FORMAT_VERSION, "columns": columns})


def _column(name: str, told: Any) -> dict[str, Any]:
    kind = told.get("kind") if isinstance(told, dict) else None
    if not isinstance(kind, str) or kind not in _FITTED:
        raise unknown("kind", str(kind), _FITTED, kind=InvalidParameter, where=f'of feature "{name}"')
    known = {*setting_names(kind), *_FITTED[kind], "kind", "type"}
    for key in told:
        if key not in known:
            raise unknown("option", key, known, kind=InvalidParameter, where=f'of feature "{name}", which is {kind}')
    given = {key: value for key, value in told.items() if key in setting_names(kind) and key not in _FITTED[kind]}
    if "standardize" in setting_names(kind):
        given.setdefault("standardize", "none")
    if "shape" in setting_names(kind):
        given["shape"] = _told(name, told, "shape")
    settings = settings_json(parse_settings(kind, given, name))
    fitted = _fitted(name, kind, told)
    return {"name": name, "type": told.get("type", TYPES[kind]), "kind": kind, "settings": settings, "fitted": fitted}


def _fitted(name: str, kind: str, told: Mapping[str, Any]) -> dict[str, Any]:
    if kind in ("array", "image"):
        shape = _told(name, told, "shape")
        _check_shape(shape)
        center, scale = told.get("center", [0.0]), told.get("scale", [255.0 if kind == "image" else 1.0])
        return {"shape": shape, "center": _listed(center), "scale": _listed(scale), "fill": None}
    if kind in ("numeric", "boolean"):
        return {"center": told.get("center", 0.0), "scale": told.get("scale", 1.0), "fill": None}
    if kind == "tokens":
        return {"shape": _told(name, told, "shape"), "size": _told(name, told, "size")}
    if kind == "text":
        return {"vocabulary": _told(name, told, "vocabulary"), "length": _told(name, told, "length")}
    embedded = told.get("encoding") == "embedding"
    return {"vocabulary": _told(name, told, "vocabulary"), "unknown": embedded, "fill": None}


def _told(name: str, told: Mapping[str, Any], key: str) -> Any:
    if key not in told:
        raise InvalidParameter(f'feature "{name}" lacks "{key}"', hint=f'Say {{"{name}": {{"{key}": …}}}}.')
    return told[key]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_shape(shape: Any) -> None:
    whole = isinstance(shape, list | tuple) and all(type(size) is int and size > 0 for size in shape)
    if not whole or not 1 <= len(shape) <= 8 or math.prod(shape) > MOST_ELEMENTS:
        raise InvalidParameter(
            f"the shape {shape!r:.100} is not that of a row",
            detail="It has 1 to 8 positive dimensions; rows are not counted.",
        )
