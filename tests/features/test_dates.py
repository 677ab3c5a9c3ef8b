import math
from datetime import date, datetime, time, timedelta, timezone

import numpy as np
import pytest

from delc.features.calendar import cyclic_part, linear_part
from delc.server.errors import InvalidData
from support.features import column, encode, fit, fit_encode

MOMENTS = [
    datetime(1970, 1, 1),
    datetime(1969, 12, 31, 23, 59, 59, 999999),
    datetime(2000, 2, 29, 12, 30),
    datetime(2023, 2, 28, 23, 59, 59),
    datetime(2024, 2, 29),
    datetime(2024, 12, 31, 23),
    datetime(1900, 3, 1, 6),
    datetime(1600, 2, 29),
    datetime(1, 1, 1),
    datetime(9999, 12, 31, 23, 59, 59),
]
SECONDS = np.array([(moment - datetime(1970, 1, 1)) / timedelta(seconds=1) for moment in MOMENTS])


def turns(part: str) -> np.ndarray:
    sine, cosine = cyclic_part(part, SECONDS)
    return np.mod(np.arctan2(sine, cosine) / (2 * math.pi), 1)


def assert_turns(part: str, expected: list[float]) -> None:
    apart = np.mod(turns(part) - expected + 0.5, 1) - 0.5
    np.testing.assert_allclose(apart, 0, atol=1e-6)


def test_years_are_those_of_the_calendar() -> None:
    assert linear_part("year", SECONDS).tolist() == [moment.year for moment in MOMENTS]


def test_months_are_those_of_the_calendar() -> None:
    assert_turns("month", [(moment.month - 1) / 12 for moment in MOMENTS])


def test_days_of_the_month_are_those_of_the_calendar() -> None:
    assert_turns("day_of_month", [(moment.day - 1) / 31 for moment in MOMENTS])


def test_days_of_the_week_are_those_of_the_calendar() -> None:
    assert_turns("day_of_week", [moment.weekday() / 7 for moment in MOMENTS])


def test_days_of_the_year_are_those_of_the_calendar() -> None:
    assert_turns("day_of_year", [(moment.timetuple().tm_yday - 1) / 366 for moment in MOMENTS])


def test_hours_and_minutes_go_on_with_the_clock() -> None:
    into_hour = [moment.minute * 60 + moment.second + moment.microsecond / 1e6 for moment in MOMENTS]
    assert_turns("minute", [seconds / 3600 for seconds in into_hour])
    assert_turns(
        "hour", [(moment.hour * 3600 + seconds) / 86400 for moment, seconds in zip(MOMENTS, into_hour, strict=True)]
    )


def test_every_day_of_400_years() -> None:
    days = np.arange(-146_097 // 2, 146_097 // 2)
    years = linear_part("year", days * 86400.0)
    months = np.round(np.mod(np.arctan2(*cyclic_part("month", days * 86400.0)) / (2 * math.pi), 1) * 12) + 1
    dates = [date(1970, 1, 1) + timedelta(days=int(day)) for day in days]
    assert years.tolist() == [each.year for each in dates]
    assert months.tolist() == [each.month for each in dates]


def test_the_parts_made_of_each_type() -> None:
    row = {"d": "2024-02-29", "s": "2024-02-29 12:00:00", "t": "12:00:00"}
    types = {"d": "date", "s": "timestamp without time zone", "t": "time without time zone"}
    assert fit(types, [row]).feature_names()["input"] == [
        "d.seconds", "d.month_sin", "d.month_cos", "d.day_of_week_sin", "d.day_of_week_cos",
        "s.seconds", "s.month_sin", "s.month_cos", "s.day_of_week_sin", "s.day_of_week_cos", "s.hour_sin", "s.hour_cos",
        "t.hour_sin", "t.hour_cos",
    ]  # fmt: skip


def test_the_parts_asked_for_lie_in_their_order() -> None:
    rows = column("d", ["2023-01-01", "2025-07-01"])
    result = fit_encode({"d": "date"}, rows, {"d": {"parts": ["month", "year"]}})["input"]
    np.testing.assert_allclose(result, [[0, 1, -1], [0, -1, 1]], atol=1e-6)


def test_seconds_are_standardised() -> None:
    rows = column("d", ["2024-01-01", "2024-01-02", "2024-01-03"])
    result = fit_encode({"d": "date"}, rows, {"d": {"parts": ["seconds"]}})["input"]
    np.testing.assert_allclose(result[:, 0], [-math.sqrt(1.5), 0, math.sqrt(1.5)], rtol=1e-6)


def test_a_time_zone_is_taken_into_account() -> None:
    berlin = datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    rows = column("t", [berlin, "2024-01-01 00:00:00+00"])
    result = fit_encode({"t": "timestamp with time zone"}, rows)["input"]
    assert result[0].tolist() == result[1].tolist()


def test_a_time_of_day() -> None:
    rows = column("t", [time(0), time(6), time(12), time(18)])
    result = fit_encode({"t": "time without time zone"}, rows)["input"]
    np.testing.assert_allclose(result, [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-6)


def test_an_interval_is_a_number() -> None:
    rows = column("i", [timedelta(days=1), timedelta(hours=12)])
    result = fit_encode({"i": "interval"}, rows, {"i": {"standardize": "none"}})["input"]
    assert result.tolist() == [[86400], [43200]]


def test_infinity_is_an_error_that_names_row_and_column() -> None:
    with pytest.raises(InvalidData, match='column "d" has 1 NaN or infinite value, the first in row 2'):
        fit({"d": "date"}, column("d", ["2024-01-01", "infinity"]))


def test_infinity_is_an_error_under_a_policy_too() -> None:
    fitted = fit({"d": "date"}, column("d", ["2024-01-01", "2024-01-03"]), {"d": {"missing": "mean"}})
    with pytest.raises(InvalidData, match='column "d" has 1 infinite value'):
        encode(fitted, {"d": "date"}, column("d", ["-infinity"]))


@pytest.mark.parametrize(("policy", "stands_in"), [("mean", "2024-01-03"), ("most_frequent", "2024-01-01")])
def test_policies_for_missing_moments(policy: str, stands_in: str) -> None:
    rows = column("d", ["2024-01-01", "2024-01-01", "2024-01-07", None])
    fitted = fit({"d": "date"}, rows, {"d": {"missing": policy}})
    result = encode(fitted, {"d": "date"}, column("d", [None, stands_in]))["input"]
    assert result[0].tolist() == result[1].tolist()


def test_a_null_moment_is_refused_without_a_policy() -> None:
    with pytest.raises(InvalidData, match='column "d" has 1 NULL value'):
        fit({"d": "date"}, column("d", ["2024-01-01", None]))


def test_nulls_only_have_no_mean() -> None:
    with pytest.raises(InvalidData, match="only NULLs"):
        fit({"d": "date"}, column("d", [None]), {"d": {"missing": "mean"}})
