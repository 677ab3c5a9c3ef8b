"""ONNX files go in as layers and come out, and compute the same in both places."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
import torch
from exchange.examples import EXAMPLES, example, logits
from onnx.reference import ReferenceEvaluator

import delc.client
from delc.exchange import onnx_export, onnx_import
from delc.networks import KINDS, InputSpec, Network, build, restore
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


KINDS_TO_CHECK = [name for name in onnx_export.CONVERTERS if name not in ("embedding",)]


@pytest.mark.parametrize("kind", KINDS_TO_CHECK)
def test_every_kind_that_is_written_computes_what_torch_does(kind: str) -> None:
    shown = KINDS[kind].example
    inputs = {f"in{place}": InputSpec(value.shape) for place, value in enumerate(shown.inputs)}
    layer = {"name": "layer", "kind": kind, "inputs": list(inputs), "arguments": dict(shown.arguments)}
    built = build(Network.parse([layer]), inputs)
    built.module.eval()
    torch.manual_seed(1)
    tensors = {name: torch.randn(3, *spec.shape) for name, spec in inputs.items()}
    with torch.inference_mode():
        expected = built.module(tensors).numpy()
    file = onnx_export.export(built.resolved, built.module.state_dict(), kind)
    feeds = {name: tensor.numpy() for name, tensor in tensors.items()}
    (found,) = ReferenceEvaluator(onnx.load_from_string(file)).run(None, feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


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


def test_a_kind_without_an_operator_is_named(db: Connection) -> None:
    built = build(Network.parse([{"kind": "gru", "hidden_size": 4, "output": "last"}]), {"input": InputSpec((5, 3))})
    with pytest.raises(Exception, match=r"\(gru\) cannot be written as ONNX"):
        onnx_export.export(built.resolved, {}, "m")
