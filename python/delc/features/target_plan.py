"""What a model is to learn: which task a target stands for, and how its columns are read. Decided from their types,
before any row is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from delc.features.types import ARRAY_FAMILIES, MOMENT_FAMILIES, NUMBER_FAMILIES, Family, family
from delc.server.batches import PackKind, QueryColumn
from delc.server.errors import DatatypeMismatch, InvalidParameter, unknown

TASKS = ("classification", "multilabel", "regression")

INTEGERS, TEXTS, NUMBERS, NAMES = "integers", "texts", "numbers", "names"
"""How a target is read: one integer or boolean as int64; one value by its text; numbers as float64; an array of label
names by its text.
"""

READINGS = {
    INTEGERS: ("number", "int64"),
    TEXTS: ("category", "int32"),
    NUMBERS: ("number", "float64"),
    NAMES: ("category", "int32"),
}

_WHOLE = frozenset({Family.INTEGER, Family.BOOLEAN})
_BY_TEXT = frozenset({Family.TEXT, Family.OTHER})
_SCALAR_NUMBERS = NUMBER_FAMILIES | {Family.BOOLEAN, Family.INTERVAL}

_TASKS_OF: dict[Family, tuple[str, ...]] = {
    Family.INTEGER: ("classification", "regression"),
    Family.BOOLEAN: ("classification", "regression"),
    Family.FLOAT: ("regression", "classification"),
    Family.DECIMAL: ("regression", "classification"),
    Family.INTERVAL: ("regression",),
    Family.TEXT: ("classification",),
    Family.OTHER: ("classification",),
    Family.DATE: ("classification",),
    Family.TIMESTAMP: ("classification",),
    Family.TIME: ("classification",),
    Family.NUMBERS: ("regression", "multilabel"),
    Family.FLAGS: ("multilabel", "regression"),
    Family.TEXTS: ("multilabel",),
}
"""What a single column of each family can be a target of."""


@dataclass(frozen=True)
class TargetPlan:
    """A target before its rows were read. ``task`` is None where the values will decide; ``reason`` says what decided
    so far.
    """

    columns: tuple[QueryColumn, ...]
    task: str | None
    reading: str
    reason: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(column.name for column in self.columns)

    @property
    def is_array(self) -> bool:
        """Whether the target is one column that holds several numbers or names."""
        return family(self.columns[0].type) in ARRAY_FAMILIES | {Family.TEXTS}

    def packing(self, columns: Sequence[QueryColumn]) -> tuple[PackKind, str]:
        """See ``delc.features.layout.TargetColumns``."""
        return packing(self.columns, columns, self.reading)


def plan_target(columns: Sequence[QueryColumn], task: str = "auto") -> TargetPlan:
    """How these columns are a target.

    ``task``: classification, multilabel, regression or auto. By itself (auto), a text, boolean, enum or other
    category is classified, an integer with few different values as well, other numbers are regressed; an array of
    label names, of booleans or of 0 and 1 has several labels, and so have several columns of booleans or of 0 and 1.
    Raises ``InvalidParameter`` for an unknown task, ``DatatypeMismatch`` for columns that cannot be a target of the
    task.
    """
    if task != "auto" and task not in TASKS:
        raise unknown("task", task, ("auto", *TASKS), kind=InvalidParameter)
    told = None if task == "auto" else task
    if not columns:
        raise InvalidParameter(
            "there is no target column", hint="Name it when the data set is created: target => 'label'."
        )
    if len(columns) > 1:
        return _of_several(tuple(columns), told)
    return _of_one(columns[0], told)


def _of_one(column: QueryColumn, told: str | None) -> TargetPlan:
    of = family(column.type)
    tasks = _TASKS_OF.get(of, ())
    if not tasks or (told and told not in tasks):
        raise _unsuited(column, of, told, tasks)
    if told is None and of in MOMENT_FAMILIES:
        raise _unsuited(column, of, "regression", tasks)
    why = "the task was given" if told else f"{column.type} is {of.value}"
    open_ended = told is None and of in (Family.INTEGER, Family.NUMBERS)
    chosen = None if open_ended else told or tasks[0]
    return TargetPlan((column,), chosen, _reading(of, chosen), why)


def _reading(of: Family, task: str | None) -> str:
    if of is Family.TEXTS:
        return NAMES
    if task == "regression" or of in ARRAY_FAMILIES:
        return NUMBERS
    return INTEGERS if of in _WHOLE else TEXTS


def _of_several(columns: tuple[QueryColumn, ...], told: str | None) -> TargetPlan:
    families = [family(column.type) for column in columns]
    for column, of in zip(columns, families, strict=True):
        if of not in _SCALAR_NUMBERS:
            raise DatatypeMismatch(
                f'column "{column.name}" of type {column.type} cannot be one of {len(columns)} target columns',
                detail="Several target columns are numbers (regression) or booleans and 0/1 (multilabel).",
                hint="Name a single target column, or cast this one to a number.",
            )
    if told == "classification":
        raise InvalidParameter(
            f"classification has one target column, but {len(columns)} were named",
            hint="Use task => 'multilabel' when a row can have several labels at once.",
        )
    if told:
        return TargetPlan(columns, told, NUMBERS, "the task was given")
    if all(of is Family.BOOLEAN for of in families):
        return TargetPlan(columns, "multilabel", NUMBERS, "all target columns are boolean")
    if all(of in _WHOLE for of in families):
        return TargetPlan(columns, None, NUMBERS, "all target columns are integers or booleans")
    return TargetPlan(columns, "regression", NUMBERS, "the target columns are numbers")


def _unsuited(column: QueryColumn, of: Family, told: str | None, tasks: tuple[str, ...]) -> DatatypeMismatch:
    purpose = f"a target of {told}" if told else "a target"
    hint = "Cast it in the query to a number, a boolean or a text."
    if of in MOMENT_FAMILIES:
        hint = (
            f"For a number of seconds select extract(epoch FROM {column.name}); for classes, task => 'classification'."
        )
    elif told == "multilabel":
        hint = "Name several boolean columns, or an array of label names."
    elif told == "classification" and of in ARRAY_FAMILIES:
        hint = "Select the one element that holds the class, or use task => 'multilabel'."
    return DatatypeMismatch(
        f'column "{column.name}" of type {column.type} cannot be {purpose}',
        detail=f"It can be a target of {' or '.join(tasks)}." if tasks else f"It is {of.value}.",
        hint=hint,
    )


def packing(planned: Sequence[QueryColumn], query: Sequence[QueryColumn], reading: str) -> tuple[PackKind, str]:
    """How a query's columns are packed for a target that was planned with other columns. Raises ``DatatypeMismatch``
    when they don't suit.

    Whole-number labels given as text, and the other way round, are compared by their text.
    """
    for was, now in zip(planned, query, strict=True):
        if not _suits(family(was.type), family(now.type), reading):
            raise DatatypeMismatch(
                f'target column "{now.name}" is of type {now.type}, but was {was.type} when the model was made',
                hint=f"Cast it in the query to {was.type}.",
            )
    if reading == INTEGERS and family(query[0].type) is not family(planned[0].type):
        reading = TEXTS
    kind, dtype = READINGS[reading]
    return ("number" if kind == "number" else "category"), dtype


def _suits(was: Family, now: Family, reading: str) -> bool:
    if was is now:
        return True
    if reading in (INTEGERS, TEXTS):
        by_text = _BY_TEXT | _WHOLE
        return was in by_text and now in by_text and {was, now} != _WHOLE
    if reading == NUMBERS:
        return any(was in group and now in group for group in (_SCALAR_NUMBERS, ARRAY_FAMILIES))
    return False
