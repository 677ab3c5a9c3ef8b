"""What the leading bits of stored parameters say of them: of one version, and of two side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from delc.inference.progressive import precision
from delc.inference.progressive.planes import Planes, require_depth
from delc.inference.progressive.spans import Ends, comparison, span_of, statistics
from delc.inference.progressive.stored import open_model
from delc.models import versions
from delc.server.errors import InvalidParameter

Row = dict[str, Any]


def describe_parameters(model: str, reading: str) -> Iterator[Row]:
    """The rows that ``delc.describe_parameters_progressive`` returns: one for each parameter."""
    opened, bits = _opened(model, reading)
    for name in opened.names:
        span = span_of(*opened.prefix(name, bits))
        yield {
            "layer": name.partition(".")[0],
            "parameter": name,
            "shape": list(span.shape),
            "dtype": span.dtype,
            "bits": span.bits,
            "count": span.low.numel(),
            **_columns(statistics(span)),
        }


def diff_parameters(a: str, b: str, reading: str) -> Iterator[Row]:
    """The rows that ``delc.diff_parameters_progressive`` returns: one for each parameter of either version."""
    first, second = _opened(a, reading), _opened(b, reading)
    for name in dict.fromkeys([*first[0].names, *second[0].names]):
        spans = [span_of(*model.prefix(name, bits)) if name in model.names else None for model, bits in (first, second)]
        one, other = spans
        found: dict[str, Ends | None] = dict.fromkeys(("distance", "cosine", "unchanged"))
        if one is not None and other is not None and one.shape == other.shape:
            found = comparison(one, other)
            if _stored_once(first[0], second[0], name):
                found |= {"distance": (0.0, 0.0), "unchanged": (1.0, 1.0)} if one.finite else {"unchanged": (1.0, 1.0)}
        norms = [None if span is None else statistics(span)["norm"] for span in spans]
        yield {
            "layer": name.partition(".")[0],
            "parameter": name,
            "shape_a": None if one is None else list(one.shape),
            "shape_b": None if other is None else list(other.shape),
            "bits": min(span.bits for span in spans if span is not None),
            **_columns({"norm_a": norms[0], "norm_b": norms[1], **found}),
        }


def _stored_once(one: Planes, other: Planes, name: str) -> bool:
    """Whether both versions share the parameter's tensors: then all bits are the same, read or not."""
    ids = [[tensor.hops[-1].id for tensor in model.chunks(name)] for model in (one, other)]
    return ids[0] == ids[1]


def _columns(found: dict[str, Ends | None]) -> Row:
    row: Row = {}
    for name, ends in found.items():
        row[f"{name}_low"], row[f"{name}_high"] = ends if ends is not None else (None, None)
    return row


def _opened(model: str, reading: str) -> tuple[Planes, int]:
    """The version's parameters, and to how many bits they were read."""
    chosen = precision.parse(reading)
    if chosen.kind not in (precision.PLANES, precision.FULL):
        raise InvalidParameter(
            f'statistics cannot be had with reading "{reading}"',
            detail="Allowed are 'planes:k' with k from 1 to 8 (halves such as 2.5 too), and 'full'.",
            hint="Statistics come with their bounds: read another plane where these are too far apart.",
        )
    opened, _ = open_model(versions.resolve(model))
    if not chosen.full:
        require_depth(str(opened.version), opened.planes, chosen.bits)
    bits = opened.all_bits if chosen.full else chosen.bits
    opened.read_to(bits)
    return opened.planes, bits
