"""Versions made by hand: rows corrected, removed or appended without the source, split anew, or as they once were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from delc.datasets import checks, difference, splits, versions, writing
from delc.datasets.definition import Definition, stratum_column
from delc.datasets.delta import read_delta
from delc.datasets.difference import Change
from delc.datasets.fill import split_anew
from delc.datasets.source import Source
from delc.datasets.versions import DatasetVersion
from delc.datasets.writing import Origin, Target
from delc.log.runs import Run
from delc.server import queries
from delc.server.errors import InvalidData, InvalidParameter, WrongState, unknown

_KINDS = ("correction", "cleaning")


def correct(
    run: Run, name: str, query: str | None, message: str | None, kind: str | None, remove: bool | None
) -> dict[str, Any]:
    """Makes a version in which the query's rows replace those of the same key, or are gone; a ``delc.dataset_result``.

    Columns that the query lacks keep their values.
    """
    if kind not in _KINDS:
        raise unknown("kind", str(kind), _KINDS, kind=InvalidParameter, where="of change")
    target = writing.begin(name)
    latest = target.latest
    source, given = read_delta(query, latest, latest.key_columns, "correction")
    if not remove and set(given) == set(latest.key_columns):
        raise InvalidParameter(
            f'the correction of data set "{latest.name}" has no columns but the key',
            hint="Name the columns to be changed too; or say remove => true to take the rows away.",
        )
    definition = writing.stored_definition(target, source)
    change = Change(definition, "removal" if remove else "given", frozenset(given))
    checks.check_keys(f"(\n{source}\n) AS r", definition.keys, latest.name, given=True)
    _require_keys(latest, change)
    return writing.write(run, target, change, Origin(kind, message))


def append(run: Run, name: str, query: str | None, message: str | None) -> dict[str, Any]:
    """Makes a version with the query's rows as well; a ``delc.dataset_result``."""
    target = writing.begin(name)
    latest = target.latest
    source, _ = read_delta(query, latest, latest.column_names, "query")
    change = Change(writing.stored_definition(target, source), "clash")
    clashes = queries.rows(difference.matching_keys(latest, change, known=True))
    if clashes:
        raise InvalidData(
            f'{_listed(clashes)} in data set "{latest.title}" already',
            hint="Leave them out of the query, or change them with delc.correct_dataset().",
        )
    return writing.write(run, target, change, Origin("acquisition", message))


def split(
    run: Run, name: str, validation: float, test: float, stratify: bool, seed: int, message: str | None
) -> dict[str, Any]:
    """Makes a version whose rows are split anew, as a new data set's would be; a ``delc.dataset_result``."""
    for argument, given in (("stratify", stratify), ("seed", seed)):
        if given is None:
            raise InvalidParameter(f"{argument} is NULL", hint=f"Leave {argument} away for its default.")
    shares = splits.check_shares(validation, test)
    target = writing.begin(name)
    latest = target.latest
    if latest.split_column is not None:
        raise WrongState(
            f'data set "{latest.name}" is split by its column "{latest.split_column}"',
            hint="Change that column: in the source, or with delc.correct_dataset().",
        )
    source = Source("", latest.rows_query(bookkeeping=()))
    defined = replace(writing.stored_definition(target, source.query), shares=shares, seed=seed)
    defined = replace(defined, stratum=stratum_column(source, defined.targets, stratify))
    _remember_split(target, defined)
    anew = replace(defined, source=Source("", split_anew(defined)))
    return writing.write(run, target, Change(anew, has_split=True), Origin("split", message))


def revert(run: Run, name: str, version: str | None, message: str | None) -> dict[str, Any]:
    """Makes a version that equals an older one, columns and splits included; a ``delc.dataset_result``."""
    target = writing.begin(name)
    latest = target.latest
    old = _version_of(target, version)
    source = Source("", old.rows_query(bookkeeping=["delc_split"]))
    defined = replace(writing.stored_definition(target, source.query, old), source=source)
    run.add_input(dataset_version_id=old.id)
    shape = None
    if (old.columns, old.stored_names) != (latest.columns, latest.stored_names):
        shape = replace(latest, columns=old.columns, parts=old.parts, stored_names=old.stored_names)
    message = message or f"as in {old.title}"
    return writing.write(run, target, Change(defined, has_split=True), Origin("revert", message), shape)


def _version_of(target: Target, version: str | None) -> DatasetVersion:
    """The version of the target's data set that was named in full, or by its number or tag alone."""
    text = version if version and "@" in version else f"{target.dataset.name}@{version or ''}"
    old = versions.resolve(text)
    if old.dataset_id != target.dataset.id:
        raise InvalidParameter(
            f'"{old.title}" is a version of another data set than "{target.dataset.name}"',
            hint=f'Name a version of it, such as "{target.dataset.name}@1".',
        )
    return old


def _require_keys(latest: DatasetVersion, change: Change) -> None:
    """Errors for keys that are not there."""
    missing = queries.rows(difference.matching_keys(latest, change, known=False))
    if missing:
        raise InvalidData(
            f'{_listed(missing)} not in data set "{latest.title}"',
            hint="Leave them out of the query, or add them with delc.append_dataset().",
        )


def _listed(found: list[dict[str, Any]]) -> str:
    """``key (7) is``, ``keys (7), (9) are``, ``12 keys, (7), (9), (11) among them, are``."""
    shown = ", ".join(row["key"] for row in found)
    count: int = found[0]["keys"]
    if count > len(found):
        return f"{count} keys, {shown} among them, are"
    return f"key {shown} is" if count == 1 else f"keys {shown} are"


def _remember_split(target: Target, defined: Definition) -> None:
    """Rows that come later are split by the new shares too."""
    with queries.as_owner():
        queries.execute(
            "UPDATE delc.datasets SET validation_fraction = $2, test_fraction = $3, split_seed = $4, stratified = $5"
            " WHERE id = $1",
            target.dataset.id,
            defined.shares.validation,
            defined.shares.test,
            defined.seed,
            defined.stratum is not None,
        )
