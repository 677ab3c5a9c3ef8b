"""The package onnx, which not every server has."""

from __future__ import annotations

from typing import Any

from delc.server.errors import WrongState
from delc.server.threads import signals_blocked


def onnx() -> Any:
    """The package; ``WrongState`` says what to install where it is missing."""
    with signals_blocked():
        try:
            import onnx as package
        except ImportError:
            raise WrongState(
                "the Python package onnx is missing on the server",
                hint="Install it where delc.python_path looks, for example with pip install onnx, or python3-onnx of"
                " Debian.",
            ) from None
    return package
