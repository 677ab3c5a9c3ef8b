"""Matrix storage graphs like those of an archive of fine-tuned models, made up from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from delc.archive.planning import StorageGraph, storage_graph

LAYER_SIZES = (0.02, 0.1, 0.2, 0.3, 0.3, 0.6, 0.6, 0.6, 1.2, 1.2, 1.2, 1.2, 2.0, 4.0, 1.5, 0.4)
"""Relative sizes of a network's layers; more layers begin again."""

WHOLE = 0.84
"""Compressed size of a whole matrix in its own (the paper: 83.8 %)."""

DECODING = 0.5
"""Seconds to decode a unit of matrix, in those to read a unit of storage."""

APPLYING = 0.15
"""Seconds to add a unit of delta to its base."""


@dataclass(frozen=True)
class Archive:
    """What to make up. ``delta_ratio``: storage of a delta to the next snapshot in that of the whole matrix;
    ``group_size``: how many versions are fine-tuned from each other before a line begins anew (retrained models have no
    deltas to others); ``reach``: deltas go to this many snapshots before and after.
    """

    versions: int = 54
    snapshots: int = 10
    layers: int = 16
    delta_ratio: float = 0.67
    group_size: int = 9
    reach: int = 2
    seed: int = 1


def version_graph(archive: Archive) -> StorageGraph:
    """Whole matrices, and deltas in both directions between near snapshots, and between a version and the one that it
    was fine-tuned from. Matrix numbers go by version, snapshot, layer; a snapshot is one of a version.
    """
    generator = np.random.default_rng(archive.seed)
    sizes = np.resize(LAYER_SIZES, archive.layers)
    matrices = np.arange(archive.versions * archive.snapshots * archive.layers).reshape(-1, archive.layers) + 1
    first, second, apart = _near(archive, generator)
    size = np.tile(sizes, len(first))
    steps = np.repeat(apart, archive.layers) * np.exp(generator.normal(0, 0.25, len(size)))
    ratio = 1 - (1 - archive.delta_ratio) ** steps
    delta = size * WHOLE * np.minimum(ratio, 1.02)
    a, b = matrices[first].ravel(), matrices[second].ravel()
    whole = np.tile(sizes, len(matrices)) * WHOLE * np.exp(generator.normal(0, 0.02, matrices.size))
    lengths = np.tile(sizes, len(matrices))
    back = delta * np.exp(generator.normal(0, 0.02, len(delta)))
    storage = np.concatenate([whole, delta, back])
    decoding = np.concatenate([lengths * DECODING, size * (DECODING + APPLYING), size * (DECODING + APPLYING)])
    source = np.concatenate([np.zeros(matrices.size, dtype=np.int64), a, b])
    target = np.concatenate([matrices.ravel(), b, a])
    return storage_graph(matrices.size, source, target, storage, storage + decoding, list(matrices))


def _near(archive: Archive, generator: np.random.Generator) -> tuple[list[int], list[int], list[float]]:
    """Pairs of snapshots that deltas lie between, and how far apart they are, in steps of one snapshot."""
    first, second, apart = [], [], []

    def join(a: int, b: int, steps: float) -> None:
        first.append(a)
        second.append(b)
        apart.append(steps)

    for version in range(archive.versions):
        begin = version * archive.snapshots
        for snapshot in range(archive.snapshots):
            for before in range(max(0, snapshot - archive.reach), snapshot):
                join(begin + before, begin + snapshot, float(snapshot - before))
        if version % archive.group_size:
            group = version - version % archive.group_size
            base = int(generator.integers(group, version)) * archive.snapshots + archive.snapshots - 1
            for snapshot in range(min(archive.reach, archive.snapshots)):
                join(base, begin + snapshot, 1.5 + snapshot)
            join(base, begin + archive.snapshots - 1, 2.5)
    return first, second, apart
