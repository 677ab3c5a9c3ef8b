"""Files of parameters go in and come out, and become models that predict."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from support.cluster import Connection
from support.examples import FLOWERS, dataset, train
from support.workplace import failure, message, row, rows, value

LAYERS = json.dumps(
    [
        {"name": "0", "kind": "linear", "out_features": 8},
        {"name": "1", "kind": "relu"},
        {"name": "2", "kind": "linear", "out_features": 3},
    ]
)
CALL = "SELECT delc.import_state_dict('m', %s, network => %s, input_shape => '{4}', labels => '{a,b,c}')"


@pytest.fixture
def module() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def saved(state: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def exported(db: Connection, model: str = "m") -> dict[str, torch.Tensor]:
    return safetensors.torch.load(value(db, "SELECT delc.export_safetensors(%s)", model))


def bits(state: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in state.items()}


def test_a_safetensors_file_comes_out_bit_for_bit(db: Connection, module: nn.Sequential) -> None:
    state = module.state_dict()
    state["0.weight"].view(torch.int32)[0, :3] = torch.tensor([0x7FC00001, -(2**31), 1])  # a NaN, -0, a denormal
    assert value(db, CALL, safetensors.torch.save(state), LAYERS) == "m@1"
    assert bits(exported(db)) == bits(state)


def test_a_file_of_torch_comes_out_bit_for_bit(db: Connection, module: nn.Sequential) -> None:
    db.execute(CALL, [saved({"epoch": 3, "model_state_dict": module.state_dict()}), LAYERS])
    assert bits(exported(db)) == bits(module.state_dict())


def test_predictions_are_those_of_the_module(db: Connection, module: nn.Sequential) -> None:
    db.execute(CALL, [safetensors.torch.save(module.state_dict()), LAYERS])
    inputs = torch.randn(30, 4)
    expected = torch.softmax(module(inputs), 1).tolist()
    db.execute("CREATE TEMP TABLE t (id integer, x real[])")
    db.cursor().executemany("INSERT INTO t VALUES (%s, %s)", list(enumerate(inputs.tolist())))
    found = rows(db, "SELECT key::int, label, probability FROM delc.predict_rows('m', 'SELECT * FROM t', top => 3)")
    assert len(found) == 90
    for key, label, probability in found:
        assert probability == pytest.approx(expected[key]["abc".index(label)], abs=1e-6)


def test_half_precision_is_kept(db: Connection, module: nn.Sequential) -> None:
    state = {name: tensor.bfloat16() for name, tensor in module.state_dict().items()}
    db.execute(CALL, [safetensors.torch.save(state), LAYERS])
    found = exported(db)
    assert all(found[name].dtype is torch.bfloat16 and torch.equal(found[name], state[name]) for name in state)
    assert value(db, "SELECT delc.predict('m', ARRAY[1,2,3,4])") in "abc"


def test_a_trained_model_goes_into_another_database_in_one_file(db: Connection) -> None:
    for statement in (FLOWERS, dataset("flowers", "flowers", "species"), train("flowers", "flowers")):
        db.execute(statement)
    db.execute("SELECT delc.import_state_dict('copy', delc.export_safetensors('flowers'))")
    differing = "SELECT count(*) FROM flowers AS f WHERE delc.predict('flowers', f) <> delc.predict('copy', f)"
    assert value(db, differing) == 0
    found = row(db, "SELECT value FROM delc.evaluate('copy', 'flowers', 'test') WHERE metric = 'accuracy'")
    assert found == row(db, "SELECT value FROM delc.evaluate('flowers', 'flowers', 'test') WHERE metric = 'accuracy'")


def test_columns_are_read_by_name_and_numbers_are_given(db: Connection) -> None:
    state = safetensors.torch.save({"fc.weight": torch.tensor([[1.0, 10.0]]), "fc.bias": torch.tensor([0.5])})
    network = '[{"name": "fc", "kind": "linear"}]'
    call = "SELECT delc.import_state_dict('line', %s, network => %s, columns => '{x,y}', labels => '{z}', task => %s)"
    db.execute(call, [state, network, "regression"])
    assert value(db, "SELECT delc.predict_value('line', r) FROM (SELECT 2 AS y, 1 AS x) AS r") == 21.5
    query = "SELECT 1.0::float8 AS x, 2.0::float8 AS y, 20.5::float8 AS z UNION ALL SELECT 0, 1, 10.5"
    assert value(db, "SELECT value FROM delc.evaluate('line', %s) WHERE metric = 'mae'", query) == 0.5


def test_tokens_and_scaled_images_are_described_as_features(db: Connection) -> None:
    state = safetensors.torch.save({"e.weight": torch.arange(10.0).reshape(5, 2), "o.weight": torch.ones(2, 8),
                                    "o.bias": torch.zeros(2)})  # fmt: skip
    network = json.dumps([{"kind": "embedding", "name": "e", "embedding_dim": 2, "inputs": ["words"]},
                          {"kind": "flatten"}, {"kind": "linear", "name": "o"}])  # fmt: skip
    features = '{"words": {"kind": "tokens", "shape": [4], "size": 5}}'
    call = "SELECT delc.import_state_dict('t', %s, network => %s, features => %s::jsonb, labels => '{p,q}')"
    db.execute(call, [state, network, features])
    assert value(db, "SELECT delc.predict('t', r) FROM (SELECT ARRAY[0,1,2,3] AS words) AS r") == "p"


RUN = "SELECT operation, subject, arguments FROM delc.runs WHERE outcome = 'succeeded'"


def test_a_run_is_logged_without_the_file(db: Connection, module: nn.Sequential) -> None:
    db.execute(CALL, [safetensors.torch.save(module.state_dict()), LAYERS])
    operation, subject, arguments = row(db, RUN)
    assert (operation, subject) == ("import_state_dict", "m")
    assert set(arguments) == {"model", "network", "input_shape", "labels"}


def test_a_pickle_file_is_refused(db: Connection) -> None:
    import pickle

    error = message(failure(db, CALL, pickle.dumps({"weight": 1}), LAYERS))
    assert "it is a pickle file" in error
    assert "safetensors.torch.save_file(model.state_dict()" in error


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run by the file",)


def test_a_file_with_objects_is_refused_and_runs_nothing(db: Connection, module: nn.Sequential) -> None:
    for content in ({"a": Evil()}, module):
        error = failure(db, CALL, saved(content), LAYERS)
        assert error.sqlstate == "22000"
        assert "can run any code" in message(error)
        assert ("It names print" if content is not module else "It names torch.nn") in message(error)
        assert "weights_only" not in message(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (saved({}), "it holds no tensors"),
        (saved([torch.zeros(1)]), "an object of type list"),
        (saved({"epoch": 3, "net": {}}), "the entry 'epoch' of the file is of type int"),
    ],
)
def test_what_holds_other_things_than_tensors_is_refused_by_name(db: Connection, content: bytes, said: str) -> None:
    assert said in message(failure(db, CALL, content, LAYERS))


def test_a_compressed_archive_is_refused(db: Connection) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    assert "compressed" in message(failure(db, CALL, file.getvalue(), LAYERS))


def test_a_tensor_larger_than_the_memory_limit_is_refused(db: Connection) -> None:
    state = {"0.weight": torch.zeros(1).expand(10**10)}
    assert failure(db, CALL, saved(state), LAYERS).sqlstate == "54000"


def test_a_network_that_the_parameters_do_not_fit_is_an_error(db: Connection, module: nn.Sequential) -> None:
    file = safetensors.torch.save(module.state_dict())
    wider = LAYERS.replace("8", "9")
    assert "The network expects (9" in message(failure(db, CALL, file, wider))
    longer = LAYERS.replace("]", ', {"name": "3", "kind": "linear", "out_features": 3}]')
    assert "parameters of the network are missing: 3.weight, 3.bias" in message(failure(db, CALL, file, longer))


def test_nothing_is_left_of_an_import_that_failed(db: Connection) -> None:
    failure(db, CALL, safetensors.torch.save({"0.weight": torch.zeros(8, 4)}), LAYERS)
    assert row(db, "SELECT (SELECT count(*) FROM delc.models), (SELECT count(*) FROM delc.parameters)") == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("network => '[\"linear\"]'", "nothing says what the model reads"),
        ("input_shape => '{4}'", "nothing says what network"),
        ("network => '[\"linear\"]', input_shape => '{0}'", "is not that of a row"),
        ("network => '[\"linear\"]', input_shape => '{4}', labels => '{a,a}'", "a label twice"),
        ("network => '[\"linear\"]', input_shape => '{4}', labels => '{a,b}', task => 'clasification'",
         'Did you mean "classification"?'),
        ("network => '[\"linear\"]', columns => '{a,a}', labels => '{a,b}'", "a column is named twice"),
        ("network => '[\"linear\"]', features => '{\"a\": {\"kind\": \"aray\"}}'", 'Did you mean "array"?'),
        ("based_on => 'nothing'", 'unknown model "nothing"'),
    ],
)  # fmt: skip
def test_what_is_not_said_or_said_wrong_is_an_error(
    db: Connection, module: nn.Sequential, arguments: str, said: str
) -> None:
    file = safetensors.torch.save(module.state_dict())
    assert said in message(failure(db, f"SELECT delc.import_state_dict('m', %s, {arguments})", file))
