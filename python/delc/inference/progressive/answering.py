"""Answers of a stored model with a reading other than full: for the batches of a query, or for one row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from delc.features.fitted_target import FittedTarget, target_from_json
from delc.inference.progressive import methods, precision, probable
from delc.inference.progressive.costs import SAMPLE, OutOfTime
from delc.inference.progressive.decisions import Decision, decision_for, exact_evidence
from delc.inference.progressive.depths import known_bits
from delc.inference.progressive.methods import Inputs
from delc.inference.progressive.planes import Reading, require_depth
from delc.inference.progressive.precision import Precision
from delc.inference.progressive.settling import IN_FULL, OUT_OF_TIME, Answers, Settler
from delc.inference.progressive.stored import StoredModel, open_model
from delc.models.versions import ModelVersion
from delc.server import interrupts, progress

NONE_CERTIFIED = torch.nan

UNDIVIDED = "read in full at once: the least of the parameters that bounds can be made from is all that is stored"
"""Where numbers have no more bits than the first depth, or where their leading planes cannot be read by themselves."""


@dataclass
class Step:
    """Rows that were settled at one depth with one method, and what the call had read by then."""

    rows: int
    bytes: int
    chunks: int
    shared_bytes: int


@dataclass
class Report:
    """What a call has read."""

    model: str
    stored_bytes: int
    steps: dict[tuple[int, str], Step] = field(default_factory=dict)
    remark: str | None = None
    rounded: str | None = None


_last: list[Report] = []


@dataclass
class Answering:
    """Answers batches of a version with a chosen precision. ``error_rates`` (rows,): of the last batch, NaN without."""

    model: StoredModel
    chosen: Precision
    decision: Decision
    target: FittedTarget
    report: Report
    settler: Settler
    started: Reading
    error_rates: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def answer(self, inputs: Inputs) -> Answers:
        """The answers for a batch of inputs."""
        rows = len(next(iter(inputs.values())))
        self.error_rates = torch.full((rows,), torch.nan, dtype=torch.float64)
        metered = self.chosen.kind in (precision.PROGRESSIVE, precision.PROBABLE)
        with self.model.budget.spending() if metered else nullcontext():
            found = self._answer(inputs, rows)
        self._count(found)
        return found

    def _answer(self, inputs: Inputs, rows: int) -> Answers:
        if self.chosen.kind == precision.FULL:
            if not self.model.complete:
                self.model.read_all()
            return self._all(self.model.full()(inputs), IN_FULL, self.model.all_bits)
        if self.chosen.kind == precision.PROGRESSIVE:
            if not self.model.bits and not self.model.complete:
                self._begin(rows)
            return self.settler.answer(inputs)
        if self.chosen.kind == precision.PROBABLE:
            return self._probable(inputs)
        self.model.read_to(self.chosen.bits)
        return self._all(self.model.approximate(self.chosen.bits)(inputs), precision.PLANES, self.chosen.bits)

    def _begin(self, rows: int) -> None:
        """Reads up to the first depth, or everything where bounds have no chance."""
        if self.model.planes.in_shared_memory:
            self.settler.remark = "read in full at once: memory that sessions share has the model"
            self.settler.read_all()
        elif self.settler.may_try(rows):
            self._read_first()

    def _read_first(self) -> None:
        self.model.deepen()
        self.model.budget.earn(0.0, self.model.planes.reading_seconds)
        if self.model.complete:
            self.settler.remark = UNDIVIDED

    def _all(self, outputs: torch.Tensor, method: str, bits: int) -> Answers:
        """Answers that are all come by in one way; margins are those of the outputs."""
        rows = len(outputs)
        exact = exact_evidence(self.decision, outputs)
        certified = torch.zeros(rows, dtype=torch.bool)
        low = exact.low if method == IN_FULL else torch.full_like(exact.low, NONE_CERTIFIED)
        high = exact.high if method == IN_FULL else torch.full_like(exact.high, NONE_CERTIFIED)
        return Answers(outputs, certified, torch.full((rows,), bits), [method] * rows, low, high)

    def _probable(self, inputs: Inputs) -> Answers:
        """Reads on until the rule is content with all rows, or its time is up."""
        rows = len(next(iter(inputs.values())))
        self.model.budget.earn(self.model.work.flops * rows)
        if not self.model.bits and not self.model.complete:
            self.model.deepen()
        reason = self.model.missing or self.decision.possible
        if reason is not None and not self.model.complete:
            self._read_rest(f"read in full at once: {reason}")
        answers: Answers | None = None
        open_rows = torch.arange(rows)
        while len(open_rows) and not self.model.complete:
            if not self._affordable(len(open_rows)):
                self._read_rest(OUT_OF_TIME)
                break
            guess = self.model.middle()(inputs)
            if answers is None:
                answers = self._all(guess.clone(), precision.PROBABLE, self.model.bits)
            open_rows, in_time = self._judged(inputs, guess, answers, open_rows)
            if not in_time:
                self._read_rest(OUT_OF_TIME)
            elif len(open_rows):
                self.model.deepen()
        if len(open_rows):
            with self.model.budget.free():
                full = self._all(self.model.full()(inputs), IN_FULL, self.model.all_bits)
            if answers is None:
                return full
            answers.outputs[open_rows], answers.bits[open_rows] = full.outputs[open_rows], full.bits[open_rows]
            answers.low[open_rows], answers.high[open_rows] = full.low[open_rows], full.high[open_rows]
            for row in open_rows.tolist():
                answers.method[row] = IN_FULL
        assert answers is not None
        return answers

    def _affordable(self, rows: int) -> bool:
        """Whether there is time for a few of the rows at this depth, at least."""
        work = self.model.work
        return self.model.budget.affords(work.step(min(rows, SAMPLE), prepared=self.model.prepared))

    def _read_rest(self, remark: str) -> None:
        self.report.remark = remark
        with self.model.budget.free():
            self.model.read_all()

    def _judged(
        self, inputs: Inputs, guess: torch.Tensor, answers: Answers, open_rows: torch.Tensor
    ) -> tuple[torch.Tensor, bool]:
        """The rows that the rule is not content with at this depth, and whether it was asked of all: it takes no more
        time than bounds may.
        """
        left: list[torch.Tensor] = []
        portions = methods.portions(open_rows, self.model.work.rows_at_once)
        try:
            while portions:
                left.append(self._judge(inputs, guess, answers, portions[0]))
                del portions[0]
        except OutOfTime:
            return torch.cat([*left, *portions]), False
        return torch.cat(left), True

    def _judge(self, inputs: Inputs, guess: torch.Tensor, answers: Answers, rows: torch.Tensor) -> torch.Tensor:
        """The same, for rows that are held together."""
        evidence, rates = probable.judge(
            self.model.boxed(), methods.some(inputs, rows), guess[rows], self.decision, self._check
        )
        done = rows[evidence.proven]
        answers.outputs[done], answers.bits[done] = guess[done], self.model.bits
        answers.low[done], answers.high[done] = evidence.low[evidence.proven], evidence.high[evidence.proven]
        self.error_rates[done] = rates[evidence.proven]
        return rows[~evidence.proven]

    def _check(self) -> None:
        interrupts.check()
        self.model.budget.require()

    def _count(self, answers: Answers) -> None:
        for bits, method in zip(answers.bits.tolist(), answers.method, strict=True):
            step = self.report.steps.setdefault((bits, method), Step(0, *self._read_by_now(bits)))
            step.rows += 1
        self.report.remark = self.settler.remark or self.report.remark

    def _read_by_now(self, bits: int) -> tuple[int, int, int]:
        """Bytes and chunks that this call has read up to that depth, and bytes that it had from shared memory."""
        now, before = self.model.planes.read_at.get(bits) or self.model.planes.reading, self.started
        return (
            max(0, now.bytes - before.bytes),
            max(0, now.chunks - before.chunks),
            max(0, now.shared_bytes - before.shared_bytes),
        )


def answering(version: ModelVersion, how: str, top: int | None = None, tolerance: float | None = None) -> Answering:
    """Ready to answer for a version; ``InvalidParameter`` for a reading or tolerance that is not allowed."""
    chosen = precision.parse(how)
    precision.check_tolerance(tolerance)
    model, read_before = open_model(version)
    if chosen.kind == precision.PLANES:
        require_depth(str(version), model.planes, chosen.bits)
    target = target_from_json(version.target)
    decision = decision_for(target, top, tolerance)
    rounded = f"certified relative to what is stored, which was rounded ({version.scheme})" if version.scheme else None
    report = Report(str(version), model.planes.stored_bytes, rounded=rounded)
    settler = Settler(model, decision, model.budget, interrupts.check)
    _last[:] = [report]
    return Answering(model, chosen, decision, target, report, settler, read_before)


def say_rounded(found: Answering) -> None:
    """A notice where answers are relative to parameters that were rounded."""
    if found.report.rounded and not found.chosen.full:
        progress.notice(f'answers of "{found.report.model}" are {found.report.rounded}')


def last_report() -> Iterator[dict[str, Any]]:
    """The rows that ``delc.progressive_reading`` returns."""
    for report in _last:
        for (bits, method), step in sorted(report.steps.items()):
            yield {
                "model": report.model,
                "planes": known_bits(bits) / 8,
                "bits": known_bits(bits),
                "method": method,
                "rows": step.rows,
                "bytes": step.bytes,
                "chunks": step.chunks,
                "shared_bytes": step.shared_bytes,
                "stored_bytes": report.stored_bytes,
                "remark": "; ".join(part for part in (report.rounded, report.remark) if part) or None,
            }
