"""Words of a text."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text: str) -> list[str]:
    """The lower-cased words of a text: runs of letters, digits and underscores, with apostrophes inside. Everything
    else only separates.
    """
    return _WORD.findall(text.lower())
