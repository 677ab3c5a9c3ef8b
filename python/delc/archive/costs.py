"""What storing a tensor in some way takes, in bytes, and what getting it back takes, in milliseconds.

Bytes are measured on samples. Milliseconds follow from bytes read and numbers made (``delc.archive.rates``).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from delc.archive import rates
from delc.archive.samples import Sample
from delc.archive.scope import Tensor
from delc.server import queries

_OVERHEAD_BYTES = 160  # what an encoded value has beside its numbers, about: a sample's is not to be scaled


@dataclass(frozen=True)
class Cost:
    """Bytes to store, milliseconds to get back; for a difference, once its base is there."""

    bytes: float
    milliseconds: float


def whole(tensor: Tensor, sample: Sample, encoding: str) -> Cost:
    """The tensor stored whole, dense, fast or in half planes."""
    measured = _measured(_WHOLE_BYTES[encoding], sample.numbers)
    return of(tensor, encoding, _scaled(measured, tensor, sample))


def difference(base: Sample, target: Sample, tensor: Tensor, method: str) -> Cost:
    """The tensor stored as the difference from another of the same shape."""
    with queries.as_owner():
        measured: int = queries.value(
            _DIFFERENCE_BYTES,
            queries.typed(base.numbers, "delc.tensor"),
            queries.typed(target.numbers, "delc.tensor"),
            method,
        )
    return of(tensor, method, _scaled(measured, tensor, target))


def difference_in_full(base: Tensor, tensor: Tensor, method: str) -> Cost:
    """The same for tensors of different shapes, whose samples do not lie in the same places."""
    with queries.as_owner():
        measured: int = queries.value(_DIFFERENCE_OF_STORED, base.id, tensor.id, method)
    return of(tensor, method, measured)


def of(tensor: Tensor, encoding: str, stored_bytes: float) -> Cost:
    """The cost of a tensor that takes so many bytes in an encoding."""
    return Cost(stored_bytes, rates.EACH + stored_bytes / rates.FETCHED + raw_bytes(tensor) / rates.DECODED[encoding])


def raw_bytes(tensor: Tensor) -> int:
    """The bytes of its numbers."""
    dtype = getattr(torch, tensor.dtype)
    assert isinstance(dtype, torch.dtype)
    return tensor.elements * dtype.itemsize


def _scaled(measured: int, tensor: Tensor, sample: Sample) -> float:
    if sample.share >= 1:
        return measured
    return _OVERHEAD_BYTES + max(measured - _OVERHEAD_BYTES, 0) / sample.share


def _measured(query: str, numbers: torch.Tensor) -> int:
    with queries.as_owner():
        measured: int = queries.value(query, queries.typed(numbers, "delc.tensor"))
    return measured


_WHOLE_BYTES = {
    "dense": "SELECT delc.stored_bytes(delc.compress($1))",
    "halves": "SELECT delc.stored_bytes(delc.compress($1, halves => true))",
    "fast": "SELECT delc.stored_bytes($1)",
}

_DIFFERENCE_BYTES = "SELECT delc.stored_bytes(delc.tensor_delta($1, $2, $3))"

_DIFFERENCE_OF_STORED = """
    SELECT delc.stored_bytes(delc.tensor_delta(delc.restored_tensor($1), delc.restored_tensor($2), $3))
"""
