"""Over which tables the columns of a data set are spread."""

from __future__ import annotations

from delc.datasets.layout import MOST_COLUMNS_IN_PART, assign_parts


def test_columns_that_fit_stay_together() -> None:
    assert assign_parts([8, -1, 4] * 100) == [1] * 300


def test_more_columns_than_a_table_has_go_to_a_second() -> None:
    parts = assign_parts([1] * 1600)
    assert (parts.count(1), parts.count(2)) == (MOST_COLUMNS_IN_PART, 1600 - MOST_COLUMNS_IN_PART)


def test_more_bytes_than_a_page_has_go_to_a_second() -> None:
    parts = assign_parts([8] * 1000)
    assert (parts.count(1), parts.count(2)) == (950, 50)


def test_alignment_counts() -> None:
    assert max(assign_parts([1, 8] * 500)) == 2


def test_a_single_wide_value_has_a_place() -> None:
    assert assign_parts([9000]) == [1]
