"""The text of the queries that read versions."""

from __future__ import annotations

from delc.datasets.reading import StoredColumn, StoredRows, reading_query

COLUMNS = [StoredColumn("id"), StoredColumn('"Age"')]


def test_without_removed_rows_it_is_a_plain_scan() -> None:
    text = reading_query(StoredRows(7, [1, 2, 3], has_removals=False), COLUMNS)
    assert text == 'SELECT d.id, d."Age" FROM delc_data.d7 AS d WHERE (d.delc_version <= 3) ORDER BY d.delc_row'


def test_a_split_is_a_condition() -> None:
    text = reading_query(StoredRows(7, [1], has_removals=False), COLUMNS, "test", ordered=False)
    assert text.endswith("WHERE (d.delc_version <= 1) AND d.delc_split = 'e'")


def test_branches_are_read_by_ranges() -> None:
    text = reading_query(StoredRows(7, [1, 2, 5, 7, 8], has_removals=False), COLUMNS)
    assert "(d.delc_version <= 2 OR d.delc_version = 5 OR d.delc_version BETWEEN 7 AND 8)" in text


def test_rows_that_an_ancestor_left_out_are_left_out() -> None:
    text = reading_query(StoredRows(7, [1, 2], has_removals=True), COLUMNS)
    removed = "SELECT delc.row_set_union(r.delc_rows) FROM delc_data.d7_removed AS r WHERE r.delc_version <= 2"
    assert f"NOT delc.row_set_contains(({removed}), d.delc_row)" in text


def test_only_parts_that_are_needed_are_joined() -> None:
    columns = [StoredColumn("id"), StoredColumn("c1599", part=2)]
    stored = StoredRows(7, [1], has_removals=False)
    assert "JOIN delc_data.d7_part2 AS d2 ON d2.delc_row = d.delc_row" in reading_query(stored, columns)
    assert "JOIN" not in reading_query(stored, columns[:1])
