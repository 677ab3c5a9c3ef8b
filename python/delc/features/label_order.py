"""The order of labels and categories."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

_NUMBER = re.compile(r"-?\d{1,100}(?:\.\d{1,100})?")


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Labels by their value when all of them are plain numbers, otherwise by their characters. 2 comes before 10."""
    texts = list(labels)
    if all(_NUMBER.fullmatch(text) for text in texts):
        return sorted(texts, key=lambda text: (Decimal(text), text))
    return sorted(texts)
