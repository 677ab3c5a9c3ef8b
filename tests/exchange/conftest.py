"""Tests that need the pretrained transformer are there where it is."""

from __future__ import annotations

from importlib.util import find_spec

from support.minilm import PACKAGE

collect_ignore = [] if find_spec(PACKAGE) else ["test_minilm.py"]
