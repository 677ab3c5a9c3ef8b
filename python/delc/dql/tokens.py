"""A query as tokens: words, numbers, strings and signs, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from delc.dql.problems import Place, TooLarge, problem

MOST_CHARACTERS = 100_000

Sort = Literal["word", "number", "string", "sign", "end"]


@dataclass(frozen=True)
class Token:
    """One token. ``text`` is as written; a string's ``value`` is what it holds, trimmed at both ends."""

    sort: Sort
    text: str
    at: int
    value: str = ""

    def is_word(self, *words: str) -> bool:
        """Whether it is one of the words, in any case."""
        return self.sort == "word" and self.text.lower() in words

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of the signs."""
        return self.sort == "sign" and self.text in signs

    def __str__(self) -> str:
        return "the end of the query" if self.sort == "end" else f"{self.text:.60}"


_SPACE = re.compile(r"\s+|--[^\n]*|/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_STRING = re.compile(r'"((?:[^"]|"")*)"|' r"'((?:[^']|'')*)'")
_SIGN = re.compile(r"<=|>=|<>|!=|[=<>()\[\],.;*-]")


def tokens(text: str) -> list[Token]:
    """The tokens of a query, the last one of the sort "end". Comments (``-- …``, ``/* … */``) are left out."""
    if len(text) > MOST_CHARACTERS:
        raise TooLarge(f"the query has {len(text)} characters; allowed are {MOST_CHARACTERS}")
    found: list[Token] = []
    at = 0
    while at < len(text):
        space = _SPACE.match(text, at)
        if space:
            at = space.end()
            continue
        token = _token(text, at)
        found.append(token)
        at += len(token.text)
    return [*found, Token("end", "", len(text.rstrip()))]


def _token(text: str, at: int) -> Token:
    string = _STRING.match(text, at)
    if string:
        quote = text[at]
        held = (string.group(1) if quote == '"' else string.group(2)).replace(quote * 2, quote)
        return Token("string", string.group(), at, held.strip())
    for sort, pattern in (("word", _WORD), ("number", _NUMBER), ("sign", _SIGN)):
        match = pattern.match(text, at)
        if match:
            return Token(sort, match.group(), at)  # type: ignore[arg-type]
    if text[at] in "\"'":
        raise problem(Place(text, at), "a string begins here and has no end", hint=f"Close it with {text[at]}.")
    if text.startswith("/*", at):
        raise problem(Place(text, at), "a comment begins here and has no end", hint="Close it with */.")
    raise problem(Place(text, at), f'"{text[at]}" means nothing here')
