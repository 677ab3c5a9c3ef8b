"""What an application does without delc: fetch rows with psycopg, work on them, write back.

Each is written as well as it can be: results in the binary format, taken in portions so that Python's floats never
pile up, and put at once into the memory that torch works on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from harness.rows import WIDTH
from support.cluster import Connection

PORTION = 5_000


def fetch_numbers(connection: Connection, query: str, rows: int) -> torch.Tensor:
    """The rows (rows, 784) float32 of a query with one column of arrays."""
    numbers = np.empty((rows, WIDTH), dtype=np.float32)
    with connection.cursor(binary=True) as cursor:
        cursor.execute(query)
        for start in range(0, rows, PORTION):
            found = cursor.fetchmany(PORTION)
            numbers[start : start + len(found)] = [row[0] for row in found]
    return torch.from_numpy(numbers)


def fetch_labelled(connection: Connection, query: str, rows: int) -> tuple[list[object], torch.Tensor]:
    """The first column as it is and the rows (rows, 784) float32, of a query with two columns."""
    numbers = np.empty((rows, WIDTH), dtype=np.float32)
    first: list[object] = []
    with connection.cursor(binary=True) as cursor:
        cursor.execute(query)
        for start in range(0, rows, PORTION):
            found = cursor.fetchmany(PORTION)
            first.extend(row[0] for row in found)
            numbers[start : start + len(found)] = [row[1] for row in found]
    return first, torch.from_numpy(numbers)


def forward(module: nn.Module, inputs: torch.Tensor, batch_size: int) -> torch.Tensor:
    """The class (rows,) that a network gives each row."""
    with torch.inference_mode():
        return torch.cat([module(batch).argmax(dim=1) for batch in inputs.split(batch_size)])


def write_labels(connection: Connection, table: str, keys: Sequence[object], labels: Sequence[str]) -> None:
    """A new table with a label for each key."""
    connection.execute(f"CREATE TEMP TABLE {table} (id bigint, label text)")
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        copy.write("".join(f"{key}\t{label}\n" for key, label in zip(keys, labels, strict=True)))


def train_plain(
    module: nn.Module, inputs: torch.Tensor, target: torch.Tensor, *, epochs: int, batch_size: int
) -> list[float]:
    """The loop of PyTorch's tutorials with Adam, shuffled rows and the mean loss; gives the seconds of each epoch."""
    optimizer = torch.optim.Adam(module.parameters(), lr=0.001)
    seconds = []
    module.train()
    for _ in range(epochs):
        started = time.perf_counter()
        total = 0.0
        for chosen in torch.randperm(len(target)).split(batch_size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(inputs[chosen]), target[chosen])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        seconds.append(time.perf_counter() - started)
    return seconds
