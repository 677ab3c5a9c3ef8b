"""Programs of torch.export go in as layers, and versions come out as programs."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from exchange.examples import EXAMPLES, example, logits
from torch import nn

import delc.client
from support.cluster import Connection
from support.workplace import failure, message, value

TOLERANCE = 1e-6
CALL = "SELECT delc.import_program('m', %s, labels => '{a,b,c}')"


def program(module: nn.Module, inputs: torch.Tensor) -> bytes:
    file = io.BytesIO()
    rows = torch.export.Dim("rows")
    torch.export.save(torch.export.export(module, (inputs,), dynamic_shapes=({0: rows},)), file)
    return file.getvalue()


def changed(file: bytes, name: str, content: bytes) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as old, zipfile.ZipFile(result, "w") as new:
        for member in old.namelist():
            new.writestr(member, content if member.endswith(name) else old.read(member))
    return result.getvalue()


def member(file: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return archive.read(next(each for each in archive.namelist() if each.endswith(name)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_program_becomes_layers_with_its_parameters(db: Connection, name: str) -> None:
    db.execute("SELECT")
    delc.client.register(db)
    module, inputs = example(name)
    db.execute(CALL, [program(module, inputs)])
    found = delc.client.pull(db, "m", tensors="torch")
    state = module.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[each], state[each]) for each in state)
    with torch.inference_mode():
        outputs = delc.client.pull(db, "m", tensors="module")(inputs)
    expected = logits(name, module, inputs)
    assert torch.allclose(outputs.log_softmax(1), expected.log_softmax(1), atol=TOLERANCE)
    predicted = [delc.client.predict(db, "m", row.int() if name == "words" else row) for row in inputs]
    assert predicted == ["abc"[code] for code in expected.argmax(1).tolist()]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_version_becomes_a_program_that_torch_runs(db: Connection, name: str) -> None:
    db.execute("SELECT")
    delc.client.register(db)
    module, inputs = example(name)
    db.execute(CALL, [program(module, inputs)])
    exported = torch.export.load(io.BytesIO(value(db, "SELECT delc.export_program('m')")))
    expected = logits(name, module, inputs)
    with torch.inference_mode():
        assert torch.allclose(exported.module()(inputs).log_softmax(1), expected.log_softmax(1), atol=TOLERANCE)
    state = exported.state_dict
    pulled = delc.client.pull(db, "m")
    assert {each.replace("-", ".") for each in state} == pulled.keys()
    assert all(np.array_equal(tensor.numpy(), pulled[each.replace("-", ".")]) for each, tensor in state.items())


def test_an_operation_without_a_kind_is_named(db: Connection) -> None:
    class Sorted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sort(x)[0]

    file = program(Sorted(), torch.randn(2, 3))
    assert "does what the file does: the operation sort" in message(failure(db, CALL, file))


def test_pickled_parameters_are_refused(db: Connection) -> None:
    module, inputs = example("mlp")
    file = program(module, inputs)
    config = json.loads(member(file, "model_weights_config.json"))
    next(iter(config["config"].values()))["use_pickle"] = True
    error = message(failure(db, CALL, changed(file, "model_weights_config.json", json.dumps(config).encode())))
    assert "pickled objects are never loaded" in error


def test_pickled_sample_inputs_are_not_looked_at(db: Connection) -> None:
    module, inputs = example("mlp")
    file = changed(program(module, inputs), "sample_inputs/model.pt", b"cos\nsystem\n(S'false'\ntR.")
    assert value(db, CALL, file) == "m@1"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("models/model.json", b"{", "is not JSON"),
        ("models/model.json", b'{"graph_module": {"graph": 3, "signature": 4}}', "not as torch.export writes it"),
        ("weight_0", b"abc", "has 3 bytes"),
        ("model_weights_config.json", b'{"config": {}}', "not as torch.export writes it"),
    ],
)
def test_a_damaged_program_is_an_error(db: Connection, name: str, content: bytes, said: str) -> None:
    module, inputs = example("mlp")
    error = failure(db, CALL, changed(program(module, inputs), name, content))
    assert error.sqlstate == "22000"
    assert said in message(error)


@pytest.mark.parametrize("file", [b"", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_what_is_no_program_is_refused(db: Connection, file: bytes) -> None:
    assert "not a program that torch.export.save wrote" in message(failure(db, CALL, file))


def test_a_file_of_parameters_is_sent_to_the_other_function(db: Connection) -> None:
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(1)}, file)
    error = message(failure(db, CALL, file.getvalue()))
    assert "torch.save wrote this file" in error
    assert "delc.import_state_dict()" in error


def test_a_state_dict_function_says_where_programs_go(db: Connection) -> None:
    module, inputs = example("mlp")
    error = message(failure(db, "SELECT delc.import_state_dict('m', %s)", program(module, inputs)))
    assert "Use delc.import_program()" in error
