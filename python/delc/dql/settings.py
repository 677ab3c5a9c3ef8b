"""What ``vary`` changes: settings of a configuration, and what they become in a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from delc.dql.configs import (
    ARGUMENT,
    DATASET,
    OPTIMIZER_ARGUMENTS,
    OPTION,
    OPTIONS,
    OTHER_NAMES,
    Config,
    setting_named,
)
from delc.dql.problems import Place, WrongValue, problem, unknown_name
from delc.dql.selectors import Selector, read_selector
from delc.dql.syntax import Setting, Value
from delc.networks import KINDS, Network
from delc.server.errors import InvalidParameter
from delc.training.arguments import boolean

LEARNING_RATE, WEIGHT_DECAY, FREEZE = "learning_rate", "weight_decay", "freeze"
_LAYER_SETTINGS = {"lr": LEARNING_RATE, "learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY, "freeze": FREEZE}
_LAYER_ARGUMENTS = frozenset(argument.name for kind in KINDS.values() for argument in kind.arguments)

_FIXED = {
    "epochs": 'The query says how long: keep top(1, m["loss"], 20). Without keep the configuration does.',
    "device": "All trials share a machine. Set it in the configuration.",
    "optimizer_arguments": "Vary them one by one, such as config.momentum.",
    "freeze": 'Vary it by layers: config.net["conv*"].freeze in [true, false].',
    "start": "Set it in the configuration: warm or fresh.",
    "search": "It says how to search. Set it in the configuration.",
}
"""Settings that do not vary, and what to do instead."""


class NoSuchLayer(InvalidParameter):
    """A setting of layers names none of a network."""


@dataclass(frozen=True)
class Knob:
    """A setting that varies: an option, an argument of the optimiser, the data set, or a setting of layers.

    ``sort`` is "option", "optimizer argument", "dataset", "layers" (of the optimiser) or "argument" (of layers).
    """

    title: str
    sort: str
    name: str
    place: Place
    selector: Selector | None = None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What it sets, by whichever of its names."""
        return self.sort, self.name, None if self.selector is None else self.selector.binding


@dataclass(frozen=True)
class Settings:
    """All that one trial is trained with."""

    dataset: str | None
    start: str
    options: dict[str, Any]
    layers: tuple[tuple[Selector, str, Value], ...] = ()
    arguments: tuple[tuple[Selector, str, Value], ...] = ()
    drawn: Mapping[str, Value] = field(default_factory=dict)

    def in_words(self) -> str:
        """What was varied, as a result shows it."""
        return ", ".join(f"{name} = {_shown(value)}" for name, value in self.drawn.items())


def knob(setting: Setting) -> Knob:
    """What a setting of the query is; an error with the nearest name where there is none."""
    if setting.selector is not None:
        return _of_layers(setting)
    found = setting_named(setting.names[0])
    if found == (OPTION, "optimizer_arguments") and len(setting.names) == 2:
        name = setting.names[1]
        if name not in OPTIMIZER_ARGUMENTS:
            raise unknown_name(setting.place, "argument of optimizers", name, OPTIMIZER_ARGUMENTS)
        return Knob(str(setting), ARGUMENT, name, setting.place)
    if found is not None and len(setting.names) == 1 and found[1] not in _FIXED:
        return Knob(str(setting), *found, setting.place)
    name = OTHER_NAMES.get(setting.names[0], setting.names[0])
    if name in _FIXED:
        raise problem(
            setting.place, f"config.{setting} is a setting that does not vary", hint=_FIXED[name], kind=WrongValue
        )
    names = (*OPTIONS, DATASET, *OPTIMIZER_ARGUMENTS, *OTHER_NAMES)
    known = [each for each in names if OTHER_NAMES.get(each, each) not in _FIXED]
    raise unknown_name(setting.place, "setting", ".".join(setting.names), known)


def settings(config: Config, drawn: Mapping[Knob, Value], iterations: int, seed: int) -> Settings:
    """The configuration with the values of one trial."""
    options = {**config.options, "epochs": iterations}
    options.setdefault("seed", seed)
    result = Settings(config.dataset, config.start, options, drawn={each.title: drawn[each] for each in drawn})
    for each, value in drawn.items():
        if each.sort == DATASET:
            result = replace(result, dataset=str(value))
        elif each.sort == OPTION:
            result.options[each.name] = value
        elif each.sort == ARGUMENT:
            arguments = dict(result.options.get("optimizer_arguments") or {})
            result.options["optimizer_arguments"] = {**arguments, each.name: value}
        else:
            assert each.selector is not None
            if each.sort == "layers":
                result = replace(result, layers=(*result.layers, (each.selector, each.name, value)))
            else:
                result = replace(result, arguments=(*result.arguments, (each.selector, each.name, value)))
    return result


def training_options(chosen: Settings, network: Network, with_parameters: frozenset[str]) -> dict[str, Any]:
    """The options of the training, with settings of layers given to the layers' names.

    ``with_parameters``: the layers that have any. ``InvalidParameter`` where a selector names none of them.
    """
    options = dict(chosen.options)
    arguments = dict(options.get("optimizer_arguments") or {})
    by_layer: dict[str, Any] = dict(arguments.get("layers") or {})
    frozen = list(options.get("freeze") or [])
    for selector, name, value in chosen.layers:
        matched = [layer for layer in network.names if selector.match(layer) is not None and layer in with_parameters]
        if not matched:
            raise NoSuchLayer(
                f'no layer with parameters is one of "{selector.text}"',
                detail=f"Layers with parameters are: {', '.join(sorted(with_parameters))}.",
            )
        if name == FREEZE:
            frozen += matched if boolean(FREEZE, value) else []
        else:
            for layer in matched:
                by_layer[layer] = {**by_layer.get(layer, {}), name: value}
    if by_layer:
        arguments["layers"] = by_layer
    options["optimizer_arguments"], options["freeze"] = arguments, frozen
    return options


def network_changes(chosen: Settings, network: Network) -> dict[str, dict[str, Value]]:
    """The arguments of layers that a trial changes, by layer."""
    changes: dict[str, dict[str, Value]] = {}
    for selector, name, value in chosen.arguments:
        matched = [
            layer.name
            for layer in network
            if selector.match(layer.name) is not None
            and any(argument.name == name for argument in KINDS[layer.kind].arguments)
        ]
        if not matched:
            raise NoSuchLayer(f'no layer with the argument "{name}" is one of "{selector.text}"')
        for layer_name in matched:
            changes.setdefault(layer_name, {})[name] = value
    return changes


def _of_layers(setting: Setting) -> Knob:
    assert setting.selector is not None
    if len(setting.names) != 1:
        raise problem(setting.place, "a setting of layers has one name", hint='Write config.net["conv*"].lr.')
    selector = read_selector(setting.selector, setting.place)
    name = setting.names[0]
    if name in _LAYER_SETTINGS:
        return Knob(str(setting), "layers", _LAYER_SETTINGS[name], setting.place, selector)
    if name in _LAYER_ARGUMENTS:
        return Knob(str(setting), "argument", name, setting.place, selector)
    raise unknown_name(setting.place, "setting of layers", name, [*_LAYER_SETTINGS, *_LAYER_ARGUMENTS])


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
