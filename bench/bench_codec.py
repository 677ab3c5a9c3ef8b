"""Dense weights: bits per parameter and MB/s of delc.compress beside zstd, ZipNN and pcodec.

The weights are those of a pretrained sentence transformer (MiniLM, 22.7 million parameters), as float32 and rounded to
bfloat16, tensor by tensor. delc runs in the server, in one statement, on values in memory: "decode" is the transform
into a new numpy array, "read" is delc.checksum, which reads all numbers block by block, as most functions do, and adds
them up. The others run here, from and to new bytes in memory. Each has one thread; seconds are those of the processor,
which others' work on the machine lengthens less. "A mix" compresses only the tensors that gain most by it, some half of
the bytes: for float32 that is smaller and quicker than ZipNN at once, for bfloat16 it is not quicker. The share was
chosen on these weights; which tensors an archive keeps dense and which fast, its planner decides by the budget.
Entropies stand beside: of bytes plane by plane, and with each plane in the context of the one above it.

    make bench BENCHMARKS=bench/bench_codec.py
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import machine
from harness.measure import Goals, Timings, goals, interleaved
from harness.server import connected, server
from support import minilm
from support.cluster import Connection

Array = npt.NDArray[Any]

MIX = 0.55

MEASURE = """
CREATE FUNCTION pg_temp.measured(dense float8, halves boolean,
    OUT stored bigint, OUT encode float8, OUT decode float8, OUT reading float8)
LANGUAGE plpgsql AS $$
DECLARE
    given record;
    plain delc.tensor;
    coded delc.tensor;
    started float8;
BEGIN
    stored := 0; encode := 0; decode := 0; reading := 0;
    FOR given IN SELECT value, share <= dense AS is_dense FROM weights LOOP
        plain := delc.planes(given.value, 8);
        started := pg_temp.processor();
        coded := CASE WHEN given.is_dense THEN delc.compress(plain, halves) ELSE plain END;
        encode := encode + pg_temp.processor() - started;
        stored := stored + delc.stored_bytes(coded);
        started := pg_temp.processor();
        PERFORM pg_temp.decoded(coded);
        decode := decode + pg_temp.processor() - started;
        started := pg_temp.processor();
        PERFORM delc.checksum(coded);
        reading := reading + pg_temp.processor() - started;
    END LOOP;
END
$$
"""


@dataclass
class Codec:
    """A way of coding all tensors; the last run's bits and seconds."""

    run: Callable[[], tuple[int, float, float, float]]
    stored: int = 0
    encode: float = 0.0
    read: float = 0.0

    def decode_seconds(self) -> float:
        """Codes and decodes everything; gives the seconds of decoding."""
        self.stored, self.encode, decode, self.read = self.run()
        return decode


def library(arrays: list[Array], encode: Callable[[Array], Any], decode: Callable[[Any], object]) -> Codec:
    """A library that codes array by array."""

    def run() -> tuple[int, float, float, float]:
        started = process_time()
        coded = [encode(array) for array in arrays]
        encoded = process_time()
        for part in coded:
            decode(part)
        return sum(map(len, coded)), encoded - started, process_time() - encoded, 0.0

    return Codec(run)


def libraries(arrays: list[Array], dtype: str) -> dict[str, Codec]:
    """The other codecs that are installed: on Debian's own libraries, none."""
    found: dict[str, Codec] = {}
    if find_spec("zstandard"):
        import zstandard

        writer, reader = zstandard.ZstdCompressor(level=3), zstandard.ZstdDecompressor()
        found["zstd -3"] = library(arrays, lambda array: writer.compress(array.tobytes()), reader.decompress)
    if find_spec("zipnn"):
        import zipnn

        codec = zipnn.ZipNN(input_format="byte", bytearray_dtype=dtype, threads=1)
        found["ZipNN"] = library(arrays, lambda array: codec.compress(bytearray(array.tobytes())), codec.decompress)
    if find_spec("pcodec"):
        from pcodec import ChunkConfig
        from pcodec import standalone as pco

        kind = np.float32 if dtype == "float32" else np.uint16

        def compress(array: Array) -> bytes:
            return bytes(pco.simple_compress(array.reshape(-1).view(kind), ChunkConfig(compression_level=8)))

        found["pcodec 8"] = library(arrays, compress, pco.simple_decompress)
    return found


def entropy(symbols: Array) -> float:
    """Bits that all symbols take by their frequencies."""
    counts = np.bincount(symbols)
    counts = counts[counts > 0]
    return float((counts * np.log2(len(symbols) / counts)).sum())


def entropies(arrays: list[Array]) -> tuple[float, float]:
    """Bits per number: byte planes alone, and each given the plane above it; each tensor by frequencies of its own."""
    alone = given = 0.0
    for array in arrays:
        planes = array.reshape(-1).view(np.uint8).reshape(-1, array.itemsize)[:, ::-1].astype(np.int64)
        alone += sum(entropy(planes[:, p]) for p in range(array.itemsize))
        given += entropy(planes[:, 0])
        for p in range(1, array.itemsize):
            given += entropy(planes[:, p - 1] << 8 | planes[:, p]) - entropy(planes[:, p - 1])
    numbers = sum(array.size for array in arrays)
    return alone / numbers, given / numbers


def npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def in_server(connection: Connection, dense: float, halves: bool = False) -> Codec:
    """``dense``: the share of the bytes that is compressed, first of the tensors that gain most."""

    def run() -> tuple[int, float, float, float]:
        row = connection.execute("SELECT * FROM pg_temp.measured(%s, %s)", [dense, halves]).fetchone()
        assert row is not None
        return int(row[0]), float(row[1]), float(row[2]), float(row[3])

    return Codec(run)


def measure(connection: Connection, name: str, arrays: list[Array], rounds: int, goal: Goals) -> None:
    """Prints a line per codec; checks the goals of this dtype."""
    codecs = {
        "delc, ordinary": in_server(connection, 0.0),
        "delc, a mix": in_server(connection, MIX),
        "delc.compress": in_server(connection, 1.0),
        "delc.compress, halves": in_server(connection, 1.0, halves=True),
        **libraries(arrays, name),
    }
    raw, numbers = sum(array.nbytes for array in arrays), sum(array.size for array in arrays)
    timings = interleaved({way: codec.decode_seconds for way, codec in codecs.items()}, rounds)
    alone, given = entropies(arrays)
    print(
        f"\n {name}: {numbers / 1e6:.1f} million parameters; entropy of byte planes {alone:.2f} bits,"
        f" each given the one above {given:.2f} (the tables of frequencies not counted)"
    )
    print(f"  {'':<28}{'bits':>8}{'encode':>12}{'decode':>12}{'read':>12}")
    for way, codec in codecs.items():
        encode = "–" if way == "delc, ordinary" else f"{raw / codec.encode / 1e6:.0f} MB/s"
        read = f"{raw / codec.read / 1e6:>7.0f} MB/s" if codec.read else ""
        decode = f"{raw / timings.median(way) / 1e6:>7.0f} MB/s"
        print(f"  {way:<28}{8 * codec.stored / numbers:>8.2f}{encode:>12}{decode}{read}")
    halves, dense = codecs["delc.compress, halves"], codecs["delc.compress"]
    decode = timings.ratio("delc.compress, halves", "delc.compress")
    print(f"  in half planes: {halves.stored / dense.stored:.4f} of the bytes, {decode:.3f} of the seconds to decode")
    check(name, codecs, timings, raw, numbers, goal)


def check(name: str, codecs: dict[str, Codec], timings: Timings, raw: int, numbers: int, goal: Goals) -> None:
    dense = codecs["delc.compress"]
    most_bits, least_speed = (26.1, 1.5) if name == "float32" else (10.55, 0.7)
    goal.at_most(f"{name}, bits per parameter", 8 * dense.stored / numbers, most_bits)
    goal.at_least(f"{name}, decoding in GB/s", raw / timings.median("delc.compress") / 1e9, least_speed)
    goal.at_least(f"{name}, reading in GB/s", raw / dense.read / 1e9, least_speed)
    goal.at_least(f"{name}, encoding in MB/s", raw / dense.encode / 1e6, 200)
    if "ZipNN" in codecs:
        goal.at_most(f"{name}, size in those of ZipNN", dense.stored / codecs["ZipNN"].stored, 1)
        goal.at_most(f"{name}, seconds to decode in those of ZipNN", timings.ratio("delc.compress", "ZipNN"), 1)
        mix = codecs["delc, a mix"]
        goal.at_most(f"{name}, a mix, size in those of ZipNN", mix.stored / codecs["ZipNN"].stored, 1)
        goal.at_most(f"{name}, a mix, seconds to decode in those of ZipNN", timings.ratio("delc, a mix", "ZipNN"), 1)


RANKED = """
    CREATE TEMP TABLE weights AS
    SELECT value, sum(bytes) OVER (ORDER BY gain / bytes DESC, place) / sum(bytes) OVER () - 1e-9 AS share
    FROM (SELECT place, value, delc.stored_bytes(value) AS bytes,
                 delc.stored_bytes(value) - delc.stored_bytes(delc.compress(value))::float8 AS gain
          FROM given) AS ranked
"""


def prepare(connection: Connection, arrays: list[Array], dtype: str) -> None:
    """The weights with ``share``: that of all bytes up to each, first those that gain most by being compressed."""
    connection.execute("DROP TABLE IF EXISTS weights, given")
    connection.execute("CREATE TEMP TABLE given (place serial, value delc.tensor)")
    for array in arrays:
        cast = "delc.as_dtype(delc.from_npy(%b), 'bfloat16')" if dtype == "bfloat16" else "delc.from_npy(%b)"
        connection.execute(f"INSERT INTO given (value) VALUES ({cast})", [npy(array)])
    connection.execute(RANKED)


def bfloat16(array: Array) -> Array:
    """The bits, rounded to nearest even, of finite numbers."""
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    weights = list(minilm.state().values())
    with server() as cluster, connected(cluster) as connection, goals() as goal:
        machine.describe(connection)
        connection.execute("""DO $$ plpy.execute("SELECT delc.load_python()") $$ LANGUAGE plpython3u""")
        connection.execute(
            "CREATE FUNCTION pg_temp.decoded(value delc.tensor) RETURNS bigint LANGUAGE plpython3u"
            " TRANSFORM FOR TYPE delc.tensor AS 'return value.nbytes'"
        )
        connection.execute(
            "CREATE FUNCTION pg_temp.processor() RETURNS float8 LANGUAGE plpython3u"
            " AS 'import time; return time.process_time()'"
        )
        connection.execute(MEASURE)
        for dtype, arrays in (("float32", weights), ("bfloat16", [bfloat16(array) for array in weights])):
            prepare(connection, weights, dtype)
            measure(connection, dtype, arrays, chosen.rounds, goal)


if __name__ == "__main__":
    main()
