"""Every SQL example of README.md runs, in the order in which a reader types it."""

from __future__ import annotations

import re

from support.cluster import ROOT, Connection

EXAMPLES = re.compile(r"```sql\n(.*?)```", re.DOTALL)


def statements(page: str) -> list[str]:
    """The SQL statements of a page's examples."""
    text = "\n".join(EXAMPLES.findall((ROOT / page).read_text()))
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def test_the_first_session_runs_as_it_is_printed(fresh_db: Connection) -> None:
    examples = statements("README.md")
    results = {example.splitlines()[0]: _rows(fresh_db, example) for example in examples}
    accuracy = next(rows for line, rows in results.items() if "delc.evaluate" in line)
    assert accuracy[0][1] > 0.9
    predicted = next(rows for line, rows in results.items() if "delc.predict(" in line)
    assert all(label in ("ring", "outside") for _, _, label in predicted)


def _rows(connection: Connection, example: str) -> list[tuple[object, ...]]:
    cursor = connection.execute(example)
    return cursor.fetchall() if cursor.description else []
