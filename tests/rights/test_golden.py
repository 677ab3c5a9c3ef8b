"""Who may do what, as the catalogs say, compared with golden.txt: a change of rights is a change to be looked at."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from support.cluster import Connection
from support.workplace import rows

GOLDEN = Path(__file__).with_name("golden.txt")
REGENERATE = "DELC_WRITE_GOLDEN"

RIGHTS = """
    SET LOCAL search_path = pg_catalog;
    WITH object AS (
        SELECT 'function' AS kind, format('%s%s', oid::regprocedure, CASE WHEN prosecdef THEN ' SECURITY DEFINER' END)
                   AS name, proowner AS owner, coalesce(proacl, acldefault('f', proowner)) AS acl
        FROM pg_proc WHERE pronamespace = 'delc'::regnamespace
        UNION ALL
        SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE relkind::text END,
               oid::regclass::text, relowner,
               coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
        FROM pg_class
        WHERE relnamespace IN ('delc'::regnamespace, 'delc_data'::regnamespace) AND relkind IN ('r', 'v', 'S')
        UNION ALL
        SELECT 'type', oid::regtype::text, typowner, coalesce(typacl, acldefault('T', typowner))
        FROM pg_type WHERE typnamespace = 'delc'::regnamespace AND typelem = 0
            AND (typrelid = 0 OR typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c'))
        UNION ALL
        SELECT 'schema', nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner))
        FROM pg_namespace WHERE nspname LIKE 'delc%'
        UNION ALL
        SELECT 'column', format('%s.%I', attrelid::regclass, attname), relowner, attacl
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'delc'::regnamespace AND attacl IS NOT NULL
    ), grants AS (
        SELECT kind, name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS role,
               string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ' ' ORDER BY privilege_type)
                   AS rights
        FROM object, aclexplode(acl) WHERE grantee <> owner GROUP BY 1, 2, 3
    )
    SELECT format('%s %s: %s', kind, name,
                  coalesce((SELECT string_agg(format('%s %s', role, rights), ', ' ORDER BY role) FROM grants
                            WHERE grants.kind = object.kind AND grants.name = object.name), 'owner alone')) AS line
    FROM object
    UNION ALL
    SELECT format('role %s: %s%s%s', role.rolname, CASE WHEN rolcanlogin THEN 'may log in' ELSE 'no login' END,
                  CASE WHEN rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
                       THEN ', powers' END,
                  (SELECT string_agg(', is in ' || groups.rolname, '' ORDER BY groups.rolname) FROM pg_auth_members AS m
                   JOIN pg_roles AS groups ON groups.oid = m.roleid WHERE m.member = role.oid))
    FROM pg_roles AS role WHERE rolname IN ('delc_user', 'delc_trainer', 'delc_admin', 'delc_store')
"""


def test_rights_are_those_of_the_golden_file(db: Connection) -> None:
    found = "".join(f"{line}\n" for line in lines(db))
    if os.environ.get(REGENERATE):
        GOLDEN.write_text(found)
    golden = GOLDEN.read_text()
    difference = "".join(difflib.unified_diff(golden.splitlines(True), found.splitlines(True), "golden", "found"))
    assert not difference, f"{difference}\nIf these are the rights to be: {REGENERATE}=1 make test TESTS=tests/rights"


def test_nothing_is_granted_to_public_but_what_views_on_versions_call(db: Connection) -> None:
    assert [line for line in lines(db) if "PUBLIC" in line] == [
        "function delc.row_set_contains(bytea,bigint): PUBLIC EXECUTE, delc_user EXECUTE",
        "function delc.row_set_union(bytea): PUBLIC EXECUTE, delc_user EXECUTE",
    ]


def test_nothing_runs_with_its_owners_rights_whatever_the_search_path(db: Connection) -> None:
    exposed = rows(
        db,
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'delc'::regnamespace AND prosecdef"
        " AND NOT coalesce(proconfig @> '{\"search_path=pg_catalog, pg_temp\"}', false)",
    )
    assert exposed == []


def lines(db: Connection) -> list[str]:
    setting, query = RIGHTS.split(";", 1)
    db.execute(setting)
    return sorted(line for (line,) in rows(db, query))
