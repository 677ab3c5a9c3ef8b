"""Programs of torch.export, read without torch's own loader.

``torch.export.load`` unpickles what the file says, so a file could run any code. The archive's parts are simple: the
graph is JSON, and each parameter is a member with its plain numbers. Only these are read; members that are pickled
(sample inputs, weights that share memory) are left alone or refused.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import torch

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.program_moved import MovedOperations, read_by
from delc.exchange.program_operations import OPERATIONS, Operation
from delc.exchange.program_recurrent import take as recurrent
from delc.server.errors import InvalidData
from delc.server.inputs import InputSpec

MODEL = "models/model.json"
WEIGHTS = "data/weights/"
CONSTANTS = "data/constants/"
MOST_JSON_BYTES = 100_000_000

DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64,
    6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
"""The numbers of dtypes in the graph's JSON (torch/_export/serde/schema.py, ScalarType)."""

_NOT_A_PROGRAM = "A file of parameters goes to delc.import_state_dict()."

TOKEN_DTYPES = (torch.int64, torch.int32)


def read(data: memoryview, require: Callable[[int, str], None]) -> Assembly:
    """The network and parameters of a file that ``torch.export.save`` wrote (torch 2.7 or later).

    ``InvalidData`` for other files, ``InvalidParameter`` for operations that no kind of layer does.
    """
    archive = _Archive(data, require)
    program = archive.json(MODEL)
    try:
        return _assemble(program["graph_module"], archive)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, StopIteration, RuntimeError) as error:
        _refuse(f"the graph is not as torch.export writes it ({type(error).__name__}: {str(error)[:100]})")


class _Archive:
    """The members of the file."""

    def __init__(self, data: memoryview, require: Callable[[int, str], None]) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            members = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            _refuse(str(error)[:200])
        roots = {member.filename.partition("/")[0] for member in members}
        if len(roots) != 1 or not any(member.filename.endswith(f"/{MODEL}") for member in members):
            if any(member.filename.endswith("/data.pkl") for member in members):
                raise InvalidData("torch.save wrote this file, not torch.export.save", hint=_NOT_A_PROGRAM)
            _refuse(f"it has no member {MODEL}")
        require(sum(member.file_size for member in members), "the program")
        self._root = roots.pop()
        self._sizes = {member.filename: member.file_size for member in members}

    def bytes(self, name: str) -> bytes:
        full = f"{self._root}/{name}"
        if full not in self._sizes:
            _refuse(f"the member {name[:100]} is missing")
        try:
            return self._zip.read(full)
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError) as error:
            _refuse(str(error)[:200])

    def json(self, name: str) -> Any:
        if self._sizes.get(f"{self._root}/{name}", 0) > MOST_JSON_BYTES:
            _refuse(f"the member {name} is larger than {MOST_JSON_BYTES} bytes")
        try:
            return json.loads(self.bytes(name))
        except (ValueError, RecursionError) as error:
            _refuse(f"the member {name} is not JSON: {str(error)[:100]}")

    def tensors(self, folder: str, config: str) -> dict[str, torch.Tensor]:
        """The parameters or constants by their names in the module."""
        if f"{self._root}/{folder}{config}" not in self._sizes:
            return {}
        entries = self.json(f"{folder}{config}")["config"]
        return {name: self._tensor(name, folder, entry) for name, entry in entries.items()}

    def _tensor(self, name: str, folder: str, entry: Mapping[str, Any]) -> torch.Tensor:
        if entry["use_pickle"]:
            raise InvalidData(
                f'parameter "{name[:100]}" of the program is pickled, and pickled objects are never loaded',
                detail="torch.export.save pickles parameters that share memory.",
                hint="Clone them before exporting, or import the state_dict as safetensors.",
            )
        meta = entry["tensor_meta"]
        dtype, sizes, strides = DTYPES.get(meta["dtype"]), _sizes(meta["sizes"]), _sizes(meta["strides"])
        if dtype is None or _sizes([meta["storage_offset"]]) != [0]:
            _refuse(f'parameter "{name[:100]}" has an unknown dtype or lies inside of another')
        body = self.bytes(folder + str(entry["path_name"]))
        elements = math.prod(sizes)
        if len(body) != elements * dtype.itemsize:
            _refuse(f'parameter "{name[:100]}" has {len(body)} bytes for {elements} numbers of {dtype}')
        flat = torch.frombuffer(bytearray(body), dtype=dtype) if body else torch.empty(0, dtype=dtype)
        return _laid_out(name, flat, sizes, strides)


def _laid_out(name: str, flat: torch.Tensor, sizes: list[int], strides: list[int]) -> torch.Tensor:
    """The numbers as they lie, in the shape that sizes and strides say; they must cover each number once."""
    order = sorted(range(len(sizes)), key=lambda at: (-strides[at], -sizes[at]))
    dense = 1
    for at in reversed(order):
        if sizes[at] != 1 and strides[at] != dense:
            _refuse(f'parameter "{name[:100]}" has the strides {strides} for the shape {sizes}')
        dense *= sizes[at]
    inverse = [order.index(at) for at in range(len(sizes))]
    return flat.reshape([sizes[at] for at in order]).permute(inverse).contiguous()


def _sizes(values: Sequence[Mapping[str, Any]]) -> list[int]:
    sizes = [value.get("as_int") for value in values]
    if not all(type(size) is int and size >= 0 for size in sizes):
        _refuse("a parameter has sizes that are not numbers")
    return [size for size in sizes if size is not None]


def _assemble(module: Mapping[str, Any], archive: _Archive) -> Assembly:
    graph, signature = module["graph"], module["signature"]
    weights = archive.tensors(WEIGHTS, "model_weights_config.json")
    constants = archive.tensors(CONSTANTS, "model_constants_config.json")
    tensors: dict[str, torch.Tensor] = {}
    paths: dict[str, str] = {}
    inputs: dict[str, InputSpec] = {}
    for spec in signature["input_specs"]:
        what, body = next(iter(spec.items()))
        if what == "user_input":
            name = body["arg"]["as_tensor"]["name"]
            inputs[name] = _input(graph["tensor_values"][name])
        else:
            path = next(body[key] for key in _NAME_KEYS if key in body)
            name = body["arg"]["name"]
            tensors[name], paths[name] = (weights if path in weights else constants)[path], path
    assembly = Assembly(inputs, tensors, paths)
    ranks = {name: len(value["sizes"]) for name, value in graph["tensor_values"].items()}
    output = _output(signature["output_specs"])
    read, nodes = read_by(graph["nodes"], [output])
    moves = MovedOperations(assembly, read)
    for node in nodes:
        _convert(assembly, moves, node, ranks)
    assembly.finish(output)
    return assembly


_NAME_KEYS = ("parameter_name", "buffer_name", "tensor_constant_name")


def _input(value: Mapping[str, Any]) -> InputSpec:
    dtype = DTYPES.get(value["dtype"])
    sizes = [size.get("as_int") for size in value["sizes"]]
    if not sizes or None in sizes[1:]:
        refuse("an input whose sizes other than the number of rows are left open")
    if dtype in TOKEN_DTYPES:
        return InputSpec(tuple(sizes[1:]), "int64")
    if dtype is not torch.float32:
        refuse(f"an input of {dtype}")
    return InputSpec(tuple(sizes[1:]), "float32")


def _convert(assembly: Assembly, moves: MovedOperations, node: Mapping[str, Any], ranks: Mapping[str, int]) -> None:
    target = str(node["target"]).removeprefix("torch.ops.aten.")
    operation = Operation(target, node, ranks)
    name = target.partition(".")[0]

    def otherwise() -> None:
        convert = OPERATIONS.get(target) or OPERATIONS.get(name) or OPERATIONS.get(name.removesuffix("_"))
        if convert is None:
            refuse(f"the operation {target[:100]}")
        convert(assembly, operation)

    if recurrent(moves, operation) or moves.take(operation, otherwise):
        return
    otherwise()
    if name.endswith("_"):
        assembly.overwrite(operation.value)


def _output(specs: Sequence[Mapping[str, Any]]) -> str:
    outputs = [spec["user_output"]["arg"] for spec in specs if "user_output" in spec]
    if len(outputs) != 1 or "as_tensor" not in outputs[0]:
        refuse(f"{len(outputs)} outputs")
    return str(outputs[0]["as_tensor"]["name"])


def _refuse(why: str) -> NoReturn:
    raise InvalidData(
        f"not a program that torch.export.save wrote: {why}",
        hint="Write it with torch.export.save(torch.export.export(model.eval(), …), 'model.pt2'), torch 2.7 or later.",
    )
