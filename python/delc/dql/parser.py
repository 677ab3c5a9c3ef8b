"""From the text of a query to its parts, by recursive descent (the grammar: docs/dql.md)."""

from __future__ import annotations

from delc.dql.conditions_parser import ConditionReader
from delc.dql.dimensions_parser import dimension, keep_rule
from delc.dql.problems import Place, QueryError, problem
from delc.dql.reading import Reader
from delc.dql.syntax import (
    Change,
    Construct,
    Evaluate,
    Key,
    Literal,
    Node,
    Predicate,
    Query,
    Select,
    Slice,
    Source,
    Statement,
    StoredQuery,
)

MOST_VARIABLES = 6
MOST_ROWS = 2**31 - 1

_VERBS = ("select", "slice", "construct", "evaluate")
_ENDS = ("where", "mutate", "with", "order", "limit", "vary", "keep", "as", "in", "from", "and")
ACTIONS = ("insert", "delete", "replace")


def parse(text: str | None) -> Statement:
    """The query that a text holds; ``QueryError`` says where it is none, and what was expected."""
    if text is None:
        raise QueryError("the query is NULL", hint='Write one, such as: select m where m.name like "digits%".')
    reader = Reader(text)
    explain = reader.takes_word("explain")
    query = _query(reader)
    reader.takes_sign(";")
    if reader.token.sort != "end":
        raise reader.expected("the end of the query", *_ENDS)
    return Statement(query, explain, text)


def _query(reader: Reader) -> Query:
    with reader.nested():
        verb = reader.word(*_VERBS)
        place = reader.place_of(verb)
        match verb.text.lower():
            case "select":
                return _select(reader)
            case "slice":
                return _slice(reader, place)
            case "construct":
                return _construct(reader, place)
        return _evaluate(reader, place)


def _select(reader: Reader) -> Select:
    places: list[Place] = []

    def variable() -> str:
        places.append(reader.place)
        return _variable(reader)

    names = reader.separated(variable, reader.comma)
    _refuse_repeated(names, places)
    sources = reader.separated(lambda: _source(reader), reader.comma) if reader.takes_word("from") else []
    if len(names) + len(sources) > 2 * MOST_VARIABLES:
        raise problem(places[0], f"more than {MOST_VARIABLES} variables")
    where = _where(reader)
    order = _order(reader)
    limit = reader.whole("a number of rows", 0, MOST_ROWS) if reader.takes_word("limit") else None
    return Select(tuple(names), tuple(sources), where, order, limit, tuple(places))


def _slice(reader: Reader, place: Place) -> Slice:
    variable, source = _made_from(reader)
    where = _where(reader)
    reader.word("mutate")
    ends: dict[str, Node] = {}
    while True:
        end = _end_of_slice(reader, variable, ends)
        reader.sign("=")
        ends[end] = ConditionReader(reader).node()
        if not reader.takes_word("and"):
            break
    missing = [end for end in ("input", "output") if end not in ends]
    if missing:
        raise reader.expected(f"and {variable}.{missing[0]} = …", "and")
    return Slice(variable, source, where, ends["input"], ends["output"], _name(reader), place)


def _end_of_slice(reader: Reader, variable: str, known: dict[str, Node]) -> str:
    token = reader.name(f"{variable}.input or {variable}.output")
    if token.text != variable:
        raise problem(reader.place_of(token), f"expected {variable}.input or {variable}.output, found {token}")
    reader.sign(".")
    end = reader.word("input", "output")
    if end.text.lower() in known:
        raise problem(reader.place_of(end), f"{variable}.{end.text.lower()} is given twice")
    return end.text.lower()


def _construct(reader: Reader, place: Place) -> Construct:
    variable, source = _made_from(reader)
    where = _where(reader)
    reader.word("mutate")
    changes = reader.separated(lambda: _change(reader), lambda: reader.takes_word("and"))
    return Construct(variable, source, where, tuple(changes), _name(reader), place)


def _change(reader: Reader) -> Change:
    conditions = ConditionReader(reader)
    node = conditions.node(*ACTIONS)
    reader.sign(".")
    action = reader.word(*ACTIONS)
    name = action.text.lower()
    template = None
    if name != "delete" or reader.token.is_sign("="):
        reader.sign("=")
        template = conditions.template()
    return Change(node, name, template, reader.place_of(action))


def _evaluate(reader: Reader, place: Place) -> Evaluate:
    variable = _variable(reader)
    reader.word("from")
    source = _source(reader)
    reader.word("with")
    reader.word("config")
    reader.sign("=")
    config = reader.string("the name of a configuration, in quotes")
    vary = (
        reader.separated(lambda: dimension(reader), lambda: reader.takes_word("and"))
        if reader.takes_word("vary")
        else []
    )
    keep = keep_rule(reader, variable) if reader.takes_word("keep") else None
    return Evaluate(variable, source, config, tuple(vary), keep, _name(reader), place)


def _made_from(reader: Reader) -> tuple[str, Source]:
    place = reader.place
    variable = _variable(reader)
    reader.word("from")
    source = _source(reader)
    if source.variable == variable:
        raise problem(place, f"{variable} is made from itself", hint="Give the new model a name of its own.")
    return variable, source


def _source(reader: Reader) -> Source:
    """``m``, ``m in "query"``, ``m in (query)``, ``"query"`` or ``(query)``."""
    place = reader.place
    variable = None
    if reader.token.sort == "word":
        variable = _variable(reader)
        if not reader.takes_word("in"):
            return Source(variable, None, place)
    if reader.token.sort == "string":
        name = reader.string("a query")
        return Source(variable, StoredQuery(str(name.value), name.place), place)
    if not reader.takes_sign("("):
        raise reader.expected("a variable, the name of a stored query in quotes, or a query in parentheses")
    query = _query(reader)
    reader.sign(")")
    return Source(variable, query, place)


def _variable(reader: Reader) -> str:
    if reader.token.is_word(*_VERBS, *_ENDS, "by", "has", "not", "or", "like"):
        raise reader.expected("a variable")
    token = reader.name("a variable")
    if len(token.text) > 63:
        raise problem(reader.place_of(token), "the variable's name is too long")
    return token.text


def _where(reader: Reader) -> Predicate | None:
    return ConditionReader(reader).predicate() if reader.takes_word("where") else None


def _order(reader: Reader) -> tuple[Key, ...]:
    if not reader.takes_word("order"):
        return ()
    reader.word("by")
    return tuple(reader.separated(lambda: _key(reader), reader.comma))


def _key(reader: Reader) -> Key:
    operand = ConditionReader(reader).reference()
    descending = reader.takes_word("desc")
    if not descending:
        reader.takes_word("asc")
    return Key(operand, descending)


def _name(reader: Reader) -> Literal | None:
    return reader.string("a name in quotes") if reader.takes_word("as") else None


def _refuse_repeated(names: list[str], places: list[Place]) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise problem(places[position], f"the variable {name} is named twice")
    if len(names) > MOST_VARIABLES:
        raise problem(places[MOST_VARIABLES], f"more than {MOST_VARIABLES} variables")
