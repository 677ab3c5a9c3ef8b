"""The SQL examples of the manual's pages."""

from __future__ import annotations

import re
from typing import Any

from support.cluster import ROOT, Connection

EXAMPLES = re.compile(r"```sql\n(.*?)```", re.DOTALL)

Rows = list[tuple[Any, ...]]


def statements(page: str) -> list[str]:
    """The SQL statements of a page's examples."""
    text = "\n".join(EXAMPLES.findall((ROOT / page).read_text()))
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def run(connection: Connection, page: str) -> list[tuple[str, Rows]]:
    """Every statement of a page with the rows that it gives, run in order."""
    results = []
    for statement in statements(page):
        cursor = connection.execute(statement.encode())
        results.append((statement, cursor.fetchall() if cursor.description else []))
    return results
