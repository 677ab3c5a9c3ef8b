"""All functions that import take the same arguments, which are said once, in `Description`."""

from __future__ import annotations

from dataclasses import fields

import pytest

from delc.exchange.interface import Description
from support.cluster import Connection
from support.workplace import value

ARGUMENTS = [field.name for field in fields(Description)]


@pytest.mark.parametrize(
    ("function", "own", "told"),
    [
        ("import_state_dict", ["model", "weights"], ARGUMENTS),
        ("import_parameters", ["model", "query"], ARGUMENTS),
        ("finish_import", ["snapshot", "model"], ARGUMENTS),
        ("import_program", ["model", "program"], ARGUMENTS[1:]),
        ("import_onnx", ["model", "file"], ARGUMENTS[1:]),
    ],
)
def test_the_sql_functions_take_what_a_description_says(
    db: Connection, function: str, own: list[str], told: list[str]
) -> None:
    found = value(
        db, "SELECT proargnames FROM pg_proc WHERE pronamespace = 'delc'::regnamespace AND proname = %s", function
    )
    assert found == own + told


def test_a_description_is_read_in_the_order_of_its_fields() -> None:
    told = Description.told("mlp", [4], ["a"], None, '{"x": "numeric"}', None, None, "m@1", "why")
    assert (told.network, told.input_shape, told.labels, told.features) == ("mlp", [4], ["a"], {"x": "numeric"})
    assert (told.based_on, told.message) == ("m@1", "why")
    assert set(told.arguments()) == {"network", "input_shape", "labels", "features", "based_on", "message"}


def test_a_file_with_a_network_leaves_that_out() -> None:
    told = Description.told([4], None, None, None, None, None, None, None, has_network=True)
    assert told == Description(input_shape=[4])
