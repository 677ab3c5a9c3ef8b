"""Taking the rows that a source has now as the next version: only what differs from the latest version is stored."""

from __future__ import annotations

from typing import Any

from delc.datasets import evolution, writing
from delc.datasets.columns import describe_columns
from delc.datasets.difference import Change
from delc.datasets.source import find_source, is_sample, is_unique
from delc.log.runs import Run
from delc.server.errors import WrongState


def commit(run: Run, name: str, message: str | None) -> dict[str, Any]:
    """Makes the next version; the row that ``delc.commit_dataset`` returns."""
    target = writing.begin(name)
    stored = target.dataset.fields["source"]
    if is_sample(stored):
        raise WrongState(
            f'data set "{target.dataset.name}" is a {stored}, which never changes',
            hint="Change it with delc.correct_dataset() or delc.append_dataset(); or draw another sample.",
        )
    source = find_source(stored)
    found = describe_columns(source.query)
    shape = evolution.shape_of(target.latest, found)
    defined = writing.define(
        target,
        source,
        {column.name: column for column in found},
        shape.column_names,
        keys_are_sure=is_unique(source, target.latest.key_columns),
    )
    origin = writing.Origin("acquisition", message, unchanged="the source of")
    return writing.write(run, target, Change(defined), origin, shape)
