"""Versions that are made without training: from the parameters of other versions, or from weights made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from delc.features import FittedFeatures
from delc.log.runs import Run
from delc.models import names, parameters, versions
from delc.models.ownership import require_owner
from delc.models.parents import Parent, add_parents
from delc.models.versions import ModelVersion, NewVersion
from delc.networks import BuiltNetwork, Network, resolve
from delc.server.errors import InvalidParameter


def check_new_name(model: str | None, function: str) -> str:
    """The name under which a version will be made, which the caller must own where it exists."""
    name = names.parse(model)
    if not name.is_whole:
        raise InvalidParameter(
            f'"{model}" names a version, but {function} makes a new one', hint=f'Name the model: "{name.model}".'
        )
    require_owner(name.model)
    return name.model


def read_from(run: Run, text: str | None) -> ModelVersion:
    """The version that a name means, noted as one that the run reads, and kept from being dropped meanwhile."""
    return read_all(run, [text])[0]


def read_all(run: Run, texts: Sequence[str | None]) -> list[ModelVersion]:
    """The versions that names mean, as ``read_from`` reads one."""
    found = [versions.resolve(text) for text in texts]
    versions.hold(found)
    for version in found:
        run.add_input(model_version_id=version.id, epoch=version.epoch if version.snapshot else None)
    return found


def store_state(version_id: int, built: BuiltNetwork, state: Mapping[str, torch.Tensor]) -> None:
    """Stores parameters as the snapshot in use of a version to come."""
    learnable = frozenset(name for name, _ in built.module.named_parameters())
    parameters.save(version_id, state, learnable, epoch=None, is_latest=True)


def create(
    run: Run,
    model: str,
    version_id: int,
    source: ModelVersion,
    parents: Sequence[Parent],
    message: str | None,
    *,
    network: Network | None = None,
    options: Mapping[str, Any] | None = None,
    dataset_version_id: int | None = None,
) -> str:
    """Makes the version that means what ``source`` means, with another network where one is given; its name."""
    features = FittedFeatures.from_json(source.features)
    resolved = resolve(network or Network.parse(source.network), features.input_specs())
    number = versions.create(
        model,
        run.username,
        NewVersion(
            id=version_id,
            run_id=run.id,
            dataset_version_id=dataset_version_id,
            task=source.task,
            network=resolved.network.to_json(),
            features=source.features,
            target=source.target,
            options=source.options if options is None else options,
            layers=list(resolved.layers),
            parameters=resolved.parameters,
            message=message,
        ),
    )
    add_parents(version_id, parents)
    run.add_output(model_version_id=version_id)
    return f"{model}@{number}"
