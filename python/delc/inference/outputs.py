"""From a network's outputs to labels, probabilities and numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from delc.features.fitted_target import Classification, FittedTarget, Multilabel, Regression

PRESENT = 0.5
"""Above this probability a row of a multilabel model has a label."""

Codes = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float64]


def scores(target: FittedTarget, logits: torch.Tensor) -> Scores:
    """(rows, outputs): probabilities of the labels, or numbers on the target's own scale."""
    if isinstance(target, Classification):
        return torch.softmax(logits.double(), dim=1).numpy()
    if isinstance(target, Multilabel):
        return torch.sigmoid(logits.double()).numpy()
    return target.unscale(logits.numpy())


def text_of(target: FittedTarget, logits: torch.Tensor) -> str:
    """What ``predict`` returns for one row of outputs (1, outputs)."""
    if isinstance(target, Classification):
        return target.labels[int(logits.argmax())]
    values = scores(target, logits)[0]
    if isinstance(target, Multilabel):
        return target.decode(values > PRESENT)
    if len(values) == 1:
        return repr(float(values[0]))
    return "{" + ",".join(repr(float(value)) for value in values) + "}"


def ranked(target: FittedTarget, logits: torch.Tensor, top: int | None) -> tuple[Codes, Scores]:
    """The predictions of each row, (rows, k): codes into the target's labels, -1 for none, and their scores.

    Classification and several labels give the ``top`` most likely; without ``top``, the most likely one, or all
    labels that are present. Regression gives every output.
    """
    if isinstance(target, Regression):
        values = scores(target, logits)
        return np.broadcast_to(np.arange(values.shape[1], dtype=np.int32), values.shape), values
    if isinstance(target, Classification) and top in (None, 1):
        logits = logits.double()
        best, codes = logits.max(dim=1, keepdim=True)
        return codes.int().numpy(), (best - logits.logsumexp(dim=1, keepdim=True)).exp_().numpy()
    values = scores(target, logits)
    k = min(top or values.shape[1], values.shape[1])
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(values, order, axis=1)
    codes_of_rows = order.astype(np.int32)
    if top is None:
        codes_of_rows[found <= PRESENT] = -1
    return codes_of_rows, found
