"""A model's outputs for the rows of a query, batch by batch in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from delc.features import FittedFeatures, RowLayout
from delc.models.loaded import LoadedModel
from delc.server import interrupts, packing, settings
from delc.server.batches import PackedBatch

BATCH_BYTES = 16 * 1024 * 1024
"""A batch is as large as keeps its inputs, and the network's activations, each within about this size: larger ones
would be fresh memory for every layer, whose page faults cost a convolutional network half its speed.
"""

BATCH_SHARE = 8
"""And within this part of the memory limit."""

LARGEST_NUMBER = 8
"""Bytes that a packed number takes at most."""

FEWEST_ROWS, MOST_ROWS = 16, 8192


@dataclass(frozen=True)
class Outputs:
    """One batch: its rows as packed, and the network's outputs (rows, outputs)."""

    portal: str
    batch: PackedBatch
    logits: torch.Tensor


@dataclass(frozen=True)
class Inputs:
    """One batch: its rows as packed, and the network's inputs by name."""

    portal: str
    batch: PackedBatch
    inputs: dict[str, torch.Tensor]


def outputs(model: LoadedModel, query: str, layout: RowLayout) -> Iterator[Outputs]:
    """The outputs for all rows of the query, which runs with the caller's rights."""
    for found in inputs(model.features, model.built.activation_bytes(1), query, layout):
        yield Outputs(found.portal, found.batch, model.built.module(found.inputs))


def inputs(features: FittedFeatures, activation_bytes: int, query: str, layout: RowLayout) -> Iterator[Inputs]:
    """The inputs for all rows of the query, in the batches that any prediction of these rows is made in."""
    encoder = features.encoder(layout)
    with packing.Reader(query, layout.pack, batch_rows(features, activation_bytes), widths=layout.widths) as reader:
        for batch in reader:
            interrupts.check()
            yield Inputs(reader.portal, batch, encoder.encode(batch))


def batch_rows(features: FittedFeatures, activation_bytes: int) -> int:
    """Rows in a batch, from what inputs and activations of a row take."""
    input_bytes = sum(math.prod(spec.shape) * LARGEST_NUMBER for spec in features.input_specs().values())
    batch_bytes = min(BATCH_BYTES, settings.memory_limit_bytes() // BATCH_SHARE)
    return max(FEWEST_ROWS, min(MOST_ROWS, batch_bytes // max(activation_bytes, input_bytes, 1)))
