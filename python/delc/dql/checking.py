"""What can be known to be wrong with trials before any of them runs, said with its place in the query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from delc.dql.configs import OPTION, Config
from delc.dql.problems import Place, UnknownName, WrongValue, problem
from delc.dql.sampling import Space, with_drawn
from delc.dql.settings import Knob, NoSuchLayer, Settings, knob, network_changes, settings, training_options
from delc.dql.syntax import Evaluate, Keep, Literal, Value
from delc.dql.trial_data import RowStore, TrialRows
from delc.dql.trials import Trial, network_of
from delc.dql.work import LOSSES
from delc.models import parameters
from delc.models.versions import ModelVersion
from delc.networks import Network, resolve
from delc.server import interrupts
from delc.server.errors import DelcError, InvalidParameter, UndefinedObject
from delc.training.options import TrainingOptions


def check_datasets(query: Evaluate, config: Config, rows: RowStore) -> None:
    """Raises where a data set of the configuration or of ``vary`` does not exist."""
    own = [] if config.dataset is None else [Literal(config.dataset, query.config.place)]
    for literal in [*own, *filter(None, _datasets(query, config))]:
        if not isinstance(literal.value, str):
            shown = _shown(literal.value)
            raise problem(literal.place, f"a data set has a name, which {shown} is not", kind=WrongValue)
        try:
            rows.dataset(literal.value)
        except (InvalidParameter, UndefinedObject) as error:
            raise problem(literal.place, error.message, hint=error.hint or error.detail, kind=UnknownName) from None


def check_rows(query: Evaluate, config: Config, trials: Sequence[Trial], rows: RowStore) -> None:
    """Reads the rows of all trials. Raises where no model can read a data set; where single ones cannot, their trials
    fail.
    """
    sources = {trial.source.id: trial.source for trial in trials}.values()
    used = {trial.settings.dataset for trial in trials}
    for literal in _datasets(query, config):
        name = None if literal is None else str(literal.value)
        place = query.config.place if literal is None else literal.place
        errors = [_reading(source, name, place, rows) for source in sources if name in used]
        if errors and all(errors):
            raise _at(place, next(filter(None, errors)))


def _reading(source: ModelVersion, name: str | None, place: Place, rows: RowStore) -> DelcError | None:
    """Why a model cannot read a data set."""
    interrupts.check()
    try:
        found = rows.find(source, name)
    except InvalidParameter as error:  # nothing says which one
        raise _at(place, error) from None
    return found if isinstance(found, DelcError) else None


def _datasets(query: Evaluate, config: Config) -> list[Literal] | list[None]:
    """The data sets that trials are trained on; None: the one of the configuration, or those of the models."""
    varied = [each for each in query.vary if each.values is not None and knob(each.setting).sort == "dataset"]
    if varied:
        return list(varied[0].values or ())
    return [None] if config.dataset is None else [Literal(config.dataset, query.config.place)]


def check_measured(keep: Keep | None, used: Iterable[TrialRows]) -> None:
    """Raises where models are kept by a metric that is measured on validation rows, and a data set has none."""
    if keep is None or keep.metric in LOSSES:
        return
    for rows in used:
        if rows.prepared.validation is None:
            raise problem(
                keep.place,
                f'{keep.metric} is measured on validation rows, of which "{rows.dataset.title}" has none',
                hint='Make the data set with validation rows (validation => 0.2), or keep by m["loss"], which is then'
                " that of the training rows.",
                kind=WrongValue,
            )


def check_comparable(keep: Keep | None, sources: Iterable[ModelVersion], varied: Space) -> None:
    """Raises where the best are to be kept by losses that mean different things: those of different tasks, or of
    different functions.
    """
    if keep is None or keep.top is None or keep.metric not in LOSSES:
        return
    tasks = sorted({source.task for source in sources})
    if len(tasks) > 1:
        raise problem(
            keep.place,
            f"losses of {' and '.join(tasks)} are not of one scale, so none of them is the best of all",
            hint=f'Search for each task by itself: evaluate m from (select a where a.task = "{tasks[0]}" …) ….',
            kind=WrongValue,
        )
    if any(each.name == "loss" and each.sort == OPTION and len(set(values)) > 1 for each, values in varied.given):
        raise problem(
            keep.place,
            "config.loss varies, and values of different losses are not of one scale",
            hint="Keep by another metric, such as accuracy or r2.",
            kind=WrongValue,
        )


@dataclass(frozen=True)
class Refused:
    """Trials that cannot be trained: how many, and the first one's reason."""

    trials: int
    message: str


def check_values(
    query: Evaluate, varied: Space, config: Config, trials: Sequence[Trial], rows: RowStore
) -> Refused | None:
    """Raises where no trial can be trained with a value; gives back what is wrong with single trials."""
    if not trials:
        return None
    looking = _Looking(rows)
    middle = [_chosen(trial, varied, config) for trial in trials]
    errors = [looking.why_not(trial.source, chosen) for trial, chosen in zip(trials, middle, strict=True)]
    wrong = {trial.number: error for trial, error in zip(trials, errors, strict=True) if error is not None}
    if not wrong:
        return None
    sources = list({trial.source.id: trial.source for trial in trials}.values())
    iterations, seed = int(trials[0].settings.options["epochs"]), int(trials[0].settings.options["seed"])
    data = [{each: value} for each, values in varied.given if each.sort == "dataset" for value in values] or [{}]

    def refused(drawn: dict[Knob, Value]) -> DelcError | None:
        """Why no model can be trained with the configuration and these values alone, on any of the data sets."""
        errors = [
            looking.why_not(source, settings(config, {**each, **drawn}, iterations, seed))
            for each in data
            for source in sources
        ]
        return errors[0] if None not in errors else None

    error = refused({})
    if error is not None:
        raise _at(query.config.place, error)
    for each, place, value in _values(query, varied, middle[0]):
        mine = [t for t, chosen in zip(trials, middle, strict=True) if _same(chosen.drawn.get(each.title), value)]
        if each in dict(varied.drawn) or all(trial.number in wrong for trial in mine):
            error = refused({each: value}) if mine else None
            if error is not None:
                raise _at(each.place if isinstance(error, NoSuchLayer) else place, error)
    first = next(iter(wrong.values()))
    if len(wrong) == len(trials):
        raise _at(query.place, first)
    return Refused(len(wrong), first.message)


def _chosen(trial: Trial, varied: Space, config: Config) -> Settings:
    """The settings of a trial, with values from the middle of what is yet to be drawn."""
    drawn = [each for each, _ in varied.drawn]
    if all(each.title in trial.settings.drawn for each in drawn):
        return trial.settings
    point = with_drawn(trial.point, dict.fromkeys(drawn, 0.5), varied, config)
    options = trial.settings.options
    return settings(config, point, int(options["epochs"]), int(options["seed"]))


def _values(query: Evaluate, varied: Space, first: Settings) -> Iterable[tuple[Knob, Place, Value]]:
    """All values that are given, and one of each setting that is drawn."""
    for dimension in query.vary:
        for literal in dimension.values or ():
            yield knob(dimension.setting), literal.place, literal.value
    for each, _ in varied.drawn:
        yield each, each.place, first.drawn[each.title]


@dataclass
class _Looking:
    """Looks whether models can be trained with settings; remembers what takes long."""

    rows: RowStore
    networks: dict[int, tuple[Network, frozenset[str]]] = field(default_factory=dict)
    changed: dict[tuple[int, int, str], DelcError | None] = field(default_factory=dict)

    def why_not(self, source: ModelVersion, chosen: Settings) -> DelcError | None:
        """The error that a trial would end with at its beginning; None where nothing is known against it."""
        interrupts.check()
        if source.id not in self.networks:
            learned = frozenset(name.partition(".")[0] for name in parameters.names(source.snapshot_id))
            self.networks[source.id] = Network.parse(source.network), learned
        network, with_parameters = self.networks[source.id]
        rows = self.rows.find(source, chosen.dataset)
        if isinstance(rows, DelcError):
            return rows
        try:
            options = training_options(chosen, network, with_parameters)
            TrainingOptions.parse(rows.target.task, {"device": "auto", **options})
            changes = network_changes(chosen, network)
        except DelcError as error:
            return error
        if not changes:
            return None
        key = (source.id, rows.number, repr(sorted(changes.items())))
        if key not in self.changed:
            self.changed[key] = _unfit(source, chosen, rows)
        return self.changed[key]


def _unfit(source: ModelVersion, chosen: Settings, rows: TrialRows) -> DelcError | None:
    try:
        network, _ = network_of(source, chosen, rows)
        resolve(network, rows.inputs, rows.target.outputs)
    except DelcError as error:
        return error
    return None


def _at(place: Place, error: DelcError) -> DelcError:
    hint = " ".join(part for part in (error.detail, error.hint) if part) or None
    return problem(place, error.message, hint=hint, kind=WrongValue)


def _same(one: Value | None, other: Value) -> bool:
    return type(one) is type(other) and one == other


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
