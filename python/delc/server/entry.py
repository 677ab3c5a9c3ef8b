"""Where SQL functions enter the package: ``GD["delc"]("room.function", …)``.

This is the one place where exceptions become PostgreSQL errors. Errors of queries and cancels pass through as
PL/Python raised them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NoReturn

import __main__
import plpy

from delc.server.errors import DelcError
from delc.server.threads import signals_blocked


def call(path: str, *arguments: Any) -> Any:
    """Calls ``room.function`` of the package; raises its errors with message, detail, hint and SQLSTATE."""
    try:
        result = _function(path)(*arguments)
    except DelcError as error:
        _raise_to_sql(error)
    if isinstance(result, Iterator):
        return _rows_of(result)
    return result


def _rows_of(rows: Iterator[Any]) -> Iterator[Any]:
    """A set-returning function's rows; the generator runs after ``call`` has returned, so it maps errors itself."""
    try:
        yield from rows
    except DelcError as error:
        _raise_to_sql(error)


@cache
def _function(path: str) -> Callable[..., Any]:
    room, name = path.rsplit(".", 1)
    with signals_blocked():  # rooms import numpy and torch, which start threads
        module = importlib.import_module(f"delc.{room}.functions")
    function: Callable[..., Any] = getattr(module, name)
    return function


def _raise_to_sql(error: DelcError) -> NoReturn:
    given = {"detail": error.detail, "hint": error.hint, "sqlstate": error.sqlstate}
    plpy.error(error.message, **{key: value for key, value in given.items() if value is not None})


# Libraries read these when they are first imported; torch is given its threads call by call.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
__main__.GD["delc"] = call
