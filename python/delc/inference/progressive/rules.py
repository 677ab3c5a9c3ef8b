"""All rules: importing this module fills the registry."""

from __future__ import annotations

from delc.inference.progressive import (
    rounding,
    rules_arithmetic,
    rules_attention,
    rules_elementwise,
    rules_linear,
    rules_normalisation,
    rules_pooling,
    rules_recurrent,
    rules_shapes,
)
from delc.inference.progressive.stages import REFUSALS, RULES, LayerView

__all__ = [
    "missing_rule",
    "rules_arithmetic",
    "rules_attention",
    "rules_elementwise",
    "rules_linear",
    "rules_normalisation",
    "rules_pooling",
    "rules_recurrent",
    "rules_shapes",
]


def missing_rule(layers: list[LayerView]) -> str | None:
    """Why nothing can be certified for a network, or None: the first layer without a rule, or torch's settings."""
    for layer in layers:
        if layer.kind not in RULES:
            return f'layer "{layer.name}" of kind {layer.kind} has no rule for bounds'
        reason = rounding.extreme_constant(layer.arguments)
        if reason is None and layer.kind in REFUSALS:
            reason = REFUSALS[layer.kind](layer)
        if reason is not None:
            return f'layer "{layer.name}" of kind {layer.kind} has no rule for bounds: {reason}'
    return rounding.plain_float32()
