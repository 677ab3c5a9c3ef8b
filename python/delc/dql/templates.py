"""Templates of layers: ``POOL("MAX")``, ``RELU``, ``CONV(kernel_size = 3)``.

The name of a template is a kind of layer (docs/layers.md) in any case, with or without "_", or one of the families
below. As a condition it says of what kind a layer must be, with which arguments; as a change it makes a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from delc.dql.problems import WrongValue, problem, unknown_name
from delc.dql.syntax import Argument, Template
from delc.networks import KINDS
from delc.networks.arguments import NotAllowed

RANKS = {1: "2d", 2: "1d", 3: "2d", 4: "3d"}
"""The suffix of the kinds for values with so many dimensions, rows not counted."""

POOLS = {
    "MAX": ("max_pool", "adaptive_max_pool", "global_max_pool"),
    "AVG": ("avg_pool", "adaptive_avg_pool", "global_average_pool"),
}
_POOL_WORDS = {"MAX": "MAX", "AVG": "AVG", "AVE": "AVG", "AVERAGE": "AVG", "MEAN": "AVG"}
_POOL_NAMES = ("POOL", "POOLING")

WITH = "with"
"""The argument of templates that names the other layers which a layer reads."""


def _chapter(chapter: str) -> tuple[str, ...]:
    return tuple(name for name, kind in KINDS.items() if kind.chapter == chapter and "dropout" not in name)


def _beginning(*starts: str) -> tuple[str, ...]:
    return tuple(name for name in KINDS if name.startswith(starts))


FAMILIES: dict[str, tuple[str, ...]] = {
    "CONV": ("conv1d", "conv2d", "conv3d"),
    "CONVOLUTION": ("conv1d", "conv2d", "conv3d"),
    "DECONV": _beginning("conv_transpose"),
    "POOL": tuple(name for name in KINDS if "pool" in name),
    "POOLING": tuple(name for name in KINDS if "pool" in name),
    "FC": ("linear",),
    "FULL": ("linear",),
    "DENSE": ("linear",),
    "IP": ("linear",),
    "INNER_PRODUCT": ("linear",),
    "ACTIVATION": _chapter("Activations"),
    "NORM": _chapter("Normalisation and dropout"),
    "BN": _beginning("batch_norm"),
    "BATCH_NORM": _beginning("batch_norm"),
    "INSTANCE_NORM": _beginning("instance_norm"),
    "LRN": ("local_response_norm",),
    "DROPOUT": _beginning("dropout"),
    "MAX_POOL": _beginning("max_pool"),
    "AVG_POOL": _beginning("avg_pool"),
    "RECURRENT": ("rnn", "gru", "lstm"),
    "ATTENTION": ("multihead_attention", "transformer_encoder_layer"),
    "LAYER": tuple(KINDS),
}
"""Names that stand for several kinds, or are usual elsewhere."""

_SINGLE = {"ACTIVATION", "NORM", "RECURRENT", "ATTENTION", "LAYER"}
"""Families from which nobody could tell which layer is to be made."""


@dataclass(frozen=True)
class Wanted:
    """What a template says of a layer: its kinds, a pattern of its name, its arguments, and with which other layers it
    is read together (``with = "relu2"``).
    """

    kinds: tuple[str, ...]
    name: str | None
    arguments: tuple[Argument, ...]
    template: Template
    others: Argument | None = None

    def other_inputs(self) -> tuple[str, ...]:
        """The names, or selectors, of the layers that it reads besides the one that it stands after."""
        return () if self.others is None else tuple(map(str, self.others.values))


def read_template(template: Template) -> Wanted:
    """The kinds of layers that a template names, with its arguments checked against theirs."""
    kinds = _kinds(template)
    given = list(template.arguments)
    if template.name.upper() in _POOL_NAMES and given and given[0].name is None:
        kinds = _pools(given.pop(0))
    name = None
    if given and given[0].name is None:
        name = _name(given.pop(0))
    others = _others(template, given)
    given = [argument for argument in given if argument is not others]
    known = {argument.name for kind in kinds for argument in KINDS[kind].arguments}
    for argument in given:
        if argument.name is None:
            raise problem(
                argument.place,
                f"{template.name} has another argument without a name",
                hint='The name of the layer comes first, all others by name: CONV("conv9", kernel_size = 3).',
            )
        if argument.name not in known:
            raise unknown_name(argument.place, f"argument of {template.name}", argument.name, [*known, WITH])
    return Wanted(kinds, name, tuple(given), template, others)


def _others(template: Template, given: list[Argument]) -> Argument | None:
    found = [argument for argument in given if argument.name == WITH]
    if not found:
        return None
    if len(found) > 1 or found[0].comparison != "=" or not all(isinstance(each, str) for each in found[0].values):
        raise problem(
            found[-1].place,
            f"{WITH} names the other layers that {template.name} reads",
            hint='Write with = "relu2", or with = ["relu1", "relu2"].',
            kind=WrongValue,
        )
    return found[0]


def canonical(kind: str, name: str, value: Any) -> Any:
    """The form in which layers of a kind hold a value of an argument: sizes that are all equal as one number. The value
    itself where they have no such argument, or not with such a value.
    """
    known = [argument.type for argument in KINDS[kind].arguments if argument.name == name]
    try:
        return known[0].accept(value) if known else value
    except NotAllowed:
        return value


def layer_of(wanted: Wanted, dimensions: int, reads: int = 1) -> tuple[str, dict[str, Any]]:
    """Kind and arguments of the layer that a template makes where values with so many dimensions arrive, from so many
    layers besides those that the template names.
    """
    kind = _one_kind(wanted, dimensions)
    _check_inputs(wanted, kind, reads + len(wanted.other_inputs()))
    arguments: dict[str, Any] = {}
    for argument in wanted.arguments:
        if argument.comparison != "=":
            raise problem(
                argument.place,
                f"{argument.name} is compared, but a layer that is made needs a value",
                hint='Write "=".',
            )
        arguments[str(argument.name)] = list(argument.values) if argument.is_list else argument.values[0]
    if kind.startswith(("max_pool", "avg_pool")):
        arguments.setdefault("kernel_size", 2)
    return kind, arguments


def _check_inputs(wanted: Wanted, kind: str, reads: int) -> None:
    least, most = KINDS[kind].least, KINDS[kind].most
    place = wanted.template.place if wanted.others is None else wanted.others.place
    if reads < least:
        hint = f'Name the others: {wanted.template.name}(with = "…").'
        raise problem(place, f"{kind} reads {least} layers, and not {reads}", hint=hint)
    if most is not None and reads > most:
        raise problem(place, f"{kind} reads {'one layer' if most == 1 else f'{most} layers'}, and not {reads}")


def _one_kind(wanted: Wanted, dimensions: int) -> str:
    template, kinds = wanted.template, wanted.kinds
    if len(kinds) == 1:
        return kinds[0]
    if "dropout" in kinds and "linear" not in kinds:
        return "dropout"
    if template.name.upper() in _SINGLE:
        raise problem(
            template.place,
            f"{template.name} stands for {len(kinds)} kinds of layers, so none can be made of it",
            hint=f"Name one of them: {', '.join(kinds[:12])}.",
        )
    fitting = [kind for kind in kinds if kind.endswith(RANKS.get(dimensions, "2d")) and not kind.startswith("adaptive")]
    if len(fitting) != 1:
        raise problem(
            template.place, f"{template.name} does not say which pool", hint='Write POOL("MAX") or POOL("AVG").'
        )
    return fitting[0]


def _kinds(template: Template) -> tuple[str, ...]:
    upper = template.name.upper()
    if upper in FAMILIES:
        return FAMILIES[upper]
    folded = {name.replace("_", ""): name for name in KINDS}
    kind = folded.get(template.name.lower().replace("_", ""))
    if kind is None:
        names = [*FAMILIES, *(name.upper() for name in KINDS)]
        raise unknown_name(template.place, "template", template.name, names)
    return (kind,)


def _pools(argument: Argument) -> tuple[str, ...]:
    word = str(argument.values[0]).strip().upper()
    if argument.is_list or word not in _POOL_WORDS:
        raise unknown_name(argument.place, "kind of pool", str(argument.values[0]), POOLS)
    starts = POOLS[_POOL_WORDS[word]]
    return tuple(name for name in KINDS if name.startswith(starts))


def _name(argument: Argument) -> str:
    value = argument.values[0]
    if argument.is_list or not isinstance(value, str):
        raise problem(
            argument.place,
            "the first argument without a name is that of the layer, a string",
            hint='Name the others: CONV("conv9", kernel_size = 3).',
            kind=WrongValue,
        )
    return value
