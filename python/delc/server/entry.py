"""Where SQL functions enter the package: ``GD["delc"]("room.function", …)``, or ``GD["delc_rows"]``.

This is the one place where exceptions become PostgreSQL errors. Errors of queries, cancels among them, keep all their
parts but lose the name of PL/Python's exception in front.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import plpy

import __main__
from delc.server.errors import Conflict, DelcError, OutOfMemory
from delc.server.queries import UNDEFINED_TABLE, sqlstate_of
from delc.server.starved import is_starved, told
from delc.server.streams import TOLD, row_by_row
from delc.server.threads import signals_blocked


def call(path: str, *arguments: Any) -> Any:
    """Calls ``room.function`` of the package; raises its errors with message, detail, hint and SQLSTATE.

    Rows come as a list: from a generator PL/Python would take them one by one, and lose what an error says.
    """
    try:
        result = _function(path)(*arguments)
        return list(result) if isinstance(result, Iterator) else result
    except TOLD as error:
        found = _for_user(error)
        if found is None:
            raise
        raise found from None


def stream(path: str, *arguments: Any) -> Iterator[Any]:
    """The same for a function of many large rows with a tensor "value", which come one by one."""
    return row_by_row(_function(path)(*arguments), _for_user)


def _for_user(error: Exception) -> plpy.Error | None:
    """The error that the user gets; None for what is no error of the package, of a query or of starving."""
    if isinstance(error, DelcError):
        return _error_for_user(error.message, error.detail, error.hint, error.sqlstate)
    if is_starved(error):
        return _error_for_user(_STARVED, told(error), "Try again later, or with less at a time.", OutOfMemory.sqlstate)
    if not isinstance(error, plpy.SPIError):
        return None
    if _is_dropped_data(error):
        return _error_for_user(*_DROPPED_DATA, Conflict.sqlstate)
    _, detail, hint, *_ = error.spidata
    # A function of this package inside of the query has put the name there already.
    message = str(error).removeprefix(f"{_UserError.__name__}: ")
    return _error_for_user(message, detail, hint, sqlstate_of(error))


_STARVED = "out of memory: the system gave no more"

_DROPPED_DATA = (
    "the data set was dropped by another transaction meanwhile",
    None,
    "Name another one, or make it anew with delc.create_dataset().",
)


def _is_dropped_data(error: plpy.SPIError) -> bool:
    """Whether a table of the data store is gone that was there when the call looked its version up."""
    return sqlstate_of(error) == UNDEFINED_TABLE and 'relation "delc_data.' in str(error)


@cache
def _function(path: str) -> Callable[..., Any]:
    room, name = path.rsplit(".", 1)
    with signals_blocked():  # rooms import numpy and torch, which start threads
        module = importlib.import_module(f"delc.{room}.functions")
    function: Callable[..., Any] = getattr(module, name)
    return function


def _error_for_user(message: str, detail: str | None, hint: str | None, sqlstate: str) -> plpy.Error:
    """The exception from whose attributes PL/Python takes the parts of an error; its class name goes before the
    text.
    """
    raised = _UserError(message)
    raised.detail, raised.hint, raised.sqlstate = detail, hint, sqlstate
    return raised


class _UserError(plpy.Error):
    detail: str | None
    hint: str | None
    sqlstate: str


_UserError.__name__ = "delc"
_UserError.__module__ = "builtins"  # PL/Python leaves out this module's name only

# Libraries read these when they are first imported; torch is given its threads call by call.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
__main__.GD["delc"] = call
__main__.GD["delc_rows"] = stream
