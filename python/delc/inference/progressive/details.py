"""How answers were come by, as the C function ``emit_details`` takes them."""

from __future__ import annotations

import numpy as np
import torch

from delc.inference.progressive.depths import known_bits
from delc.inference.progressive.methods import NAMES
from delc.inference.progressive.precision import PLANES, PROBABLE
from delc.inference.progressive.settling import IN_FULL, Answers

METHODS = (*NAMES.values(), IN_FULL, PLANES, PROBABLE)

_RECORD = np.dtype([
    ("bits", "<i4"), ("method", "<i4"), ("certified", "<i4"), ("unused", "<i4"),
    ("low", "<f8"), ("high", "<f8"), ("error_rate", "<f8"),
])  # fmt: skip
"""As ``PredictionDetail`` in extension/src/predict_rows.c."""


def packed(answers: Answers, error_rates: torch.Tensor, predictions: int) -> bytes:
    """Records for each of the predictions of every row, row by row."""
    rows = len(answers.bits)
    records = np.zeros((rows, predictions), dtype=_RECORD)
    records["bits"] = np.array([known_bits(depth) for depth in answers.bits.tolist()], dtype=np.int32)[:, None]
    records["method"] = np.array([METHODS.index(method) for method in answers.method], dtype=np.int32)[:, None]
    records["certified"] = answers.certified.numpy()[:, None]
    records["low"] = answers.low.numpy()
    records["high"] = answers.high.numpy()
    records["error_rate"] = error_rates.numpy()[:, None]
    return records.tobytes()
