"""The archive's planners: storage within budgets, beside the paper's planners, and how many matrices a minute plans.

A graph like the paper's (54 versions × 10 snapshots × 16 layers, a fine-tuning lineage; made up, as theirs never was
published), budgets θ = α × what the shortest path tree takes. Goals, under independent and parallel retrieval: storage
at most that of the better of PAS-MT and PAS-PT at every α, less at α ≤ 1.6; within 1 % of the proven optimum on graphs
small enough to solve; 100,000 matrices in under 120 s of one core and 2 GB.

    make bench BENCHMARKS=bench/bench_planner.py
    … bench_planner.py [--versions 54] [--snapshots 10] [--layers 16] [--delta-ratio 0.67] [--group-size 9] [--quick]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from delc.archive.planning import PLANNERS, Plan, Scheme, StorageGraph
from harness import machine
from harness.measure import Goals, goals
from support.version_graphs import Archive, version_graph

ALPHAS = (1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0)
TIGHT = 1.6
NAMES = ("last", "pas_mt", "pas_pt", "priced")
SCHEMES: tuple[Scheme, ...] = ("independent", "parallel")

PAPER = {
    1.1: (20.06, 20.05, 20.21),
    1.5: (20.06, 20.04, 19.66),
    1.6: (20.06, 16.72, 19.67),
    1.8: (17.49, 15.63, 19.60),
    2.0: (17.10, 15.61, 17.73),
    3.0: (17.59, 15.46, 15.92),
}
"""Storage of LAST, PAS-MT and PAS-PT in the paper, on its own graph, whose least is 15.44."""

PAPER_LEAST = 15.44


def compare(archive: Archive, scheme: Scheme, goal: Goals) -> None:
    """Prints storage of each planner by α, in that of the minimum spanning tree, the paper's figures beside it."""
    graph = version_graph(archive)
    fast = PLANNERS["shortest_paths"](graph)
    least = PLANNERS["least_storage"](graph).storage
    print(f"\n{scheme} retrieval: {graph.matrices} matrices, {len(graph.source)} edges; storage in that of the MST")
    print(f"  SPT {fast.storage / least:.3f} (the paper: {22.77 / PAPER_LEAST:.3f}); gap: to the bound proved")
    print("  α      LAST  PAS-MT  PAS-PT    ours     gap   seconds | the paper: LAST  PAS-MT  PAS-PT")
    ratios = {}
    for alpha in ALPHAS:
        found, seconds = plans(graph, fast.recreation(scheme) * alpha, scheme)
        storage = {name: plan.storage / least for name, plan in found.items()}
        ratios[alpha] = storage["priced"] / min(storage["pas_mt"], storage["pas_pt"])
        figures = "  ".join(f"{storage[name]:6.3f}" for name in NAMES)
        theirs = "  ".join(f"{value / PAPER_LEAST:6.3f}" for value in PAPER.get(alpha, ()))
        print(
            f"  {alpha:<4} {figures}  {found['priced'].gap or 0.0:6.1%}  {seconds:8.1f} |            {theirs}",
            flush=True,
        )
    goal.at_most(f"{scheme}: ours / better of PAS-MT and PAS-PT, any α", max(ratios.values()), 1.0)
    tight = max(ratio for alpha, ratio in ratios.items() if alpha <= TIGHT)
    goal.at_most(f"{scheme}: the same, α ≤ {TIGHT}", tight, 0.9999)


def plans(graph: StorageGraph, budgets: npt.NDArray[np.float64], scheme: Scheme) -> tuple[dict[str, Plan], float]:
    """The plan of each planner, and the seconds of ours."""
    found = {}
    for name in NAMES:
        started = time.process_time()
        found[name] = PLANNERS[name](graph, budgets, scheme)
    return found, time.process_time() - started


def against_the_optimum(scheme: Scheme, goal: Goals) -> None:
    """The worst ratio of ours to the exact optimum over small archives."""
    shapes = [(3, 3, 2, 3), (4, 3, 1, 2), (5, 4, 1, 5), (2, 4, 3, 2), (6, 2, 2, 3)]
    worst = dict.fromkeys(NAMES, 1.0)
    solved = 0
    for seed, (versions, snapshots, layers, group) in enumerate(shapes):
        graph = version_graph(Archive(versions, snapshots, layers, group_size=group, seed=seed))
        fast = PLANNERS["shortest_paths"](graph).recreation(scheme)
        for alpha in (1.1, 1.3, 1.6, 2.0):
            optimum = PLANNERS["exact"](graph, fast * alpha, scheme)
            found, _ = plans(graph, fast * alpha, scheme)
            if optimum.gap is None or optimum.gap > 1e-6:
                continue
            solved += 1
            worst = {name: max(worst[name], found[name].storage / optimum.storage) for name in NAMES}
    figures = ", ".join(f"{name} {ratio:.4f}" for name, ratio in worst.items())
    print(f"\n{scheme} retrieval: {solved} small problems solved exactly; worst storage / optimum: {figures}")
    goal.at_least(f"{scheme}: problems solved to the optimum", solved, 1)
    goal.at_most(f"{scheme}: ours / optimum, worst", worst["priced"], 1.01)


def plan_many(archive: Archive, scheme: Scheme) -> tuple[int, float, float]:
    """Matrices, seconds of the processor, and peak memory of the process in GB, for one plan of ours."""
    graph = version_graph(archive)
    budgets = PLANNERS["shortest_paths"](graph).recreation(scheme) * 1.3
    started = time.process_time()
    PLANNERS["priced"](graph, budgets, scheme)
    return graph.matrices, time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def large(archive: Archive, scheme: Scheme, goal: Goals) -> None:
    """Plans a large archive in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        matrices, seconds, memory = pool.apply(plan_many, (archive, scheme))
    print(f"\n{scheme} retrieval, α = 1.3: {matrices} matrices in {seconds:.1f} s, {memory:.2f} GB")
    goal.at_most(f"{scheme}: seconds for {matrices} matrices", seconds, 120)
    goal.at_most(f"{scheme}: GB for {matrices} matrices", memory, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=54)
    parser.add_argument("--snapshots", type=int, default=10)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--delta-ratio", type=float, default=0.67)
    parser.add_argument("--group-size", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="leave the 100,000 matrices out")
    given = parser.parse_args()
    archive = Archive(given.versions, given.snapshots, given.layers, given.delta_ratio, given.group_size)
    machine.describe()
    with goals() as goal:
        for scheme in SCHEMES:
            compare(archive, scheme, goal)
            against_the_optimum(scheme, goal)
            if not given.quick:
                large(replace(archive, versions=625, snapshots=10, layers=16), scheme, goal)


if __name__ == "__main__":
    main()
