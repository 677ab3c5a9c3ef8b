import pytest
import torch

from delc.server.errors import InvalidData, InvalidParameter
from delc.server.inputs import InputSpec
from support.features import column, encode, fit, fit_encode

CITY = {"city": "text"}
EMBEDDED = {"city": {"encoding": "embedding", "dimensions": 3}}


def one_hot(options: dict[str, object], train: list[object], test: list[object]) -> list[list[float]]:
    fitted = fit(CITY, column("city", train), {"city": options})
    result: list[list[float]] = encode(fitted, CITY, column("city", test))["input"].tolist()
    return result


def test_each_value_has_its_place_in_sorted_order() -> None:
    assert one_hot({}, ["b", "a", "c", "a"], ["a", "b", "c"]) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_an_unseen_value_is_all_zeros() -> None:
    assert one_hot({}, ["a", "b"], ["z", "b"]) == [[0, 0], [0, 1]]


def test_rare_values_and_unseen_ones_share_a_place() -> None:
    assert one_hot({"min_count": 2}, ["a", "a", "b"], ["a", "b", "z"]) == [[1, 0], [0, 1], [0, 1]]


def test_only_the_most_frequent_values_have_a_place() -> None:
    fitted = fit(CITY, column("city", ["b", "b", "a", "c", "c", "c"]), {"city": {"max_categories": 2}})
    assert fitted.feature_names() == {"input": ["city=b", "city=c", "city=other"]}


def test_no_value_that_is_frequent_enough_is_an_error() -> None:
    with pytest.raises(InvalidParameter, match='no value of column "city" occurs 3 times') as caught:
        fit(CITY, column("city", ["a", "a", "b"]), {"city": {"min_count": 3}})
    assert '"a", occurs 2 times' in (caught.value.detail or "")


def test_unseen_values_can_be_an_error_that_names_row_column_value_and_nearest() -> None:
    fitted = fit(CITY, column("city", ["Berlin", "Bern"]), {"city": {"unseen": "error"}})
    with pytest.raises(InvalidData, match=r'column "city" has the value "Berlyn", which .* in row 22') as caught:
        encode(fitted, CITY, column("city", ["Bern", "Berlyn"]), first_row=20)
    assert 'Did you mean "Berlin"?' in (caught.value.hint or "")


def test_null_is_refused_in_training_and_at_prediction() -> None:
    with pytest.raises(InvalidData, match='column "city" has 1 NULL value, the first in row 2'):
        fit(CITY, column("city", ["a", None]))
    fitted = fit(CITY, column("city", ["a", "b"]))
    with pytest.raises(InvalidData, match='column "city" has 2 NULL values, the first in row 1'):
        encode(fitted, CITY, column("city", [None, "a", None]))


def test_null_can_be_a_category() -> None:
    assert one_hot({"missing": "category"}, ["a", None, "b"], ["b", None]) == [[0, 1, 0], [0, 0, 1]]


def test_null_can_be_the_most_frequent_value() -> None:
    assert one_hot({"missing": "most_frequent"}, ["a", "b", "b", None], [None, "a"]) == [[0, 1], [1, 0]]


def test_nulls_only_have_no_most_frequent_value() -> None:
    with pytest.raises(InvalidData, match="only NULLs"):
        fit(CITY, column("city", [None, None]), {"city": {"missing": "most_frequent"}})


def test_nulls_only_can_be_a_category() -> None:
    assert one_hot({"missing": "category"}, [None, None], [None, "a"]) == [[1], [0]]


def test_an_empty_string_is_not_null() -> None:
    assert one_hot({"missing": "category"}, ["", None, "a"], ["", None]) == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("value", ['say "hi"', "O'Hara", "naïve ☃", "日本", "a\nb", "\\", "{}", "null", " a", "a "])
def test_values_are_compared_to_the_letter(value: str) -> None:
    assert one_hot({}, [value, "other"], [value])[0].count(1) == 1
    assert one_hot({}, [value, "other"], [value + "."]) == [[0, 0]]


def test_values_that_are_numbers_are_sorted_as_numbers() -> None:
    fitted = fit({"zip": "integer"}, column("zip", [10, 9, 100]), {"zip": "categorical"})
    assert fitted.feature_names()["input"] == ["zip=9", "zip=10", "zip=100"]


def test_an_embedding_is_an_int64_input_with_a_place_for_the_unknown() -> None:
    fitted = fit(CITY, column("city", ["a", "b", "a"]), EMBEDDED)
    assert fitted.input_specs() == {"city": InputSpec((), "int64", categories=3, dimensions=3)}
    result = encode(fitted, CITY, column("city", ["b", "z", "a"]))["city"]
    assert result.dtype == torch.int64
    assert result.tolist() == [2, 0, 1]


def test_an_embedding_of_null_comes_after_the_values() -> None:
    options = {"city": {"encoding": "embedding", "missing": "category"}}
    fitted = fit(CITY, column("city", ["a", "b", None]), options)
    assert fitted.input_specs()["city"].categories == 4
    assert encode(fitted, CITY, column("city", [None, "b"]))["city"].tolist() == [3, 2]


def test_two_embeddings_cannot_share_an_input() -> None:
    types = {"a": "text", "b": "text"}
    options = {name: {"encoding": "embedding", "input": "codes"} for name in types}
    with pytest.raises(InvalidParameter, match='columns "a" and "b" cannot share the network input "codes"'):
        fit(types, [{"a": "x", "b": "y"}], options)


def test_an_embedded_column_called_input_needs_another_name_beside_numbers() -> None:
    types = {"input": "text", "x": "real"}
    with pytest.raises(InvalidParameter, match='cannot share the network input "input"'):
        fit(types, [{"input": "x", "x": 1}], {"input": {"encoding": "embedding"}})


def test_batches_may_meet_values_in_any_order() -> None:
    values = [str(i % 7) for i in range(50)]
    whole = fit(CITY, column("city", values))
    assert fit(CITY, column("city", values), batch_size=3).to_json() == whole.to_json()
    assert fit(CITY, column("city", values[::-1]), batch_size=11).to_json() == whole.to_json()


def test_categories_in_columns_of_another_order() -> None:
    types = {"a": "text", "x": "real", "b": "text"}
    rows = [{"a": "p", "x": 1, "b": "q"}, {"a": "r", "x": 2, "b": "s"}]
    fitted = fit(types, rows)
    turned = dict(reversed(types.items()))
    assert torch.equal(encode(fitted, types, rows)["input"], encode(fitted, turned, rows)["input"])


def test_many_values() -> None:
    values = [f"value {i}" for i in range(5000)]
    result = fit_encode(CITY, column("city", values), {"city": {"max_categories": 10_000}})["input"]
    assert result.shape == (5000, 5000)
    assert result.sum().item() == 5000
