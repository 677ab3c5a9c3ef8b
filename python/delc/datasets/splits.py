"""Who is trained on, validated on and tested on: which split a row falls into, as SQL.

Rows are dealt out one after another in the order of their hash, within each stratum. The p-th row of a stratum is held
out when the rounded share of p rows is one more than that of p − 1, and the q-th row held out is a test row by the same
rule. So every split's size differs from its exact share by less than one row, whatever the number of rows, and rows
that come later continue where the earlier ones stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from delc.server.errors import InvalidData, InvalidParameter

SPLITS = {"train": "t", "validation": "v", "test": "e"}
"""The splits, each with the letter that stands for it in the column delc_split."""

MOST_STRATA = 50
"""An integer target with more distinct values than this is not stratified: it counts or numbers something."""

FEWEST_ROWS_IN_STRATUM = 5
"""Nor is an integer target that has fewer rows than this for each value, on average."""


@dataclass(frozen=True)
class Shares:
    """The shares of the rows that are kept for validation and for tests."""

    validation: float
    test: float

    @property
    def held_out(self) -> float:
        return self.validation + self.test

    @property
    def test_of_held_out(self) -> float:
        """Which part of the rows held out are test rows."""
        return self.test / self.held_out if self.held_out else 0.0


@dataclass(frozen=True)
class Existing:
    """SQL expressions for what a stratum holds already: rows, rows held out, test rows."""

    rows: str = "0"
    held_out: str = "0"
    test: str = "0"


def check_shares(validation: float | None, test: float | None) -> Shares:
    """The shares, or ``InvalidParameter``: each is at least 0, and something is left to train on."""
    given = {"validation": validation, "test": test}
    for name, share in given.items():
        if share is None or not math.isfinite(share) or share < 0:
            raise InvalidParameter(
                f"{name} is {share}, which is not a share of the rows",
                detail="validation and test are numbers of at least 0, together less than 1.",
                hint=f"Use 0 for no {name} rows.",
            )
    shares = Shares(validation or 0.0, test or 0.0)
    if shares.held_out >= 1:
        raise InvalidParameter(
            f"validation => {validation} and test => {test} leave no rows to train on",
            detail="validation and test are shares of the rows, together less than 1.",
            hint="The defaults are validation => 0.1, test => 0.2.",
        )
    return shares


def check_split(split: str | None) -> str | None:
    """A split's name as given by the user, or None for all rows; ``InvalidParameter`` when it is no split."""
    if split is None or split in SPLITS:
        return split
    raise InvalidParameter(
        f'unknown split "{split}"',
        detail="Known are: train, validation, test.",
        hint="Leave split away, or use NULL, for all rows.",
    )


def letter(place: str, shares: Shares, existing: Existing) -> str:
    """SQL for the split of the row at ``place`` (counted from 1 among the new rows of its stratum)."""
    if shares.held_out == 0:
        return "'t'"
    held_out = _Steps(shares.held_out, existing.rows, existing.held_out, first_stays=True)
    rank = held_out.at(place)
    test = _Steps(shares.test_of_held_out, existing.held_out, existing.test, first_stays=False)
    if shares.validation == 0:
        test_row = "'e'"
    elif shares.test == 0:
        test_row = "'v'"
    else:
        test_row = f"CASE WHEN {test.is_step(rank)} THEN 'e' ELSE 'v' END"
    return f"CASE WHEN {held_out.is_step(place)} THEN {test_row} ELSE 't' END"


def letter_of_column(column: str) -> str:
    """SQL for the split that the user's own column says; '?' for anything but the three names."""
    cases = " ".join(f"WHEN '{name}' THEN '{sign}'" for name, sign in SPLITS.items())
    return f"CASE {column}::pg_catalog.text {cases} ELSE '?' END"


def unknown_split_error(column: str, found: str | None, rows: int) -> InvalidData:
    """The error for a value of the user's split column that is none."""
    value = "NULL" if found is None else f'"{found}"'
    return InvalidData(
        f'column "{column}" says {value}, which is not a split',
        detail=f"It must say train, validation or test; {rows} {'rows do' if rows != 1 else 'row does'} not.",
        hint="Change the values, or leave split away so that delc splits.",
    )


@dataclass(frozen=True)
class _Steps:
    """A count that grows by 0 or 1 with every row: how many of the first ``place`` new rows are taken."""

    share: float
    rows: str
    taken: str
    first_stays: bool

    def at(self, place: str) -> str:
        if self.rows == "0":
            rounded = f"pg_catalog.round({self.share!r}::pg_catalog.float8 * ({place}))"
            return f"LEAST({rounded}, GREATEST(({place}) - 1, 0))" if self.first_stays else rounded
        total = f"(({self.rows}) + ({place}))"
        rounded = f"pg_catalog.round({self.share!r}::pg_catalog.float8 * {total})"
        wanted = f"LEAST({rounded}, {total} - 1)" if self.first_stays else rounded
        return f"LEAST(GREATEST({wanted} - ({self.taken}), 0), ({place}))"

    def is_step(self, place: str) -> str:
        return f"{self.at(place)} > {self.at(f'({place}) - 1')}"
