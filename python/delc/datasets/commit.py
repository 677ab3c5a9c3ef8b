"""Taking the rows that a source has now as the next version: only what differs from the latest version is stored."""

from __future__ import annotations

from typing import Any

from delc.datasets import access, evolution, writing
from delc.datasets.columns import describe_columns
from delc.datasets.difference import Change
from delc.datasets.source import Source, find_source, is_sample, is_unique
from delc.datasets.writing import Target
from delc.log.runs import Run
from delc.server.errors import UndefinedObject, WrongState


def commit(run: Run, name: str, message: str | None) -> dict[str, Any]:
    """Makes the next version; the row that ``delc.commit_dataset`` returns."""
    target = writing.begin(name)
    source = _source_of(target)
    access.require_rows_said(source, target.dataset)
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


def _source_of(target: Target) -> Source:
    """The source that the data set was made from; errors where it has gone since, or is a sample."""
    text = target.dataset.fields["source"]
    if is_sample(text):
        raise WrongState(
            f'data set "{target.dataset.name}" is a {text}, which never changes',
            hint="Change it with delc.correct_dataset() or delc.append_dataset(); or draw another sample.",
        )
    try:
        return find_source(text)
    except UndefinedObject:
        raise UndefinedObject(
            f'the source of data set "{target.dataset.name}" is gone: there is no relation "{text}"',
            detail="All versions can still be read.",
            hint="Give the relation its name back, or make versions by hand: delc.append_dataset(),"
            " delc.correct_dataset().",
        ) from None
