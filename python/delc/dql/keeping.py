"""What stays of trials: the kept ones as versions with their weights, all of them in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from delc.datasets.versions import DatasetVersion
from delc.dql.making import NewModel, new_name
from delc.dql.syntax import Evaluate
from delc.dql.trial_data import TrialRows
from delc.dql.trials import Trial
from delc.log import runs
from delc.models import deriving, parameters, versions
from delc.models.parents import WARM_START, Parent, add_parents
from delc.networks import restore
from delc.server import queries
from delc.training.monitor import epoch_metrics

if TYPE_CHECKING:
    from delc.dql.execution import Execution

FRESH_START = "trained anew"
"""How a version is related to one whose network it has, and none of its weights."""


def store_kept(query: Evaluate, execution: Execution, trial: Trial, rows: TrialRows) -> None:
    """Makes the version of a trial that is kept."""
    assert trial.network is not None
    assert trial.used is not None
    model = deriving.check_new_name(new_name(query.name, query.variable, trial.source), "dql")
    state = trial.best if trial.best is not None else trial.weights
    built = restore(trial.network, trial.specs, state)
    version_id = versions.reserve_id()
    learnable = frozenset(name for name, _ in built.module.named_parameters())
    parameters.save(version_id, state, learnable, epoch=trial.used.epoch, is_latest=True)
    trial.run_id = _run_id(trial)
    number = versions.create(
        model,
        execution.run.username,
        versions.NewVersion(
            id=version_id,
            run_id=trial.run_id,
            dataset_version_id=rows.dataset.id,
            task=rows.target.task,
            network=built.network.to_json(),
            features=rows.prepared.features.to_json(),
            target=rows.target.to_json(),
            options=trial.options,
            layers=built.layers,
            parameters=built.parameters,
            message=trial.settings.in_words() or None,
        ),
    )
    relation = FRESH_START if trial.settings.start == "fresh" else WARM_START
    add_parents(version_id, [Parent(trial.source.id, relation, execution.statement.text.strip())])
    execution.run.add_output(model_version_id=version_id)
    execution.keep(version_id, trial.source.id)
    trial.version_id, trial.model = version_id, f"{model}@{number}"


def log_trial(execution: Execution, trial: Trial, dataset: DatasetVersion) -> None:
    """Logs a trial as a run of "trial", with its metrics by iteration, and as a row of ``delc.trials``."""
    trial.run_id = _run_id(trial)
    run = runs.Run(
        trial.run_id,
        "trial",
        trial.model or str(trial.source),
        _arguments(execution, trial),
        trial.settings.options.get("seed", execution.seed),
        execution.run.username,
        trial.started_at or execution.run.started_at,
    )
    for record in trial.records:
        for metric in epoch_metrics(record):
            run.add_metric(metric)
    run.add_input(dataset_version_id=dataset.id, split="train")
    if trial.version_id is not None:
        run.add_input(model_version_id=trial.source.id)
        run.add_output(model_version_id=trial.version_id)
    seconds = sum(record.seconds for record in trial.records)
    runs.write_part(run, seconds=seconds, cpu_seconds=trial.cpu_seconds, error=trial.error)
    with queries.as_owner():
        queries.execute(
            _INSERT_TRIAL,
            trial.run_id,
            execution.run.id,
            queries.typed(trial.logged_number, "integer"),
            str(trial.source),
            queries.json_parameter(dict(trial.settings.drawn)),
            trial.state,
            trial.metric,
            queries.typed(trial.value(), "double precision"),
            queries.typed(trial.iterations, "integer"),
            queries.typed(trial.version_id, "bigint"),
        )


def rename_source(execution: Execution, gone: NewModel) -> None:
    """Says in the log what trials began with whose source has been dropped again."""
    with queries.as_owner():
        queries.execute(_RENAME_RUNS, execution.run.id, gone.title, gone.in_words())
        queries.execute(_RENAME_TRIALS, execution.run.id, gone.title, gone.in_words())


def _run_id(trial: Trial) -> int:
    return trial.run_id if trial.run_id is not None else runs.next_id()


def _arguments(execution: Execution, trial: Trial) -> dict[str, Any]:
    made = execution.origin(trial.source.id)
    origin: dict[str, Any] = {}
    if made is not None:  # by this query, and dropped again where nothing is kept of it
        origin = {"made_from": made.source, "changes": made.detail, "network": trial.source.network}
    return {
        "query_run_id": execution.run.id,
        "trial": trial.logged_number,
        "from_model": str(trial.source),
        **origin,
        "hyperparameters": dict(trial.settings.drawn),
        "start": trial.settings.start,
        "options": trial.options or dict(trial.settings.options),
    }


_INSERT_TRIAL = """
    INSERT INTO delc.trials (run_id, query_run_id, number, source, hyperparameters, state, metric, value, iterations,
                             model_version_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""

_RENAME_RUNS = """
    UPDATE delc.runs AS run SET subject = $3 FROM delc.trials AS trial
    WHERE trial.query_run_id = $1 AND trial.source = $2 AND trial.model_version_id IS NULL AND run.id = trial.run_id
"""

_RENAME_TRIALS = """
    UPDATE delc.trials SET source = $3 WHERE query_run_id = $1 AND source = $2 AND model_version_id IS NULL
"""
