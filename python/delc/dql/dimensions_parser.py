"""The end of an evaluate: what varies, and which models are kept."""

from __future__ import annotations

import math

from delc.dql.problems import WrongValue, problem
from delc.dql.reading import Reader
from delc.dql.syntax import Dimension, Keep, Literal, Setting

MOST_VALUES = 1000
MOST_KEPT = 1000
MOST_ITERATIONS = 1_000_000
_COMPARISONS = ("<", "<=", ">", ">=")
_SERIES = ("range", "log_range")


def dimension(reader: Reader) -> Dimension:
    """``config.base_lr in [0.1, 0.01]``, ``… in range(1, 9, 2)``, ``… in log_range(1e-4, 1e-1, 4)``, ``… auto``."""
    setting = _setting(reader)
    if reader.takes_word("auto"):
        return Dimension(setting, None, _bounds(reader))
    if not reader.takes_word("in"):
        raise reader.expected("in or auto", "in", "auto")
    return Dimension(setting, _values(reader))


def keep_rule(reader: Reader, variable: str) -> Keep:
    """``top(5, m["loss"], 100)``, ``m["accuracy"] > 0.9`` or the same with ``after 20``."""
    place = reader.place
    if reader.token.is_word("top") and reader.following.is_sign("("):
        reader.advance()
        reader.sign("(")
        top = reader.whole("a number of models to keep", 1, MOST_KEPT)
        reader.sign(",")
        metric = _metric(reader, variable)
        iterations = None
        if reader.takes_sign(","):
            iterations = reader.whole("a number of iterations", 1, MOST_ITERATIONS)
        reader.sign(")")
        return Keep(metric, top, None, None, iterations, place)
    if reader.token.text != variable:
        raise reader.expected(f'top(…) or {variable}["metric"]', "top", variable)
    metric = _metric(reader, variable)
    if not reader.token.is_sign(*_COMPARISONS):
        raise reader.expected("<, <=, > or >=")
    comparison = reader.advance().text
    threshold = float(reader.number("a number"))
    iterations = None
    if reader.takes_word("after", "within"):
        iterations = reader.whole("a number of iterations", 1, MOST_ITERATIONS)
        reader.takes_word("iterations", "epochs")
    return Keep(metric, None, comparison, threshold, iterations, place)


def _metric(reader: Reader, variable: str) -> str:
    token = reader.name(f'{variable}["metric"]')
    if token.text != variable:
        raise problem(reader.place_of(token), f'expected {variable}["metric"], found {token}')
    if reader.takes_sign("."):
        return reader.name("the name of a metric").text
    reader.sign("[")
    metric = reader.string("the name of a metric in quotes")
    reader.sign("]")
    return str(metric.value)


def _setting(reader: Reader) -> Setting:
    place = reader.place
    reader.word("config")
    names: list[str] = []
    selector = None
    while reader.takes_sign("."):
        token = reader.name("the name of a setting")
        if not names and token.is_word("net", "network", "layers") and reader.takes_sign("["):
            selector = str(reader.string('a selector in quotes, such as "conv*"').value)
            reader.sign("]")
        else:
            names.append(token.text)
    if not names:
        raise reader.expected('"." and the name of a setting')
    if len(names) > 2:
        raise problem(place, "more than two names of settings follow one another")
    return Setting(tuple(names), selector, place)


def _bounds(reader: Reader) -> tuple[float, float] | None:
    if not reader.takes_sign("("):
        return None
    place = reader.place
    low = float(reader.number("the least value"))
    reader.sign(",")
    high = float(reader.number("the greatest value"))
    reader.sign(")")
    if low >= high:
        raise problem(place, f"the least value, {low:g}, is not less than the greatest, {high:g}", kind=WrongValue)
    return low, high


def _values(reader: Reader) -> tuple[Literal, ...]:
    place = reader.place
    if reader.token.is_word(*_SERIES):
        word = reader.advance().text.lower()
        reader.sign("(")
        numbers = reader.separated(lambda: float(reader.number("a number")), reader.comma)
        reader.sign(")")
        if len(numbers) != 3:
            raise problem(place, f"{word} takes three numbers", hint=_SERIES_HINT[word])
        found = _range(*numbers) if word == "range" else _log_range(*numbers)
        if found is None:
            raise problem(place, f"this {word} has no values, or too many", hint=_SERIES_HINT[word], kind=WrongValue)
        return tuple(Literal(value, place) for value in found)
    if not reader.takes_sign("["):
        raise reader.expected("a list in brackets, range(…) or log_range(…)", *_SERIES)
    values = reader.separated(reader.literal, reader.comma)
    reader.sign("]")
    return tuple(values)


_SERIES_HINT = {
    "range": f"Write range(first, last, step), such as range(16, 64, 16); up to {MOST_VALUES} values.",
    "log_range": f"Write log_range(first, last, count), such as log_range(0.0001, 0.1, 4); 2 to {MOST_VALUES} values.",
}


def _range(first: float, last: float, step: float) -> list[float | int] | None:
    if step == 0 or (last - first) / step < 0 or (last - first) / step >= MOST_VALUES:
        return None
    count = math.floor((last - first) / step + 1e-9) + 1
    return [_whole(first + place * step) for place in range(count)]


def _log_range(first: float, last: float, count: float) -> list[float | int] | None:
    if first <= 0 or last <= 0 or count != int(count) or not 2 <= count <= MOST_VALUES:
        return None
    steps = int(count) - 1
    start, ratio = math.log(first), math.log(last) - math.log(first)
    inner = [float(f"{math.exp(start + ratio * place / steps):.6g}") for place in range(1, steps)]
    return [_whole(value) for value in [first, *inner, last]]


def _whole(value: float) -> float | int:
    rounded = float(f"{value:.12g}")
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded
