"""The plan of a query: what matches, what would be built, and what would be tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from delc.dql import making, planning
from delc.dql.halving import Rung, total_iterations
from delc.dql.planning import Plan
from delc.dql.selecting import select
from delc.dql.sources import range_of
from delc.dql.syntax import Construct, Evaluate, Query, Select, Slice, Source

if TYPE_CHECKING:
    from delc.dql.execution import Execution

Line = tuple[str, str]

MOST_NAMED = 8

OPEN = "known once the trials above have been run"


def explain(query: Query, execution: Execution, chain: tuple[str, ...] = ()) -> list[Line]:
    """The lines of the plan, what is nested first: what each is about, and what would happen."""
    match query:
        case Select():
            return [*_nested(query.sources, execution, chain), _select(query, execution, chain)]
        case Evaluate():
            nested = _nested([query.source], execution, chain)
            is_open = _waits_for_trials(query.source, chain)
            return [*nested, *_evaluate(query, planning.plan(query, execution, chain), is_open)]
    return [*_nested([query.source], execution, chain), *_make(query, execution, chain)]


def _nested(sources: Sequence[Source], execution: Execution, chain: tuple[str, ...]) -> list[Line]:
    lines: list[Line] = []
    for source in sources:
        if source.query is not None:
            found = range_of(source, chain)
            assert found.query is not None
            lines += explain(found.query, execution, found.chain)
    return lines


def _waits_for_trials(source: Source, chain: tuple[str, ...]) -> bool:
    """Whether what a source has is only known once trials have been run."""
    if source.query is None:
        return False
    found = range_of(source, chain)
    if found.query is None or isinstance(found.query, Evaluate):
        return found.query is not None
    sources = found.query.sources if isinstance(found.query, Select) else (found.query.source,)
    return any(_waits_for_trials(each, found.chain) for each in sources)


def _select(query: Select, execution: Execution, chain: tuple[str, ...]) -> Line:
    what = f"select {', '.join(query.variables)}"
    if any(_waits_for_trials(source, chain) for source in query.sources):
        most = ""
        if len(query.sources) == len(query.variables) == 1:
            models = len(execution.made(range_of(query.sources[0], chain)))
            models = models if query.limit is None else min(models, query.limit)
            most = f"at most {_count(models, 'version', 'versions')}, "
        return what, f"{most}{OPEN}"
    found = select(query, execution.made, chain)
    return what, f"{_count(len(found.rows), 'version matches', 'versions match')}"


def _make(query: Slice | Construct, execution: Execution, chain: tuple[str, ...]) -> list[Line]:
    drafts = making.drafts(query, execution.made, chain)
    verb = "slice" if isinstance(query, Slice) else "construct"
    count = _count(len(drafts), "network to build", "networks to build")
    if _waits_for_trials(query.source, chain):
        count = f"by what the trials begin with, {count}; {OPEN}"
    lines = [(f"{verb} {query.variable}", count)]
    return lines + [(str(draft.source), f"{draft.name}: {'; '.join(draft.changes)}") for draft in drafts]


def _evaluate(query: Evaluate, plan: Plan, is_open: bool) -> list[Line]:
    count, named = _models(plan)
    models = f"at most {count}, {OPEN}" if is_open else ": ".join(filter(None, (count, named)))
    lines = [(f"evaluate {query.variable}", models)]
    for knob, values in plan.space.given:
        shown = ", ".join(str(value) for value in values[:MOST_NAMED])
        lines.append(
            (f"config.{knob.title}", f"{len(values)} values: {shown}{' …' if len(values) > MOST_NAMED else ''}")
        )
    for knob, scale in plan.space.drawn:
        search = plan.config.search
        lines.append((f"config.{knob.title}", f"auto: {search.samples} drawn by {search.sampler}, {scale.in_words()}"))
    full = len(plan.trials) * plan.iterations
    most = total_iterations(plan.rungs)
    lines.append(("trials", str(len(plan.trials))))
    if plan.refused is not None:
        lines.append(("fail", f"{_count(plan.refused.trials, 'trial', 'trials')}: {plan.refused.message}"))
    lines += [
        (
            "stopping",
            f"{_count(rung.trials, 'trial', 'trials')} to iteration {rung.iterations}, {_then(rung, plan)}",
        )
        for rung in plan.rungs
        if plan.goal is None
    ]
    if plan.goal is not None:
        goal = plan.goal
        lines.append(("stopping", f"each when {goal.metric} {goal.comparison} {goal.threshold:g}, and then it is kept"))
    lines.append(("iterations", f"{most} at most; {full} were every trial trained to the end"))
    lines.append(("processes", _processes(plan)))
    lines.append(("time", _time(plan)))
    return lines


def _models(plan: Plan) -> tuple[str, str]:
    """How many models there are, and their names."""
    sources = list(dict.fromkeys(str(trial.source) for trial in plan.trials))
    named = ", ".join(sources[:MOST_NAMED]) + (" …" if len(sources) > MOST_NAMED else "")
    return _count(plan.models, "model", "models"), named


def _then(rung: Rung, plan: Plan) -> str:
    if rung is plan.rungs[-1]:
        return "which is kept" if rung.trials == rung.kept == 1 else f"of which {_count(rung.kept, 'is', 'are')} kept"
    return f"of which {_count(rung.kept, 'goes on', 'go on')}"


def _processes(plan: Plan) -> str:
    if plan.why_own is not None:
        return f"the session's own, one trial after the other: {plan.why_own}"
    return f"{plan.workers}, the session's own among them, one thread each; they read the rows that this session sees"


def _time(plan: Plan) -> str:
    if not plan.trials:
        return "none"
    iterations = total_iterations(plan.rungs)
    seconds = f"about {plan.estimate.seconds * iterations / plan.workers:.1f} s"
    if not plan.estimate.runs:
        return f"{seconds}, by the networks' sizes (no earlier run of these models is known)"
    return f"{seconds}, by {_count(plan.estimate.runs, 'earlier run', 'earlier runs')} of these models"


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
