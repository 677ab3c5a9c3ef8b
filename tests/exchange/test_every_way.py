"""Layers keep computing the same, whichever way they come in: as a module, a program or an ONNX file, and out again."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn import functional

from delc.exchange import onnx_export, onnx_import, program_file
from delc.exchange.assembly import Assembly
from delc.exchange.tracing import trace
from delc.networks import BuiltNetwork, InputSpec, restore
from delc.server.errors import InvalidParameter

TOLERANCE = 1e-5


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, call: Any) -> None:
        super().__init__()
        self._call = call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._call(x)
        return result


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "group_norm": (nn.GroupNorm(2, 4), (4, 6, 6)),
    "group_norm_plain": (nn.GroupNorm(2, 4, affine=False), (4, 6)),
    "instance_norm": (nn.InstanceNorm2d(4, affine=True), (4, 6, 6)),
    "instance_norm_plain": (nn.InstanceNorm1d(4), (4, 6)),
    "rms_norm": (nn.RMSNorm(6), (6,)),
    "rms_norm_eps": (nn.RMSNorm((3, 6), eps=1e-3), (3, 6)),
    "rms_norm_plain": (nn.RMSNorm(6, elementwise_affine=False), (6,)),
    "upsample": (nn.Upsample(scale_factor=3), (2, 4, 4)),
    "upsample_line": (nn.Upsample(scale_factor=2, mode="linear"), (2, 4)),
    "upsample_image": (nn.Upsample(scale_factor=2, mode="bilinear"), (2, 4, 4)),
    "upsample_cubic": (nn.Upsample(scale_factor=2, mode="bicubic"), (2, 4, 4)),
    "conv_reflect": (nn.Conv2d(2, 4, 3, padding=(1, 2), padding_mode="reflect"), (2, 7, 7)),
    "conv_replicate": (nn.Conv1d(2, 4, 3, padding=1, padding_mode="replicate"), (2, 7)),
    "conv_circular": (nn.Conv1d(2, 4, 3, padding=2, padding_mode="circular"), (2, 7)),
    "softplus": (nn.Softplus(), (6,)),
    "softplus_low": (nn.Softplus(2.0, 1.0), (6,)),
    "unflatten": (nn.Unflatten(1, (4, 4)), (16,)),
    "gelu_tanh": (nn.GELU("tanh"), (6,)),
    "log_sigmoid": (nn.LogSigmoid(), (6,)),
    "glu": (nn.GLU(1), (4, 6)),
    "selu": (nn.SELU(), (6,)),
    "elu_in_place": (nn.Sequential(nn.Linear(6, 6), nn.ELU(0.7, inplace=True), nn.SiLU(inplace=True)), (6,)),
    "prelu": (nn.PReLU(4), (4, 6)),
}


NOT_WRITTEN = {"rms_norm", "rms_norm_eps", "rms_norm_plain", "softplus_low", "unflatten", "gelu_tanh"}
"""What torch's older exporter does not know, writes with sizes that are computed, or without its threshold."""


def prepared(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The module with parameters other than those of the beginning, and five rows."""
    module, shape = LAYERS[name]
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(0.2, 1.5)
    return module.eval(), torch.randn(5, *shape) * 1e-3 if name.startswith("rms") else torch.randn(5, *shape)


def check(built: BuiltNetwork, module: nn.Module, rows: torch.Tensor) -> None:
    built.module.eval()
    with torch.inference_mode():
        expected = module(rows.clone())
        torch.testing.assert_close(built.module(rows), expected, atol=TOLERANCE, rtol=TOLERANCE)


def traced(module: nn.Module, rows: torch.Tensor) -> BuiltNetwork:
    found = trace(module)
    return restore(found.network, {"input": InputSpec(tuple(rows.shape[1:]))}, found.rename(module.state_dict()))


def restored(assembly: Assembly) -> BuiltNetwork:
    return restore(assembly.network(), assembly.inputs, assembly.state)


def program(module: nn.Module, rows: torch.Tensor) -> memoryview:
    file = io.BytesIO()
    count = torch.export.Dim("rows")
    torch.export.save(torch.export.export(module, (rows,), dynamic_shapes=({0: count},)), file)
    return memoryview(file.getvalue())


def unlimited(size: int, what: str) -> None:
    """There is memory for everything."""


@pytest.mark.parametrize("name", LAYERS)
def test_as_a_module(name: str) -> None:
    module, rows = prepared(name)
    check(traced(module, rows), module, rows)


@pytest.mark.parametrize("name", LAYERS)
def test_as_a_program(name: str) -> None:
    module, rows = prepared(name)
    check(restored(program_file.read(program(module, rows), unlimited)), module, rows)


@pytest.mark.parametrize("name", LAYERS)
def test_out_as_onnx_and_in_again(name: str) -> None:
    module, rows = prepared(name)
    built = traced(module, rows)
    file = onnx_export.export(built.resolved, built.module.state_dict(), name)
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    with torch.inference_mode():
        expected = module(rows.clone()).numpy()
    if "cubic" not in name:  # the reference's own differs at the border
        (found,) = ReferenceEvaluator(onnx.load_from_string(file)).run(None, {"input": rows.numpy()})
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=TOLERANCE)
    check(restored(onnx_import.read(memoryview(file), unlimited)), module, rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in LAYERS if name not in NOT_WRITTEN])
def test_as_torch_writes_onnx(name: str) -> None:
    module, rows = prepared(name)
    file = io.BytesIO()
    torch.onnx.export(module, (rows,), file, dynamo=False, opset_version=17, input_names=["x"],
                      dynamic_axes={"x": {0: "rows"}})  # fmt: skip
    check(restored(onnx_import.read(memoryview(file.getvalue()), unlimited)), module, rows)


DIFFERENT: dict[str, tuple[nn.Module, str]] = {
    "softmax without dim": (nn.Softmax(), r"Softmax\(dim=None\)"),
    "upsample to a size": (nn.Upsample(size=4), "Upsample to a size"),
    "upsample by corners": (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "align_corners"),
    "mean of everything": (Function(lambda x: x.mean()), r"mean\(\) without dim"),
    "sum of everything": (Function(torch.sum), r"sum\(\) without dim"),
    "scaled addition": (Function(lambda x: torch.add(x, x, alpha=2)), "alpha=2"),
    "rounded division": (Function(lambda x: torch.div(x, 3, rounding_mode="floor")), "rounding_mode"),
    "wider numbers": (Function(lambda x: torch.softmax(x, 1, dtype=torch.float64)), "float64"),
    "changed and read": (Function(lambda x: _read_after(x)), "changes it in place"),
    "tanh in an encoder layer": (
        nn.TransformerEncoderLayer(8, 2, activation=nn.GELU("tanh"), batch_first=True),
        "another activation",
    ),
}


def _read_after(x: torch.Tensor) -> torch.Tensor:
    doubled = x * 2
    return functional.relu(doubled, inplace=True) + doubled


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_would_compute_something_else_is_refused(name: str) -> None:
    module, said = DIFFERENT[name]
    with pytest.raises(InvalidParameter, match=said):
        trace(module)


def test_functions_keep_their_own_defaults() -> None:
    module = Function(lambda x: functional.max_pool2d(functional.normalize(x), 3, 2, ceil_mode=True))
    rows = torch.randn(5, 2, 6, 6)
    check(traced(module, rows), module, rows)


def test_batches_that_all_weigh_the_same_stay_so() -> None:
    module = nn.BatchNorm1d(4, momentum=None)
    built = traced(module, torch.randn(5, 4))
    rows = torch.randn(9, 4)
    for part in (rows[:4], rows[4:]):
        module.train()(part)
        built.module.train()({"input": part})
    state = built.module.state_dict()
    (name,) = [each for each in state if each.endswith("running_mean")]
    torch.testing.assert_close(state[name], module.running_mean)


def test_a_program_that_reads_what_it_changed_computes_the_same() -> None:
    module, rows = Function(_read_after), torch.randn(3, 4)
    check(restored(program_file.read(program(module, rows), unlimited)), module, rows)


def test_softplus_as_newer_exporters_write_it() -> None:
    make = onnx.helper
    nodes = [
        make.make_node("Softplus", ["x"], ["grown"]),
        make.make_node("Greater", ["x", "most"], ["above"]),
        make.make_node("Where", ["above", "x", "grown"], ["y"]),
    ]
    most = onnx.numpy_helper.from_array(np.array(20.0, np.float32), "most")
    x, y = (make.make_tensor_value_info(name, 1, ["n", 4]) for name in "xy")
    model = make.make_model(make.make_graph(nodes, "g", [x], [y], [most]), opset_imports=[make.make_opsetid("", 20)])
    network = onnx_import.read(memoryview(model.SerializeToString()), unlimited).network()
    assert [(layer.kind, dict(layer.arguments)) for layer in network] == [
        ("softplus", {"beta": 1.0, "threshold": 20.0})
    ]
