"""What a query may ask of a model: attributes, hyper-parameters, metrics, and those of its relatives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from delc.dql.parameters import Bindings
from delc.dql.problems import problem, unknown_name
from delc.dql.syntax import Attribute
from delc.server import queries
from delc.training.options import TrainingOptions

Wrap = Callable[[str], str]


def _as_it_is(condition: str) -> str:
    return condition


@dataclass(frozen=True)
class Term:
    """Something that can be compared: SQL and the type of its values (text, number, time, boolean, json).

    ``wrap`` makes a condition on it one on the model, where there may be several values: it holds when it holds for one
    of them. ``document``: an indexed JSON object and the key in it whose value this is. ``argument``: the alias of the
    layer and the name of the argument whose value it is. ``integers``: the same as an array of integers.
    """

    sql: str
    type: str
    wrap: Wrap = _as_it_is
    title: str = ""
    metric: str | None = None
    document: tuple[str, str] | None = None
    argument: tuple[str, str] | None = None
    integers: str | None = None


@dataclass(frozen=True)
class Model:
    """The aliases of a model's version and of its line (``delc.models``) in a statement.

    ``measured``: its metrics that the statement asks for, each with the alias of a table that has it; None where every
    mention looks it up by itself.
    """

    version: str
    line: str
    measured: dict[str, str] | None = None

    def tables(self, bindings: Bindings) -> str:
        """What follows FROM; to be asked for when all conditions are known."""
        version, line = self.version, self.line
        tables = f"delc.model_versions AS {version} JOIN delc.models AS {line} ON {line}.id = {version}.model_id"
        for metric, alias in (self.measured or {}).items():
            # OFFSET keeps the query apart: it runs once for a version, however many mention its value.
            value = _looked_up(metric, self, bindings)
            tables += f" CROSS JOIN LATERAL (SELECT {value} AS value OFFSET 0) AS {alias}"
        return tables


_PLAIN = {
    "name": ("{line}.name", "text"),
    "version": ("{version}.number", "number"),
    "number": ("{version}.number", "number"),
    "id": ("{version}.id", "number"),
    "title": ("({line}.name || '@' || {version}.number)", "text"),
    "creation_time": ("{version}.created_at", "time"),
    "created_at": ("{version}.created_at", "time"),
    "created_by": ("{version}.created_by", "text"),
    "owner": ("{line}.owner", "text"),
    "task": ("{version}.task", "text"),
    "message": ("{version}.message", "text"),
    "parameters": ("{version}.parameters", "number"),
    "run_id": ("{version}.run_id", "number"),
    "layers": ("{version}.layers", "number"),
    "snapshots": ("(SELECT count(*) FROM delc.snapshots AS s WHERE s.version_id = {version}.id)", "number"),
    "latest": (
        "(NOT EXISTS (SELECT FROM delc.model_versions AS o"
        " WHERE o.model_id = {version}.model_id AND o.number > {version}.number))",
        "boolean",
    ),
}

_SEVERAL = {
    "tag": ("a.alias", "delc.model_aliases AS a", "a.version_id = {version}.id"),
    "alias": ("a.alias", "delc.model_aliases AS a", "a.version_id = {version}.id"),
    "file": ("f.path", "delc.model_files AS f", "f.version_id = {version}.id"),
    "input": (
        "l.name",
        "delc.layers AS l JOIN delc.layer_edges AS e ON e.version_id = l.version_id AND e.to_layer = l.name",
        "l.version_id = {version}.id AND NOT EXISTS (SELECT FROM delc.layers AS s"
        " WHERE s.version_id = e.version_id AND s.name = e.from_layer)",
    ),
    "output": (
        "l.name",
        "delc.layers AS l",
        "l.version_id = {version}.id AND NOT EXISTS (SELECT FROM delc.layer_edges AS e"
        " WHERE e.version_id = l.version_id AND e.from_layer = l.name)",
    ),
}
"""Attributes with any number of values: the value, where it lies, and which are the model's."""

_ENDS = ("input", "output")

_PLURALS = {"tags": "tag", "aliases": "alias", "files": "file"}

_DATASET = {
    None: ("d.name", "text"),
    "name": ("d.name", "text"),
    "version": ("dv.number", "number"),
    "title": ("(d.name || '@' || dv.number)", "text"),
    "rows": ("dv.rows", "number"),
}
_FROM_DATASET = (
    "(SELECT {value} FROM delc.dataset_versions AS dv JOIN delc.datasets AS d ON d.id = dv.dataset_id"
    " WHERE dv.id = {version}.dataset_version_id)"
)

RELATIVES = ("parent", "child", "ancestor", "descendant")

OPTIONS = tuple(field.name for field in dataclasses.fields(TrainingOptions) if field.name != "task")
_OPTION_NAMES = {"base_lr": "learning_rate", "lr": "learning_rate"}

METRICS = ("loss", "accuracy", "f1", "r2", "log_loss", "precision", "recall", "mae", "mse", "rmse", "auc")
"""Metrics that need not have been measured yet to be known."""

EVALUATED = """
    (SELECT measured.value FROM delc.run_inputs AS tested
     JOIN delc.runs AS run ON run.id = tested.run_id
     JOIN delc.metrics AS measured ON measured.run_id = run.id
     WHERE tested.model_version_id = {version}.id AND tested.epoch IS NULL
       AND run.operation = 'evaluate' AND run.outcome = 'succeeded' AND measured.metric = {metric}
       AND measured.class IS NULL AND measured.predicted IS NULL AND measured.epoch IS NULL
     ORDER BY run.finished_at DESC, run.id DESC LIMIT 1)
"""

TRAINED = """
    (SELECT measured.value FROM delc.snapshots AS used
     JOIN delc.metrics AS measured ON measured.run_id = {version}.run_id AND measured.epoch = used.epoch
     WHERE used.version_id = {version}.id AND used.is_latest AND measured.metric = {metric}
       AND measured.class IS NULL AND (measured.split IS NULL OR measured.split = 'validation') LIMIT 1)
"""


def attribute_term(attribute: Attribute, model: Model, bindings: Bindings) -> Term:
    """The SQL of an attribute; ``UnknownName`` with the nearest one where there is none of that name."""
    return _term(attribute, list(attribute.names), model, bindings)


def metric_sql(metric: str, model: Model, bindings: Bindings) -> str:
    """The value of a metric, as ``delc.metric_of`` says it."""
    if model.measured is None:
        return _looked_up(metric, model, bindings)
    if metric not in model.measured:
        model.measured[metric] = bindings.alias("x")
    return f"{model.measured[metric]}.value"


def _looked_up(metric: str, model: Model, bindings: Bindings) -> str:
    bound = bindings.bind(metric, "text")
    pieces = [piece.format(version=model.version, metric=bound) for piece in (EVALUATED, TRAINED)]
    return f"coalesce({pieces[0]}, {pieces[1]})"


def _term(attribute: Attribute, names: list[str], model: Model, bindings: Bindings) -> Term:
    first = names[0].lower()
    if first in RELATIVES:
        return _of_relative(attribute, first, names[1:], model, bindings)
    if first == "dataset":
        return _of_dataset(attribute, names[1:], model)
    if first in ("metrics", "metric"):
        return _metric(attribute, _only(attribute, names), model, bindings)
    if first in ("options", "option"):
        return _option(attribute, _only(attribute, names), model, bindings)
    if len(names) > 1:
        raise problem(attribute.name_place, f"{names[0]} has no attributes of its own")
    return _single(attribute, names[0], model, bindings)


def _single(attribute: Attribute, name: str, model: Model, bindings: Bindings) -> Term:
    lower = name.lower()
    places = {"version": model.version, "line": model.line}
    if lower in _PLAIN:
        sql, type_name = _PLAIN[lower]
        return Term(sql.format(**places), type_name, title=lower)
    several = _PLURALS.get(lower, lower)
    if several in _SEVERAL:
        value, table, condition = _SEVERAL[several]
        where = condition.format(**places)
        # Which layers are first or last, no statistics tell; OFFSET has it looked up version by version.
        fence = " OFFSET 0" if several in _ENDS else ""
        return Term(
            value,
            "text",
            lambda held: f"EXISTS (SELECT FROM {table} WHERE {where} AND {held}{fence})",
            title=several,
        )
    if _OPTION_NAMES.get(lower, lower) in OPTIONS and lower != "loss":
        return _option(attribute, lower, model, bindings)
    return _metric(attribute, name, model, bindings)


def _of_dataset(attribute: Attribute, names: list[str], model: Model) -> Term:
    name = names[0].lower() if names else None
    if len(names) > 1 or name not in _DATASET:
        raise unknown_name(attribute.name_place, "attribute of a data set", names[-1], [n for n in _DATASET if n])
    value, type_name = _DATASET[name]
    return Term(_FROM_DATASET.format(value=value, version=model.version), type_name, title="dataset")


def _option(attribute: Attribute, name: str, model: Model, bindings: Bindings) -> Term:
    bound = bindings.bind(_OPTION_NAMES.get(name.lower(), name.lower()), "text")
    value = f"({model.version}.options -> {bound})"
    sql = f"(CASE WHEN jsonb_typeof({value}) = 'object' THEN {value} -> 'name' ELSE {value} END)"
    return Term(sql, "json", title=name.lower())


def _metric(attribute: Attribute, name: str, model: Model, bindings: Bindings) -> Term:
    if name not in METRICS and not _is_measured(name):
        measured = _measured()
        known = [*_PLAIN, *_SEVERAL, *RELATIVES, "dataset", *OPTIONS, *METRICS, *measured]
        raise unknown_name(attribute.name_place, "attribute or metric", name, known)
    return Term(metric_sql(name, model, bindings), "number", title=name, metric=name)


def _is_measured(metric: str) -> bool:
    with queries.as_owner():
        found = queries.value("SELECT EXISTS (SELECT FROM delc.metrics WHERE metric = $1)", metric)
    return bool(found)


def _measured() -> list[str]:
    """All metrics that were ever measured: from one to the next in the index."""
    with queries.as_owner():
        return [row["metric"] for row in queries.rows(_MEASURED)]


_MEASURED = """
    WITH RECURSIVE known AS (
        (SELECT metric FROM delc.metrics ORDER BY metric LIMIT 1)
        UNION ALL
        SELECT (SELECT later.metric FROM delc.metrics AS later WHERE later.metric > known.metric
                ORDER BY later.metric LIMIT 1)
        FROM known WHERE known.metric IS NOT NULL
    )
    SELECT metric FROM known WHERE metric IS NOT NULL LIMIT 1000
"""


def _only(attribute: Attribute, names: list[str]) -> str:
    if len(names) != 2:
        raise problem(
            attribute.name_place,
            f"{names[0]} needs the name of one of them",
            hint=f'Write {attribute.variable}.{names[0]}["accuracy"].'
            if names[0].lower().startswith("metric")
            else f"Write {attribute.variable}.{names[0]}.batch_size.",
        )
    return names[1]


def _of_relative(attribute: Attribute, which: str, names: list[str], model: Model, bindings: Bindings) -> Term:
    """An attribute of a parent, child, ancestor or descendant: it may have several, of which one must do."""
    version, line, edge = bindings.alias("v"), bindings.alias("n"), bindings.alias("p")
    up = which in ("parent", "ancestor")
    own, other = ("derived", "base") if up else ("base", "derived")
    relative = Model(version, line)
    if names and names[0].lower() == "relation" and len(names) == 1 and which in ("parent", "child"):
        inner = Term(f"{edge}.relation", "text", title="relation")
    else:
        inner = _term(attribute, names or ["title"], relative, bindings)
    tables = relative.tables(bindings)

    def nearest(held: str) -> str:
        return (
            f"EXISTS (SELECT FROM delc.model_version_parents AS {edge} JOIN ({tables}) ON {version}.id = {edge}.{other}"
            f" WHERE {edge}.{own} = {model.version}.id AND {inner.wrap(held)})"
        )

    def any_depth(held: str) -> str:
        walk = bindings.alias("w")
        return (
            f"{model.version}.id IN (WITH RECURSIVE {walk}(id) AS ("
            f"SELECT {edge}.{own} FROM delc.model_version_parents AS {edge}"
            f" JOIN ({tables}) ON {version}.id = {edge}.{other} WHERE {inner.wrap(held)}"
            f" UNION SELECT {edge}.{own} FROM {walk} JOIN delc.model_version_parents AS {edge}"
            f" ON {edge}.{other} = {walk}.id) SELECT {walk}.id FROM {walk})"
        )

    return Term(inner.sql, inner.type, nearest if which in ("parent", "child") else any_depth, title=inner.title)
