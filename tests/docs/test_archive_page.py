"""Every SQL example of docs/archive.md runs in order, and gives what the text around it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster
from support.pages import Rows, run
from support.workplace import workplace

PAGE = "docs/archive.md"


@pytest.fixture(scope="module")
def results(cluster: Cluster, template: str) -> Iterator[list[tuple[str, Rows]]]:
    with workplace(cluster, template) as connection:
        connection.execute("SET search_path = public, delc")
        yield run(connection, PAGE)


def given(results: list[tuple[str, Rows]], part: str) -> Rows:
    """What the first statement with this part gave."""
    return next(rows for statement, rows in results if part in statement)


def test_the_dry_run_promises_less(results: list[tuple[str, Rows]]) -> None:
    found = given(results, "dry_run => true")
    assert sum(after for *_, after in found) < sum(before for _, _, before, _ in found)
    assert {kind for kind, *_ in found} == {"dense", "fast", "sub"}


def test_the_archive_is_smaller(results: list[tuple[str, Rows]]) -> None:
    ((tensors, smaller),) = given(results, "sum(bytes) < sum(bytes_before)")
    assert tensors == 6 * 6
    assert smaller


def test_the_summary_has_a_row_for_each_snapshot(results: list[tuple[str, Rows]]) -> None:
    found = given(results, "archive_summary")
    assert len(found) == 6
    assert max(longest for _, _, _, longest, _, _ in found) > 0


def test_nothing_is_damaged(results: list[tuple[str, Rows]]) -> None:
    assert given(results, "verify_archive") == []


def test_the_report_begins_with_the_exact_numbers(results: list[tuple[str, Rows]]) -> None:
    assert given(results, "archive_report")[0][:2] == ("exact", 1.0)


def test_checkpoints_are_rounded(results: list[tuple[str, Rows]]) -> None:
    found = given(results, "round_snapshots")
    assert len(found) == 4
    assert all(smaller for _, smaller in found)
