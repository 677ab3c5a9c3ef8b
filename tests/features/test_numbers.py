import math

import numpy as np
import pytest
import torch

from delc.features import FeatureEncoder, RowLayout
from delc.features.layout import Slot
from delc.server.batches import ColumnProblem, PackColumn, PackedBatch, PackLayout, QueryColumn
from delc.server.errors import InvalidData, LimitExceeded
from delc.server.inputs import InputSpec
from support.features import column, encode, fit, fit_encode


def test_numbers_get_mean_0_and_deviation_1() -> None:
    result = fit_encode({"x": "real", "y": "bigint"}, [{"x": i * 0.5, "y": i * i} for i in range(100)])["input"]
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.mean(0), [0, 0], atol=1e-6)
    np.testing.assert_allclose(result.std(0, unbiased=False), [1, 1], rtol=1e-6)


def test_minmax_goes_from_0_to_1() -> None:
    assert fit_encode({"x": "real"}, column("x", [5, 10, 7.5]), {"x": {"standardize": "minmax"}})["input"].tolist() == [
        [0], [1], [0.5],
    ]  # fmt: skip


def test_without_standardising_numbers_stay_as_they_are() -> None:
    assert fit_encode({"x": "real"}, column("x", [5, -3]), {"x": {"standardize": "none"}})["input"].tolist() == [
        [5], [-3],
    ]  # fmt: skip


def test_booleans_are_0_and_1() -> None:
    assert fit_encode({"b": "boolean"}, column("b", [True, False]))["input"].tolist() == [[1], [0]]


def test_numbers_come_first_then_the_other_columns_in_their_order() -> None:
    types = {"city": "text", "b": "boolean", "v": "real[]", "x": "real"}
    fitted = fit(types, [{"city": c, "b": True, "v": [1, 2], "x": 1} for c in "ab"])
    assert fitted.feature_names() == {"input": ["b", "x", "city=a", "city=b", "v[1]", "v[2]"]}
    assert fitted.input_specs() == {"input": InputSpec((6,), "float32")}


def test_the_order_of_a_query_s_columns_does_not_matter() -> None:
    types = {"a": "real", "b": "real", "c": "real", "d": "boolean"}
    rows = [{"a": i, "b": -i, "c": i * i, "d": i % 2 == 0} for i in range(9)]
    fitted = fit(types, rows)
    for order in ("dcba", "badc", "acbd"):
        turned = {name: types[name] for name in order}
        assert torch.equal(encode(fitted, turned, rows)["input"], encode(fitted, types, rows)["input"])


@pytest.mark.parametrize("standardize", ["standard", "minmax"])
@pytest.mark.parametrize("value", [0.1, 0, -1e300, 12345678.9])
def test_a_constant_column_becomes_0(standardize: str, value: float) -> None:
    rows = column("x", [value] * 10)
    assert (
        fit_encode({"x": "double precision"}, rows, {"x": {"standardize": standardize}})["input"].tolist() == [[0]] * 10
    )


def test_one_row_is_enough() -> None:
    assert fit_encode({"x": "real", "y": "integer"}, [{"x": 3, "y": 4}])["input"].tolist() == [[0, 0]]


def test_no_rows_are_an_error() -> None:
    with pytest.raises(InvalidData, match="no rows to train on"):
        fit({"x": "real"}, [])


def test_no_rows_encode_to_no_rows() -> None:
    fitted = fit({"x": "real", "y": "text"}, [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}])
    assert encode(fitted, {"x": "real", "y": "text"}, [])["input"].shape == (0, 3)


def test_whole_numbers_beyond_2_to_the_53_are_told_apart_from_their_mean() -> None:
    base = 2**53
    result = fit_encode({"x": "bigint"}, column("x", [base, base + 1000, base + 2000]))["input"]
    np.testing.assert_allclose(result[:, 0], [-math.sqrt(1.5), 0, math.sqrt(1.5)], rtol=1e-6)


def test_a_spread_that_has_no_finite_variance_is_an_error_that_names_the_column() -> None:
    with pytest.raises(InvalidData, match='the numbers of column "x" are too large'):
        fit({"x": "double precision"}, column("x", [1e300, -1e300]))


def test_a_number_that_does_not_fit_single_precision_is_an_error_that_names_row_and_column() -> None:
    types = {"w": "real", "x": "double precision"}
    fitted = fit(types, [{"w": i, "x": i} for i in range(3)])
    with pytest.raises(InvalidData, match=r'the value 1e\+300 of column "x" in row 12 is too large'):
        encode(fitted, types, [{"w": 1, "x": 1}, {"w": 1, "x": 1e300}], first_row=10)


def test_1600_columns() -> None:
    types = {f"c{i}": "double precision" for i in range(1600)}
    rows = [{f"c{i}": i + j for i in range(1600)} for j in range(5)]
    fitted = fit(types, rows)
    assert fitted.input_specs()["input"].shape == (1600,)
    np.testing.assert_allclose(encode(fitted, types, rows)["input"].mean(0), np.zeros(1600), atol=1e-6)


def test_missing_numbers_are_refused_with_count_row_and_policies() -> None:
    with pytest.raises(InvalidData, match='column "age" has 2 NULL values, the first in row 4') as caught:
        fit({"age": "integer"}, column("age", [1, 2, 3, None, 5, None]))
    assert "rows 1 to 6" in (caught.value.detail or "")
    assert '{"age": {"missing": "mean"}}' in (caught.value.hint or "")


def test_rows_are_counted_over_the_whole_read() -> None:
    with pytest.raises(InvalidData, match="the first in row 6"):
        fit({"age": "integer"}, column("age", [1, 2, 3, 4, 5, None]), batch_size=4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(InvalidData, match='column "x" has 1 NaN or infinite value, the first in row 2'):
        fit({"x": "real"}, column("x", [1, value]))


@pytest.mark.parametrize(("policy", "stands_in"), [("mean", 4.0), ("zero", 0.0), ("most_frequent", 2.0)])
def test_policies_for_missing_numbers(policy: str, stands_in: float) -> None:
    rows = column("x", [2, 2, 8, None, math.nan])
    result = fit_encode({"x": "real"}, rows, {"x": {"missing": policy, "standardize": "none"}})["input"]
    assert result[:, 0].tolist() == [2, 2, 8, stands_in, stands_in]


def test_statistics_are_those_of_the_values_that_are_there() -> None:
    result = fit_encode({"x": "real"}, column("x", [1, 3, None]), {"x": {"missing": "mean"}})["input"]
    assert result[:, 0].tolist() == [-1, 1, 0]


def test_a_policy_of_one_column_does_not_cover_another() -> None:
    with pytest.raises(InvalidData, match='column "y"'):
        fit({"x": "real", "y": "real"}, [{"x": None, "y": None}, {"x": 1, "y": 1}], {"x": {"missing": "zero"}})


def test_no_policy_covers_infinity() -> None:
    fitted = fit({"x": "real"}, column("x", [1, 2]), {"x": {"missing": "mean"}})
    with pytest.raises(InvalidData, match='column "x" has 1 infinite value, the first in row 2'):
        encode(fitted, {"x": "real"}, column("x", [None, math.inf]))


def test_a_column_of_nulls_has_no_mean() -> None:
    with pytest.raises(InvalidData, match='column "x" has only NULLs among the training rows'):
        fit({"x": "real"}, column("x", [None, None]), {"x": {"missing": "mean"}})


def test_a_column_of_nulls_can_be_zero() -> None:
    assert fit_encode({"x": "real"}, column("x", [None, None]), {"x": {"missing": "zero"}})["input"].tolist() == [
        [0],
        [0],
    ]


def test_a_null_at_prediction_is_refused_where_training_had_no_policy() -> None:
    fitted = fit({"x": "real"}, column("x", [1, 2]))
    with pytest.raises(InvalidData, match='column "x" has 1 NULL value, the first in row 1') as caught:
        encode(fitted, {"x": "real"}, column("x", [None]))
    assert "train with a policy" in (caught.value.hint or "")


def test_a_null_at_prediction_is_filled_where_training_had_none() -> None:
    fitted = fit({"x": "real"}, column("x", [1, 3]), {"x": {"missing": "mean"}})
    assert encode(fitted, {"x": "real"}, column("x", [None]))["input"].tolist() == [[0]]


def array_of_features(policies: list[str]) -> FeatureEncoder:
    """An encoder of numbers that come as the elements of one array without a name."""
    types = {f"x{place}": "real" for place in range(len(policies))}
    options = {f"x{place}": {"missing": policy} for place, policy in enumerate(policies)}
    fitted = fit(types, [dict.fromkeys(types, value) for value in (1, 3)], options)
    slots = {name: Slot(0, place, 0, "", "real[]") for place, name in enumerate(types)}
    pack = PackLayout((PackColumn(0, "number"),), ("float64",))
    return fitted.encoder(RowLayout(pack, (QueryColumn("", "real[]"),), slots, (), (), (len(types),)))


def one_array(values: list[float]) -> PackedBatch:
    problem = ColumnProblem(0, 0, 0, sum(not math.isfinite(value) for value in values), 0)
    return PackedBatch(1, 0, [np.array([values])], [(len(values),)], problems=[problem])


def test_features_that_share_an_array_have_a_policy_each() -> None:
    encoder = array_of_features(["mean", "error"])
    assert encoder.encode(one_array([math.nan, 3]))["input"].tolist() == [[0, 1]]
    with pytest.raises(InvalidData, match="the input has 1 NULL value, the first in row 1"):
        encoder.encode(one_array([1, math.nan]))
    with pytest.raises(InvalidData, match="the input has 1 infinite value"):
        encoder.encode(one_array([math.inf, 3]))


def test_the_most_frequent_of_too_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delc.features.fitting.MOST_VALUES_COUNTED", 3)
    with pytest.raises(LimitExceeded, match='column "x" has more than 3 different values'):
        fit({"x": "real"}, column("x", range(5)), {"x": {"missing": "most_frequent"}})


def test_a_column_can_be_an_input_of_its_own() -> None:
    types = {"x": "real", "weight": "real"}
    specs = fit(types, [{"x": 1, "weight": 2}], {"weight": {"input": "side"}}).input_specs()
    assert specs == {"input": InputSpec((1,), "float32"), "side": InputSpec((1,), "float32")}
