"""What ONNX's operators that enlarge and pad are as layers."""

from __future__ import annotations

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.onnx_operator import Operator, integers, parameter
from delc.exchange.shared_layers import LINEAR, pad, upsample

NEAREST = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}
"""Places and roundings by which whole factors repeat each number."""

PADDING = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def resize_layer(assembly: Assembly, operator: Operator) -> None:
    """Scales or sizes are an input: the second of Upsample, the third or fourth of Resize."""
    shape = assembly.shape(operator.value)
    behind = len(shape) - 1
    scales = parameter(assembly, operator, 1 if operator.name == "Upsample" else 2)
    sizes = parameter(assembly, operator, 3)
    if operator.get("axes") is not None or operator.get("antialias") or operator.get("exclude_outside"):
        refuse("a Resize with axes, antialias or exclude_outside")
    if scales is not None and scales.numel():
        factors = scales.tolist()
    elif sizes is not None and sizes.numel() == len(shape) + 1:
        factors = [1.0, *(new / old for new, old in zip(sizes.tolist()[1:], shape, strict=True))]
    else:
        refuse("a Resize to sizes that are computed")
    if len(factors) != len(shape) + 1 or factors[:2] != [1, 1]:
        refuse("a Resize of rows or channels")
    upsample(assembly, operator.output, operator.value, factors[2:], _interpolation(operator, behind))


def _interpolation(operator: Operator, behind: int) -> str:
    mode = operator.get("mode", "nearest")
    places = operator.get("coordinate_transformation_mode", "half_pixel")
    if operator.name == "Upsample" or (operator.name == "Resize" and operator.opset < 11):
        places = "asymmetric"
        rounding = "floor"
    else:
        rounding = operator.get("nearest_mode", "round_prefer_floor")
    if mode == "nearest" and (places, rounding) in NEAREST:
        return "nearest"
    centred = places in ("half_pixel", "pytorch_half_pixel")
    if centred and mode == "linear" and behind in LINEAR:
        return LINEAR[behind]
    if centred and mode == "cubic" and behind == 2 and abs(operator.get("cubic_coeff_a", -0.75) + 0.75) < 1e-6:
        return "bicubic"
    return refuse(f"a {operator.name} with mode {mode}, {places} and {rounding}")


def pad_layer(assembly: Assembly, operator: Operator) -> None:
    rank = assembly.rank(operator.value)
    pads = integers(assembly, operator, 1, "pads") or []
    axes = integers(assembly, operator, 3, "axes") or list(range(rank))
    if len(pads) != 2 * len(axes):
        refuse("a Pad whose numbers do not go with its axes")
    sides = [[0, 0] for _ in range(rank)]
    for place, axis in enumerate(axes):
        sides[axis] = [pads[place], pads[place + len(axes)]]
    constant = parameter(assembly, operator, 2)
    mode = PADDING.get(operator.get("mode", "constant"))
    first = next((at for at in range(rank) if any(sides[at])), rank - 1)
    first = first if mode == "constant" else min(first, 2)
    if mode is None or first == 0 or (mode != "constant" and first < 2):
        refuse(f"a Pad of the rows, or of mode {operator.get('mode')}")
    flat = [number for at in range(rank - 1, first - 1, -1) for number in sides[at]]
    number = float(constant.item()) if constant is not None and constant.numel() else operator.get("value", 0.0)
    pad(assembly, operator.output, operator.value, flat, mode, number)
