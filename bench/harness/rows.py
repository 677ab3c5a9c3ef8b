"""Rows to measure with: images of 28 × 28 numbers made up from a seed, and a label that can be learned from them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from support.cluster import Connection

WIDTH = 784
CLASSES = 10
BLOCK_ROWS = 20_000
REAL_OID = 700
COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
COPY_END = b"\xff\xff"

COPIED_ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("id_size", ">i4"), ("id", ">i8"),
        ("label_size", ">i4"), ("label", "S1"),
        ("x_size", ">i4"),
        ("dimensions", ">i4"), ("has_null", ">i4"), ("element_type", ">i4"), ("elements", ">i4"), ("first", ">i4"),
        ("x", [("size", ">i4"), ("value", ">f4")], (WIDTH,)),
    ]
)  # fmt: skip
"""A row (id bigint, label text, x real[]) in the binary format of COPY."""


def images(start: int, count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Numbers (count, 784) and labels (count,) of the rows from `start` on; every row is another."""
    generator = np.random.default_rng([7, start])
    centres = np.random.default_rng(7).standard_normal((CLASSES, WIDTH), dtype=np.float32)
    labels = generator.integers(0, CLASSES, count)
    return generator.standard_normal((count, WIDTH), dtype=np.float32) + 0.25 * centres[labels], labels


def make_table(connection: Connection, name: str, rows: int) -> None:
    """A table (id bigint, label text, x real[784]), vacuumed and analysed."""
    connection.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, label text NOT NULL, x real[] NOT NULL)")
    with connection.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT binary)") as copy:
        copy.write(COPY_HEADER)
        for start in range(0, rows, BLOCK_ROWS):
            copy.write(_copied(start, min(BLOCK_ROWS, rows - start)).tobytes())
        copy.write(COPY_END)
    connection.execute(f"VACUUM ANALYZE {name}")


def _copied(start: int, count: int) -> npt.NDArray[np.void]:
    numbers, labels = images(start, count)
    block = np.zeros(count, dtype=COPIED_ROW)
    block["fields"] = 3
    block["id_size"], block["id"] = 8, np.arange(start + 1, start + count + 1)
    block["label_size"], block["label"] = 1, labels.astype("S1")
    block["x_size"] = 20 + WIDTH * 8
    block["dimensions"], block["element_type"] = 1, REAL_OID
    block["elements"], block["first"] = WIDTH, 1
    block["x"]["size"], block["x"]["value"] = 4, numbers
    return block
