"""Deltas between real checkpoints: bits per parameter and MB/s of delc.tensor_delta beside zstd, ZipNN and pcodec.

The pairs are a pretrained transformer and its fine-tuned selves, and epochs of a CNN (harness/checkpoints.py). delc
runs in the server: seconds of applying are those of restoring a chain from stored values, less those of the chain
without its last delta. The others run here, on arrays in memory; theirs include adding the differences in numpy. All
seconds are of the processor, one thread each, since other work on the machine would blur those of a clock. Beside the
bits stands the entropy of the integer differences, as leading bits without context and raw bits.

    make bench BENCHMARKS=bench/bench_delta.py
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import pcodec
import zstandard
from pcodec import standalone
from zipnn import ZipNN

from harness import machine
from harness.checkpoints import Arrays, cnn, minilm
from harness.measure import Goals, goals
from harness.server import connected, define, server
from support.cluster import Connection

Array = npt.NDArray[Any]

# What restoring takes whatever the size: a segment of a delta, the entropy coder's tables, the server's own.
CONSTANT_MEMORY = 16 * 2**20

# ZipNN refuses less; such arrays are counted as they are.
ZIPNN_LEAST = 4096


@dataclass
class Pair:
    """Arrays by name before and after, and, where it helps, before that."""

    name: str
    base: Arrays
    target: Arrays
    grandbase: Arrays | None = None

    @property
    def numbers(self) -> int:
        return sum(array.size for array in self.target.values())


@dataclass
class Result:
    bits: float
    encode: float
    decode: float


def pairs() -> list[Pair]:
    tuned, plain, sgd, adam = minilm("decay"), minilm("plain"), cnn("sgd"), cnn("adam")
    return [
        Pair("MiniLM base→240, weight decay", tuned[0], tuned[240]),
        Pair("MiniLM base→120", plain[0], plain[120]),
        Pair("MiniLM 200→240", tuned[200], tuned[240], tuned[160]),
        Pair("CNN, SGD, epoch 14→15", sgd[14], sgd[15], sgd[13]),
        Pair("CNN, Adam, epoch 14→15", adam[14], adam[15], adam[13]),
    ]


# ---- other ways ----


def ordered(array: Array) -> npt.NDArray[np.int32]:
    """Bit patterns as integers in the order of the numbers."""
    bits = array.reshape(-1).view(np.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def subtract(base: Array, target: Array) -> npt.NDArray[np.uint32]:
    """Zigzag-coded integer difference."""
    difference = ordered(target) - ordered(base)
    return ((difference << 1) ^ (difference >> 31)).view(np.uint32)


def add(base: Array, zigzag: npt.NDArray[np.uint32]) -> Array:
    back = ordered(base) + ((zigzag >> 1).view(np.int32) ^ -(zigzag & 1).view(np.int32))
    return (back ^ ((back >> 31) & 0x7FFFFFFF)).view(np.float32)


def planes(numbers: npt.NDArray[np.uint32]) -> bytes:
    return np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, 4).T).tobytes()


def from_planes(data: bytes) -> npt.NDArray[np.uint32]:
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(4, -1).T).view(np.uint32).reshape(-1)


def zipnn() -> Any:
    return ZipNN(input_format="byte", bytearray_dtype="float32")


def xor_zipnn(base: Array, target: Array) -> bytes:
    mixed = (base.reshape(-1).view(np.uint32) ^ target.reshape(-1).view(np.uint32)).tobytes()
    return mixed if len(mixed) < ZIPNN_LEAST else bytes(zipnn().compress(bytearray(mixed)))


def from_xor_zipnn(base: Array, data: bytes) -> Array:
    mixed = data if base.nbytes < ZIPNN_LEAST else zipnn().decompress(data)
    return (base.reshape(-1).view(np.uint32) ^ np.frombuffer(mixed, np.uint32)).view(np.float32)


OTHERS: dict[str, tuple[Callable[[Array, Array], bytes], Callable[[Array, bytes], Array]]] = {
    "SUB + zstd -1 (like FM-Delta)": (
        lambda base, target: zstandard.ZstdCompressor(level=1).compress(planes(subtract(base, target))),
        lambda base, data: add(base, from_planes(zstandard.ZstdDecompressor().decompress(data))),
    ),
    "SUB + pcodec 8": (
        lambda base, target: standalone.simple_compress(
            subtract(base, target), pcodec.ChunkConfig(compression_level=8)
        ),
        lambda base, data: add(base, standalone.simple_decompress(data)),
    ),
    "XOR + ZipNN": (xor_zipnn, from_xor_zipnn),
}


def other(pair: Pair, name: str) -> Result:
    encode, decode = OTHERS[name]
    started = process_time()
    coded = {key: encode(pair.base[key], target) for key, target in pair.target.items()}
    encoded = process_time()
    restored = {key: decode(pair.base[key], data) for key, data in coded.items()}
    ended = process_time()
    for key, target in pair.target.items():
        assert restored[key].tobytes() == target.tobytes()
    size = sum(map(len, coded.values()))
    return Result(8 * size / pair.numbers, encoded - started, ended - encoded)


def entropy(pair: Pair) -> float:
    """Bits: the leading bit and two behind it, coded without context; those below, raw."""
    bits = 0.0
    for key, target in pair.target.items():
        numbers = subtract(pair.base[key], target).astype(np.float64)
        exponent = np.frexp(numbers)[1]
        raw = np.maximum(exponent - 4, 0)
        _, counts = np.unique(np.floor(numbers / 2.0**raw) + 64 * raw, return_counts=True)
        bits += raw.sum() + (counts * np.log2(target.size / counts)).sum()
    return bits / pair.numbers


# ---- delc ----

# Seconds to make a delta and to apply it, and the size. The chain's first values are not counted.
MEASURE = """
import time
from delc.server import fetched
put = plpy.prepare("SELECT delc.fetch_stored($1, delc.tensor_of_prefix($2, octet_length($2)), NULL)",
    ["integer", "bytea"])
given = plpy.prepare("SELECT delc.encoded(base) AS base, delc.encoded(grandbase) AS grandbase,"
    " delc.encoded(delc.tensor_delta(grandbase, base)) AS before FROM pair WHERE name = $1", ["text"])
make = plpy.prepare("SELECT delc.encoded(delc.tensor_delta(base, target, $2, grandbase)) AS delta,"
    " delc.checksum(target) AS sum FROM pair WHERE name = $1", ["text", "text"])
check = plpy.prepare("SELECT delc.checksum(target) = delc.checksum(delc.apply_delta(base,"
    " delc.tensor_delta(base, target, $2, grandbase), grandbase)) AS same FROM pair WHERE name = $1", ["text", "text"])
size = encode = decode = 0
for name in names:
    row = plpy.execute(given, [name])[0]
    started = time.process_time()
    delta = plpy.execute(make, [name, method])[0]["delta"]
    encode += time.process_time() - started
    size += len(delta)
    chain = [row["grandbase"], row["before"]] if row["grandbase"] is not None else [row["base"]]
    def seconds(values):
        with fetched.values() as handle:
            for value in values:
                plpy.execute(put, [handle, value])
            started = time.process_time()
            fetched.decode(handle, [fetched.Job(tuple(range(len(values))))])
            return time.process_time() - started
    decode += min(seconds([*chain, delta]) for _ in range(3)) - min(seconds(chain) for _ in range(3))
    assert plpy.execute(check, [name, method])[0]["same"]
return [float(size), encode, decode]
"""


def npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def fill(connection: Connection, pair: Pair) -> None:
    connection.execute("DROP TABLE IF EXISTS pair")
    connection.execute("CREATE TABLE pair (name text, base delc.tensor, target delc.tensor, grandbase delc.tensor)")
    for name, target in pair.target.items():
        before = None if pair.grandbase is None else npy(pair.grandbase[name])
        connection.execute(
            "INSERT INTO pair VALUES (%s, delc.from_npy(%b), delc.from_npy(%b), delc.from_npy(%b))",
            [name, npy(pair.base[name]), npy(target), before],
        )


def ours(connection: Connection, pair: Pair, method: str) -> Result:
    row = connection.execute("SELECT pg_temp.measured(%s, %s)", [list(pair.target), method]).fetchone()
    assert row is not None
    size, encode, decode = row[0]
    return Result(8 * size / pair.numbers, encode, decode)


def measure(connection: Connection, pair: Pair) -> dict[str, Result]:
    """Prints a line per way."""
    fill(connection, pair)
    raw = 4 * pair.numbers
    found = {f"delc, {method}": ours(connection, pair, method) for method in ("sub", "planes", "xor")}
    found |= {name: other(pair, name) for name in OTHERS}
    print(f"\n {pair.name}: {pair.numbers / 1e6:.1f} million float32; entropy of SUB {entropy(pair):.2f} bits")
    for name, result in found.items():
        speeds = f"{raw / 1e6 / result.encode:7.0f} / {raw / 1e6 / result.decode:.0f} MB/s"
        print(f"  {name:<32} {result.bits:6.2f} bits {speeds}", flush=True)
    return found


def peak_kib(process: int, name: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise AssertionError(f"the kernel does not tell {name}")


def memory(connection: Connection, fresh: Connection) -> float:
    """Memory that restoring a chain of four values of 64 MiB takes, less CONSTANT_MEMORY, in tensors."""
    connection.execute("DROP TABLE IF EXISTS chain; CREATE TABLE chain (hop int, value delc.tensor)")
    generator = np.random.default_rng(4)
    base = generator.standard_normal((4096, 4096)).astype(np.float32) * np.float32(0.05)
    moved = generator.standard_normal(base.shape).astype(np.float32) * np.float32(1e-4)
    connection.execute("INSERT INTO chain SELECT 0, delc.from_npy(%b)", [npy(base)])
    for hop in range(1, 4):
        connection.execute(
            "INSERT INTO chain SELECT %(hop)s, delc.tensor_delta(base, delc.from_npy(%(target)b), 'sub', before) FROM"
            " (SELECT (SELECT delc.restore(value ORDER BY hop) FROM chain) AS base,"
            " (SELECT delc.restore(value ORDER BY hop) FROM chain WHERE hop < %(hop)s - 1) AS before) AS found",
            {"hop": hop, "target": npy((base + hop * moved).astype(np.float32))},
        )
    process = fresh.info.backend_pid
    query = "SELECT pg_column_size(delc.restore(value ORDER BY hop)) FROM chain WHERE hop < %s"
    fresh.execute("SELECT delc.dtype('{1}')")
    before = peak_kib(process, "RssAnon:")
    shared = peak_kib(process, "RssShmem:") + peak_kib(process, "RssFile:")
    fresh.execute(query, [4])
    growth = peak_kib(process, "VmHWM:") - before - max(
        shared, peak_kib(process, "RssShmem:") + peak_kib(process, "RssFile:")
    )
    return (growth * 1024 - CONSTANT_MEMORY) / base.nbytes


def check(found: dict[str, dict[str, Result]], numbers: dict[str, int], goal: Goals) -> None:
    for name, results in found.items():
        best = results["delc, sub"]
        goal.at_most(f"{name}: bits, of SUB + pcodec", best.bits / results["SUB + pcodec 8"].bits, 0.9)
        goal.at_most(f"{name}: bits, of XOR + ZipNN", best.bits / results["XOR + ZipNN"].bits, 0.7)
        goal.at_least(f"{name}: MB/s applied", 4e-6 * numbers[name] / best.decode, 400)
    for name, bits in (
        ("MiniLM 200→240", 7.8), ("CNN, SGD, epoch 14→15", 9.2), ("MiniLM base→240, weight decay", 11.1),
    ):  # fmt: skip
        if name in found:
            goal.at_most(f"{name}: bits", found[name]["delc, sub"].bits, bits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="pairs whose names hold this")
    chosen = parser.parse_args()
    with server() as cluster, connected(cluster) as connection, goals() as goal:
        machine.describe(connection)
        define(connection, "measured", "names text[], method text", "float8[]", MEASURE)
        wanted = [pair for pair in pairs() if chosen.only in pair.name]
        found = {pair.name: measure(connection, pair) for pair in wanted}
        print()
        check(found, {pair.name: pair.numbers for pair in wanted}, goal)
        with connected(cluster) as fresh:
            goal.at_most("memory to restore a chain, less 16 MiB, in tensors", memory(connection, fresh), 2.2)


if __name__ == "__main__":
    main()
