"""The conditions of a query, and what they speak of: attributes, nodes and templates."""

from __future__ import annotations

from delc.dql.problems import problem
from delc.dql.reading import Reader
from delc.dql.syntax import (
    Argument,
    Attribute,
    Both,
    Comparison,
    Has,
    IsNull,
    ListLiteral,
    Literal,
    Node,
    NodeAttribute,
    Not,
    OneOf,
    Operand,
    Predicate,
    Template,
    Value,
)
from delc.server.errors import nearest

STEPS = ("next", "prev")
OPERATORS = ("=", "<>", "!=", "<", "<=", ">", ">=")
MOST_STEPS = 8
MOST_NAMES = 4
MOST_ELEMENTS = 100
_ACTIONS = ("insert", "delete", "replace")
_AFTER_OPERAND = "a comparison (=, <>, <, <=, >, >=, like, in, is null)"


class ConditionReader:
    """Reads conditions from where the reader is."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def predicate(self) -> Predicate:
        """``… or …``."""
        return self._joined("or", lambda: self._joined("and", self._negation))

    def _joined(self, word: str, read: object) -> Predicate:
        assert callable(read)
        parts = self._reader.separated(read, lambda: self._reader.takes_word(word))
        return parts[0] if len(parts) == 1 else Both(word, tuple(parts))

    def _negation(self) -> Predicate:
        reader = self._reader
        with reader.nested():
            if reader.takes_word("not"):
                return Not(self._negation())
            if reader.takes_sign("("):
                inner = self.predicate()
                reader.sign(")")
                return inner
            return self._condition()

    def _condition(self) -> Predicate:
        reader = self._reader
        place = reader.place
        left = self._operand()
        if isinstance(left, Node):
            return self._of_node(left)
        if reader.takes_word("is"):
            negated = reader.takes_word("not")
            reader.word("null")
            found: Predicate = IsNull(left, place)
            return Not(found) if negated else found
        negated = reader.takes_word("not")
        if reader.takes_word("in"):
            found = OneOf(left, self._values(), place)
        elif reader.takes_word("like"):
            found = Comparison(left, "like", reader.string('a pattern in quotes, such as "digits%"'), place)
        elif negated:
            raise reader.expected("like or in", "like", "in")
        else:
            found = self._comparison(left)
        return Not(found) if negated else found

    def _of_node(self, node: Node) -> Predicate:
        reader = self._reader
        if reader.takes_word("exists"):
            return Has(node, None)
        if not reader.token.is_word("has"):
            raise reader.expected(
                "has, exists, .next, .prev or an attribute of the layers, such as .kind", "has", "exists"
            )
        reader.advance()
        return Has(node, self.template())

    def _comparison(self, left: Operand) -> Comparison:
        reader = self._reader
        place = reader.place
        if not reader.token.is_sign(*OPERATORS):
            raise reader.expected(_AFTER_OPERAND, "like", "in", "is")
        operator = reader.advance().text.replace("!=", "<>")
        right = self._operand()
        if isinstance(right, Node):
            raise problem(
                right.place,
                f"{right} stands for layers, which cannot be compared",
                hint="Say which attribute of them, such as .name.",
            )
        return Comparison(left, operator, right, place)

    def _values(self) -> tuple[Literal | ListLiteral, ...]:
        reader = self._reader
        closing = ")" if reader.token.is_sign("(") else "]"
        if not reader.takes_sign("(", "["):
            raise reader.expected("a list in parentheses")
        found = reader.separated(self._literal, reader.comma)
        reader.sign(closing)
        return tuple(found)

    def _literal(self, what: str = "a string, a number or a list") -> Literal | ListLiteral:
        """One value, or a list of them in brackets."""
        reader, place = self._reader, self._reader.place
        if not reader.takes_sign("["):
            return reader.literal(what)
        found = reader.separated(reader.literal, reader.comma)
        reader.sign("]")
        return ListLiteral(tuple(literal.value for literal in found), place)

    def _operand(self) -> Operand | Node:
        token = self._reader.token
        if token.sort == "word" and not token.is_word("true", "false"):
            return self._path()
        return self._literal('an attribute (m.name), a layer (m["conv1"]), a string or a number')

    def reference(self) -> Attribute | NodeAttribute:
        """An attribute of a model or of layers."""
        found = self._path()
        if isinstance(found, Node):
            raise self._reader.expected("an attribute of the layers, such as .kernel_size")
        return found

    def node(self, *actions: str) -> Node:
        """``m["selector"]`` with its steps; ``actions`` are the words that may follow."""
        reader = self._reader
        start = reader.place
        found = self._path()
        if isinstance(found, NodeAttribute):
            *others, last = (*STEPS, *actions)
            match = nearest(found.name, (*STEPS, *actions))
            raise problem(
                found.name_place,
                f"expected {', '.join(others)} or {last}, found {found.name:.60}",
                hint=f"Did you mean {match}?" if match else None,
            )
        if not isinstance(found, Node):
            raise problem(start, 'expected layers, such as m["conv1"]')
        return found

    def _path(self) -> Attribute | Node | NodeAttribute:
        reader = self._reader
        place = reader.place
        variable = reader.name("a variable").text
        if reader.takes_sign("["):
            return self._layers(variable)
        if not reader.token.is_sign("."):
            raise reader.expected(f'"." or "[" after {variable}')
        names: list[str] = []
        name_place = reader.place
        while reader.takes_sign("."):
            name_place = reader.place
            names.append(reader.name("the name of an attribute").text)
            if reader.takes_sign("["):
                name_place = reader.place
                names.append(str(reader.string("a name in quotes").value))
                reader.sign("]")
            if len(names) > MOST_NAMES:
                raise problem(name_place, f"more than {MOST_NAMES} names follow one another")
        return Attribute(variable, tuple(names), place, name_place)

    def _layers(self, variable: str) -> Node | NodeAttribute:
        reader = self._reader
        place = reader.place
        selector = reader.string('a selector in quotes, such as "conv*"')
        reader.sign("]")
        steps: list[str] = []
        while reader.token.is_sign(".") and not reader.following.is_word(*_ACTIONS):
            reader.advance()
            step = reader.name("next, prev or an attribute of the layers", *STEPS)
            if step.is_word(*STEPS):
                steps.append(step.text.lower())
                if len(steps) > MOST_STEPS:
                    raise problem(reader.place_of(step), f"more than {MOST_STEPS} steps follow one another")
            else:
                node = Node(variable, str(selector.value), tuple(steps), place, selector.place)
                return NodeAttribute(node, step.text, reader.place_of(step), self._index())
        return Node(variable, str(selector.value), tuple(steps), place, selector.place)

    def _index(self) -> int | None:
        """``[1]`` after an attribute that is a list."""
        reader, place = self._reader, self._reader.place
        if not reader.takes_sign("["):
            return None
        index = reader.whole("the number of an element", -MOST_ELEMENTS, MOST_ELEMENTS)
        if index == 0:
            raise problem(place, "elements are counted from 1", hint="[1] is the first, [-1] the last.")
        reader.sign("]")
        return index

    def template(self) -> Template:
        """``POOL("MAX", kernel_size = 2)``; the parentheses may be left out."""
        reader = self._reader
        place = reader.place
        name = reader.name('a template, such as POOL("MAX")')
        arguments: list[Argument] = []
        if reader.takes_sign("(") and not reader.takes_sign(")"):
            arguments = reader.separated(self._argument, reader.comma)
            reader.sign(")")
        return Template(name.text, tuple(arguments), place)

    def _argument(self) -> Argument:
        reader = self._reader
        place = reader.place
        if reader.token.sort == "word" and not reader.token.is_word("true", "false"):
            name = reader.advance().text
            if not reader.token.is_sign(*OPERATORS):
                raise reader.expected(f'"=" after {name}')
            comparison = reader.advance().text.replace("!=", "<>")
            values, is_list = self._argument_value()
            return Argument(name, comparison, values, is_list, place)
        values, is_list = self._argument_value()
        return Argument(None, "=", values, is_list, place)

    def _argument_value(self) -> tuple[tuple[Value, ...], bool]:
        reader = self._reader
        if not reader.takes_sign("["):
            return (reader.literal().value,), False
        found = reader.separated(reader.literal, reader.comma)
        reader.sign("]")
        return tuple(literal.value for literal in found), True
