"""Who may read a data set: its owner, and the roles that were granted it."""

from __future__ import annotations

from delc.datasets import catalog, names, row_rights, source, store, versions
from delc.datasets.versions import DatasetVersion
from delc.server import queries
from delc.server.errors import InvalidParameter, UndefinedObject, WrongState, unknown

UNDEFINED_COLUMN = "42703"


def grant(name: str, role: str, rows: str | None) -> None:
    """Lets a role read all versions of a data set: all rows, or those for which the condition ``rows`` holds."""
    dataset_id = _changeable(name, "grant")
    dataset = catalog.find_dataset(dataset_id)
    _existing(role)
    if rows is not None:
        if role == dataset.owner:
            raise InvalidParameter(f'"{role}" owns data set "{name}" and reads all rows', hint="Leave rows away.")
        version = versions.find(names.parse(dataset.name))
        _check_condition(version, rows)
        _check_place(dataset, version, rows)
    else:
        _require_no_row_security(dataset)
    store.grant_reading(dataset_id, role)
    row_rights.allow(dataset_id, role, rows)
    if rows is not None:
        for version in _all_versions(dataset):
            check_columns(version)


def check_columns(version: DatasetVersion) -> None:
    """An error where a version has a column, in which rights to read rows are said, not where it was."""
    places = dict(zip(version.column_names, zip(version.parts, version.stored_names, strict=True), strict=True))
    for stored in row_rights.columns(version.dataset_id):
        if places.get(stored, (1, stored)) != (1, stored):
            raise _column_in_use(version, stored, "has another type in")


def require_columns(version: DatasetVersion) -> None:
    """An error for a new version that lacks a column in which rights to read rows are said, or has it in another
    type.
    """
    check_columns(version)
    for stored in row_rights.columns(version.dataset_id):
        if stored not in version.column_names:
            raise _column_in_use(version, stored, "is not in")


def _column_in_use(version: DatasetVersion, column: str, what: str) -> WrongState:
    return WrongState(
        f'column "{column}" {what} a version of data set "{version.name}", and rights to read rows depend on it',
        detail="They would not hold for all rows.",
        hint="Grant the data set with rows that leave this column out, or keep the column as it is.",
    )


def _all_versions(dataset: catalog.Dataset) -> list[DatasetVersion]:
    with queries.as_owner():
        found = queries.rows("SELECT number FROM delc.dataset_versions WHERE dataset_id = $1", dataset.id)
    return [versions.find(names.VersionName(dataset.name, row["number"])) for row in found]


def _check_condition(version: DatasetVersion, rows: str) -> None:
    """An error for what is not one expression over the columns that is true or false."""
    columns = queries.describe(f"SELECT (\n{rows}\n) AS allowed FROM ({version.query(ordered=False)}) AS r")
    if [column.type for column in columns] != ["boolean"]:
        raise InvalidParameter(
            f"rows => {queries.quote_literal(rows)} is no condition",
            detail=f"It gives {', '.join(column.type for column in columns)}.",
            hint="Give an expression that is true or false for a row, such as 'who = current_user'.",
        )


def _check_place(dataset: catalog.Dataset, version: DatasetVersion, rows: str) -> None:
    """An error for a condition over columns that policies cannot see as one: they lie in another table than the first,
    or had another type in an older version.
    """
    places = list(zip(version.column_names, version.parts, version.stored_names, strict=True))
    here = [name for name, part, stored in places if part == 1 and stored == name]
    retyped = [name for name, _, stored in places if stored != name]
    problem = _condition_problem(version, rows, here)
    if problem is None:
        return
    if _condition_problem(version, rows, [*here, *retyped]) is None:
        first = next(name for name in retyped if _condition_problem(version, rows, _without(version, name)) is not None)
        raise _retyped_column(dataset, version, rows, first)
    raise InvalidParameter(
        f"rows => {queries.quote_literal(rows)} is about a column that conditions cannot be about: {problem}",
        detail=f'Data set "{version.name}" has more columns than one table of the store holds;'
        f" conditions can be about the {len(here)} columns in the first.",
        hint="Say the rows by one of these; or create the data set from a query with that column among the first.",
    )


def _without(version: DatasetVersion, name: str) -> list[str]:
    return [column for column in version.column_names if column != name]


def _condition_problem(version: DatasetVersion, rows: str, columns: list[str]) -> str | None:
    """What stands against a condition over some of the columns: one that is not among them."""
    text = f"SELECT (\n{rows}\n) AS allowed FROM ({version.query(None, columns, ordered=False)}) AS r LIMIT 0"
    return queries.data_problem(text, (UNDEFINED_COLUMN,))


def _retyped_column(dataset: catalog.Dataset, version: DatasetVersion, rows: str, name: str) -> InvalidParameter:
    def has_it_there(older: DatasetVersion) -> bool:
        return (name, name) in zip(older.column_names, older.stored_names, strict=True)

    def type_in(one: DatasetVersion) -> str:
        return next(column.type for column in one.columns if column.name == name)

    older = next((older for older in _all_versions(dataset) if has_it_there(older)), None)
    was = f'is {type_in(older)} in "{older.title}"' if older else "had another type in a version that was dropped"
    return InvalidParameter(
        f'rows => {queries.quote_literal(rows)} is about column "{name}", which has had another type',
        detail=f'It {was}, and {type_in(version)} in "{version.title}". Each has a column of its own in the store, and'
        " a condition that holds for all versions is about columns that all have in one type.",
        hint="Say the rows by other columns; or make a new data set from the source, and grant that.",
    )


def require_rows_said(target_source: source.Source, dataset: catalog.Dataset) -> None:
    """An error where roles may read all rows, of a source that has row-level security by now."""
    if row_rights.is_on(dataset.id):
        return
    readers = [role for role in row_rights.readers(dataset.id) if role != dataset.owner]
    tables = row_rights.secured_tables(target_source) if readers else []
    if tables:
        raise WrongState(
            f'the source of data set "{dataset.name}" has row-level security now, and other roles may read all rows of'
            " the data set",
            detail=f"It reads {', '.join(tables)}; granted to {', '.join(readers)} without rows being said.",
            hint="Say which rows each may read: SELECT delc.grant_dataset("
            f"{queries.quote_literal(dataset.name)}, {queries.quote_literal(readers[0])},"
            " rows => 'true') for all; or revoke it with delc.revoke_dataset().",
        )


def _require_no_row_security(dataset: catalog.Dataset) -> None:
    """An error where the source reads a table with row-level security: whoever reads the stored rows is not asked its
    policies. A sample has rows of what it was drawn from.
    """
    if source.is_sample(dataset.fields["source"]):
        origin = source.sampled_version(dataset.fields["source"])
        try:
            version = versions.find(names.parse(origin))
        except UndefinedObject:
            raise InvalidParameter(
                f'data set "{dataset.name}" is a sample of "{origin}", which is gone, and no rows are said',
                detail="Who might read which of its rows cannot be told any more.",
                hint="Say which rows the role may read: rows => 'true' for all.",
            ) from None
        if row_rights.is_on(version.dataset_id):
            raise InvalidParameter(
                f'data set "{dataset.name}" is a sample of "{origin}", of which roles may read some rows only',
                hint="Say which rows the role may read: rows => 'who = current_user'; or rows => 'true' for all.",
            )
        _require_no_row_security(catalog.find_dataset(version.dataset_id))
        return
    try:
        found = source.find_source(dataset.fields["source"])
    except UndefinedObject:
        return
    tables = row_rights.secured_tables(found)
    if tables:
        raise InvalidParameter(
            f'data set "{dataset.name}" has rows of a table with row-level security, and no rows are said',
            detail=f"Its source reads {', '.join(tables)}, whose policies hold for its own rows, not for stored ones.",
            hint="Say which rows the role may read: rows => 'who = current_user'; or rows => 'true' for all.",
        )


def revoke(name: str, role: str) -> None:
    """Takes that right back. The owner keeps it."""
    dataset_id = _changeable(name, "revoke")
    with queries.as_owner():
        owner = queries.value("SELECT owner FROM delc.datasets WHERE id = $1", dataset_id)
    if role == owner:
        raise InvalidParameter(f'"{role}" owns data set "{name}" and keeps the right to read it')
    store.revoke_reading(dataset_id, _existing(role))
    row_rights.forget(dataset_id, role)


def _changeable(name: str, what: str) -> int:
    """Id of a data set whose rights the caller may change."""
    parsed = names.parse(name)
    if not parsed.is_bare:
        raise InvalidParameter(
            f'"{name}" names a version, but rights are those of the whole data set', hint=f'Name "{parsed.dataset}".'
        )
    dataset = catalog.lock_dataset(parsed.dataset)
    catalog.require_ownership(dataset, what, or_admin=True)
    return dataset.id


def _existing(role: str) -> str:
    known = [row["name"] for row in queries.rows("SELECT rolname::pg_catalog.text AS name FROM pg_catalog.pg_roles")]
    if role not in known:
        raise unknown("role", str(role), [name for name in known if not name.startswith("pg_")])
    return role
