"""Every SQL example of docs/versions.md runs in order, and gives what the text around it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster
from support.pages import Rows, run
from support.workplace import workplace

PAGE = "docs/versions.md"


@pytest.fixture(scope="module")
def results(cluster: Cluster, template: str) -> Iterator[list[tuple[str, Rows]]]:
    with workplace(cluster, template) as connection:
        connection.execute("SET search_path = public, delc")
        yield run(connection, PAGE)


def given(results: list[tuple[str, Rows]], part: str) -> Rows:
    """What the first statement with this part gave."""
    return next(rows for statement, rows in results if part in statement)


def test_a_commit_stores_what_differs(results: list[tuple[str, Rows]]) -> None:
    assert given(results, "delc.commit_dataset(") == [("spots@2", 101, 1)]


def test_a_correction_is_the_difference_of_two_versions(results: list[tuple[str, Rows]]) -> None:
    ((change, key, was, now, columns),) = given(results, "delc.diff_dataset(")
    assert (change, key, was, now, columns) == ("changed", {"id": 7}, "outside", "ring", ["place"])


def test_the_first_version_is_read_as_it_was(results: list[tuple[str, Rows]]) -> None:
    ((_, x, _, _),) = given(results, "delc.dataset_rows(")
    assert x == pytest.approx(5 * 0.7548776662 % 1 * 2 - 1)


def test_the_merge_has_one_conflict_and_is_made_when_it_is_resolved(results: list[tuple[str, Rows]]) -> None:
    assert [key for key, *_ in given(results, "delc.merge_dataset('spots', 'spots@ben')")] == [{"id": 3}]
    assert given(results, "resolutions =>") == [("spots@6", 1100, 2, 2)]


def test_an_alias_moves_and_is_logged(results: list[tuple[str, Rows]]) -> None:
    assert [(start, end) for _, start, end, _ in given(results, "model_alias_log")] == [(None, 1), (1, 2)]


def test_both_models_are_measured_and_compared(results: list[tuple[str, Rows]]) -> None:
    assert sorted(model for model, *_ in given(results, "delc.leaderboard")) == ["finder@1", "finder@2"]
    assert given(results, "delc.diff_models(")


def test_the_history_of_a_row_is_that_of_the_page(results: list[tuple[str, Rows]]) -> None:
    found = given(results, "row_history('spots', '{\"id\": 3}')")
    assert [(version, change, message) for version, change, _, message, *_ in found] == [
        ("spots@1", "added", "the first survey"),
        ("spots@4", "changed", "rounded"),
        ("spots@5", "changed", "measured again"),
    ]


def test_models_of_the_row_are_told_with_the_state_that_they_saw(results: list[tuple[str, Rows]]) -> None:
    found = given(results, "models_of_row(")
    assert [(model, version, via) for model, _, _, version, _, via in found[:2]] == [
        ("finder@1", "spots@1", None),
        ("finder@2", "spots@6", None),
    ]
    assert found[0][4] != found[1][4] == "0.25"


def test_the_way_back_leads_to_what_was_changed_since(results: list[tuple[str, Rows]]) -> None:
    changed = {key["id"]: version for key, version, _ in given(results, "delc.training_rows('finder@1', 'train')")}
    assert changed
    assert changed.items() <= {1: "spots@6", 2: "spots@6", 3: "spots@5", 5: "spots@2", 7: "spots@3"}.items()


def test_one_query_leads_from_a_prediction_to_the_runs_behind_its_row(results: list[tuple[str, Rows]]) -> None:
    found = given(results, "WITH RECURSIVE prediction")
    assert [(version, change, operation) for _, version, change, _, operation, *_ in found] == [
        ("spots@1", "added", "create_dataset"),
        ("spots@4", "changed", "correct_dataset"),
        ("spots@5", "changed", "correct_dataset"),
    ]


def test_pruning_leaves_what_is_needed(results: list[tuple[str, Rows]]) -> None:
    dropped = {dataset for dataset, is_dropped in given(results, "dropped FROM delc.prune_dataset") if is_dropped}
    assert dropped == {"spots@3", "spots@5"} or dropped == {"spots@5"}
    assert results[-1][1][0][:2] == ("spots@1", "added")
