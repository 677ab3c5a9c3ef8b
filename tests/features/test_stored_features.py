import copy
import json
import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch

from delc.features import FittedFeatures
from delc.server.errors import DelcError, InvalidData
from support.features import encode, fit

TYPES = {
    "age": "integer",
    "member": "boolean",
    "city": "text",
    "street": "text",
    "seen": "timestamp without time zone",
    "pixels": "real[]",
    "picture": "bytea",
    "note": "text",
    "ids": "integer[]",
}
OPTIONS: dict[str, Any] = {
    "age": {"missing": "mean"},
    "city": {"missing": "most_frequent"},
    "street": {"encoding": "embedding", "dimensions": 2, "missing": "category"},
    "pixels": {"missing": "mean"},
    "picture": {"shape": [1, 1, 2]},
    "note": {"kind": "text"},
    "ids": {"kind": "tokens"},
}
ROWS: list[dict[str, Any]] = [
    {
        "age": None if i == 2 else i / 3,
        "member": i % 2 == 0,
        "city": ['O"Hara', "Köln", "日本"][i % 3],
        "street": None if i == 4 else f"s{i % 4}",
        "seen": f"2024-02-{i + 1:02} 01:02:03.456789",
        "pixels": [i * 0.1, 1e-30 * i, 1e30],
        "picture": bytes([i, 255 - i]),
        "note": f"note {i}, the same word",
        "ids": [i, 1],
    }
    for i in range(20)
]


def stored() -> Any:
    return json.loads(json.dumps(fit(TYPES, ROWS, OPTIONS).to_json(), allow_nan=False))


def test_features_go_through_json_unchanged() -> None:
    document = stored()
    assert FittedFeatures.from_json(document).to_json() == document


def test_features_read_back_encode_to_the_same_bits() -> None:
    before = encode(fit(TYPES, ROWS, OPTIONS), TYPES, ROWS)
    after = encode(FittedFeatures.from_json(stored()), TYPES, ROWS)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name])


def test_the_document_has_a_version() -> None:
    assert stored()["version"] == 1


def test_there_is_no_negative_zero_which_jsonb_does_not_know() -> None:
    document = fit({"x": "real"}, [{"x": -0.0}]).to_json()
    assert math.copysign(1, document["columns"][0]["fitted"]["center"]) == 1


def test_whole_numbers_are_read_where_jsonb_wrote_floats_that_way() -> None:
    document = fit({"x": "double precision"}, [{"x": 1e22}]).to_json()
    document["columns"][0]["fitted"]["center"] = 10**22
    assert FittedFeatures.from_json(document).to_json()["columns"][0]["fitted"]["center"] == 1e22


def test_fitted_features_cannot_be_changed() -> None:
    fitted = fit({"x": "real[]"}, [{"x": [1, 2]}])
    with pytest.raises(FrozenInstanceError):
        fitted.columns = ()  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        fitted.columns[0].center[0] = 3  # type: ignore[union-attr, index]


def test_feature_names_match_the_inputs_widths() -> None:
    fitted = fit(TYPES, ROWS, OPTIONS)
    names = fitted.feature_names()
    assert {name: len(each) for name, each in names.items()} == {
        name: math.prod(spec.shape) if name != "street" else 6 for name, spec in fitted.input_specs().items()
    }


def column_of(document: Any, name: str) -> Any:
    return next(column for column in document["columns"] if column["name"] == name)


def change(path: list[Any], value: Any) -> Any:
    """A document in which the value at a path (beginning with a column's name) was replaced."""
    document = copy.deepcopy(stored())
    place = column_of(document, path[0])
    for step in path[1:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["age", "kind"], "number"),
        (["age", "kind"], ["numeric"]),
        (["age", "kind"], "text"),
        (["age", "name"], 5),
        (["age", "name"], "city"),
        (["age", "settings"], None),
        (["age", "settings", "standardize"], "mean"),
        (["age", "settings", "secret"], 1),
        (["age", "fitted", "center"], None),
        (["age", "fitted", "center"], "0"),
        (["age", "fitted", "center"], True),
        (["age", "fitted", "center"], math.nan),
        (["age", "fitted", "center"], math.inf),
        (["age", "fitted", "center"], 10**400),
        (["age", "fitted", "scale"], 0),
        (["age", "fitted", "scale"], -1.0),
        (["age", "fitted", "extra"], 1),
        (["city", "fitted", "vocabulary"], ["a", 1]),
        (["city", "fitted", "vocabulary"], ["a", "a"]),
        (["city", "fitted", "vocabulary"], "abc"),
        (["city", "fitted", "fill"], "never seen"),
        (["city", "fitted", "fill"], None),
        (["city", "fitted", "unknown"], 1),
        (["street", "fitted", "unknown"], False),
        (["seen", "fitted", "parts"], ["century"]),
        (["seen", "fitted", "parts"], []),
        (["seen", "fitted", "center"], []),
        (["pixels", "fitted", "shape"], [4]),
        (["pixels", "fitted", "shape"], [0]),
        (["pixels", "fitted", "shape"], [3.0]),
        (["pixels", "fitted", "shape"], []),
        (["pixels", "fitted", "center"], [1, 2]),
        (["pixels", "fitted", "scale"], [1, 2, 0]),
        (["pixels", "fitted", "scale"], [1]),
        (["pixels", "fitted", "fill"], [1, 2]),
        (["note", "fitted", "length"], 0),
        (["note", "fitted", "length"], 10**9),
        (["ids", "fitted", "size"], -1),
        (["ids", "fitted", "size"], 1.5),
    ],
)
def test_a_document_that_was_tampered_with_is_refused(path: list[Any], value: Any) -> None:
    with pytest.raises(DelcError):
        FittedFeatures.from_json(change(path, value))


@pytest.mark.parametrize(
    "document",
    [None, [], "features", {}, {"version": 1}, {"version": 2, "columns": []}, {"version": 1, "columns": []}]
    + [{"version": 1, "columns": [3]}, {"version": 1, "columns": {}, "more": 1}],
)
def test_something_else_than_a_document_is_refused(document: Any) -> None:
    with pytest.raises(InvalidData, match="the stored feature"):
        FittedFeatures.from_json(document)


def test_a_missing_key_is_named() -> None:
    document = stored()
    del document["columns"][0]["fitted"]["scale"]
    with pytest.raises(InvalidData, match='lacks the key "scale"'):
        FittedFeatures.from_json(document)
