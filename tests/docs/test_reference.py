"""The manual says what the extension does: every object has a comment, and docs/reference.md is made from them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from support.cluster import ROOT, Connection


def tool(path: Path) -> ModuleType:
    """A program of the repository as a module."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_comments_say(db: Connection) -> None:
    make_reference = tool(ROOT / "docs" / "make_reference.py")
    assert make_reference.PAGE.read_text() == make_reference.reference(db), "run: make docs"


def test_every_function_relation_and_type_has_a_comment(db: Connection) -> None:
    rows = db.execute("""
        SELECT 'function ' || oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'delc'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
        UNION ALL
        SELECT relkind::text || ' ' || oid::regclass FROM pg_class
        WHERE relnamespace = 'delc'::regnamespace AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL
        UNION ALL
        SELECT 'type ' || type.oid::regtype
        FROM pg_type AS type LEFT JOIN pg_class AS relation ON relation.oid = type.typrelid
        WHERE type.typnamespace = 'delc'::regnamespace AND type.typelem = 0
          AND (relation.oid IS NULL OR relation.relkind = 'c')
          AND obj_description(type.oid, 'pg_type') IS NULL
        UNION ALL
        SELECT 'operator ' || oid::regoperator FROM pg_operator
        WHERE oprnamespace = 'delc'::regnamespace AND obj_description(oid, 'pg_operator') IS NULL
    """).fetchall()
    assert rows == []
