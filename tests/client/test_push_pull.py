"""Weights go in and come out bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import delc.client
from support.cluster import Connection
from support.workplace import failure, message, row, value

LAYERS = [
    {"name": "fc1", "kind": "linear", "out_features": 8},
    {"kind": "relu"},
    {"name": "fc2", "kind": "linear", "out_features": 3},
]


def two_layers(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    names = {"0": "fc1", "2": "fc2"}
    return {f"{names[name[0]]}{name[1:]}": tensor for name, tensor in two_layers(seed).state_dict().items()}


def same_bits(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(
        np.asarray(left[name]).tobytes() == np.asarray(right[name]).tobytes() for name in left
    )


def test_a_state_dict_comes_back_bit_for_bit(cdb: Connection) -> None:
    pushed = state()
    pushed["fc1.weight"][0, 0], pushed["fc1.weight"][0, 1] = float("nan"), -0.0
    name = delc.client.push(cdb, "m", pushed, network=LAYERS, input_shape=[4], labels=["a", "b", "c"])
    assert name == "m@1"
    assert same_bits(delc.client.pull(cdb, "m"), pushed)


def test_a_module_is_traced_and_predicts_what_it_computes(cdb: Connection) -> None:
    module = two_layers()
    delc.client.push(cdb, "m", module, input_shape=[4], labels=["a", "b", "c"])
    inputs = torch.randn(20, 4)
    expected = ["abc"[code] for code in module(inputs).argmax(1).tolist()]
    assert [delc.client.predict(cdb, "m", each) for each in inputs] == expected


def test_a_module_comes_back_as_a_module(cdb: Connection) -> None:
    module = two_layers()
    delc.client.push(cdb, "m", module, input_shape=[4], labels=["a", "b", "c"])
    inputs = torch.randn(5, 4)
    with torch.inference_mode():
        assert torch.equal(delc.client.pull(cdb, "m", tensors="module")(inputs), module(inputs))


def test_pulled_tensors_load_into_the_module_that_was_pushed(cdb: Connection) -> None:
    module = two_layers()
    delc.client.push(cdb, "m", module, input_shape=[4])
    other = two_layers(1)
    other.load_state_dict(delc.client.pull(cdb, "m", tensors="torch"))
    assert same_bits(other.state_dict(), module.state_dict())


def test_a_second_push_needs_the_parameters_alone(cdb: Connection) -> None:
    delc.client.push(cdb, "m", state(), network=LAYERS, input_shape=[4], labels=["a", "b", "c"])
    assert delc.client.push(cdb, "m", state(1), message="tuned") == "m@2"
    assert same_bits(delc.client.pull(cdb, "m@2"), state(1))
    assert same_bits(delc.client.pull(cdb, "m@1"), state())
    parents = "SELECT relation, message FROM delc.model_version_parents"
    assert row(cdb, parents) == ("imported", "tuned")


def test_a_push_is_a_run_in_the_log(cdb: Connection) -> None:
    delc.client.push(cdb, "m", state(), network=LAYERS, input_shape=[4])
    assert value(cdb, "SELECT result FROM delc.lineage WHERE operation = 'import_parameters'") == "m@1"


def test_large_parameters_travel_in_chunks(cdb: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delc.client.pushing.CHUNK_BYTES", 40)
    delc.client.push(cdb, "m", state(), network=LAYERS, input_shape=[4])
    chunks = "SELECT count(*), max(chunk) FROM delc.export_parameters('m') WHERE name = 'fc1.weight'"
    assert row(cdb, chunks) == (4, 3)
    assert same_bits(delc.client.pull(cdb, "m"), state())


def test_a_parameter_of_another_name_is_named_with_the_nearest(cdb: Connection) -> None:
    wrong = state()
    wrong["fc3.weight"] = wrong.pop("fc2.weight")
    with pytest.raises(Exception, match=r'"fc3\.weight" is not in the network') as caught, cdb.transaction():
        delc.client.push(cdb, "m", wrong, network=LAYERS, input_shape=[4])
    assert 'Is it "fc' in str(caught.value.diag.message_hint)  # type: ignore[attr-defined]


def test_a_missing_chunk_is_an_error(cdb: Connection) -> None:
    cdb.execute("CREATE TEMP TABLE p (name text, chunk integer, shape bigint[], value delc.tensor)")
    cdb.execute("INSERT INTO p VALUES ('fc.weight', 0, '{1,4}', '{1,2}'), ('fc.bias', 0, '{1}', '{0}')")
    query = "SELECT * FROM p"
    network = '[{"name": "fc", "kind": "linear", "out_features": 1}]'
    call = "SELECT delc.import_parameters('m', %s, network => %s, input_shape => '{4}')"
    assert '"fc.weight" has 2 of its 4 numbers' in message(failure(cdb, call, query, network))


def test_parameters_are_not_for_those_who_only_predict(connect_as: Any, new_role: Any) -> None:
    user = connect_as(new_role("delc_user"))
    with pytest.raises(Exception, match="permission denied"):
        user.execute("SELECT * FROM delc.export_parameters('m')")


def test_parameters_of_a_version_cannot_be_added_by_those_who_may_push(connect_as: Any, new_role: Any) -> None:
    trainer = connect_as(new_role("delc_trainer"))
    delc.client.register(trainer)
    delc.client.push(trainer, "m", state(), network=LAYERS, input_shape=[4])
    insert = "INSERT INTO delc.parameters SELECT snapshot_id, 'more', 0, shape, true, value FROM delc.parameters"
    assert "takes no parameters" in message(failure(trainer, insert))


def test_an_import_that_is_not_finished_cannot_be_committed(fresh_db: Connection) -> None:
    error = failure(fresh_db, "SELECT delc.begin_import()")
    assert error.sqlstate == "23503"


def test_an_import_that_another_version_overtook_can_be_tried_again(cdb: Connection) -> None:
    delc.client.push(cdb, "m", state(), network=LAYERS, input_shape=[4])
    with cdb.transaction(force_rollback=True):
        snapshot = value(cdb, "SELECT delc.begin_import()")
        delc.client.push(cdb, "m", state(1))
        cdb.execute(
            "INSERT INTO delc.parameters SELECT %s::bigint, name, chunk, shape, learnable, value"
            " FROM delc.export_parameters('m')",
            [snapshot],
        )
        error = failure(cdb, f"SELECT delc.finish_import({snapshot}, 'm', based_on => 'm')")
    assert error.sqlstate == "40001"
    assert '"m@2" was made after this import began' in message(error)
