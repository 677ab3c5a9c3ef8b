"""Layers that programs and ONNX files describe alike: normalisations, enlarging and padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from delc.exchange.assembly import Assembly, refuse

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""How torch calls linear interpolation over so many dimensions."""

Parameters = Mapping[str, torch.Tensor | None]


def group_norm(
    assembly: Assembly, output: str, value: str, groups: int, affine: Parameters, path: str, eps: float
) -> None:
    """``affine``: weight and bias, both or none of them."""
    arguments = {"num_groups": groups, "eps": eps, "affine": _has_both(affine)}
    assembly.add(output, "group_norm", [value], arguments, _there(affine), path)


def instance_norm(
    assembly: Assembly, output: str, value: str, tensors: Parameters, path: str, eps: float, momentum: float = 0.1
) -> None:
    """``tensors``: weight and bias, running_mean and running_var; each pair may be missing."""
    tracked = tensors.get("running_mean") is not None
    arguments = {"eps": eps, "momentum": momentum, "affine": _has_both(tensors), "track_running_stats": tracked}
    state = _there(tensors)
    if tracked:
        state["num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    assembly.add(output, f"instance_norm{assembly.rank(value) - 2}d", [value], arguments, state, path)


def rms_norm(
    assembly: Assembly, output: str, value: str, shape: Sequence[int], weight: torch.Tensor | None, path: str,
    eps: float | None,
) -> None:  # fmt: skip
    """Over the last dimensions, of ``shape``; without ``eps`` that of the numbers."""
    arguments = {"normalized_shape": list(shape), "eps": eps, "elementwise_affine": weight is not None}
    assembly.add(output, "rms_norm", [value], arguments, _there({"weight": weight}), path)


def upsample(assembly: Assembly, output: str, value: str, factors: Sequence[float], mode: str) -> None:
    """``factors``: one for each dimension behind the channels."""
    factor = factors[0] if factors else 0.0
    if any(other != factor for other in factors) or factor != int(factor) or factor < 1:
        refuse(f"enlarging by the factors {list(factors)!r:.100}")
    assembly.add(output, "upsample", [value], {"scale_factor": int(factor), "mode": mode})


def pad(assembly: Assembly, output: str, value: str, pads: Sequence[int], mode: str, constant: float) -> None:
    """``pads``: two numbers for the last dimension, then for the one before it, … as in torch."""
    if min(pads, default=0) < 0:
        refuse("padding that cuts off")
    if mode == "constant":
        assembly.add(output, "pad", [value], {"pad": list(pads), "value": float(constant)})
    else:
        assembly.add(output, "pad", [value], {"pad": list(pads), "mode": mode})


def _has_both(tensors: Parameters) -> bool:
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if (weight is None) != (bias is None):
        refuse("a normalisation with half of its parameters")
    return weight is not None


def _there(tensors: Parameters) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}
