"""What a file computes from constants alone, such as the sizes of padding, is a constant too.

Only a few operators on few whole numbers are worked out; the rest of the file stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

MOST_NUMBERS = 256
INT64 = 7


def with_constants(library: Any, nodes: Sequence[Any], tensors: dict[str, torch.Tensor]) -> list[Any]:
    """The nodes that are left; what the others give is put into ``tensors``."""
    small = {name: tensor for name, tensor in tensors.items() if tensor.numel() <= MOST_NUMBERS}
    left = []
    for node in nodes:
        found = _constant(library, node) if node.op_type == "Constant" else _worked_out(library, node, small)
        if found is None:
            left.append(node)
        else:
            small[node.output[0]] = tensors[node.output[0]] = found
    return left


def with_own_tensors(nodes: Sequence[Any], tensors: dict[str, torch.Tensor]) -> list[Any]:
    """The nodes but for an Identity of a tensor of the file, by which exporters write equal tensors once: its name
    becomes one for the same numbers.
    """
    left = []
    for node in nodes:
        if node.op_type == "Identity" and node.input and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
        else:
            left.append(node)
    return left


def _constant(library: Any, node: Any) -> torch.Tensor | None:
    """The value of a Constant of few numbers."""
    tensor = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
    if tensor is None or tensor.external_data or tensor.data_location != library.TensorProto.DEFAULT:
        return None
    if not 0 <= math.prod(tensor.dims) <= MOST_NUMBERS:
        return None
    return torch.from_numpy(library.numpy_helper.to_array(tensor).copy())


def _worked_out(library: Any, node: Any, small: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    work = _WORK.get(node.op_type)
    names = list(node.input)
    if work is None or not names or any(name not in small for name in names):
        return None
    operands = [small[name] for name in names]
    if any(operand.dtype is not torch.int64 for operand in operands):
        return None
    attributes = {item.name: library.helper.get_attribute_value(item) for item in node.attribute}
    found = work(operands, attributes)
    return found if found is None or found.numel() <= MOST_NUMBERS else None


Work = Callable[[Sequence[torch.Tensor], Mapping[str, Any]], torch.Tensor | None]


def constant_of_shape(attributes: Mapping[str, Any]) -> int | None:
    """The whole number that a ConstantOfShape repeats; None where it is none."""
    value = attributes.get("value")
    if value is None or value.data_type != INT64 or value.external_data:
        return None
    return int.from_bytes(value.raw_data[:8], "little", signed=True) if value.raw_data else (*value.int64_data, 0)[0]


def _filled(operands: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor | None:
    sizes, number = operands[0].tolist(), constant_of_shape(attributes) if "value" in attributes else 0
    if number is None or not 0 <= math.prod(sizes) <= MOST_NUMBERS:
        return None
    return torch.full(sizes, number, dtype=torch.int64)


def _joined(operands: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor:
    return torch.cat(list(operands), attributes["axis"])


def _reshaped(operands: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor:
    return operands[0].reshape(operands[1].tolist())


def _turned(operands: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor:
    order = attributes.get("perm", list(range(operands[0].dim()))[::-1])
    return operands[0].permute(list(order))


def _sliced(operands: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor | None:
    value, starts, ends, axes, steps = operands if len(operands) == 5 else (*operands, *[None] * 5)[:5]
    if value is None or starts is None or ends is None or axes is None or len(axes) != 1:
        return None
    step = 1 if steps is None else int(steps)
    places = range(value.shape[int(axes)])[int(starts) : int(ends) : step]
    return value.index_select(int(axes), torch.tensor(list(places), dtype=torch.int64))


def _cast(operands: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor | None:
    return operands[0] if attributes.get("to") == INT64 else None


def _modulo(operands: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor | None:
    divisor = operands[1]
    return torch.remainder(operands[0], divisor) if divisor.all() and not attributes.get("fmod") else None


def _plus(operands: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor:
    return operands[0] + operands[1]


def _times(operands: Sequence[torch.Tensor], attributes: Mapping[str, Any]) -> torch.Tensor:
    return operands[0] * operands[1]


_WORK: dict[str, Work] = {
    "Mul": _times,
    "Mod": _modulo,
    "Add": _plus,
    "ConstantOfShape": _filled,
    "Concat": _joined,
    "Reshape": _reshaped,
    "Transpose": _turned,
    "Slice": _sliced,
    "Cast": _cast,
}
