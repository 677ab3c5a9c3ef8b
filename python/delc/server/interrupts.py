"""Cancel and statement_timeout reach Python code only where it asks for them."""

from __future__ import annotations

import _delc
import plpy


def check() -> None:
    """Raises the pending cancel or termination, if there is one, as the exception of a cancelled query. Costs less
    than a microsecond.
    """
    if _delc.interrupted():
        plpy.execute("SELECT 1")
