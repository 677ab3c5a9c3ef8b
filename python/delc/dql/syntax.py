"""The parts of a query, as the parser gives them."""

from __future__ import annotations

from dataclasses import dataclass, field

from delc.dql.problems import Place

Value = str | float | int | bool


@dataclass(frozen=True)
class Literal:
    """A string, number or truth value."""

    value: Value
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class ListLiteral:
    """``[6, 16, 16]``."""

    values: tuple[Value, ...]
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Attribute:
    """``m.name``, ``m.parent.name``, ``m.metrics["log_loss"]``: a variable and the names after it."""

    variable: str
    names: tuple[str, ...]
    place: Place = field(compare=False, repr=False)
    name_place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Node:
    """``m["conv*"].next.prev``: the layers that a selector names, and steps along the edges from there."""

    variable: str
    selector: str
    steps: tuple[str, ...]
    place: Place = field(compare=False, repr=False)
    selector_place: Place = field(compare=False, repr=False)

    def start(self) -> Node:
        """The node without its steps."""
        return Node(self.variable, self.selector, (), self.place, self.selector_place)

    def __str__(self) -> str:
        return f'{self.variable}["{self.selector}"]' + "".join(f".{step}" for step in self.steps)


@dataclass(frozen=True)
class NodeAttribute:
    """``m["conv*"].kernel_size``; with an index, ``m["conv*"].output_shape[1]``, one element, from 1 or (negative) from
    the end.
    """

    node: Node
    name: str
    name_place: Place = field(compare=False, repr=False)
    index: int | None = None


@dataclass(frozen=True)
class Argument:
    """An argument of a template: ``"MAX"``, ``kernel_size = 3``; in conditions other comparisons too."""

    name: str | None
    comparison: str
    values: tuple[Value, ...]
    is_list: bool
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Template:
    """``POOL("MAX", kernel_size = 2)``."""

    name: str
    arguments: tuple[Argument, ...]
    place: Place = field(compare=False, repr=False)


Operand = Literal | ListLiteral | Attribute | NodeAttribute


@dataclass(frozen=True)
class Comparison:
    """``m.accuracy > 0.9``; the operators are = <> < <= > >= like."""

    left: Operand
    operator: str
    right: Operand
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class OneOf:
    """``m.task in ("regression", "multilabel")``."""

    left: Operand
    values: tuple[Literal | ListLiteral, ...]
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class IsNull:
    """``m.message is null``."""

    operand: Operand
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Has:
    """``m["conv1"].next has POOL("MAX")``; without a template, ``m["conv1"] exists``."""

    node: Node
    template: Template | None


@dataclass(frozen=True)
class Not:
    """``not …``."""

    predicate: Predicate


@dataclass(frozen=True)
class Both:
    """Predicates that must all hold ("and"), or one of them ("or")."""

    word: str
    predicates: tuple[Predicate, ...]


Predicate = Comparison | OneOf | IsNull | Has | Not | Both


@dataclass(frozen=True)
class StoredQuery:
    """``"query3"`` as a source."""

    name: str
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Source:
    """What a variable ranges over: a stored query, a nested one, or (None) the whole repository."""

    variable: str | None
    query: StoredQuery | Query | None
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Key:
    """A key of ``order by``."""

    operand: Attribute | NodeAttribute
    descending: bool


@dataclass(frozen=True)
class Select:
    """``select m1, m2 from … where … order by … limit …``."""

    variables: tuple[str, ...]
    sources: tuple[Source, ...]
    where: Predicate | None
    order: tuple[Key, ...]
    limit: int | None
    places: tuple[Place, ...] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Slice:
    """``slice m2 from m1 where … mutate m2.input = … and m2.output = …``."""

    variable: str
    source: Source
    where: Predicate | None
    input: Node
    output: Node
    name: Literal | None
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Change:
    """``m1["conv1"].insert = RELU("relu1")``; the actions are insert, delete and replace."""

    node: Node
    action: str
    template: Template | None
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Construct:
    """``construct m2 from m1 where … mutate …``."""

    variable: str
    source: Source
    where: Predicate | None
    changes: tuple[Change, ...]
    name: Literal | None
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Setting:
    """``config.net["conv*"].lr``: names, and strings in brackets, after the word "config"."""

    names: tuple[str, ...]
    selector: str | None
    place: Place = field(compare=False, repr=False)

    def __str__(self) -> str:
        if self.selector is None:
            return ".".join(self.names)
        return f'net["{self.selector}"].' + ".".join(self.names)


@dataclass(frozen=True)
class Dimension:
    """One dimension of ``vary``: given values, or (None) "auto", within bounds where they are given."""

    setting: Setting
    values: tuple[Literal, ...] | None
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Keep:
    """``top(5, m["loss"], 100)``, or ``m["accuracy"] > 0.9 after 20``."""

    metric: str
    top: int | None
    comparison: str | None
    threshold: float | None
    iterations: int | None
    place: Place = field(compare=False, repr=False)


@dataclass(frozen=True)
class Evaluate:
    """``evaluate m from … with config = … vary … keep …``."""

    variable: str
    source: Source
    config: Literal
    vary: tuple[Dimension, ...]
    keep: Keep | None
    name: Literal | None
    place: Place = field(compare=False, repr=False)


Query = Select | Slice | Construct | Evaluate


@dataclass(frozen=True)
class Statement:
    """A query, and whether only its plan is asked for."""

    query: Query
    explain: bool
    text: str = field(compare=False, repr=False)
