"""Who may bring models in and take parameters out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import delc.client
from support.cluster import Connection
from support.workplace import failure, message

LAYERS = [{"name": "fc", "kind": "linear", "out_features": 2}]
STATE = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}
Connect = Callable[..., Connection]


@pytest.mark.parametrize(
    "call",
    [
        "import_state_dict('m', '')", "import_program('m', '')", "import_onnx('m', '')", "import_parameters('m', '')",
        "begin_import()", "finish_import(1, 'm')", "export_safetensors('m')", "export_program('m')", "export_onnx('m')",
    ],
)  # fmt: skip
def test_those_who_only_predict_may_not(connect_as: Connect, new_role: Callable[..., str], call: str) -> None:
    user = connect_as(new_role("delc_user"))
    assert failure(user, f"SELECT delc.{call}").sqlstate == "42501"


def test_a_model_of_somebody_elses_takes_no_version(connect_as: Connect, new_role: Callable[..., str]) -> None:
    owner, other = (connect_as(new_role("delc_trainer")) for _ in range(2))
    delc.client.push(owner, "m", STATE, network=LAYERS, input_shape=[3])
    with pytest.raises(Exception, match='model "m" belongs to another role'):
        delc.client.push(other, "m", STATE)


def test_the_query_of_an_import_runs_as_its_caller(connect_as: Connect, new_role: Callable[..., str]) -> None:
    trainer = connect_as(new_role("delc_trainer"))
    query = "SELECT current_user::text AS name, delc.tensor(ARRAY[1.0]) AS value"
    call = "SELECT delc.import_parameters('m', %s, network => '[\"linear\"]', input_shape => '{1}', labels => '{y}')"
    assert f'parameter "{trainer.info.user}" is not in the network' in message(failure(trainer, call, query))


def test_an_import_of_somebody_elses_cannot_be_finished(fresh_db: Connection) -> None:
    values: list[Any] = [1, "m"]
    assert "1 is no open import" in message(failure(fresh_db, "SELECT delc.finish_import(%s, %s)", *values))
