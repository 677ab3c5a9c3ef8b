"""Every SQL example of README.md runs, in the order in which a reader types it."""

from __future__ import annotations

from support.cluster import ROOT, Connection
from support.pages import run


def test_the_first_session_runs_as_it_is_printed(fresh_db: Connection) -> None:
    results = run(fresh_db, "README.md")
    accuracy = next(rows for statement, rows in results if "delc.evaluate" in statement)
    assert accuracy[0][1] > 0.9
    predicted = next(rows for statement, rows in results if "delc.predict(" in statement)
    assert all(label in ("ring", "outside") for _, _, label in predicted)


def test_the_pages_are_linked() -> None:
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in text] == []
