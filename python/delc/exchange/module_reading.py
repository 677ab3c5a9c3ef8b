"""A module that is pushed, as a network with its parameters: traced layer by layer, or else as a program.

torch.fx keeps a module's own layers, but does not get through code that looks at shapes, and a recurrent layer or an
attention that is used in part is no layer of its own there. torch.export writes such a module as a program, which is
read as one that came in a file.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from delc.exchange import program_file
from delc.exchange.assembly import Assembly
from delc.exchange.tracing import trace
from delc.networks import Network
from delc.server.errors import DelcError, InvalidParameter
from delc.server.inputs import InputSpec

EXAMPLE_ROWS = 2
"""torch.export takes a dimension of 1 for one that stays 1."""

Inputs = Mapping[str, InputSpec]
State = dict[str, torch.Tensor]


def read_module(module: nn.Module, inputs: Callable[[], Inputs | None]) -> tuple[Network, State]:
    """The network that a module is, and its parameters under the network's names.

    ``inputs`` says what the module reads, where anything does; it is asked only when tracing does not do. Raises
    ``InvalidParameter`` for what neither way has a kind of layer for; it is that of tracing, with what came of the
    other in its detail.
    """
    try:
        traced = trace(module)
    except InvalidParameter as error:
        specs = inputs()
        if specs is None:
            hint = "Give input_shape (one row's) or features: the module is then read as a program of torch.export."
            raise InvalidParameter(error.message, detail=error.detail, hint=hint) from None
        return _as_program(module, specs, error)
    return traced.network, traced.rename(module.state_dict())


def _as_program(module: nn.Module, specs: Inputs, error: InvalidParameter) -> tuple[Network, State]:
    try:
        names = _inputs_by_place(module, specs)
        assembly = program_file.read(_exported(module, [specs[name] for name in names]), _unlimited)
    except DelcError as other:
        why = ": ".join(part for part in (other.message, other.detail) if part)
    except _CANNOT_EXPORT as other:
        first = str(other).strip().splitlines()[:1] or [""]
        why = f"torch.export cannot write it ({type(other).__name__}: {first[0][:300]})"
    else:
        return _renamed(assembly, names), assembly.state
    raise InvalidParameter(
        error.message,
        detail=f"{error.detail or 'torch.fx cannot trace it.'} As a program: {why}",
        hint="Give the network as layers (docs/layers.md), or import the module as ONNX with delc.import_onnx().",
    ) from None


_CANNOT_EXPORT = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, LookupError)
"""What torch.export raises for modules that it cannot write; its own errors are of these."""


def _inputs_by_place(module: nn.Module, specs: Inputs) -> list[str]:
    """The inputs in the order in which the module takes them: by the parameters' names, the first as "input" too, and
    a lone one by any name.
    """
    parameters = [
        parameter
        for parameter in inspect.signature(module.forward).parameters.values()
        if parameter.name in specs or parameter.default is inspect.Parameter.empty
    ]
    if len(specs) == 1 and parameters:
        return list(specs)
    names = []
    for place, parameter in enumerate(parameters):
        name = parameter.name if place or parameter.name in specs else "input"
        if name not in specs:
            raise InvalidParameter(
                f'the module reads "{parameter.name}", which no feature describes',
                detail=f"Described are: {', '.join(specs)}.",
            )
        names.append(name)
    return names


def _exported(module: nn.Module, specs: Sequence[InputSpec]) -> memoryview:
    """The file of the module's program, for any number of rows."""
    device = next((tensor.device for tensor in module.state_dict().values()), torch.device("cpu"))
    examples = tuple(
        torch.zeros(EXAMPLE_ROWS, *spec.shape, dtype=getattr(torch, spec.dtype), device=device) for spec in specs
    )
    rows = torch.export.Dim("rows")
    file = io.BytesIO()
    with _evaluating(module):
        program = torch.export.export(module, examples, dynamic_shapes=tuple({0: rows} for _ in examples))
    torch.export.save(program, file)
    return file.getbuffer()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode in the block, each of its parts as it was afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _renamed(assembly: Assembly, names: Sequence[str]) -> Network:
    """The network, which reads its inputs by these names."""
    called = dict(zip(assembly.inputs, names, strict=True))
    layers = [layer.to_json() for layer in assembly.network()]
    for layer in layers:
        layer["inputs"] = [called.get(source, source) for source in layer["inputs"]]
    return Network.parse(layers)


def _unlimited(size: int, what: str) -> None:
    """The module is in the application's memory already."""
