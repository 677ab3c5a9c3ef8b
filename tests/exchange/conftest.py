"""Tests that need the pretrained transformer are there where it is; programs are of the format of torch 2.7 and later.

What an older torch has written is refused with that hint (test_older_programs.py).
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

from support.minilm import PACKAGE

OLDER_TORCH = torch.__version__ < "2.7"

collect_ignore = [] if find_spec(PACKAGE) else ["test_minilm.py"]
collect_ignore += ["test_programs.py", "test_fuzz.py"] if OLDER_TORCH else []
