import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from delc.features import Classification, Multilabel, Regression, plan_features, plan_target, target_from_json
from delc.server.errors import DatatypeMismatch, InvalidData, InvalidParameter, LimitExceeded
from support.features import column, columns, encode_target, fit_target
from support.rows import pack_rows

Y = "y"


def fit(type_name: str, values: Any, task: str = "auto") -> Classification | Multilabel | Regression:
    return fit_target({Y: type_name}, column(Y, values), task)


def encode(target: Classification | Multilabel | Regression, type_name: str, values: Any) -> torch.Tensor:
    return encode_target(target, {Y: type_name}, column(Y, values))


@pytest.mark.parametrize(
    ("type_name", "values", "task"),
    [
        ("text", ["a", "b"], "classification"),
        ("public.mood", ["sad", "happy"], "classification"),
        ("boolean", [True, False], "classification"),
        ("integer", range(50), "classification"),
        ("integer", range(51), "regression"),
        ("bigint", [0, 1, 1], "classification"),
        ("real", [0, 1], "regression"),
        ("numeric(10,2)", [0, 1], "regression"),
        ("interval", [1.0, 2.0], "regression"),
        ("boolean[]", [[True, False], [False, True]], "multilabel"),
        ("smallint[]", [[1, 0], [0, 1]], "multilabel"),
        ("real[]", [[1, 0.5], [0, 1]], "regression"),
        ("integer[]", [[1, 2], [0, 1]], "regression"),
        ("text[]", ["{a,b}", "{}"], "multilabel"),
    ],
)
def test_the_task_follows_from_type_and_values(type_name: str, values: Any, task: str) -> None:
    assert fit(type_name, values).task == task


@pytest.mark.parametrize(
    ("types", "rows", "task"),
    [
        ({"a": "boolean", "b": "boolean"}, [{"a": True, "b": False}], "multilabel"),
        ({"a": "integer", "b": "boolean"}, [{"a": 1, "b": False}, {"a": 0, "b": False}], "multilabel"),
        ({"a": "integer", "b": "integer"}, [{"a": 1, "b": 0}, {"a": 2, "b": 1}], "regression"),
        ({"a": "real", "b": "integer"}, [{"a": 1, "b": 0}, {"a": 0, "b": 1}], "regression"),
    ],
)
def test_the_task_of_several_columns(types: dict[str, str], rows: list[dict[str, Any]], task: str) -> None:
    assert fit_target(types, rows).task == task


@pytest.mark.parametrize(
    ("type_name", "values", "reason"),
    [
        ("text", ["a", "b"], "text is a text"),
        ("integer", [1, 2], "integer is an integer with 2 different values, at most 50"),
        ("integer", range(60), "integer is an integer with more than 50 different values"),
        ("real[]", [[0.0, 1.0]], "real[] is an array of numbers, and its values are all 0 and 1"),
        ("real[]", [[0.5, 1.0]], "real[] is an array of numbers, and its values are not only 0 and 1"),
    ],
)
def test_a_target_says_what_decided_its_task(type_name: str, values: Any, reason: str) -> None:
    assert fit(type_name, values).reason == reason


def test_the_task_can_be_given() -> None:
    assert fit("integer", [1, 2, 3], "regression").task == "regression"
    assert fit("integer", range(100), "classification").task == "classification"
    assert fit("real", [0.5, 1.5], "classification").task == "classification"
    assert fit("boolean[]", [[True, False]], "regression").task == "regression"
    assert fit("text", ["a", "b"], "classification").reason == "the task was given"


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidParameter, match='unknown task "clasification"') as caught:
        plan_target(columns({Y: "text"}), "clasification")
    assert caught.value.hint == 'Did you mean "classification"?'


@pytest.mark.parametrize(
    ("type_name", "task"),
    [
        ("text", "regression"),
        ("text", "multilabel"),
        ("real[]", "classification"),
        ("text[]", "regression"),
        ("date", "auto"),
        ("timestamp with time zone", "regression"),
        ("jsonb", "auto"),
        ("bytea", "classification"),
        ("boolean", "multilabel"),
    ],
)
def test_a_column_that_cannot_be_the_target_of_a_task_is_refused(type_name: str, task: str) -> None:
    message = re.escape(f'column "y" of type {type_name} cannot be a target')
    with pytest.raises(DatatypeMismatch, match=message) as caught:
        plan_target(columns({Y: type_name}), task)
    assert caught.value.hint


def test_a_date_as_target_comes_with_advice() -> None:
    with pytest.raises(DatatypeMismatch) as caught:
        plan_target(columns({Y: "date"}))
    assert "extract(epoch FROM y)" in (caught.value.hint or "")


def test_several_columns_of_texts_are_refused() -> None:
    with pytest.raises(DatatypeMismatch, match='column "b" of type text cannot be one of 2 target columns'):
        plan_target(columns({"a": "integer", "b": "text"}))


def test_several_columns_are_not_classified() -> None:
    with pytest.raises(InvalidParameter, match="classification has one target column, but 2 were named"):
        plan_target(columns({"a": "boolean", "b": "boolean"}), "classification")


def test_no_column_is_an_error() -> None:
    with pytest.raises(InvalidParameter, match="there is no target column"):
        plan_target([])


def test_labels_are_coded_in_sorted_order() -> None:
    target = fit("text", ["b", "a", "c", "a"])
    assert isinstance(target, Classification)
    assert (target.labels, target.counts, target.outputs) == (("a", "b", "c"), (2, 1, 1), 3)
    codes = encode(target, "text", ["c", "a"])
    assert codes.dtype == torch.int64
    assert codes.tolist() == [2, 0]
    assert target.label(2) == "c"


def test_whole_numbers_are_sorted_as_numbers() -> None:
    target = fit("integer", [10, 9, -1])
    assert target.labels == ("-1", "9", "10")
    assert encode(target, "smallint", [9, 10, -1]).tolist() == [1, 2, 0]


def test_large_whole_numbers_are_exact_labels() -> None:
    target = fit("bigint", [2**53, 2**53 + 1, -(2**63)])
    assert target.labels == (str(-(2**63)), str(2**53), str(2**53 + 1))
    assert encode(target, "bigint", [2**53 + 1, 2**53]).tolist() == [2, 1]


def test_booleans_are_false_and_true() -> None:
    target = fit("boolean", [True, False])
    assert target.labels == ("false", "true")
    assert encode(target, "boolean", [True, False]).tolist() == [1, 0]


def test_numbers_can_be_labels_by_their_text() -> None:
    target = fit("numeric(4,1)", ["10.0", "9.5"], "classification")
    assert target.labels == ("9.5", "10.0")


def test_a_label_that_training_did_not_see_is_minus_1() -> None:
    for type_name, train, test in (("text", ["a", "b"], ["z", "b"]), ("integer", [1, 2], [7, 2])):
        assert encode(fit(type_name, train), type_name, test).tolist() == [-1, 1]


def test_unseen_labels_are_counted() -> None:
    target = fit("integer", [1, 2])
    query = columns({"x": "real", Y: "integer"})
    layout = plan_features(query[:1]).layout_for(query, target=target)
    encoder = target.encoder(layout)
    encoder.encode(pack_rows(layout, [{"x": 0, Y: 5}, {"x": 0, Y: 1}, {"x": 0, Y: 9}]))
    assert encoder.unseen == 2


def test_labels_may_be_asked_for_by_text() -> None:
    assert encode(fit("integer", [1, 2]), "text", ["2", "1", "x"]).tolist() == [1, 0, -1]
    assert encode(fit("text", ["1", "2"]), "integer", [2, 1]).tolist() == [1, 0]
    assert encode(fit("boolean", [True, False]), "text", ["t", "true", "f"]).tolist() == [1, 1, 0]


def test_labels_of_another_sort_are_refused() -> None:
    with pytest.raises(DatatypeMismatch, match='target column "y" is of type real, but was text'):
        encode(fit("text", ["a", "b"]), "real", [1.0])


@pytest.mark.parametrize("label", ["", " ", 'say "hi"', "Ünï ☃", "NULL"])
def test_labels_are_kept_to_the_letter(label: str) -> None:
    assert label in fit("text", [label, "other"]).labels


def test_one_class_is_an_error_with_advice() -> None:
    with pytest.raises(
        InvalidData, match='target column "y" has only one class among the 3 training rows: "a"'
    ) as caught:
        fit("text", ["a"] * 3)
    assert "at least two classes" in (caught.value.hint or "")
    with pytest.raises(InvalidData, match='only one class among the 2 training rows: "true"'):
        fit("boolean", [True, True])


def test_no_rows_are_an_error() -> None:
    with pytest.raises(InvalidData, match="no rows to train on"):
        fit("text", [])


def test_too_many_classes_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delc.features.target_fitting.MOST_CLASSES", 3)
    with pytest.raises(LimitExceeded, match='target column "y" has more than 3 classes'):
        fit("text", list("abcde"))
    with pytest.raises(LimitExceeded, match='target column "y" has more than 3 classes'):
        fit("integer", range(5), "classification")
    with pytest.raises(LimitExceeded, match='target column "y" has more than 3 classes'):
        fit("text[]", ["{a,b}", "{c,d}"])


@pytest.mark.parametrize(
    ("type_name", "values"),
    [("text", ["a", "b", None]), ("integer", [1, 2, None]), ("real", [1, 2, None]), ("text[]", ["{a}", "{b}", None])]
    + [("real[]", [[1, 2], [3, 4], None]), ("boolean", [True, False, None])],
)
def test_a_null_target_is_refused_in_training_and_in_testing(type_name: str, values: list[Any]) -> None:
    with pytest.raises(InvalidData, match='target column "y" has 1 NULL value, the first in row 3') as caught:
        fit(type_name, values)
    assert caught.value.hint == "Use only the rows where y IS NOT NULL."
    with pytest.raises(InvalidData, match='target column "y" has 1 NULL value'):
        encode(fit(type_name, values[:2]), type_name, values)


def test_a_target_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidData, match='target column "y" has 1 NaN or infinite value, the first in row 2'):
        fit("real", [1, math.nan])


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    target = fit("text", ["a", "b", "b", "b"])
    assert isinstance(target, Classification)
    assert target.balanced_weights() == [2.0, pytest.approx(2 / 3)]


def test_columns_of_flags_are_labels_by_their_names() -> None:
    types = {"cat": "boolean", "dog": "boolean"}
    rows = [{"cat": True, "dog": False}, {"cat": True, "dog": True}]
    target = fit_target(types, rows)
    assert isinstance(target, Multilabel)
    assert (target.labels, target.counts, target.rows) == (("cat", "dog"), (2, 1), 2)
    result = encode_target(target, dict(reversed(types.items())), rows)
    assert result.dtype == torch.float32
    assert result.tolist() == [[1, 0], [1, 1]]


def test_an_array_of_flags_has_labels_by_their_places() -> None:
    target = fit("integer[]", [[1, 0, 0], [1, 1, 0]])
    assert isinstance(target, Multilabel)
    assert target.labels == ("1", "2", "3")
    assert target.counts == (2, 1, 0)
    assert target.balanced_weights() == [1, 1, 1]
    assert encode(target, "boolean[]", [[True, False, True]]).tolist() == [[1, 0, 1]]


def test_other_numbers_than_flags_are_refused_in_multilabel() -> None:
    with pytest.raises(InvalidData, match='target column "y" has the value 2 in row 2'):
        fit("integer[]", [[1, 0], [1, 2]], "multilabel")
    with pytest.raises(InvalidData, match=r'target column "b" has the value 0\.5 in row 1'):
        fit_target({"a": "real", "b": "real"}, [{"a": 1, "b": 0.5}], "multilabel")


def test_arrays_of_names_become_flags() -> None:
    target = fit("text[]", ['{b,"c d"}', "{}", "{a,b,b}", '{b,"c d"}'])
    assert isinstance(target, Multilabel)
    assert (target.labels, target.counts) == (("a", "b", "c d"), (1, 3, 2))
    assert encode(target, "text[]", ['{"c d"}', "{a,b}", "{}"]).tolist() == [[0, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert target.balanced_weights() == [3.0, pytest.approx(1 / 3), 1.0]


def test_names_that_training_did_not_see_are_left_out() -> None:
    assert encode(fit("text[]", ["{a,b}"]), "text[]", ["{z,b}"]).tolist() == [[0, 1]]


def test_predicted_labels_are_written_as_an_array() -> None:
    target = fit("text[]", ['{b,"c d"}', "{a}"])
    assert isinstance(target, Multilabel)
    assert target.decode([True, False, True]) == '{a,"c d"}'
    assert target.decode(np.array([0, 0, 0])) == "{}"


@pytest.mark.parametrize("value", ["{NULL,a}", "{{a},{b}}", "a,b"])
def test_a_list_of_names_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(InvalidData, match='target column "y" has the value'):
        fit("text[]", [value])


def test_arrays_of_names_that_are_all_empty_are_refused() -> None:
    with pytest.raises(InvalidData, match='no row of target column "y" has a label'):
        fit("text[]", ["{}", "{}"])


def test_numbers_are_standardised_and_scaled_back() -> None:
    values = [1e6 + i for i in range(10)]
    target = fit("double precision", values)
    assert isinstance(target, Regression)
    result = encode(target, "double precision", values)
    assert result.shape == (10, 1)
    np.testing.assert_allclose(result.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(result.std(unbiased=False), 1, rtol=1e-6)
    np.testing.assert_allclose(target.unscale(result)[:, 0], values, rtol=1e-9)
    assert target.unscale(result).dtype == np.float64


def test_several_outputs_lie_in_the_order_of_the_target_s_columns() -> None:
    types = {"a": "real", "b": "double precision"}
    rows = [{"a": 1, "b": 10}, {"a": 3, "b": 50}]
    target = fit_target(types, rows)
    assert isinstance(target, Regression)
    assert (target.labels, target.outputs) == (("a", "b"), 2)
    assert target.center.tolist() == [2, 30]
    result = encode_target(target, {"b": "integer", "a": "real"}, [{"a": 3, "b": 10}])
    assert result.tolist() == [[1, -1]]


def test_an_array_has_an_output_per_element() -> None:
    target = fit("real[]", [[1.5, 2], [3.5, 2]])
    assert target.labels == ("1", "2")
    assert encode(target, "vector(2)", [[2.5, 3]]).tolist() == [[0, 1]]


def test_an_array_of_another_length_is_refused() -> None:
    target = fit("real[]", [[1.5, 2]])
    with pytest.raises(InvalidData, match='target column "y" has 3 elements, but 2 are expected'):
        encode(target, "real[]", [[1, 2, 3]])


def test_a_constant_target_is_0() -> None:
    target = fit("real", [5.0, 5.0])
    assert isinstance(target, Regression)
    assert encode(target, "real", [5.0]).tolist() == [[0]]
    assert target.unscale([[0.5]]).tolist() == [[5.5]]


def test_a_target_too_large_for_a_variance_is_refused() -> None:
    with pytest.raises(InvalidData, match='the numbers of column "y" are too large'):
        fit("double precision", [1e300, -1e300])


def test_an_integer_target_that_turns_out_to_be_regressed_is_read_as_numbers() -> None:
    target = fit("integer", range(100))
    assert isinstance(target, Regression)
    assert target.packing(columns({Y: "integer"})) == ("number", "float64")
    np.testing.assert_allclose(target.unscale(encode(target, "integer", [7]))[0, 0], 7, rtol=1e-6)


@pytest.mark.parametrize(
    ("type_name", "values"),
    [
        ("text", ["a", 'b "x"', "日本"]),
        ("integer", [3, 1, 2]),
        ("boolean", [True, False]),
        ("real", [0.1, 0.2, 1 / 3]),
        ("real[]", [[0.1, 2], [7, 5]]),
        ("text[]", ["{a,b}", "{c}"]),
        ("boolean[]", [[True, False]]),
    ],
)
def test_targets_go_through_json_unchanged(type_name: str, values: Any) -> None:
    target = fit(type_name, values)
    document = json.loads(json.dumps(target.to_json(), allow_nan=False))
    again = target_from_json(document)
    assert again.to_json() == document
    assert again.task == target.task
    assert torch.equal(encode(again, type_name, values), encode(target, type_name, values))


@pytest.mark.parametrize(
    ("type_name", "values", "key", "value"),
    [
        ("text", ["a", "b"], "task", "guessing"),
        ("text", ["a", "b"], "task", ["classification"]),
        ("text", ["a", "b"], "task", "regression"),
        ("text", ["a", "b"], "labels", ["a"]),
        ("text", ["a", "b"], "labels", ["a", "a"]),
        ("text", ["a", "b"], "labels", []),
        ("text", ["a", "b"], "counts", [1, 0]),
        ("text", ["a", "b"], "counts", [1, -1]),
        ("text", ["a", "b"], "counts", [1, 1.5]),
        ("text", ["a", "b"], "reading", "numbers"),
        ("text", ["a", "b"], "reading", "integers"),
        ("text", ["a", "b"], "columns", []),
        ("text", ["a", "b"], "columns", ["y"]),
        ("text", ["a", "b"], "version", 9),
        ("text", ["a", "b"], "extra", 1),
        ("integer", [1, 2], "labels", ["1", "two"]),
        ("integer", [1, 2], "labels", ["1", "9" * 30]),
        ("real", [1.0, 2.0], "scale", [0]),
        ("real", [1.0, 2.0], "center", ["1"]),
        ("real", [1.0, 2.0], "center", [1, 2]),
        ("boolean[]", [[True, False]], "rows", 0),
        ("boolean[]", [[True, False]], "counts", [1]),
    ],
)
def test_a_target_that_was_tampered_with_is_refused(type_name: str, values: Any, key: str, value: Any) -> None:
    document = {**json.loads(json.dumps(fit(type_name, values).to_json())), key: value}
    with pytest.raises(InvalidData, match="the stored target"):
        target_from_json(document)


@pytest.mark.parametrize("document", [None, [], {}, "target", {"task": "classification"}])
def test_something_else_than_a_target_is_refused(document: Any) -> None:
    with pytest.raises(InvalidData, match="the stored target"):
        target_from_json(document)
