"""What ONNX's normalisations are as layers."""

from __future__ import annotations

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.onnx_operator import Operator, needed, parameter
from delc.exchange.shared_layers import group_norm, instance_norm, rms_norm


def batch_norm_layer(assembly: Assembly, operator: Operator) -> None:
    if operator.get("training_mode"):
        refuse("a BatchNormalization in training mode")
    tensors = [needed(assembly, operator, place) for place in (1, 2, 3, 4)]
    arguments = {"eps": operator.get("epsilon", 1e-5), "momentum": 1 - operator.get("momentum", 0.9)}
    dimensions = operator.ranks.get(operator.value, 0) or assembly.rank(operator.value)
    assembly.batch_norm(operator.output, operator.value, dimensions, tensors, operator.inputs[1], arguments)


def layer_norm_layer(assembly: Assembly, operator: Operator) -> None:
    weight, bias = needed(assembly, operator, 1), parameter(assembly, operator, 2)
    axis = operator.get("axis", -1)
    if (axis > 0 and axis != assembly.rank(operator.value) - weight.dim()) or (axis < 0 and -axis != weight.dim()):
        refuse("a LayerNormalization whose scale does not cover its axes")
    eps = operator.get("epsilon", 1e-5)
    path = operator.inputs[1]
    assembly.layer_norm(operator.output, operator.value, list(weight.shape), weight, bias, path, eps)


def instance_norm_layer(assembly: Assembly, operator: Operator) -> None:
    affine = {"weight": needed(assembly, operator, 1), "bias": needed(assembly, operator, 2)}
    eps = operator.get("epsilon", 1e-5)
    instance_norm(assembly, operator.output, operator.value, affine, operator.inputs[1], eps)


def group_norm_layer(assembly: Assembly, operator: Operator) -> None:
    """Until opset 21 scale and bias were those of the groups."""
    groups, channels = operator.get("num_groups"), assembly.shape(operator.value)[0]
    affine = {"weight": parameter(assembly, operator, 1), "bias": parameter(assembly, operator, 2)}
    for name, tensor in affine.items():
        if tensor is not None:
            of_groups = operator.opset < 21 and tensor.numel() == groups
            affine[name] = tensor.reshape(-1).repeat_interleave(channels // groups if of_groups else 1)
    path = operator.optional(1) or ""
    group_norm(assembly, operator.output, operator.value, groups, affine, path, operator.get("epsilon", 1e-5))


def rms_norm_layer(assembly: Assembly, operator: Operator) -> None:
    rank, axis = assembly.rank(operator.value), operator.get("axis", -1)
    over = rank - axis if axis > 0 else -axis
    weight = parameter(assembly, operator, 1)
    shape = list(assembly.shape(operator.value)[rank - 1 - over :])
    if weight is not None:
        if list(weight.shape) not in (shape, [1] * (rank - over) + shape):
            refuse("an RMSNormalization whose scale does not cover its axes")
        weight = weight.reshape(shape)
    path = operator.optional(1) or ""
    rms_norm(assembly, operator.output, operator.value, shape, weight, path, operator.get("epsilon", 1e-5))


def response_norm_layer(assembly: Assembly, operator: Operator) -> None:
    size = operator.get("size", 0)
    if size % 2 == 0:
        refuse("an LRN over an even number of channels")
    arguments = {"size": size, "alpha": operator.get("alpha", 1e-4), "beta": operator.get("beta", 0.75)}
    arguments["k"] = operator.get("bias", 1.0)
    assembly.add(operator.output, "local_response_norm", [operator.value], arguments)
