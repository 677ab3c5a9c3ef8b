"""Thousands of outputs: answers take memory in proportion to them, as full precision does, and stay sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import delc.client
from delc.inference.progressive import costs, decisions, margins, methods, probable, relaxation
from delc.inference.progressive.decisions import Decision
from delc.inference.progressive.margins import MANY, Margins
from delc.inference.progressive.methods import Method
from delc.inference.progressive.propagation import forward
from delc.inference.progressive.settling import IN_FULL, OUT_OF_TIME, Settler
from delc.networks.kinds import Value
from support.cluster import Cluster, Connection
from support.progressive import InMemory, boxed_network, boxes, network
from support.workplace import rows, value, workplace

OUTPUTS = 5000
ROWS = 100
MEGABYTES = 128
"""Beyond what full precision takes: portions of rows and of lines, and what is kept of each output."""

ENDS = st.sampled_from(["linear", "relu", "softmax", "log_softmax", "dropout", "tanh"])


def with_outputs(outputs: int, end: str, seed: int, ties: bool = False) -> Any:
    """Two linear layers, and one more at the end; with ``ties`` outputs that are the same."""
    layers: list[dict[str, Any]] = [
        {"kind": "linear", "out_features": 12},
        {"kind": "relu"},
        {"kind": "linear", "out_features": outputs},
    ]
    built = network([*layers, *([] if end == "linear" else [{"kind": end}])], Value((6,)), seed=seed)
    if ties:
        for numbers in list(built.module.state_dict().values())[-2:]:
            numbers[: outputs // 2] = numbers[outputs // 2 : 2 * (outputs // 2)].clone()
    return built


def inputs(count: int, seed: int) -> dict[str, torch.Tensor]:
    return {"input": torch.randn((count, 6), generator=torch.Generator().manual_seed(seed))}


def guess_of(built: Any, bits: int, some: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the network with the middles of its boxes says."""
    middle = {name: box.centre for name, box in boxes(built.module.state_dict(), bits).items()}
    found: torch.Tensor = torch.func.functional_call(built.module, middle, (some["input"],))
    return found


# ---- what is reported of outputs that are known ----


@settings(deadline=None)
@given(st.integers(1, 150), st.integers(1, 5), st.integers(0, 999), st.booleans())
def test_the_margin_of_known_outputs_is_the_least_of_their_lines(
    count: int, top: int, seed: int, several: bool
) -> None:
    outputs = torch.randn((20, count), generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    decision = decisions.presence_decision() if several else decisions.order_decision(top)
    lines = decision.lines(outputs)
    values = lines.values(outputs)
    judged = decision.judge(outputs, lines, Margins(values, values))
    found = decisions.exact_evidence(decision, outputs)
    torch.testing.assert_close(found.low, judged.low, rtol=0, atol=0)
    torch.testing.assert_close(found.high, judged.high, rtol=0, atol=0)
    assert not bool(found.proven.any())


def test_lines_combine_two_outputs_and_take_no_more_memory_than_that() -> None:
    outputs = torch.randn((10, OUTPUTS))
    for lines in (margins.order_lines(outputs, 3), margins.presence_lines(outputs), margins.single_lines(outputs)):
        tensors = (lines.places, lines.factors, lines.thresholds)
        assert sum(tensor.untyped_storage().nbytes() for tensor in tensors) <= 100 * outputs.numel()


# ---- bounds ----


def ranks(outputs: torch.Tensor, top: int) -> torch.Tensor:
    scores = outputs if top == 1 else torch.softmax(outputs.double(), 1)
    return torch.argsort(-scores, dim=1, stable=True)[:, :top] if top > 1 else scores.argmax(1, keepdim=True)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(MANY + 2, 5 * MANY), ENDS, st.integers(1, 4), st.sampled_from([12, 16, 20]), st.integers(0, 999),
    st.booleans(),
)  # fmt: skip
def test_no_certified_order_of_many_labels_is_wrong(
    outputs: int, end: str, top: int, bits: int, seed: int, ties: bool
) -> None:
    built = with_outputs(outputs, end, seed, ties)
    some, net = inputs(64, seed), boxed_network(built, bits)
    guess, full = guess_of(built, bits, some), built.module(some)
    for method in Method:
        proven = methods.attempt(net, method, some, guess, decisions.order_decision(top)).evidence.proven
        assert bool((ranks(guess, top)[proven] == ranks(full, top)[proven]).all())


@pytest.mark.parametrize("end", ["linear", "relu", "softmax", "dropout", "tanh"])
@pytest.mark.parametrize(
    "decision", [decisions.order_decision(1), decisions.order_decision(3), decisions.presence_decision()]
)
def test_of_many_lines_those_that_plain_bounds_show_need_no_other(end: str, decision: Decision) -> None:
    built = with_outputs(3 * MANY, end, 4)
    some, net = inputs(200, 5), boxed_network(built, 20)
    guess = guess_of(built, 20, some)
    state = forward(net, some, centres=True)
    lines = decision.lines(guess)
    all_of_them = margins.Lines(lines.places, lines.factors, lines.thresholds, lines.outputs, tight=True)
    for relaxed in (False, True):
        some_tight = margins.bound_margins(state, lines, relaxed=relaxed)
        all_tight = margins.bound_margins(state, all_of_them, relaxed=relaxed)
        assert bool((some_tight.above(lines) >= all_tight.above(lines)).all())
        assert bool((some_tight.low <= all_tight.high).all())
        assert bool((all_tight.low <= some_tight.high).all())


@pytest.mark.parametrize("end", ["linear", "relu", "softmax", "dropout", "tanh"])
def test_lines_of_two_outputs_are_bounded_as_the_same_lines_with_all_their_zeros(end: str) -> None:
    built = with_outputs(40, end, 6)
    some, net = inputs(8, 7), boxed_network(built, 16)
    state = forward(net, some, centres=True)
    lines = margins.order_lines(guess_of(built, 16, some), 2)
    pairs, owner = lines.pairs(torch.arange(8 * 39))
    name = state.order[-1].name
    for one, other in (
        (relaxation.merge(state, name, pairs, owner), relaxation.merge(state, name, pairs.dense(), owner)),
        (
            relaxation.trace(state, name, pairs, owner, lambda: None),
            relaxation.trace(state, name, pairs.dense(), owner, lambda: None),
        ),
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


# ---- the statistical rule ----


def test_of_many_labels_the_rule_works_out_the_nearest_and_takes_the_others_to_spread_further() -> None:
    built = with_outputs(4 * MANY, "linear", 8)
    some, net = inputs(100, 9), boxed_network(built, 16)
    guess, decision = guess_of(built, 16, some), decisions.order_decision(1)
    every = Decision(lambda outputs: tight(decision.lines(outputs)), decision.judge, decision.exact)
    few, few_rates = probable.judge(net, some, guess, decision)
    all_lines, all_rates = probable.judge(net, some, guess, every)
    assert bool((few.proven <= all_lines.proven).all())
    assert int(few.proven.sum()) >= 0.9 * int(all_lines.proven.sum()) > 0
    assert bool((few_rates >= all_rates * (1 - 1e-9)).all())


def tight(lines: margins.Lines) -> margins.Lines:
    return margins.Lines(lines.places, lines.factors, lines.thresholds, lines.outputs, tight=True)


# ---- costs ----


def test_where_lines_of_many_outputs_cannot_be_afforded_all_is_read_and_that_is_said() -> None:
    built = with_outputs(500, "linear", 1)
    source = InMemory(built, costs.Work(numbers=0, large=0, flops=0, outputs=10**8))
    settler = Settler(source, decisions.order_decision(1), costs.Budget())
    assert settler.answer(inputs(50, 2)).method == [IN_FULL] * 50
    assert settler.remark == OUT_OF_TIME


def test_rows_are_bounded_in_portions_of_bounded_memory_with_the_same_result() -> None:
    built, answers = with_outputs(500, "linear", 1), []
    for row_numbers in (0, costs.PASS_BYTES // (costs.BOUND_BYTES * 7)):
        work = costs.Work(numbers=0, large=0, flops=0, row_numbers=row_numbers)
        settler = Settler(InMemory(built, work), decisions.order_decision(1), costs.Budget(allowed=1e6))
        answers.append(settler.answer(inputs(60, 3)))
    assert work.rows_at_once == 7
    assert answers[0].method == answers[1].method
    torch.testing.assert_close(answers[0].outputs, answers[1].outputs, rtol=0, atol=0)


# ---- from SQL ----


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """Three models of 5,000 outputs, one for each task, and a small one."""
    with workplace(cluster, template) as connection:
        delc.client.register(connection)
        generator = torch.Generator().manual_seed(3)
        small = torch.nn.Sequential(torch.nn.Linear(8, 3))
        delc.client.push(connection, "small", small, input_shape=[8])
        for task in ("classification", "multilabel", "regression"):
            module = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, OUTPUTS))
            for parameter in module.parameters():
                parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
            delc.client.push(connection, task, module, input_shape=[8], task=task)
        yield connection


QUERY = f"""
    SELECT i AS id, (SELECT array_agg(sin(i * 1.7 + place * 0.31)::real) FROM generate_series(1, 8) AS place) AS x
    FROM generate_series(1, {ROWS}) AS i
"""
ANSWERS = """
    SELECT key, rank, label FROM delc.predict_rows(%s, %s, top => %s, reading => %s) ORDER BY key, rank
"""


def answered(cluster: Cluster, place: Connection, model: str, top: int | None, reading: str) -> tuple[list[Any], float]:
    """The answers of a session of its own, and the megabytes that it took beyond what it had before."""
    with cluster.connect(place.info.dbname) as session:
        rows(session, ANSWERS, "small", QUERY, None, "progressive")  # libraries are loaded
        process = Path(f"/proc/{session.info.backend_pid}")
        (process / "clear_refs").write_text("5")
        before = kilobytes(process, "VmRSS")
        found = rows(session, ANSWERS, model, QUERY, top, reading)
        return found, (kilobytes(process, "VmHWM") - before) / 1024


def kilobytes(process: Path, name: str) -> int:
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize(("model", "top"), [("classification", None), ("classification", 3), ("multilabel", 3)])
def test_every_reading_answers_within_little_more_memory_than_full(
    cluster: Cluster, place: Connection, model: str, top: int | None
) -> None:
    full, taken = answered(cluster, place, model, top, "full")
    assert len(full) == ROWS * (top or 1)
    for reading in ("progressive", "probable", "planes:2"):
        found, more = answered(cluster, place, model, top, reading)
        assert more <= taken + MEGABYTES, reading
        assert len(found) == len(full)
        if reading == "progressive":
            assert found == full


def test_progressive_sets_of_many_labels_are_those_of_full_precision(cluster: Cluster, place: Connection) -> None:
    full, taken = answered(cluster, place, "multilabel", None, "full")
    found, more = answered(cluster, place, "multilabel", None, "progressive")
    assert found == full
    assert more <= taken + MEGABYTES


def test_many_numbers_lie_within_what_is_said_of_them(cluster: Cluster, place: Connection) -> None:
    call = "FROM delc.predict_rows_progressive('regression', %s, tolerance => 0.05) ORDER BY key, rank"
    with cluster.connect(place.info.dbname) as session:
        count, low, high = rows(
            session,
            f"SELECT count(*), min(value - margin_low), min(margin_high - value) FROM (SELECT * {call}) AS r",
            QUERY,
        )[0]
        assert count == ROWS * OUTPUTS
        assert low >= 0
        assert high >= 0
        assert value(session, "SELECT sum(rows) FROM delc.progressive_reading()") == ROWS
