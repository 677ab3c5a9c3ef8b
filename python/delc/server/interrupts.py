"""Cancel and statement_timeout reach Python code only where it asks for them."""

from __future__ import annotations

import time

import _delc
import plpy

CLIENT_SECONDS = 0.5
"""How often is looked whether the client is there; it takes a call of the system."""

_looked = 0.0


def check() -> None:
    """Raises the pending cancel or termination, if there is one, as the exception of a cancelled query. Costs less
    than a microsecond.
    """
    if _delc.interrupted():
        plpy.execute("SELECT 1")


def check_client() -> None:
    """As ``check``, and ends the session where its client is gone: for work whose result nobody would get. PostgreSQL
    itself looks only where ``client_connection_check_interval`` is set.
    """
    global _looked
    now = time.monotonic()
    if now - _looked > CLIENT_SECONDS:
        _looked = now
        _delc.client_gone()
    check()
