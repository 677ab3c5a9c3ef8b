import math
import warnings

import numpy as np
import pytest
import torch

from delc.features import FeatureFitter, plan_features
from delc.server.batches import PackedBatch, QueryColumn
from delc.server.errors import InvalidData, InvalidParameter
from delc.server.inputs import InputSpec
from support.features import column, encode, fit, fit_encode

REALS = {"x": "real[]"}
IMAGE = {"picture": "bytea"}
AS_IT_IS = {"*": {"standardize": "none"}}


def lone_array(values: np.ndarray, options: dict[str, object] | None = None) -> tuple[object, PackedBatch]:
    """An encoder fitted on one array column, and the batch."""
    query = [QueryColumn("x", "real[]")]
    plan = plan_features(query, options)
    layout = plan.layout_for(query)
    batch = PackedBatch(len(values), 0, [values], [values.shape[1:]])
    fitter = FeatureFitter(plan, layout)
    fitter.update(batch)
    return fitter.finish().encoder(layout), batch


def test_each_element_is_standardised() -> None:
    result = fit_encode(REALS, column("x", [[1, 10, 5], [3, 30, 5]]))["input"]
    assert result.tolist() == [[-1, -1, 0], [1, 1, 0]]


def test_an_array_keeps_its_dimensions() -> None:
    rows = column("x", [[[1, 2, 3], [4, 5, 6]], [[0, 0, 0], [1, 1, 1]]])
    fitted = fit(REALS, rows, AS_IT_IS)
    assert fitted.input_specs() == {"input": InputSpec((2, 3), "float32")}
    assert encode(fitted, REALS, rows)["input"].tolist() == [row["x"] for row in rows]


def test_an_array_takes_the_shape_that_is_asked_for() -> None:
    fitted = fit(REALS, column("x", [list(range(12))]), {"x": {"shape": [1, 3, 4]}})
    assert fitted.input_specs()["input"].shape == (1, 3, 4)
    assert encode(fitted, REALS, column("x", [list(range(12))]))["input"].shape == (1, 1, 3, 4)


def test_a_shape_that_the_elements_do_not_fill_is_refused() -> None:
    with pytest.raises(InvalidParameter, match=r'column "x" has 5 elements, which do not fill the shape \[2, 3\]'):
        fit(REALS, column("x", [[1, 2, 3, 4, 5]]), {"x": {"shape": [2, 3]}})


def test_statistics_are_per_channel_from_three_dimensions_on() -> None:
    rows = column("x", [[[[0.0, 2.0]], [[10.0, 30.0]]]])
    assert fit_encode(REALS, rows)["input"].tolist() == [[[[-1, 1]], [[-1, 1]]]]


def test_statistics_can_be_of_all_elements() -> None:
    result = fit_encode(REALS, column("x", [[0, 0, 4, 4]]), {"x": {"per": "all"}})["input"]
    assert result.tolist() == [[-1, -1, 1, 1]]


def test_minmax_of_elements() -> None:
    result = fit_encode(REALS, column("x", [[0, 5], [4, 5], [1, 5]]), {"x": {"standardize": "minmax"}})["input"]
    assert result.tolist() == [[0, 0], [1, 0], [0.25, 0]]


def test_an_array_that_needs_no_change_is_a_view_on_the_packed_memory() -> None:
    values = np.random.default_rng(0).random((5, 784), dtype=np.float32)
    encoder, batch = lone_array(values, AS_IT_IS)
    result = encoder.encode(batch)["input"]
    assert result.data_ptr() == values.ctypes.data
    assert result.shape == (5, 784)


def test_a_reshaped_array_is_a_view_too() -> None:
    values = np.random.default_rng(0).random((5, 64), dtype=np.float32)
    encoder, batch = lone_array(values, {"x": {"standardize": "none", "shape": [1, 8, 8]}})
    result = encoder.encode(batch)["input"]
    assert result.data_ptr() == values.ctypes.data
    assert result.shape == (5, 1, 8, 8)


def test_standardising_leaves_the_packed_memory_alone() -> None:
    values = np.random.default_rng(0).random((5, 64), dtype=np.float32)
    before = values.copy()
    encoder, batch = lone_array(values)
    encoder.encode(batch)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("options", [AS_IT_IS, None])
def test_memory_that_cannot_be_written_is_read_without_a_warning(options: dict[str, object] | None) -> None:
    values = np.random.default_rng(0).random((5, 64), dtype=np.float32)
    values.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder, batch = lone_array(values, options)
        assert encoder.encode(batch)["input"].shape == (5, 64)


def test_double_precision_is_standardised_before_it_is_rounded() -> None:
    rows = column("x", [[1e9], [1e9 + 1], [1e9 + 2]])
    result = fit_encode({"x": "double precision[]"}, rows)["input"]
    np.testing.assert_allclose(result[:, 0], [-math.sqrt(1.5), 0, math.sqrt(1.5)], rtol=1e-6)


@pytest.mark.parametrize("type_name", ["real[]", "double precision[]"])
def test_a_batch_larger_than_one_block_is_standardised_throughout(type_name: str) -> None:
    values = np.random.default_rng(1).random((700, 300)).astype(np.float32)
    result = fit_encode({"x": type_name}, column("x", list(values)))["input"]
    expected = (values - values.mean(0, dtype=np.float64)) / values.std(0, dtype=np.float64)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_arrays_of_100_000_elements() -> None:
    values = np.random.default_rng(2).random((3, 100_000), dtype=np.float32)
    fitted = fit(REALS, column("x", list(values)), AS_IT_IS)
    assert fitted.input_specs()["input"].shape == (100_000,)
    np.testing.assert_array_equal(encode(fitted, REALS, column("x", list(values)))["input"], values)


def test_arrays_of_booleans_are_0_and_1() -> None:
    result = fit_encode({"x": "boolean[]"}, column("x", [[True, False]]), AS_IT_IS)["input"]
    assert result.tolist() == [[1, 0]]


def test_a_wrong_length_is_an_error_that_names_row_column_and_both_lengths() -> None:
    fitted = fit(REALS, column("x", [[1, 2, 3]]))
    with pytest.raises(InvalidData, match='column "x" has 2 elements in row 8, but 3 are expected'):
        encode(fitted, REALS, column("x", [[1, 2]]), first_row=7)


def test_other_dimensions_of_as_many_elements_are_an_error() -> None:
    fitted = fit(REALS, column("x", [[[1, 2, 3], [4, 5, 6]]]))
    with pytest.raises(InvalidData, match="has 3 × 2 elements in row 1, but 6 are expected \\(2 × 3\\)"):
        encode(fitted, REALS, column("x", [[[1, 2], [3, 4], [5, 6]]]))


def test_a_flat_array_fills_the_dimensions_that_training_had() -> None:
    fitted = fit(REALS, column("x", [[[1, 2], [3, 4]]]), AS_IT_IS)
    assert encode(fitted, REALS, column("x", [[1, 2, 3, 4]]))["input"].tolist() == [[[1, 2], [3, 4]]]


def test_empty_arrays_are_an_error() -> None:
    with pytest.raises(InvalidData, match='the arrays of column "x" are empty'):
        fit(REALS, column("x", [[], []]))


def test_no_rows_encode_to_no_rows() -> None:
    fitted = fit(REALS, column("x", [[[1, 2], [3, 4]]]))
    assert encode(fitted, REALS, [])["input"].shape == (0, 2, 2)


def test_missing_arrays_and_elements_are_refused() -> None:
    with pytest.raises(InvalidData, match='column "x" has 1 NULL value, the first in row 2'):
        fit(REALS, column("x", [[1, 2], None]))
    with pytest.raises(InvalidData, match='column "x" has 1 NaN or infinite value, the first in row 1'):
        fit(REALS, column("x", [[1, math.nan]]))


@pytest.mark.parametrize("type_name", ["real[]", "double precision[]"])
@pytest.mark.parametrize(("policy", "stands_in"), [("mean", [2, 5]), ("zero", [0, 0])])
def test_policies_for_missing_elements(type_name: str, policy: str, stands_in: list[float]) -> None:
    rows = column("x", [[1, 4], None, [3, 6], [math.nan, 5]])
    result = fit_encode({"x": type_name}, rows, {"x": {"missing": policy, "standardize": "none"}})["input"]
    assert result.tolist() == [[1, 4], stands_in, [3, 6], [stands_in[0], 5]]


def test_a_policy_leaves_the_packed_memory_alone() -> None:
    values = np.array([[1, 2], [math.nan, 4]], dtype=np.float32)
    result = fit_encode(REALS, column("x", list(values)), {"x": {"missing": "zero", "standardize": "none"}})["input"]
    assert result.tolist() == [[1, 2], [0, 4]]
    assert math.isnan(values[1, 0])


def test_images_go_from_0_to_1_without_standardising() -> None:
    rows = column("picture", [bytes([0, 51, 102, 255])])
    options = {"picture": {"shape": [1, 2, 2], "standardize": "none"}}
    np.testing.assert_allclose(fit_encode(IMAGE, rows, options)["input"], [[[[0, 0.2], [0.4, 1]]]], rtol=1e-6)


def test_images_are_standardised_per_channel() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (200, 3, 16, 16), dtype=np.uint8)
    rows = column("picture", [image.tobytes() for image in pixels])
    result = fit_encode(IMAGE, rows, {"picture": {"shape": [3, 16, 16]}})["input"]
    scaled = pixels / 255.0
    expected = (scaled - scaled.mean((0, 2, 3), keepdims=True)) / scaled.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_a_constant_image_becomes_0() -> None:
    rows = column("picture", [bytes([7] * 4)] * 3)
    assert fit_encode(IMAGE, rows, {"picture": {"shape": [1, 2, 2]}})["input"].abs().max() < 1e-7


def test_arrays_of_numbers_can_be_images() -> None:
    result = fit_encode(
        {"x": "smallint[]"},
        column("x", [[0, 255]]),
        {"x": {"kind": "image", "shape": [1, 1, 2], "standardize": "none"}},
    )["input"]
    assert result.tolist() == [[[[0, 1]]]]


def test_a_missing_image_is_refused_or_black() -> None:
    rows = column("picture", [bytes([255, 255]), None])
    with pytest.raises(InvalidData, match='column "picture" has 1 NULL value, the first in row 2'):
        fit(IMAGE, rows, {"picture": {"shape": [2]}})
    options = {"picture": {"shape": [2], "standardize": "none", "missing": "zero"}}
    assert fit_encode(IMAGE, rows, options)["input"].tolist() == [[1, 1], [0, 0]]


def test_arrays_beside_other_columns_lie_flat() -> None:
    types = {"x": "real[]", "age": "integer", "y": "vector(2)"}
    rows = [{"x": [[1, 2], [3, 4]], "age": 7, "y": [8, 9]}]
    fitted = fit(types, rows, AS_IT_IS)
    assert encode(fitted, types, rows)["input"].tolist() == [[7, 1, 2, 3, 4, 8, 9]]
    assert fitted.feature_names()["input"] == ["age", "x[1][1]", "x[1][2]", "x[2][1]", "x[2][2]", "y[1]", "y[2]"]


def test_an_image_beside_other_columns_lies_flat() -> None:
    types = {"picture": "bytea", "age": "integer"}
    rows = [{"picture": bytes([255, 0]), "age": 7}]
    options = {"*": {"standardize": "none"}, "picture": {"shape": [1, 1, 2]}}
    assert fit_encode(types, rows, options)["input"].tolist() == [[7, 1, 0]]


def test_an_array_with_an_input_of_its_own_keeps_its_shape() -> None:
    types = {"x": "real[]", "age": "integer"}
    rows = [{"x": [[1, 2], [3, 4]], "age": 7}]
    result = fit_encode(types, rows, {"*": {"standardize": "none"}, "x": {"input": "picture"}})
    assert result["picture"].tolist() == [[[1, 2], [3, 4]]]
    assert result["input"].tolist() == [[7]]


def test_the_result_is_float32_whatever_was_packed() -> None:
    for type_name in ("real[]", "integer[]", "double precision[]"):
        assert fit_encode({"x": type_name}, column("x", [[1, 2]]))["input"].dtype == torch.float32
