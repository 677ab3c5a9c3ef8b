"""Answers for batches of rows: rows that are proven leave, and more bits are read for the others.

Rows that no bound settles get what full precision says, computed for the whole batch as full precision does it: the
same rows in one product, so the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch

from delc.inference.progressive import costs, methods
from delc.inference.progressive.decisions import Decision, exact_evidence
from delc.inference.progressive.margins import MANY
from delc.inference.progressive.methods import Inputs, Method
from delc.inference.progressive.propagation import Boxed, Check, do_nothing
from delc.server import threads

IN_FULL = "in full"

OUT_OF_TIME = "read in full: bounds would have taken more time than they may"

Forward = Callable[[Inputs], torch.Tensor]


class Source(Protocol):
    """A model of which the leading bits are read, and more when asked for."""

    @property
    def bits(self) -> int:
        """Bits of each number that are known now."""

    @property
    def all_bits(self) -> int:
        """Bits of each number that are stored."""

    @property
    def complete(self) -> bool:
        """Whether all of them are."""

    @property
    def missing(self) -> str | None:
        """Why nothing can be certified for this model, or None."""

    @property
    def work(self) -> costs.Work:
        """What bounds have to do."""

    @property
    def seconds_left(self) -> float:
        """What reading the rest takes, at the rate so far."""

    @property
    def prepared(self) -> bool:
        """Whether the parameters are ready for bounds at this depth."""

    def deepen(self) -> None:
        """Reads the next plane or half plane."""

    def read_all(self) -> None:
        """Reads everything that is left."""

    def boxed(self) -> Boxed:
        """The network with its parameters' boxes."""

    def middle(self) -> Forward:
        """The network with the middles of the boxes."""

    def full(self) -> Forward:
        """The network as it is stored; everything was read."""


@dataclass
class Answers:
    """Of a batch. ``outputs`` (rows, outputs) are those of full precision where ``method`` is "in full", otherwise
    those of the middles of the boxes. ``low``, ``high`` (rows, k): the smallest margin, or the numbers.
    """

    outputs: torch.Tensor
    certified: torch.Tensor
    bits: torch.Tensor
    method: list[str]
    low: torch.Tensor
    high: torch.Tensor


@dataclass
class Settler:
    """Settles batches of one call after another; ``remark`` says why everything was read, if so."""

    source: Source
    decision: Decision
    budget: costs.Budget
    check: Check = do_nothing
    remark: str | None = None
    settled: dict[tuple[int, str], int] = field(default_factory=dict)
    _hopeless: set[tuple[int, Method]] = field(default_factory=set)
    _crossing: float = 0.0
    _unshown: float = MANY
    _unplain: float = MANY

    def answer(self, inputs: Inputs) -> Answers:
        """The answers for a batch."""
        rows = len(next(iter(inputs.values())))
        self.budget.earn(self.source.work.flops * rows)
        open_rows = torch.arange(rows)
        answers: Answers | None = None
        if self.source.complete:
            self.remark = self.remark or "the session holds the model in full"
        while len(open_rows) and not self.source.complete and self.may_try(len(open_rows)):
            answers, open_rows = self._at_this_depth(inputs, answers, open_rows)
            if len(open_rows) and not self.source.complete:
                self.source.deepen()
        if len(open_rows):
            answers = self._in_full(inputs, answers, open_rows)
        assert answers is not None
        for bits, method in zip(answers.bits.tolist(), answers.method, strict=True):
            self.settled[(bits, method)] = self.settled.get((bits, method), 0) + 1
        return answers

    def may_try(self, rows: int) -> bool:
        """Whether bounds may be tried at this depth, for a few of the open rows at least; if not, all is read."""
        reason = self._against(rows)
        if reason is not None:
            self.remark = reason
            self.read_all()
        return reason is None

    def _against(self, rows: int) -> str | None:
        """Why bounds are not tried."""
        work, prepared = self.source.work, self.source.prepared
        if not self.budget.affords(work.step(min(rows, costs.SAMPLE), prepared=prepared)):
            return OUT_OF_TIME
        reason = self.decision.possible or self.source.missing
        return None if reason is None else f"read in full at once: {reason}"

    def read_all(self) -> None:
        """Everything that is left, which full precision would have read too."""
        with self.budget.free():
            self.source.read_all()

    def _at_this_depth(
        self, inputs: Inputs, answers: Answers | None, open_rows: torch.Tensor
    ) -> tuple[Answers | None, torch.Tensor]:
        """Tries a few rows, and the others where all of these are settled; the answers and what stays open.

        A row that stays open has the next bits read for it, and at the last depth all rows that wait are settled
        together: what bounds find for them before is not needed. Where not even one pass over all rows can be
        afforded, or reading all that is left takes less time, everything is read.
        """
        work = self.source.work
        whole = work.step(len(open_rows), prepared=self.source.prepared)
        if self.budget.cheap(whole):
            return self._settled(inputs, answers, open_rows)
        if len(open_rows) > costs.SAMPLE and (reason := self._too_many(whole)) is not None:
            self.remark = reason
            self.read_all()
            return answers, open_rows
        sample, rest = open_rows[: costs.SAMPLE], open_rows[costs.SAMPLE :]
        answers, left = self._settled(inputs, answers, sample)
        if len(left) or not len(rest) or not self.budget.affords(work.step(len(rest), prepared=True)):
            return answers, torch.cat([left, rest])
        return self._settled(inputs, answers, rest)

    def _too_many(self, whole: float) -> str | None:
        """Why bounds of that many rows are not even begun."""
        if not self.budget.affords(whole):
            return OUT_OF_TIME
        if whole * self.budget.pace > self.source.seconds_left:
            return "read in full: bounds of so many rows would have taken more time than reading what was left"
        return None

    def _settled(self, inputs: Inputs, answers: Answers | None, rows: torch.Tensor) -> tuple[Answers, torch.Tensor]:
        """The answers with what bounds find for some rows, and those of them that stay open."""
        answers = self._guess(answers, inputs, rows)
        return answers, self._by_methods(inputs, answers, rows)

    def _guess(self, answers: Answers | None, inputs: Inputs, rows: torch.Tensor) -> Answers:
        """The answers with guesses for some rows from the bits that were read so far."""
        work = self.source.work
        estimate = work.guess(len(rows)) + (0.0 if self.source.prepared else work.preparing)
        with self._step(estimate):
            guess = self.source.middle()(methods.some(inputs, rows))
            answers = answers or self._blank(guess, len(next(iter(inputs.values()))))
            answers.outputs[rows] = guess
        return answers

    def _blank(self, some: torch.Tensor, rows: int) -> Answers:
        """No answers for so many rows, of whose outputs some are there to see what they look like."""
        evidence = exact_evidence(self.decision, some[:1])
        nothing = torch.full((rows, *evidence.low.shape[1:]), torch.nan, dtype=torch.float64)
        return Answers(
            torch.zeros((rows, *some.shape[1:]), dtype=some.dtype),
            torch.zeros(rows, dtype=torch.bool),
            torch.zeros(rows, dtype=torch.int64),
            [""] * rows,
            nothing,
            nothing.clone(),
        )

    def _by_methods(self, inputs: Inputs, answers: Answers, open_rows: torch.Tensor) -> torch.Tensor:
        """Tries the methods in order; returns the rows that stay open."""
        self._crossing = 0.0
        for method in Method:
            depth = (self.source.bits, method)
            if len(open_rows) and depth not in self._hopeless:
                open_rows, worthwhile = self._in_portions(method, inputs, answers, open_rows)
                if not worthwhile:
                    self._hopeless.add(depth)
        return open_rows

    def _in_portions(
        self, method: Method, inputs: Inputs, answers: Answers, open_rows: torch.Tensor
    ) -> tuple[torch.Tensor, bool]:
        """Tries a method on more and more rows, as long as it settles them and there is time; returns the rows that
        stay open, and whether the method is worth being tried at this depth again.

        Where a dear method leaves a row open, the next bits are read in any case, and make all the others cheap. It is
        not tried where reading all that is left takes less time.
        """
        outputs = answers.outputs.shape[1]
        whole = self._seconds(method, outputs, len(open_rows))
        size, rest = len(open_rows) if self.budget.cheap(whole) else self._probe(method, outputs), open_rows
        left: list[torch.Tensor] = []
        took = 0.0
        while len(rest):
            # Small portions mostly take the time that any takes, so what they took is no rate.
            estimate = self._seconds(method, outputs, min(size, len(rest)))
            dear = method is not Method.INTERVALS and not self.budget.cheap(estimate)
            if took > self.budget.left or not self.budget.affords(estimate):
                return torch.cat([*left, rest]), False
            if dear and estimate * self.budget.pace > self.source.seconds_left:
                return torch.cat([*left, rest]), False
            portion, rest = rest[:size], rest[size:]
            unsettled, took = self._try(method, inputs, answers, portion, estimate)
            left.append(unsettled)
            enough = costs.WORTHWHILE if method is Method.INTERVALS else 1.0
            if len(portion) - len(unsettled) < enough * len(portion):
                return torch.cat([*left, rest]), False
            size *= costs.GROWTH
        return torch.cat(left), True

    def _probe(self, method: Method, outputs: int) -> int:
        """So many rows that they take a small part of what is left, at least one."""
        size = costs.PROBE
        while size > 1 and not self.budget.affords(costs.CAUTION * self._seconds(method, outputs, size)):
            size //= 2
        return size

    def _seconds(self, method: Method, outputs: int, rows: int) -> float:
        """What a method is expected to take."""
        many = outputs > MANY
        merging = self.source.work.merging(min(outputs, self._unplain) if many else outputs, rows)
        if method is Method.INTERVALS:
            return self.source.work.passes(costs.INTERVAL_PASSES, rows) + merging
        passes = costs.INTERVAL_PASSES + 1.0 + (min(outputs, self._unshown) if many else outputs)
        if method is Method.REFINED:
            passes += self._crossing / 2
        return self.source.work.traces(passes, rows, refined=method is Method.REFINED)

    @contextmanager
    def _step(self, estimate: float) -> Iterator[None]:
        """What the block takes is paid; with one thread, where it is not expected to take long."""
        with self.budget.spending(estimate), threads.one() if estimate < costs.THREADED else nullcontext():
            yield

    def _check(self) -> None:
        """Whether the query was cancelled, and whether there is time left."""
        self.check()
        self.budget.require()

    def _try(
        self, method: Method, inputs: Inputs, answers: Answers, rows: torch.Tensor, estimate: float
    ) -> tuple[torch.Tensor, float]:
        """The rows that stay open, and the seconds it took."""
        before = self.budget.spent
        left: list[torch.Tensor] = []
        portions = methods.portions(rows, self.source.work.rows_at_once)
        try:
            with self._step(estimate):
                while portions:
                    left.append(self._attempt(method, inputs, answers, portions[0]))
                    del portions[0]
        except costs.OutOfTime:
            left.extend(portions)
        return torch.cat(left), self.budget.spent - before

    def _attempt(self, method: Method, inputs: Inputs, answers: Answers, rows: torch.Tensor) -> torch.Tensor:
        """Tries a method on rows of which the bounds are held together; returns those that stay open."""
        some, guess = methods.some(inputs, rows), answers.outputs[rows]
        found = methods.attempt(self.source.boxed(), method, some, guess, self.decision, self._check)
        proven = found.evidence.proven
        done = rows[proven]
        answers.certified[done] = True
        answers.bits[done] = self.source.bits
        answers.low[done], answers.high[done] = found.evidence.low[proven], found.evidence.high[proven]
        for row in done.tolist():
            answers.method[row] = methods.NAMES[method]
        self._crossing, self._unplain = found.crossing, found.unplain
        if not proven.all():
            self._unshown = found.unshown
        return rows[~proven]

    def _in_full(self, inputs: Inputs, answers: Answers | None, open_rows: torch.Tensor) -> Answers:
        self.remark = self.remark or "read in full: some rows were not settled by fewer bits"
        with self.budget.free():
            outputs = self.source.full()(inputs)
        if answers is None:
            answers = self._blank(outputs, len(outputs))
        exact = exact_evidence(self.decision, outputs[open_rows])
        answers.outputs[open_rows] = outputs[open_rows]
        answers.bits[open_rows] = self.source.all_bits
        answers.low[open_rows], answers.high[open_rows] = exact.low, exact.high
        for row in open_rows.tolist():
            answers.method[row] = IN_FULL
        return answers
