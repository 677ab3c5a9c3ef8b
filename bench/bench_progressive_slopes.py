"""What the next better method would settle: slopes of activations that are optimised for each row (alpha-CROWN).

Lines through a ReLU have any slope from 0 to 1 below; `delc` takes that of the chord. Of the rows that no method of its
own settles from two planes and no attack refutes, this takes the best slopes that sixty steps of Adam find, for the
lower ends of all margins (Xu et al. 2021, arXiv 2011.13824), and prints how many rows that settles and what it takes.

    make bench BENCHMARKS=bench/bench_progressive_slopes.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from bench_progressive import CASES, Case, Data, certified, depths_of, digits, is_refuted, known, mnist, stored_depths
from bench_progressive import trained as make

import delc.client
from delc.inference.progressive.decisions import order_decision
from delc.inference.progressive.methods import Method
from delc.inference.progressive.propagation import Boxed, Pass, boxed, forward
from delc.inference.progressive.stages import LayerView
from harness import machine
from harness.server import connected, server

TRIED = ("MLP, 6 layers", "MLP, 8 layers")
STEPS, RATE = 60, 0.1


@dataclass
class Slopes:
    """Of a ReLU, for one row: ``low`` and ``high`` of what arrives, the chord's slope, and the slopes below, which are
    moved, one for each line.
    """

    low: torch.Tensor
    high: torch.Tensor
    chord: torch.Tensor
    below: torch.Tensor

    @staticmethod
    def of(state: Pass, layer: LayerView, row: int, lines: int) -> Slopes:
        """The chord's slopes to begin with."""
        bounds = state.stage(layer.inputs[0]).bounds
        low, high = bounds.low[row], bounds.high[row]
        chord = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, high / (high - low)))
        return Slopes(low, high, chord, chord.repeat(lines, 1).clone().requires_grad_())

    def back(self, lines: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The lines before the ReLU, and what they lose: coefficients > 0 meet the line below, others the chord."""
        crossing = (self.low < 0) & (self.high > 0)
        below = torch.where(crossing, self.below.clamp(0, 1), self.chord)
        up, down = lines.clamp(min=0), lines.clamp(max=0)
        lost = (down * torch.where(crossing, -self.chord * self.low, 0.0)).sum(1)
        return up * below + down * self.chord, lost


def lower_ends(state: Pass, row: int, lines: torch.Tensor, slopes: dict[str, Slopes]) -> torch.Tensor:
    """Those of combinations (lines, outputs) of the outputs of one row, traced back to the inputs."""
    found = torch.zeros(len(lines), dtype=torch.float64)
    for layer in reversed(state.order):
        if layer.kind == "linear":
            noise = state.stage(layer.name).noise
            assert noise is not None
            found = found + lines @ layer.boxes["bias"].wide() - (lines.abs() * noise[row]).sum(1)
            lines = lines @ layer.boxes["weight"].wide()
        elif layer.kind == "relu":
            lines, lost = slopes[layer.name].back(lines)
            found = found + lost
    inputs = state.arriving(state.order[0])[0]
    assert not isinstance(inputs, torch.Tensor)
    return found + lines @ inputs.low[row].flatten()


def is_settled(state: Pass, row: int, lines: torch.Tensor) -> bool:
    """Whether some slopes put the lower ends of all lines above zero."""
    slopes = {layer.name: Slopes.of(state, layer, row, len(lines)) for layer in state.order if layer.kind == "relu"}
    optimizer = torch.optim.Adam([each.below for each in slopes.values()], RATE)
    best = torch.full((len(lines),), -torch.inf, dtype=torch.float64)
    for _ in range(STEPS):
        found = lower_ends(state, row, lines, slopes)
        best = torch.maximum(best, found.detach())
        if bool((best > 0).all()):
            return True
        optimizer.zero_grad()
        (-found[best <= 0].sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return False


def still_open(net: Boxed, rows: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """The rows that no method settles."""
    left = torch.arange(len(rows))
    for method in Method:
        left = left[~torch.isin(left, certified(net, method, rows, guess, left))]
    return left


def report(case: Case, data: Data, connection: object) -> None:
    """Prints one network's line."""
    built = make(case, data)
    rows, state = data.test[: case.rows], built.module.state_dict()
    boxes = known(state, depths_of(stored_depths(connection, dict(state)), 16))
    net = boxed(built.module.network, boxes)
    guess = torch.func.functional_call(built.module, {name: box.centre for name, box in boxes.items()}, (rows,))
    left = still_open(net, rows, guess)
    chosen = [row for row in left.tolist() if not is_refuted(built, boxes, rows[row : row + 1], guess[row])]
    lines = order_decision(1).lines(guess[chosen]).coefficients
    started = time.process_time()
    traced = forward(net, {"input": rows[chosen]}, refine=True)
    more = sum(is_settled(traced, place, lines[place]) for place in range(len(chosen)))
    milliseconds = 1000 * (time.process_time() - started) / max(1, len(chosen))
    print(
        f"  {case.data:<9}{case.name:<15}{len(rows):>5} rows: {len(left):>3} not settled, {len(chosen):>3} of them not"
        f" refuted, {more:>2} settled by optimised slopes; {milliseconds:.0f} ms of processor a row",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(1)
    data = {"digits": digits(), "MNIST-5k": mnist()}
    with server() as cluster, connected(cluster) as connection:
        machine.describe(connection)
        delc.client.register(connection)
        print("\nfrom two planes (16 bits of every number)\n")
        for case in CASES:
            if case.name in TRIED:
                report(case, data[case.data], connection)


if __name__ == "__main__":
    main()
