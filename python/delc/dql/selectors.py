"""Selectors: patterns over the names of layers.

``*`` stands for any characters, ``?`` for one, ``[1,3,5]`` for one of a list, in which ``2-4`` is a range of numbers.
``($1)`` after any of them remembers what it stood for; where several stars could share characters, earlier ones take as
few as they can.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cached_property

from delc.dql.problems import Place, problem

MOST_STARS = 4
MOST_NAMES = 1000
LONGEST = 200

_PART = re.compile(r"(?P<wild>\*|\?|\[(?P<list>[^\[\]]*)\])(?:\(\$(?P<capture>[1-9])\))?|(?P<text>[\w-]+)")
_CAPTURE = re.compile(r"\(\$[1-9]\)")
_RANGE = re.compile(r"(\d{1,6})-(\d{1,6})")
_WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class Part:
    """A piece of a selector: one of several words (a plain text is one), or a wildcard (``words`` is None)."""

    words: tuple[str, ...] | None
    wildcard: str = ""
    capture: int | None = None


@dataclass(frozen=True)
class Selector:
    """A selector that was read. Two are the same binding of a variable's nodes when their texts are equal, captures
    aside.
    """

    text: str
    parts: tuple[Part, ...]

    @property
    def captures(self) -> frozenset[int]:
        """The numbers after ``$`` that it binds."""
        return frozenset(part.capture for part in self.parts if part.capture is not None)

    @property
    def binding(self) -> str:
        """The text without captures, by which conditions and changes speak of the same layers."""
        return _CAPTURE.sub("", self.text)

    @property
    def is_names(self) -> bool:
        """Whether it has no wildcard, so that it is a list of names."""
        return all(part.words is not None for part in self.parts)

    def names(self) -> list[str]:
        """The names that it stands for where it ``is_names``."""
        return ["".join(words) for words in itertools.product(*(part.words or () for part in self.parts))]

    def like_patterns(self) -> list[str]:
        """Patterns of LIKE of which a name must match one."""
        pieces = [
            [_like(word) for word in part.words] if part.words is not None else ["%" if part.wildcard == "*" else "_"]
            for part in self.parts
        ]
        return ["".join(words) for words in itertools.product(*pieces)]

    def match(self, name: str) -> dict[int, str] | None:
        """What each capture stands for in a name; None where the name is not one of the selector's."""
        found = self._pattern.fullmatch(name)
        if found is None:
            return None
        return {int(key[1:]): value for key, value in found.groupdict().items()}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pieces = []
        for part in self.parts:
            if part.words is not None:
                inner = "|".join(re.escape(word) for word in sorted(part.words, key=len, reverse=True))
            else:
                inner = ".*?" if part.wildcard == "*" else "."
            pieces.append(f"(?:{inner})" if part.capture is None else f"(?P<c{part.capture}>{inner})")
        return re.compile("".join(pieces))


def read_selector(text: str, place: Place) -> Selector:
    """The selector that a text is; ``place`` is where it stands in the query, for errors."""
    if not text or len(text) > LONGEST:
        raise problem(
            place,
            "the selector is empty" if not text else f"the selector has more than {LONGEST} characters",
            hint='Write the name of a layer, or a pattern, such as "conv*", "conv[1,3,5]" or "*".',
        )
    parts: list[Part] = []
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            raise _unreadable(text, at, place)
        parts.append(_part(match, place))
        at = match.end()
    _check(parts, place)
    return Selector(text, tuple(parts))


def fill(pattern: str, captured: dict[int, str], place: Place) -> str:
    """The pattern with ``$1`` and the like replaced by what was captured."""

    def put(match: re.Match[str]) -> str:
        number = int(match.group(1))
        if number not in captured:
            known = ", ".join(f"${each}" for each in sorted(captured)) or "nothing"
            raise problem(
                place,
                f"${number} is not captured by the selector",
                hint=f'It captures {known}. Write ($1) after a wildcard, as in "conv*($1)".',
            )
        return captured[number]

    return re.sub(r"\$([1-9])", put, pattern)


def _part(match: re.Match[str], place: Place) -> Part:
    if match["text"] is not None:
        return Part((match["text"],))
    capture = int(match["capture"]) if match["capture"] else None
    if match["list"] is None:
        return Part(None, match["wild"], capture)
    words: list[str] = []
    for entry in match["list"].split(","):
        words += _entry(entry.strip(), place)
    return Part(tuple(dict.fromkeys(words)), "", capture)


def _entry(entry: str, place: Place) -> list[str]:
    between = _RANGE.fullmatch(entry)
    if between:
        first, last = int(between.group(1)), int(between.group(2))
        if last < first or last - first >= MOST_NAMES:
            raise problem(place, f'"{entry}" in the selector is not a range of up to {MOST_NAMES} numbers')
        return [str(number) for number in range(first, last + 1)]
    if not _WORD.fullmatch(entry):
        raise problem(
            place,
            f'the list of the selector has "{entry}"',
            hint="It has numbers, ranges such as 1-5, or words, with commas between them.",
        )
    return [entry]


def _unreadable(text: str, at: int, place: Place) -> Exception:
    if text[at] == "(":
        hint = "($1) to ($9) stand after *, ? or a list in brackets."
    elif text[at] in "[]":
        hint = "A list is written [1,3,5]."
    else:
        hint = "Names of layers have letters, digits, _ and -; the wildcards are *, ? and [1,3,5]."
    return problem(place, f'"{text[at:][:20]}" in the selector "{text:.60}" means nothing', hint=hint)


def _check(parts: list[Part], place: Place) -> None:
    if sum(part.wildcard == "*" for part in parts) > MOST_STARS:
        raise problem(place, f"the selector has more than {MOST_STARS} stars")
    count = 1
    for part in parts:
        count *= len(part.words) if part.words is not None else 1
    if count > MOST_NAMES:
        raise problem(place, f"the selector stands for more than {MOST_NAMES} names or patterns")
    numbers = [part.capture for part in parts if part.capture is not None]
    if len(set(numbers)) < len(numbers):
        raise problem(place, "the selector captures the same number twice")


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
