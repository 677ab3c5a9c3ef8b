"""How the type's objects are declared."""

from __future__ import annotations

from support.cluster import Connection
from support.tensors import value

FILL_MEMORY = "('fetch_stored', 'restore_numbers_step', 'read_planes')"
"""What they put into memory of the session stays there, so they are neither immutable nor for parallel workers."""

OF_TENSOR = "'delc.tensor'::regtype IN (SELECT unnest(p.proargtypes::oid[] || p.prorettype))"


def test_every_function_is_immutable_and_parallel_safe(tdb: Connection) -> None:
    loose = value(
        tdb,
        f"SELECT array_agg(p.oid::regprocedure::text) FROM pg_proc p JOIN pg_language l ON l.oid = prolang "
        f"WHERE lanname = 'c' AND probin NOT LIKE '%%plpython' AND {OF_TENSOR} AND proname NOT IN {FILL_MEMORY} "
        "AND (provolatile <> 'i' OR proparallel <> 's')",
    )
    assert loose is None


def test_every_object_has_a_comment(tdb: Connection) -> None:
    functions = value(
        tdb,
        f"SELECT array_agg(p.oid::regprocedure::text) FROM pg_proc p "
        f"WHERE {OF_TENSOR} AND obj_description(p.oid, 'pg_proc') IS NULL",
    )
    operators = value(
        tdb,
        "SELECT array_agg(oid::regoperator::text) FROM pg_operator "
        "WHERE 'tensor'::regtype IN (oprleft, oprright) AND obj_description(oid, 'pg_operator') IS NULL",
    )
    casts = value(
        tdb,
        "SELECT array_agg(castsource::regtype::text || ' AS ' || casttarget::regtype) FROM pg_cast "
        "WHERE 'tensor'::regtype IN (castsource, casttarget) AND obj_description(oid, 'pg_cast') IS NULL",
    )
    assert (functions, operators, casts) == (None, None, None)


def test_no_cast_is_implicit(tdb: Connection) -> None:
    assert (
        value(
            tdb,
            "SELECT count(*) FROM pg_cast WHERE 'tensor'::regtype IN (castsource, casttarget) AND castcontext = 'i'",
        )
        == 0
    )
