"""Layers keep computing the same, whichever way they come in: as a module, a program or an ONNX file, and out again."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn import functional

from delc.exchange import onnx_export, onnx_import, program_export, program_file, safetensors_file
from delc.exchange.assembly import Assembly
from delc.exchange.tracing import trace
from delc.networks import KINDS, BuiltNetwork, InputSpec, Network, build, restore
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


class Attention(nn.Module):
    """A sequence that attends to itself, beside a shortcut, and a layer behind it."""

    def __init__(self, *, need_weights: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(40, 3)
        self._need_weights = need_weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attended = self.attention(x, x, x, need_weights=self._need_weights)[0]
        result: torch.Tensor = self.head(torch.relu(x + attended).flatten(1))
        return result


class Recurrent(nn.Module):
    """A recurrent layer of torch, of which something is read."""

    def __init__(self, module: nn.RNNBase, read: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.module = module
        self._read = read

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps, states = self.module(x)
        return self._read(steps, states[0] if isinstance(self.module, nn.LSTM) else states)


READINGS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "steps": lambda steps, states: steps,
    "last_step": lambda steps, states: steps[:, -1],
    "state": lambda steps, states: states[-1],
    "states": lambda steps, states: torch.cat([states[-2], states[-1]], 1),
    "both": lambda steps, states: torch.cat([states[-1], steps.mean(1)], 1),
}


def recurrent(name: str) -> tuple[nn.Module, torch.Tensor]:
    kind, layers, direction, reading = name.split("-")
    torch.manual_seed(5)
    module = getattr(nn, kind)(8, 4, int(layers), batch_first=True, bidirectional=direction == "both")
    return Recurrent(module, READINGS[reading]).eval(), torch.randn(5, 6, 8)


RECURRENT = [
    f"{kind}-{layers}-{direction}-{reading}"
    for kind, layers, direction in itertools.product(("RNN", "GRU", "LSTM"), (1, 2), ("one", "both"))
    for reading in READINGS
    if reading != "states" or direction == "both"
]


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
    "local_response_norm": (nn.LocalResponseNorm(3, alpha=0.1), (5, 4, 4)),
    "local_response_norm_even": (nn.LocalResponseNorm(2, alpha=0.1, k=2.0), (5, 4, 4)),
    "attention": (Attention(), (5, 8)),
    "attention_weights": (Attention(need_weights=True), (5, 8)),
    "encoder": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8)),
    "encoder_first": (
        nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", norm_first=True, batch_first=True),
        (5, 8),
    ),
}


NOT_WRITTEN = {
    "local_response_norm",
    "local_response_norm_even",
    "encoder",
    "encoder_first",
    "rms_norm",
    "rms_norm_eps",
    "rms_norm_plain",
    "softplus_low",
    "unflatten",
    "gelu_tanh",
}
"""What torch's older exporter does not know, writes with sizes that are computed, with If, or without its threshold."""


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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_of_programs(name: str) -> None:
    module, rows = recurrent(name)
    check(restored(program_file.read(program(module, rows), unlimited)), module, rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_as_torch_writes_onnx(name: str) -> None:
    module, rows = recurrent(name)
    file = io.BytesIO()
    torch.onnx.export(module, (rows,), file, dynamo=False, opset_version=17, input_names=["x"],
                      dynamic_axes={"x": {0: "rows"}})  # fmt: skip
    check(restored(onnx_import.read(memoryview(file.getvalue()), unlimited)), module, rows)


FLOATING = [name for name, kind in KINDS.items() if all(value.dtype == "float32" for value in kind.example.inputs)]


def one_layer(kind: str, arguments: Mapping[str, Any], specs: Sequence[InputSpec]) -> BuiltNetwork:
    inputs = {f"in{place}": spec for place, spec in enumerate(specs)}
    built = build(Network.parse([{"name": "it", "kind": kind, "inputs": list(inputs), "arguments": arguments}]), inputs)
    built.module.eval()
    return built


def check_program(built: BuiltNetwork, tensors: Mapping[str, torch.Tensor]) -> None:
    """That the program that is written, run by torch and read again, computes what the network does."""
    file = program_export.export(built)
    with torch.inference_mode():
        expected = built.module(tensors)
        found = torch.export.load(io.BytesIO(file)).module()(*tensors.values())
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=TOLERANCE)
        again = restored(program_file.read(memoryview(file), unlimited))
        again.module.eval()
        read = again.module(dict(zip(again.resolved.inputs, tensors.values(), strict=True)))
        torch.testing.assert_close(read, expected, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("kind", FLOATING)
def test_every_kind_goes_out_as_a_program_and_in_again(kind: str) -> None:
    shown = KINDS[kind].example
    built = one_layer(kind, shown.arguments, [InputSpec(value.shape) for value in shown.inputs])
    check_program(built, {name: torch.randn(3, *spec.shape) for name, spec in built.resolved.inputs.items()})


@pytest.mark.parametrize("kind", FLOATING)
def test_every_kind_keeps_its_parameters_as_safetensors(kind: str) -> None:
    shown = KINDS[kind].example
    built = one_layer(kind, shown.arguments, [InputSpec(value.shape) for value in shown.inputs])
    state = built.module.state_dict()
    entries = [(name, str(tensor.dtype).removeprefix("torch."), tensor.shape) for name, tensor in state.items()]
    numbers = b"".join(tensor.numpy().tobytes() for tensor in state.values())
    found, _ = safetensors_file.read(memoryview(safetensors_file.header(entries, {}) + numbers))
    tensors = {name: torch.randn(3, *spec.shape) for name, spec in built.resolved.inputs.items()}
    again = restore(built.resolved.network, built.resolved.inputs, {name: tensor.clone() for name, tensor in found})
    again.module.eval()
    with torch.inference_mode():
        assert torch.equal(again.module(tensors), built.module(tensors))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["multihead_attention", "transformer_encoder_layer", "masked_mean"])
def test_sequences_with_padding_go_out_as_programs_and_in_again(kind: str, causal: bool) -> None:
    heads = {"multihead_attention": {"num_heads": 2}, "transformer_encoder_layer": {"nhead": 2, "norm_first": causal}}
    arguments = {"padding_index": 0, **({"causal": causal, **heads[kind]} if kind in heads else {})}
    built = one_layer(kind, arguments, [InputSpec((5, 8)), InputSpec((5,), "int64", 4)])
    tokens = torch.tensor([[1, 2, 3, 1, 2], [1, 2, 0, 0, 0], [0, 0, 0, 0, 0]])
    check_program(built, {"in0": torch.randn(3, 5, 8), "in1": tokens})


def test_attention_between_sequences_goes_out_as_a_program_and_in_again() -> None:
    for shapes in ([(5, 8), (7, 6)], [(5, 8), (7, 6), (7, 4)], [(5, 8), (7, 8), (7, 8)]):
        built = one_layer("multihead_attention", {"num_heads": 2}, [InputSpec(shape) for shape in shapes])
        check_program(built, {f"in{at}": torch.randn(3, *shape) for at, shape in enumerate(shapes)})


@pytest.mark.parametrize("used_before", [False, True])
def test_sinusoidal_positions_go_out_as_a_program_and_in_again(used_before: bool) -> None:
    built = one_layer("positional_encoding", {"method": "sinusoidal"}, [InputSpec((5, 8))])
    if used_before:
        built.module({"in0": torch.zeros(1, 5, 8)})
    check_program(built, {"in0": torch.randn(3, 5, 8)})


def test_a_recurrent_layer_over_padding_is_no_program() -> None:
    specs = [InputSpec((5, 8)), InputSpec((5,), "int64", 4)]
    built = one_layer("lstm", {"hidden_size": 3, "padding_index": 0}, specs)
    with pytest.raises(InvalidParameter, match=r'"it" \(lstm\) cannot be written as a program'):
        program_export.export(built)


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


class Encoder(nn.Module):
    """A transformer's encoder, each step of which sees itself and those before."""

    def __init__(self, layers: int, norm_first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        result: torch.Tensor = self.encoder(x, mask=mask, is_causal=True)
        return result


def written_by_torch(module: nn.Module, rows: torch.Tensor, opset: int) -> memoryview:
    file = io.BytesIO()
    torch.onnx.export(module, (rows,), file, dynamo=False, opset_version=opset, input_names=["x"],
                      dynamic_axes={"x": {0: "rows"}})  # fmt: skip
    return memoryview(file.getvalue())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [14, 16, 17, 18])
@pytest.mark.parametrize(("layers", "norm_first"), [(1, False), (2, True)])
def test_a_causal_encoder_as_torch_writes_onnx(layers: int, norm_first: bool, opset: int) -> None:
    torch.manual_seed(5)
    module, rows = Encoder(layers, norm_first).eval(), torch.randn(5, 6, 8)
    check(restored(onnx_import.read(written_by_torch(module, rows, opset), unlimited)), module, rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [(8,), (6, 8)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("opset", [11, 16])
def test_a_layer_normalisation_of_nine_operators_comes_in_as_one(
    shape: tuple[int, ...], bias: bool, opset: int
) -> None:
    torch.manual_seed(6)
    norm = nn.LayerNorm(shape, eps=1e-3, bias=bias)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    module, rows = nn.Sequential(nn.Tanh(), norm, nn.ReLU()).eval(), torch.randn(5, 6, 8)
    built = restored(onnx_import.read(written_by_torch(module, rows, opset), unlimited))
    assert [layer.kind for layer in built.resolved.layers] == ["tanh", "layer_norm", "relu"]
    check(built, module, rows)


class Twice(nn.Module):
    """A layer normalisation, part of which goes on by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * self.scale + centred


@pytest.mark.filterwarnings("ignore")
def test_a_layer_normalisation_part_of_which_goes_elsewhere_is_refused_by_its_operators() -> None:
    file = written_by_torch(Twice().eval(), torch.randn(5, 6, 8), 14)
    with pytest.raises(InvalidParameter, match="the operator Sqrt"):
        onnx_import.read(file, unlimited)


class Begun(nn.Module):
    """An LSTM that is given its first states."""

    def __init__(self, first: torch.Tensor) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 4, batch_first=True)
        self.first = nn.Parameter(first)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first.expand(1, x.shape[0], 4).contiguous()
        result: torch.Tensor = self.lstm(x, (first, first))[0]
        return result


@pytest.mark.filterwarnings("ignore")
def test_first_states_of_zeros_are_what_a_recurrent_layer_begins_with() -> None:
    torch.manual_seed(7)
    module, rows = Begun(torch.zeros(1, 1, 4)).eval(), torch.randn(5, 6, 8)
    check(restored(onnx_import.read(written_by_torch(module, rows, 17), unlimited)), module, rows)
    others = written_by_torch(Begun(torch.ones(1, 1, 4)).eval(), rows, 17)
    with pytest.raises(InvalidParameter, match='Expand on "first", such as an initial state of a recurrent layer'):
        onnx_import.read(others, unlimited)


def test_a_mask_that_says_to_be_huge_is_not_made() -> None:
    size = 2**20
    helper = onnx.helper
    nodes = [
        helper.make_node("Expand", ["one", "sizes"], ["ones"]),
        helper.make_node("Trilu", ["ones"], ["mask"], upper=0),
        helper.make_node("Add", ["x", "mask"], ["y"]),
    ]
    held = [
        onnx.numpy_helper.from_array(np.ones(1, np.float32), "one"),
        onnx.numpy_helper.from_array(np.array([size, size], np.int64), "sizes"),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", 4]) for name in ("x", "y")]
    file = helper.make_model(helper.make_graph(nodes, "huge", ends[:1], ends[1:], held))
    with pytest.raises(InvalidParameter, match="the operator Expand"):
        onnx_import.read(memoryview(file.SerializeToString()), unlimited)
