"""Branches, which move with the versions made on them, and tags, which stay."""

from __future__ import annotations

from delc.datasets import catalog, names, versions
from delc.log.runs import Run
from delc.server.errors import DuplicateObject, InvalidParameter, WrongState, unknown


def add(run: Run, version: str, name: str, kind: str) -> str:
    """Makes a branch or tag (``kind``) at a version; how it is called: ``dataset@name``."""
    name = names.check_new_reference(name, kind)
    dataset = catalog.lock_dataset(names.parse(version).dataset)
    catalog.require_ownership(dataset, f"{kind} versions of", or_admin=False)
    found = versions.find(names.parse(version))
    existing = catalog.reference_kind(dataset.id, name)
    if existing is not None:
        raise DuplicateObject(
            f'data set "{dataset.name}" has a {existing} "{name}" already',
            hint="Choose another name, or drop it with delc.drop_dataset_ref().",
        )
    run.add_input(dataset_version_id=found.id)
    catalog.set_reference(dataset.id, name, kind, found.id, run.username)
    return f"{dataset.name}@{name}"


def drop(text: str) -> None:
    """Forgets a branch or tag; the version that it names stays, until it is pruned."""
    parsed = names.parse(text)
    if parsed.reference is None:
        raise InvalidParameter(f'"{text}" does not name a branch or tag', hint="They are called name@branch, name@tag.")
    dataset = catalog.lock_dataset(parsed.dataset)
    catalog.require_ownership(dataset, "drop branches and tags of", or_admin=True)
    if catalog.reference_kind(dataset.id, parsed.reference) is None:
        versions.find(parsed)
        raise unknown("branch or tag", parsed.reference, [], where=f'of data set "{dataset.name}"')
    if parsed.reference == names.MAIN:
        raise WrongState(f'branch main of data set "{dataset.name}" cannot be dropped', hint="Drop the data set.")
    catalog.delete_reference(dataset.id, parsed.reference)
