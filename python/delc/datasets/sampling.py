"""Random samples of a version: a part of its rows as a version on a new branch, or as a data set of its own.

The rows are dealt into groups by split, and by stratum where the data set has strata. Within a group those with the
lowest hashes are taken. How many of each: what the share of all rows up to the end of the group comes to, rounded, less
the same up to its beginning. So the sample's size is exact, and that of every group and split differs from its share by
less than one row. The hash is of the key and the seed, so samples of two versions with one seed have most rows in
common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from delc.datasets import catalog, create, names, splits, store, versions, writing
from delc.datasets.columns import SourceColumn
from delc.datasets.comparing import stored_columns
from delc.datasets.definition import Definition
from delc.datasets.difference import stratum_text
from delc.datasets.order import order_hash, position_hash
from delc.datasets.reading import remove_rows
from delc.datasets.source import Source, sample_text
from delc.datasets.versions import DatasetVersion
from delc.log.runs import Run
from delc.server import progress
from delc.server.errors import DuplicateObject, InvalidParameter


@dataclass(frozen=True)
class _Draw:
    """What is drawn: ``wanted`` rows of ``version``, whose columns are described by name."""

    version: DatasetVersion
    columns: dict[str, SourceColumn]
    wanted: int
    seed: int
    stratum: SourceColumn | None

    @property
    def keys(self) -> tuple[SourceColumn, ...]:
        return tuple(self.columns[name] for name in self.version.key_columns)


def sample(
    run: Run,
    version: str,
    name: str,
    fraction: float | None,
    rows: int | None,
    stratify: bool | None,
    seed: int | None,
    message: str | None,
) -> dict[str, Any]:
    """Makes the sample; a ``delc.dataset_result``. ``name`` is ``dataset@branch`` or that of a new data set."""
    if stratify is None or seed is None:
        argument = "stratify" if stratify is None else "seed"
        raise InvalidParameter(f"{argument} is NULL", hint=f"Leave {argument} away for its default.")
    into = names.parse(name)
    if into.number is not None:
        raise InvalidParameter(
            f'"{name}" names a version by its number', hint="Name a new branch (name@branch) or a new data set."
        )
    dataset = None
    if into.reference is not None:
        dataset = catalog.lock_dataset(names.parse(version).dataset)
        _check_branch(dataset, into)
    found = versions.resolve(version).as_seen()
    draw = _draw(found, _wanted(found, fraction, rows), stratify, seed)
    run.add_input(dataset_version_id=found.id)
    message = message or f"sample of {draw.wanted} of the {found.rows} rows of {found.title}"
    progress.report("drawing rows")
    if dataset is None:
        return create.make(run, names.check_new(name), _definition(draw), message, kind="sample", has_split=True)
    assert into.reference is not None
    return _make_branch(run, dataset, into.reference, draw, message)


def _check_branch(dataset: catalog.Dataset, into: names.VersionName) -> None:
    catalog.require_ownership(dataset, "sample versions on a branch of", or_admin=False)
    if into.dataset != dataset.name:
        raise InvalidParameter(
            f'"{into.dataset}@{into.reference}" is a branch of another data set than "{dataset.name}"',
            hint=f'Name a branch "{dataset.name}@{into.reference}", or a new data set without the sign @.',
        )
    branch = names.check_new_reference(into.reference, "branch")
    existing = catalog.reference_kind(dataset.id, branch)
    if existing is not None:
        raise DuplicateObject(
            f'data set "{dataset.name}" has a {existing} "{branch}" already',
            hint="A sample begins a branch: choose another name, or drop it with delc.drop_dataset_ref().",
        )


def _wanted(version: DatasetVersion, fraction: float | None, rows: int | None) -> int:
    """How many rows are drawn."""
    if (fraction is None) == (rows is None):
        raise InvalidParameter(
            "neither fraction nor rows says how much is drawn"
            if rows is None
            else f"fraction is {fraction} and rows is {rows}, where one of them says how much is drawn",
            hint="For instance: fraction => 0.1, or rows => 1000.",
        )
    if fraction is not None and not (math.isfinite(fraction) and 0 < fraction <= 1):
        raise InvalidParameter(f"fraction is {fraction}", detail="It is more than 0 and at most 1.")
    wanted = rows if rows is not None else math.floor((fraction or 0.0) * version.rows + 0.5)
    if not 1 <= wanted <= version.rows:
        said = f"rows => {rows}" if rows is not None else f"fraction => {fraction} comes to {wanted} rows, which"
        raise InvalidParameter(
            f'{said} cannot be drawn from "{version.title}"',
            detail=f"It has {version.rows} rows, and a sample at least one.",
        )
    return wanted


def _draw(version: DatasetVersion, wanted: int, stratify: bool, seed: int) -> _Draw:
    columns = stored_columns(version)
    is_stratified = stratify and catalog.find_dataset(version.dataset_id).fields["stratified"]
    stratum = columns[version.target_columns[0]] if is_stratified else None
    return _Draw(version, columns, wanted, _salted(seed), stratum)


def _salted(seed: int) -> int:
    """Another seed than that of the data set's own order, on which the splits depend; a bigint as well."""
    return (seed + 0x9E3779B97F4A7C15 + 2**63) % 2**64 - 2**63


def _drawn(draw: _Draw) -> str:
    """SQL for all rows of the version: delc_row, delc_split, and whether each is drawn (delc_is_drawn)."""
    version, total = draw.version, draw.version.rows
    needed = dict.fromkeys([*version.key_columns, *([draw.stratum.name] if draw.stratum else [])])
    rows = version.rows_query(list(needed))
    hashed = order_hash("r", draw.keys, draw.seed) if draw.keys else position_hash("r.delc_row", draw.seed)
    letters = " ".join(f"WHEN '{sign}' THEN {place}" for place, sign in enumerate(splits.SPLITS.values()))
    grouped = (
        f"SELECT r.delc_row, r.delc_split, CASE r.delc_split {letters} END AS delc_part,"
        f" {stratum_text('r', draw.stratum)} AS delc_stratum, {hashed} AS delc_hash FROM ({rows}) AS r"
    )
    placed = (
        "SELECT r.*, pg_catalog.row_number() OVER (PARTITION BY r.delc_part, r.delc_stratum"
        f" ORDER BY r.delc_hash, r.delc_row) AS delc_place FROM ({grouped}) AS r"
    )
    sizes = (
        "SELECT g.delc_part, g.delc_stratum, pg_catalog.count(*)::pg_catalog.numeric AS rows,"
        " pg_catalog.sum(pg_catalog.count(*)) OVER (ORDER BY g.delc_part, g.delc_stratum) AS upto"
        " FROM delc_placed AS g GROUP BY 1, 2"
    )

    def share(rows: str) -> str:
        return f"pg_catalog.div(2 * ({rows}) * {draw.wanted} + {total}, 2 * {total}::pg_catalog.numeric)"

    return (
        f"WITH delc_placed AS MATERIALIZED ({placed})"
        f" SELECT p.delc_row, p.delc_split, p.delc_place <= {share('s.upto')} - {share('s.upto - s.rows')}"
        f" AS delc_is_drawn FROM delc_placed AS p JOIN ({sizes}) AS s"
        " ON s.delc_part OPERATOR(pg_catalog.=) p.delc_part AND s.delc_stratum OPERATOR(pg_catalog.=) p.delc_stratum"
    )


def _make_branch(run: Run, dataset: catalog.Dataset, branch: str, draw: _Draw, message: str) -> dict[str, Any]:
    """The sample as the version that leaves out what was not drawn."""
    version, number = draw.version, dataset.last_number + 1
    gone = remove_rows(dataset.id, number, "SELECT delc_row FROM delc_drawn WHERE NOT delc_is_drawn")
    with store.writable(dataset.id), store.bulk_settings():
        found = store.insert(
            f"WITH delc_drawn AS MATERIALIZED ({_drawn(draw)}), delc_gone AS ({gone})"
            " SELECT delc_split, pg_catalog.count(*) AS rows FROM delc_drawn WHERE delc_is_drawn GROUP BY 1"
        )
    by_split = {row["delc_split"]: row["rows"] for row in found}
    in_split = {split: by_split.get(letter, 0) for split, letter in splits.SPLITS.items()}
    counts = catalog.Counts(**in_split, added=0, removed=version.rows - sum(in_split.values()))
    version_id = catalog.insert_version(
        dataset.id,
        number,
        branch=branch,
        run_id=run.id,
        kind="sample",
        message=message,
        created_by=run.username,
        counts=counts,
        columns=versions.column_records(version.columns, version.parts, version.stored_names),
        parents=[version.id],
    )
    run.add_output(dataset_version_id=version_id)
    return create.result_row(run, f"{dataset.name}@{number}", counts)


def _definition(draw: _Draw) -> Definition:
    """The drawn rows as a data set of their own, each in the split that it had."""
    version = draw.version
    fields = catalog.find_dataset(version.dataset_id).fields
    columns = ", ".join(f"r.{draw.columns[name].quoted}" for name in version.column_names)
    query = (
        f"SELECT {columns}, r.delc_split FROM ({version.rows_query()}) AS r JOIN ({_drawn(draw)}) AS drawn"
        " ON drawn.delc_row OPERATOR(pg_catalog.=) r.delc_row WHERE drawn.delc_is_drawn ORDER BY r.delc_row"
    )
    source = Source(sample_text(version.title), query)
    return writing.define_fields(
        fields, version, source, draw.columns, version.column_names, keys_are_sure=bool(version.key_columns)
    )
