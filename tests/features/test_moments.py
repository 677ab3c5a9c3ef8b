import numpy as np
import pytest

from delc.features.moments import RunningMoments

generator = np.random.default_rng(0)


def moments_of(values: np.ndarray, batch: int, with_missing: bool = False) -> RunningMoments:
    moments = RunningMoments(values.shape[1])
    for start in range(0, len(values), batch):
        moments.update(values[start : start + batch], with_missing)
    return moments


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
def test_batches_give_what_all_rows_at_once_give(dtype: type, batch: int) -> None:
    values = (generator.random((500, 40)) * 200).astype(dtype)
    moments = moments_of(values, batch)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0, dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(moments.deviation(), values.std(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_array_equal(moments.low, values.min(axis=0))
    np.testing.assert_array_equal(moments.high, values.max(axis=0))
    assert moments.count.tolist() == [500] * 40


def test_a_mean_that_is_large_beside_the_spread_costs_no_digits() -> None:
    values = 1e9 + generator.standard_normal((10_000, 3))
    np.testing.assert_allclose(moments_of(values, 100).deviation(), (values - 1e9).std(axis=0), rtol=1e-7)


def test_a_first_row_far_from_the_others_costs_no_digits() -> None:
    values = np.concatenate([[[1e9]], generator.standard_normal((100_000, 1))])
    np.testing.assert_allclose(moments_of(values, 512).deviation(), values.std(axis=0), rtol=1e-12)


def test_missing_values_do_not_count() -> None:
    values = generator.standard_normal((300, 5))
    values[generator.random((300, 5)) < 0.4] = np.nan
    values[:100, 2] = np.nan
    moments = moments_of(values, 32, with_missing=True)
    np.testing.assert_allclose(moments.mean, np.nanmean(values, axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.deviation(), np.nanstd(values, axis=0), rtol=1e-12)
    np.testing.assert_array_equal(moments.low, np.nanmin(values, axis=0))
    np.testing.assert_array_equal(moments.count, (~np.isnan(values)).sum(axis=0))


def test_a_column_without_values_has_no_count_and_no_spread() -> None:
    moments = moments_of(np.full((10, 2), np.nan), 3, with_missing=True)
    assert moments.count.tolist() == [0, 0]
    assert moments.deviation().tolist() == [0, 0]


def test_a_constant_column_has_exactly_no_spread() -> None:
    assert moments_of(np.full((1000, 1), 0.1), 64).deviation().tolist() == [0.0]


def test_columns_pool_into_what_one_column_of_all_would_give() -> None:
    values = generator.standard_normal((50, 12)) * np.arange(1, 13)
    pooled = moments_of(values, 7).pooled(3)
    channels = values.reshape(50, 3, 4)
    np.testing.assert_allclose(pooled.mean, channels.mean(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_allclose(pooled.deviation(), channels.std(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_array_equal(pooled.high, channels.max(axis=(0, 2)))


def test_rows_of_100_000_elements() -> None:
    values = generator.random((3, 100_000)).astype(np.float32)
    np.testing.assert_allclose(moments_of(values, 2).mean, values.mean(axis=0, dtype=np.float64), rtol=1e-13)
