"""What passes between a caller and its workers: JSON, and tensors as safetensors hold them; nothing that is code."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

import safetensors.torch
import torch
from torch import Tensor

from delc.dql.work import Goal, Outcome, Work
from delc.server.inputs import InputSpec
from delc.training.state import EpochRecord, TrainingState, from_store, to_store

HEAD = struct.Struct("<QQ")
"""Lengths of the JSON and of the tensors."""

MOST_JSON_BYTES = 1 << 28

Tensors = Mapping[str, Tensor]


class Readable(Protocol):
    """Where messages come from."""

    def read(self, size: int, /) -> bytes | None:
        """So many bytes, or fewer at the end."""


def pack(document: Any, tensors: Tensors) -> bytes:
    """A message."""
    text = json.dumps(document).encode()
    held = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    blob = safetensors.torch.save(_apart(held)) if held else b""
    return HEAD.pack(len(text), len(blob)) + text + blob


def size_of(head: bytes) -> tuple[int, int]:
    """The lengths that the head of a message tells."""
    text, blob = HEAD.unpack(head)
    if text > MOST_JSON_BYTES:
        raise ValueError(f"a message of {text} bytes of JSON")
    return text, blob


def unpack(text: bytes, blob: bytes) -> tuple[Any, dict[str, Tensor]]:
    """The parts of a message. It may be read while a validation goes on here; its tensors are to be trained all the
    same.
    """
    with torch.inference_mode(mode=False):
        return json.loads(text), safetensors.torch.load(blob) if blob else {}


def receive(stream: Readable) -> tuple[Any, dict[str, Tensor]] | None:
    """The next message of a stream; None at its end."""
    head = stream.read(HEAD.size)
    if not head or len(head) < HEAD.size:
        return None
    text, blob = size_of(head)
    return unpack(stream.read(text) or b"", stream.read(blob) or b"" if blob else b"")


def work_message(work: Work) -> bytes:
    """A piece of work."""
    tensors = {f"weights/{name}": value for name, value in work.weights.items()}
    resumed = None
    if work.resumed is not None:
        slots, resumed = to_store(work.resumed)
        tensors |= {f"slots/{name}/{slot}": value for (name, slot), value in slots.items()}
    if work.class_weights is not None:
        tensors["class_weights/"] = work.class_weights
    document = {
        "sort": "work",
        "trial": work.trial,
        "data": work.data,
        "network": work.network,
        "inputs": {name: asdict(spec) for name, spec in work.inputs.items()},
        "options": dict(work.options),
        "until": work.until,
        "resumed": resumed,
        "goal": None if work.goal is None else asdict(work.goal),
    }
    return pack(document, tensors)


def read_work(document: Any, tensors: Tensors) -> Work:
    """The piece of work of a message."""
    inputs = {name: InputSpec(**{**spec, "shape": tuple(spec["shape"])}) for name, spec in document["inputs"].items()}
    return Work(
        trial=document["trial"],
        data=document["data"],
        network=document["network"],
        inputs=inputs,
        options=document["options"],
        weights=_part(tensors, "weights/"),
        until=document["until"],
        resumed=_resumed(document["resumed"], tensors),
        goal=None if document["goal"] is None else Goal(**document["goal"]),
        class_weights=tensors.get("class_weights/"),
    )


def outcome_message(outcome: Outcome) -> bytes:
    """What became of a piece of work."""
    tensors = {f"weights/{name}": value for name, value in outcome.weights.items()}
    resumed = None
    if outcome.resumed is not None:
        slots, resumed = to_store(outcome.resumed)
        tensors |= {f"slots/{name}/{slot}": value for (name, slot), value in slots.items()}
    tensors |= {f"best/{name}": value for name, value in (outcome.best or {}).items()}
    document = {
        "sort": "outcome",
        "trial": outcome.trial,
        "records": [asdict(record) for record in outcome.records],
        "resumed": resumed,
        "has_best": outcome.best is not None,
        "used": None if outcome.used is None else asdict(outcome.used),
        "ended": outcome.ended,
        "cpu_seconds": outcome.cpu_seconds,
        "error": outcome.error,
    }
    return pack(document, tensors)


def read_outcome(document: Any, tensors: Tensors) -> Outcome:
    """The outcome of a message."""
    error = document["error"]
    return Outcome(
        trial=document["trial"],
        records=tuple(EpochRecord(**record) for record in document["records"]),
        weights=_part(tensors, "weights/"),
        resumed=_resumed(document["resumed"], tensors),
        best=_part(tensors, "best/") if document["has_best"] else None,
        used=None if document["used"] is None else EpochRecord(**document["used"]),
        ended=document["ended"],
        cpu_seconds=document["cpu_seconds"],
        error=None if error is None else (error[0], error[1]),
    )


def _resumed(document: Any, tensors: Tensors) -> TrainingState | None:
    if document is None:
        return None
    slots = {}
    for name, value in _part(tensors, "slots/").items():
        parameter, _, slot = name.partition("/")
        slots[parameter, slot] = value
    return from_store(slots, document)


def _part(tensors: Tensors, start: str) -> dict[str, Tensor]:
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share memory are copied: the format holds each by itself."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        place = tensor.data_ptr()
        result[name] = tensor.clone() if place in seen and tensor.numel() else tensor
        seen.add(place)
    return result
