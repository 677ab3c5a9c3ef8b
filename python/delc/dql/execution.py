"""Running a query, with the queries that are nested in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from delc.dql import making, rows
from delc.dql.evaluating import evaluate
from delc.dql.explaining import explain
from delc.dql.making import NewModel
from delc.dql.planning import stand_ins
from delc.dql.problems import TooLarge, problem
from delc.dql.rows import Row
from delc.dql.selecting import select
from delc.dql.sources import Range, range_of
from delc.dql.syntax import Construct, Evaluate, Query, Select, Slice, Statement
from delc.log import runs
from delc.log.runs import Run, running
from delc.models.dropping import drop_versions_made
from delc.server import interrupts, progress, queries, rights
from delc.server.errors import InsufficientPrivilege, WrongState
from delc.server.memory import MemoryWatch

MOST_NESTED = 100
"""How many queries one may come to, with those that are nested in it and stored ones counted as often as they occur."""


class Execution:
    """One query under way. What nested queries make is made once, whoever asks for it.

    ``tried`` counts the trials of all its evaluates. ``is_plan``: nothing is trained.
    """

    def __init__(self, statement: Statement, run: Run | None, seed: int, *, is_plan: bool = False) -> None:
        self.statement = statement
        self.is_plan = is_plan
        self.seed = seed
        self.watch = MemoryWatch.begin()
        self.tried = 0
        self._run = run
        self._made: dict[Query, list[int]] = {}
        self._new: dict[int, NewModel] = {}
        self._bases: dict[int, int] = {}
        self._wanted: set[int] = set()
        self._depth = 0

    @property
    def run(self) -> Run:
        """The run that the query is logged as; queries that only select have none."""
        assert self._run is not None
        return self._run

    def rows(self) -> list[Row]:
        """The rows of the query."""
        query = self.statement.query
        match query:
            case Select():
                return rows.found_rows(select(query, self.made))
            case Evaluate():
                return [trial.row(query.variable) for trial in evaluate(query, self, ())]
        made = self.make(query, ())
        self._wanted.update(model.version_id for model in made)
        return rows.made_rows(query.variable, made, self.run.id)

    def made(self, source: Range) -> list[int]:
        """The ids of the versions that a nested query makes."""
        query = source.query
        assert query is not None
        if query not in self._made:
            self._made[query] = self._ids(query, source.chain)
        if not self._depth:
            self._wanted.update(self._made[query])
        return self._made[query]

    def origin(self, version_id: int) -> NewModel | None:
        """How this query has made a version; None for versions that were there before, and for kept trials."""
        return self._new.get(version_id)

    @contextmanager
    def for_trials(self) -> Iterator[None]:
        """What nested queries make in the block is only wanted for models that are kept of it."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def keep(self, version_id: int, source_id: int) -> None:
        """A trial that began with the source is kept as a version."""
        self._bases[version_id] = source_id
        self._wanted |= {version_id, source_id}

    def drop_unused(self) -> list[NewModel]:
        """Drops the versions that were made so that trials could begin with them, and of which nothing was kept; gives
        them back. While another evaluate is under way that may still need them, nothing goes.
        """
        if self._depth:
            return []
        used = set(self._wanted)
        waiting = list(used)
        while waiting:
            base = self._bases.get(waiting.pop())
            if base is not None and base not in used:
                used.add(base)
                waiting.append(base)
        unused = {version_id: new for version_id, new in self._new.items() if version_id not in used}
        if unused:
            drop_versions_made(sorted(unused), self.run.username)
            self.run.outputs = [each for each in self.run.outputs if each.model_version_id not in unused]
            self._made = {query: ids for query, ids in self._made.items() if unused.keys().isdisjoint(ids)}
            self._new = {version_id: new for version_id, new in self._new.items() if version_id not in unused}
        return list(unused.values())

    def _ids(self, query: Query, chain: tuple[str, ...]) -> list[int]:
        match query:
            case Select():
                return [ids[0] for ids in select(query, self.made, chain).rows]
            case Evaluate() if self.is_plan:
                return stand_ins(query, self, chain)
            case Evaluate():
                kept = [trial.version_id for trial in evaluate(query, self, chain)]
                return [version_id for version_id in kept if version_id is not None]
        if self.is_plan and queries.value("SELECT current_setting('transaction_read_only')::boolean"):
            raise WrongState(
                "the plan of a query that makes models for another one takes a transaction that may write",
                detail="The models are made for it, and undone.",
                hint="Explain it outside of the read-only transaction.",
            )
        return [model.version_id for model in self.make(query, chain)]

    def make(self, query: Slice | Construct, chain: tuple[str, ...]) -> list[NewModel]:
        """The versions of a slice or construct. All networks are checked before the first is stored."""
        drafts = making.drafts(query, self.made, chain)
        result = []
        for draft in drafts:
            interrupts.check()
            new = making.store(self.run, draft, self.statement.text.strip(), self.seed, self.watch)
            self._new[new.version_id], self._bases[new.version_id] = new, draft.source.id
            result.append(new)
        return result


def execute(statement: Statement, seed: int, dry_run: bool = False) -> list[Row]:
    """Runs a query, or says what it would do. Those that make or try models are logged as a run of "dql"."""
    needs = _needs(statement.query, (), [])
    for function in sorted(needs):
        require_right(function)
    if statement.explain or dry_run:
        return _explained(statement, seed, bool(needs))
    if not needs:
        return Execution(statement, None, seed).rows()
    arguments = {"query": statement.text, "seed": seed}
    with running("dql", subject=_subject(statement.query), arguments=arguments, seed=seed) as run:
        return Execution(statement, run, seed).rows()


def _explained(statement: Statement, seed: int, makes: bool) -> list[Row]:
    """The plan of a query. What nested queries make is made for it, and undone."""
    if not makes:
        return rows.plan_rows(explain(statement.query, Execution(statement, None, seed, is_plan=True)))
    with queries.rolled_back(), progress.silenced():
        run = Run(0, "dql", _subject(statement.query), {}, seed, rights.caller(), runs.now())
        lines = explain(statement.query, Execution(statement, run, seed, is_plan=True))
    return rows.plan_rows(lines)


def require_right(function: str) -> None:
    """Raises ``InsufficientPrivilege`` unless the caller may call the function whose work the query does."""
    caller = rights.caller()
    with queries.as_owner():
        may = queries.value(
            "SELECT bool_or(has_function_privilege($1, oid, 'EXECUTE')) FROM pg_proc"
            " WHERE pronamespace = 'delc'::regnamespace AND proname = $2",
            queries.typed(caller, "name"),
            queries.typed(function, "name"),
        )
    if not may:
        what = "try models" if function == "train" else "make models"
        raise InsufficientPrivilege(
            f"permission denied to {what} with a query",
            detail=f"It does what delc.{function}() does, which {caller} may not call.",
            hint="Ask for membership in delc_trainer.",
        )


def _needs(query: Query, chain: tuple[str, ...], seen: list[Query]) -> set[str]:
    """The functions whose work a query does, with all that are nested in it, which ``seen`` collects."""
    seen.append(query)
    sources = query.sources if isinstance(query, Select) else (query.source,)
    found = {"copy_model"} if isinstance(query, Slice | Construct) else set()
    if isinstance(query, Evaluate):
        found.add("train")
    for source in sources:
        nested = range_of(source, chain) if source.query is not None else None
        if nested is not None and nested.query is not None:
            if len(seen) >= MOST_NESTED:
                raise problem(
                    source.place,
                    f"stored and nested queries come to more than {MOST_NESTED}",
                    hint="A stored query counts as often as it is named, with all that it names.",
                    kind=TooLarge,
                )
            found |= _needs(nested.query, nested.chain, seen)
    return found


def _subject(query: Query) -> str:
    variable = query.variables[0] if isinstance(query, Select) else query.variable
    return f"{type(query).__name__.lower()} {variable}"
