"""ONNX files whose operators are kinds of layers.

The file is a message of numbers and names; nothing in it is run. References to files beside it are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

import torch

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.axes import Size
from delc.exchange.onnx_constants import constant_of_shape, with_constants, with_own_tensors
from delc.exchange.onnx_groups import with_groups
from delc.exchange.onnx_library import onnx
from delc.exchange.onnx_moved import MovedOperators
from delc.exchange.onnx_operator import Operator
from delc.exchange.onnx_operators import OPERATORS
from delc.exchange.onnx_padding import PaddingOperators
from delc.exchange.onnx_recurrent import take as recurrent
from delc.exchange.onnx_sizes import Sizes
from delc.server.errors import InvalidData
from delc.server.inputs import InputSpec

MOST_ELEMENTS = 2**40
FLOAT, INT64, INT32 = 1, 7, 6
"""Element types in ONNX's numbering (onnx.proto, TensorProto.DataType)."""


def read(data: memoryview, require: Callable[[int, str], None]) -> Assembly:
    """The network and parameters of a file. ``InvalidData`` for what is no ONNX file or refers to other files,
    ``InvalidParameter`` for operators that no kind of layer does.
    """
    library = onnx()
    try:
        model = library.load_model_from_string(bytes(data))
        graph = model.graph
        if not graph.node or not graph.output:
            _refuse("it has no graph")
        tensors = {tensor.name: _tensor(library, tensor, require) for tensor in graph.initializer}
    except library_errors() as error:
        _refuse(str(error).splitlines()[0][:200] if str(error) else type(error).__name__)
    if graph.sparse_initializer or model.functions:
        refuse("sparse tensors or functions of its own")
    try:
        return _assemble(library, graph, model.opset_import, tensors, require)
    except library_errors() as error:
        _refuse(f"its graph does not hold together ({type(error).__name__}: {str(error)[:100]})")


def _assemble(
    library: Any, graph: Any, opsets: Any, tensors: dict[str, torch.Tensor], require: Callable[[int, str], None]
) -> Assembly:
    inputs = {value.name: _input(value) for value in graph.input if value.name not in tensors}
    opset = next((each.version for each in opsets if each.domain in ("", "ai.onnx")), 1)
    nodes = with_own_tensors(list(graph.node), tensors)
    paths = {name: _path(name) for name in tensors}
    nodes = with_constants(library, nodes, tensors)
    assembly = Assembly(inputs, tensors, paths)
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.input, *graph.value_info)}
    if len(graph.output) != 1:
        refuse(f"{len(graph.output)} outputs")
    nodes = with_groups(library, nodes, tensors)
    reading = Reading(assembly, ranks, opset, read_by(nodes, graph.output[0].name))
    for node in nodes:
        if not reading.read.isdisjoint(node.output):
            _convert(library, reading, node, require)
    assembly.finish(graph.output[0].name)
    return assembly


def library_errors() -> tuple[type[Exception], ...]:
    """What reading a damaged file can raise."""
    decode_error: type[Exception] = import_module("google.protobuf.message").DecodeError
    return (decode_error, ValueError, TypeError, KeyError, IndexError, OverflowError, RuntimeError, AttributeError)


def _path(name: str) -> str:
    """Exporters call weights after the module's path, some with blanks or slashes; what remains is a name."""
    return name if "." in name else f"{name}.weight"


def _tensor(library: Any, tensor: Any, require: Callable[[int, str], None]) -> torch.Tensor:
    if tensor.data_location != library.TensorProto.DEFAULT or tensor.external_data:
        raise InvalidData(
            f'tensor "{tensor.name[:100]}" of the ONNX file lies in another file, which is never read',
            hint="Save the model in one file: onnx.save(model, path, save_as_external_data=False).",
        )
    elements = 1
    for size in tensor.dims:
        elements *= size
    if elements < 0 or elements > MOST_ELEMENTS:
        _refuse(f'tensor "{tensor.name[:100]}" has the shape {list(tensor.dims)}')
    require(8 * elements, f'tensor "{tensor.name[:100]}"')
    array = library.numpy_helper.to_array(tensor)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def _input(value: Any) -> InputSpec:
    kind = value.type.tensor_type
    sizes = [int(dimension.dim_value) for dimension in kind.shape.dim]
    if len(sizes) < 1 or min(sizes[1:], default=1) < 1:
        refuse(f'an input "{value.name[:100]}" whose sizes other than the number of rows are left open')
    if kind.elem_type in (INT64, INT32):
        return InputSpec(tuple(sizes[1:]), "int64")
    if kind.elem_type != FLOAT:
        refuse(f'an input "{value.name[:100]}" of another type than float and int64')
    return InputSpec(tuple(sizes[1:]), "float32")


class Reading:
    """What is known while the operators are read one after another. ``read``: the values that something reads."""

    def __init__(self, assembly: Assembly, ranks: dict[str, int], opset: int, read: set[str]) -> None:
        self.assembly, self.ranks, self.opset, self.read = assembly, ranks, opset, read
        self.sizes = Sizes(assembly, self._extents)
        self.moves = MovedOperators(assembly, self.sizes)
        self.paddings = PaddingOperators(self.moves)

    def convert(self, operator: Operator) -> None:
        """What an operator is, as a layer or as a part of one."""
        if self.sizes.take(operator) or self.paddings.take(operator):
            return
        if recurrent(self.moves, self.paddings, operator, self.read):
            return

        def otherwise() -> None:
            convert = OPERATORS.get(operator.name)
            if operator.name == "Expand" and self.assembly.tensor(operator.value) is not None:
                refuse(f'the operator Expand on "{operator.value[:90]}", such as an initial state of a recurrent layer')
            if convert is None:
                refuse(f"the operator {operator.name[:100]}")
            convert(self.assembly, operator)

        if not self.moves.take(operator, otherwise):
            otherwise()

    def _extents(self, value: str) -> list[Size] | None:
        view = self.moves.moved.view(value)
        return None if view is None else [view.look.size(dim) for dim in range(len(view.look.dims))]


def read_by(nodes: Sequence[Any], output: str) -> set[str]:
    """The values that lead to the output."""
    read = {output}
    for node in reversed(nodes):
        if not read.isdisjoint(node.output):
            read.update(node.input)
    return read - {""}


def _convert(library: Any, reading: Reading, node: Any, require: Callable[[int, str], None]) -> None:
    assembly = reading.assembly
    if node.domain not in ("", "ai.onnx"):
        refuse(f"the operator {node.op_type[:100]} of {node.domain[:100]}")
    if node.op_type == "Constant":
        for attribute in node.attribute:
            if attribute.name == "value":
                assembly.constant(node.output[0], _tensor(library, attribute.t, require))
                return
            if attribute.name in ("value_float", "value_int", "value_floats", "value_ints"):
                assembly.constant(node.output[0], torch.tensor(library.helper.get_attribute_value(attribute)))
                return
    if node.op_type == "ConstantOfShape" and _fills_with_zero(library, node):
        reading.sizes.zeros(node.output[0])
        return
    if node.op_type == "ConstantOfShape":
        number = constant_of_shape({item.name: library.helper.get_attribute_value(item) for item in node.attribute})
        if number is not None and reading.sizes.filled(node.output[0], node.input[0], number):
            return
    attributes = {item.name: _attribute(library, item) for item in node.attribute}
    inputs, outputs = list(node.input), list(node.output)
    reading.convert(Operator(node.op_type, inputs, outputs, attributes, reading.ranks, reading.opset))


def _fills_with_zero(library: Any, node: Any) -> bool:
    numbers = [attribute.t for attribute in node.attribute if attribute.name == "value"]
    if any(number.external_data or list(number.dims) not in ([], [1]) for number in numbers):
        return False
    return not any(library.numpy_helper.to_array(number).any() for number in numbers)


def _attribute(library: Any, attribute: Any) -> Any:
    if attribute.type in (library.AttributeProto.GRAPH, library.AttributeProto.GRAPHS):
        refuse("control flow")
    if attribute.type == library.AttributeProto.TENSOR:
        refuse("an attribute that is a tensor")
    value = library.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _refuse(why: str) -> NoReturn:
    raise InvalidData(f"not an ONNX file: {why}", hint="Write it with torch.onnx.export() or onnx.save().")
