"""Walking over the tokens of a query: what the parser is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from delc.dql.problems import Place, QueryError, TooLarge, problem
from delc.dql.syntax import Literal, Value
from delc.dql.tokens import Token, tokens
from delc.server.errors import nearest

DEEPEST = 40
"""How deep parentheses, "not" and queries may nest."""

MOST_PARTS = 2000
"""How many conditions, values or changes one query may have."""

T = TypeVar("T")


class Reader:
    """The tokens of a query and where in them the parser is."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = tokens(text)
        self._next = 0
        self._depth = 0
        self._parts = 0

    @property
    def token(self) -> Token:
        """The token that comes next."""
        return self._tokens[self._next]

    @property
    def following(self) -> Token:
        """The token after that."""
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    @property
    def place(self) -> Place:
        """Where the next token stands."""
        return self.place_of(self.token)

    def place_of(self, token: Token) -> Place:
        """Where a token stands."""
        return Place(self.text, token.at)

    def advance(self) -> Token:
        """Takes the next token."""
        token = self.token
        if token.sort != "end":
            self._next += 1
        return token

    def expected(self, what: str, *words: str) -> QueryError:
        """The error that something else was expected; ``words`` are those that may have been meant."""
        token = self.token
        match = nearest(token.text, words) if token.sort == "word" and words else None
        return problem(
            self.place,
            f"expected {what}, found {token}",
            hint=f"Did you mean {match}?" if match and match != token.text.lower() else None,
        )

    def takes_word(self, *words: str) -> bool:
        """Takes the next token if it is one of the words."""
        if self.token.is_word(*words):
            self.advance()
            return True
        return False

    def takes_sign(self, *signs: str) -> bool:
        """Takes the next token if it is one of the signs."""
        if self.token.is_sign(*signs):
            self.advance()
            return True
        return False

    def word(self, *words: str) -> Token:
        """Takes one of the words, which must come now."""
        if not self.token.is_word(*words):
            raise self.expected(" or ".join(words), *words)
        return self.advance()

    def sign(self, sign: str) -> Token:
        """Takes a sign, which must come now."""
        if not self.token.is_sign(sign):
            raise self.expected(f'"{sign}"')
        return self.advance()

    def name(self, what: str, *words: str) -> Token:
        """Takes a word of any kind, which must come now."""
        if self.token.sort != "word":
            raise self.expected(what, *words)
        return self.advance()

    def string(self, what: str) -> Literal:
        """Takes a string, which must come now."""
        if self.token.sort != "string":
            raise self.expected(what)
        token = self.advance()
        return Literal(token.value, self.place_of(token))

    def number(self, what: str) -> float | int:
        """Takes a number, which must come now."""
        place = self.place
        negative = self.takes_sign("-")
        if self.token.sort != "number":
            raise self.expected(what)
        text = self.advance().text
        if len(text) > 40:
            raise problem(place, "the number is too long")
        value: float | int = int(text) if text.isdigit() else float(text)
        if abs(value) > 1e300:
            raise problem(place, f"the number {text} is too large")
        return -value if negative else value

    def whole(self, what: str, least: int, most: int) -> int:
        """Takes a whole number within bounds, which must come now."""
        place = self.place
        value = self.number(what)
        if value != int(value) or not least <= value <= most:
            raise problem(place, f"{value:g} is not {what}", hint=f"Allowed is {least} to {most}.")
        return int(value)

    def literal(self, what: str = "a string or a number") -> Literal:
        """Takes a string, a number, true or false."""
        place = self.place
        if self.token.sort == "string":
            return self.string(what)
        if self.token.is_word("true", "false"):
            return Literal(self.advance().text.lower() == "true", place)
        if self.token.sort == "number" or self.token.is_sign("-"):
            value: Value = self.number(what)
            return Literal(value, place)
        raise self.expected(what)

    def separated(self, read: Callable[[], T], by: Callable[[], bool]) -> list[T]:
        """One or more of something."""
        found = [read()]
        while by():
            self.count()
            found.append(read())
        return found

    def comma(self) -> bool:
        """Takes a comma, if there is one."""
        return self.takes_sign(",")

    def count(self) -> None:
        """Counts one more part of the query."""
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise problem(self.place, f"the query has more than {MOST_PARTS} parts", kind=TooLarge)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One level deeper."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise problem(self.place, f"the query nests more than {DEEPEST} levels deep", kind=TooLarge)
        try:
            yield
        finally:
            self._depth -= 1
