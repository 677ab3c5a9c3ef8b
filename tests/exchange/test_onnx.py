"""ONNX files go in as layers and come out, and compute the same in both places."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import onnx
import pytest
import torch
from exchange.examples import EXAMPLES, example, logits
from onnx.reference import ReferenceEvaluator
from onnxruntime import InferenceSession

import delc.client
from delc.exchange import onnx_export, onnx_import
from delc.networks import KINDS, BuiltNetwork, InputSpec, Network, build, restore
from support.cluster import Connection
from support.workplace import failure, message, value

TOLERANCE = 1e-5
CALL = "SELECT delc.import_onnx('m', %s, labels => '{a,b,c}')"


def written(name: str) -> bytes:
    """The module as an ONNX file, by way of the database's own export."""
    module, inputs = example(name)
    from delc.exchange.tracing import trace

    traced = trace(module)
    dtype = "int64" if name == "words" else "float32"
    spec = InputSpec(tuple(inputs.shape[1:]), dtype, 20 if name == "words" else None)
    built = build(traced.network, {"input": spec})
    state = traced.rename(module.state_dict())
    return onnx_export.export(built.resolved, state, name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_file_becomes_layers_that_compute_the_same(db: Connection, name: str) -> None:
    db.execute("SELECT")
    delc.client.register(db)
    module, inputs = example(name)
    assert value(db, CALL, written(name)) == "m@1"
    with torch.inference_mode():
        outputs = delc.client.pull(db, "m", tensors="module")(inputs)
    expected = logits(name, module, inputs)
    assert torch.allclose(outputs.log_softmax(1), expected.log_softmax(1), atol=TOLERANCE)
    found, state = delc.client.pull(db, "m"), module.state_dict()
    assert all(np.array_equal(found[each], state[each].numpy()) for each in found)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_version_becomes_a_file_that_onnx_runs(db: Connection, name: str) -> None:
    db.execute("SELECT")
    delc.client.register(db)
    module, inputs = example(name)
    kind = {"words": {"features": {"input": {"kind": "tokens", "shape": [5], "size": 20}}}}
    delc.client.push(db, "m", module, labels=["a", "b", "c"],
                     **kind.get(name, {"input_shape": inputs.shape[1:]}))  # type: ignore[arg-type]  # fmt: skip
    file = value(db, "SELECT delc.export_onnx('m')")
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    (outputs,) = ReferenceEvaluator(onnx.load_from_string(file)).run(None, {"input": inputs.numpy()})
    expected = logits(name, module, inputs)
    assert np.allclose(torch.from_numpy(outputs).log_softmax(1), expected.log_softmax(1), atol=TOLERANCE)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.filterwarnings("ignore")
def test_files_of_torchs_own_exporter_compute_the_same(name: str) -> None:
    module, inputs = example(name)
    file = io.BytesIO()
    torch.onnx.export(module, (inputs,), file, dynamo=False, opset_version=17, input_names=["x"],
                      dynamic_axes={"x": {0: "rows"}})  # fmt: skip
    assembly = onnx_import.read(memoryview(file.getvalue()), lambda size, what: None)
    built = restore(assembly.network(), assembly.inputs, assembly.state)
    with torch.inference_mode():
        assert torch.allclose(built.module(inputs), module(inputs), atol=TOLERANCE)


VARIANTS: dict[str, list[dict[str, object]]] = {
    **{kind: [{"hidden_size": 3, "bidirectional": both, "num_layers": layers, "output": output, "bias": biased}
              for both, layers, output, biased in product((False, True), (1, 3), ("sequence", "last"), (True, False))]
       for kind in ("rnn", "gru", "lstm")},
    "multihead_attention": [{"num_heads": heads, "causal": causal, "bias": causal}
                            for heads, causal in product((1, 2, 8), (False, True))],
    "transformer_encoder_layer": [{"nhead": 2, "activation": name, "norm_first": first, "causal": first, "bias": biased}
                                  for name, first, biased in product(("relu", "gelu"), (False, True), (False, True))],
    "positional_encoding": [{"method": "sinusoidal"}, {"method": "learned", "max_length": 20}],
    "normalize": [{"p": p} for p in (1, 2)],
    "local_response_norm": [{"size": size, "alpha": 0.1, "k": 2.0} for size in (2, 3, 4)],
}  # fmt: skip
"""Arguments of the kinds that are written as many operators, beside those of their example."""

PADDED: list[tuple[str, dict[str, object]]] = [
    *((kind, {"hidden_size": 3, "bidirectional": both, "num_layers": layers, "output": output})
      for kind, both, layers, output in product(("rnn", "gru", "lstm"), (False, True), (1, 2), ("sequence", "last"))),
    ("multihead_attention", {"num_heads": 2}),
    ("multihead_attention", {"num_heads": 2, "causal": True}),
    ("transformer_encoder_layer", {"nhead": 2, "dim_feedforward": 6}),
    ("transformer_encoder_layer", {"nhead": 2, "dim_feedforward": 6, "norm_first": True, "causal": True}),
    ("masked_mean", {}),
]  # fmt: skip


def one_layer(kind: str, arguments: Mapping[str, object], specs: Sequence[InputSpec]) -> BuiltNetwork:
    inputs = {f"in{place}": spec for place, spec in enumerate(specs)}
    torch.manual_seed(1)
    built = build(
        Network.parse([{"name": "layer", "kind": kind, "inputs": list(inputs), "arguments": arguments}]), inputs
    )
    with torch.no_grad():
        for parameter in built.module.parameters():
            parameter.normal_(0, 0.5)
    built.module.eval()
    return built


def check_written(built: BuiltNetwork, tensors: Mapping[str, torch.Tensor]) -> None:
    """That ONNX Runtime gives what the network gives, and that the file read again does."""
    with torch.inference_mode():
        expected = built.module(tensors)
    file = onnx_export.export(built.resolved, built.module.state_dict(), "it")
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    feeds = {name: tensor.numpy() for name, tensor in tensors.items()}
    (found,) = InferenceSession(file).run(None, feeds)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=TOLERANCE)
    assembly = onnx_import.read(memoryview(file), lambda size, what: None)
    again = restore(assembly.network(), assembly.inputs, assembly.state)
    again.module.eval()
    with torch.inference_mode():
        torch.testing.assert_close(again.module(tensors), expected, rtol=1e-4, atol=TOLERANCE)


FLOATING = [name for name, kind in KINDS.items() if all(value.dtype == "float32" for value in kind.example.inputs)]


@pytest.mark.parametrize("kind", FLOATING)
def test_every_kind_goes_out_and_in_and_computes_the_same(kind: str) -> None:
    shown = KINDS[kind].example
    for arguments in ({}, *VARIANTS.get(kind, [])):
        built = one_layer(kind, {**shown.arguments, **arguments}, [InputSpec(value.shape) for value in shown.inputs])
        check_written(built, {name: torch.randn(3, *spec.shape) for name, spec in built.resolved.inputs.items()})


@pytest.mark.parametrize(("kind", "arguments"), PADDED)
def test_sequences_with_padding_go_out_and_in(kind: str, arguments: dict[str, object]) -> None:
    arguments = {"padding_index": 0, **arguments}
    built = one_layer(kind, arguments, [InputSpec((5, 8)), InputSpec((5,), "int64", 4)])
    tokens = torch.tensor([[1, 2, 3, 1, 2], [1, 2, 0, 0, 0], [0, 0, 0, 0, 0], [3, 0, 2, 0, 0]])
    check_written(built, {"in0": torch.randn(4, 5, 8), "in1": tokens})


def test_attention_between_sequences_goes_out_and_in() -> None:
    for specs in ([(5, 8), (7, 6)], [(5, 8), (7, 6), (7, 4)]):
        built = one_layer("multihead_attention", {"num_heads": 2}, [InputSpec(shape) for shape in specs])
        check_written(built, {f"in{at}": torch.randn(3, *shape) for at, shape in enumerate(specs)})


def test_what_onnx_cannot_say_is_named() -> None:
    built = one_layer("adaptive_avg_pool1d", {"output_size": 2}, [InputSpec((4, 5))])
    with pytest.raises(Exception, match=r'"layer" \(adaptive_avg_pool1d\) cannot be written as ONNX'):
        onnx_export.export(built.resolved, {}, "m")


def linear_with(**changes: object) -> onnx.ModelProto:
    make = onnx.helper
    weight = onnx.numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    bias = onnx.numpy_helper.from_array(np.ones(3, np.float32), "b")
    nodes = [make.make_node("MatMul", ["x", "w"], ["h"]), make.make_node("Add", ["h", "b"], ["y"])]
    x = make.make_tensor_value_info("x", 1, ["n", 4])
    y = make.make_tensor_value_info("y", 1, ["n", 3])
    graph = make.make_graph(nodes, "g", [x], [y], [weight, bias])
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 18)])


def test_a_matmul_and_an_add_are_one_layer() -> None:
    assembly = onnx_import.read(memoryview(linear_with().SerializeToString()), lambda size, what: None)
    assert [layer.kind for layer in assembly.network()] == ["linear"]
    assert sorted(name.partition(".")[2] for name in assembly.state) == ["bias", "weight"]


def test_files_beside_the_file_are_never_read(db: Connection) -> None:
    model = linear_with()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    assert "lies in another file, which is never read" in message(failure(db, CALL, model.SerializeToString()))


def test_an_operator_without_a_kind_is_named(db: Connection) -> None:
    model = linear_with()
    model.graph.node[0].op_type = "Loop"
    assert "the operator Loop" in message(failure(db, CALL, model.SerializeToString()))


@pytest.mark.parametrize("file", [b"", b"\x00\x01\x02", b"PK\x03\x04"])
def test_what_is_no_onnx_file_is_refused(db: Connection, file: bytes) -> None:
    error = failure(db, CALL, file)
    assert error.sqlstate == "22000"
    assert "not an ONNX file" in message(error)


def test_a_tensor_that_claims_to_be_huge_is_refused(db: Connection) -> None:
    model = linear_with()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**30, 2**5])
    assert failure(db, CALL, model.SerializeToString()).sqlstate == "54000"
