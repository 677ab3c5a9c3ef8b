"""Values of "auto" that learn from the trials before: the tree-structured Parzen estimator, by optuna's ask and tell.

Bergstra, Bardenet, Bengio, Kégl, "Algorithms for Hyper-Parameter Optimization" (2011). The study lies in memory. Trials
are proposed in rounds, one for each model and point of the grid: a round is drawn when the one before has been trained
up to the first rung, so that the same seed proposes the same values however many trials run at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from delc.dql.sampling import Space
from delc.dql.settings import Knob
from delc.dql.syntax import Value
from delc.server.errors import InvalidParameter

MODEL = "model"


class Proposals:
    """A study over the knobs that are drawn, given those that are not."""

    def __init__(self, varied: Space, models: int, round_size: int, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise InvalidParameter(
                'the sampler "tpe" needs the Python package optuna, which the server does not have',
                hint='Install it where the server finds Python packages, or leave "sampler" at "sobol".',
            ) from error
        self._optuna: Any = optuna
        self._varied = varied
        self._round_size = round_size
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._sampler: Any = optuna.samplers.TPESampler(seed=seed % 2**32, multivariate=True, constant_liar=True)
        self._study: Any = optuna.create_study(sampler=self._sampler)
        self._distributions = self._ranges(models)
        self._asked: dict[int, Any] = {}
        self._results: dict[int, float | None] = {}
        self._told = 0

    def may_ask(self, trial: int) -> bool:
        """Whether all results are there that the values of a trial depend on."""
        return len(self._results) >= (trial - 1) // self._round_size * self._round_size

    def ask(self, trial: int, model: int, point: Mapping[Knob, Value]) -> dict[Knob, float]:
        """For every drawn knob a share of its range; trials are asked for in their order."""
        self._tell()
        fixed: dict[str, Any] = {MODEL: model}
        for knob, values in self._varied.given:
            fixed[knob.title] = values.index(point[knob])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.sampler = self._optuna.samplers.PartialFixedSampler(fixed, self._sampler)
            self._asked[trial] = asked = self._study.ask(self._distributions)
        return {knob: float(asked.params[knob.title]) for knob, _ in self._varied.drawn}

    def tell(self, trial: int, value: float | None) -> None:
        """A trial's result after the first rung, less is better; None where it failed."""
        self._results.setdefault(trial, value)

    def _tell(self) -> None:
        """Passes on whole rounds, in the order of the trials."""
        while self._told < len(self._results) // self._round_size * self._round_size:
            self._told += 1
            if self._told in self._asked:
                value, asked = self._results[self._told], self._asked[self._told]
                state = self._optuna.trial.TrialState
                self._study.tell(asked, value, state=state.FAIL if value is None else state.COMPLETE)

    def _ranges(self, models: int) -> dict[str, Any]:
        made = self._optuna.distributions
        ranges: dict[str, Any] = {MODEL: made.CategoricalDistribution(range(models))}
        for knob, values in self._varied.given:
            ranges[knob.title] = made.CategoricalDistribution(range(len(values)))
        for knob, _ in self._varied.drawn:
            ranges[knob.title] = made.FloatDistribution(0.0, 1.0)
        return ranges
