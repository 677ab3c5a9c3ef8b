"""Random damage to text, stored values, wire messages and .npy files: refused or a valid tensor, never a crash.

Inputs are valid ones with bytes flipped, set, cut off, doubled or spliced, from a fixed seed. What is accepted must
survive another round trip. DELC_FUZZ_CASES says how many cases to try in all (default 300,000).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
from psycopg import pq

from support.cluster import Connection
from support.tensors import DTYPES, Tensor, random_bits, register, smooth, tensor, value

CASES = int(os.environ.get("DELC_FUZZ_CASES", "300000"))
BATCH = 10_000

# What input may be refused as: malformed text or binary, out of range, NULL, a wrong argument, bad data, a limit, an
# unsupported .npy dtype.
REFUSALS = {"22P02", "22P03", "22003", "22004", "22023", "22000", "54000", "0A000"}

# A server process may grow by so much: a value of the largest size, decoded, a few times over.
GROWTH_KIB = 600 * 1024

TRY_ALL = """
CREATE FUNCTION pg_temp.try_all(inputs anyarray, form text) RETURNS TABLE (state text, cases bigint)
LANGUAGE plpgsql AS $$
DECLARE
    counts jsonb := '{}';
    t tensor;
    outcome text;
BEGIN
    FOR i IN 1 .. array_length(inputs, 1) LOOP
        BEGIN
            IF form = 'text' THEN
                t := inputs[i];
            ELSIF form = 'stored' THEN
                t := 'base64:' || translate(encode(inputs[i]::bytea, 'base64'), E'\\n', '');
            ELSE
                t := from_npy(inputs[i]::bytea);
            END IF;
            outcome := CASE WHEN raw_bytes(t) > 1e6 OR t::text::tensor = t THEN 'valid' ELSE 'lost' END;
        EXCEPTION WHEN OTHERS THEN
            outcome := SQLSTATE;
        END;
        counts := jsonb_set(counts, ARRAY[outcome], to_jsonb(coalesce((counts ->> outcome)::bigint, 0) + 1));
    END LOOP;
    RETURN QUERY SELECT key, jsonb_each_text.value::bigint FROM jsonb_each_text(counts);
END
$$
"""

LIMITS = [0, 1, 7, 8, 9, 127, 128, 255, 2**16, 2**25 + 1, 2**27, 2**27 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]


def damage(random: Random, data: bytearray, corpus: list[bytes], alphabet: bytes) -> None:
    """One random change; places near the start, where headers are, are likelier."""
    at = int(len(data) * random.random() ** random.choice((1, 3)))
    choice = random.randrange(7 if len(alphabet) == 256 else 5)
    if choice == 0:
        data[at : at + 1] = bytes([random.choice(alphabet)])
    elif choice == 1:
        del data[at:]
    elif choice == 2:
        data[at:at] = bytes([random.choice(alphabet)]) * random.randrange(1, 9)
    elif choice == 3:
        del data[at : at + random.randrange(1, 9)]
    elif choice == 4:
        data[at:] = random.choice(corpus)[at:]
    elif choice == 5 and at < len(data):
        data[at] ^= 1 << random.randrange(8)
    else:
        width, limit = random.choice((4, 8)), random.choice(LIMITS)
        data[at & ~3 : (at & ~3) + width] = struct.pack("<Q", limit)[:width]


def mutations(seed: int, corpus: list[bytes], alphabet: bytes = bytes(range(256))) -> Iterator[bytes]:
    """Valid inputs, damaged one to three times; what is put in comes from the alphabet."""
    random = Random(seed)
    while True:
        data = bytearray(random.choice(corpus))
        for _ in range(random.choice((1, 1, 2, 3))):
            damage(random, data, corpus, alphabet)
        yield bytes(data)


def batches(source: Iterator[bytes], cases: int) -> Iterator[list[bytes]]:
    for start in range(0, cases, BATCH):
        yield [next(source) for _ in range(min(BATCH, cases - start))]


def peak_memory_kib(db: Connection) -> int:
    """The most memory that the connection's server process has had resident."""
    for line in Path(f"/proc/{value(db, 'SELECT pg_backend_pid()')}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("the kernel does not tell VmHWM")


@pytest.fixture
def server(fresh_db: Connection) -> Iterator[Connection]:
    """A process of its own; at the end it must be alive and not have grown beyond measure."""
    fresh_db.execute("SET search_path = delc, public")
    fresh_db.execute(TRY_ALL)
    register(fresh_db)
    before = peak_memory_kib(fresh_db)
    yield fresh_db
    assert peak_memory_kib(fresh_db) - before < GROWTH_KIB


@pytest.fixture(scope="module")
def samples() -> list[Tensor]:
    rng = np.random.default_rng(99)
    shapes: list[tuple[int, ...]] = [(), (3,), (2, 2), (0, 4), (1, 1, 1, 1, 1, 1, 1, 2), (300,)]
    made = [random_bits(rng, dtype, shape) for dtype in DTYPES for shape in shapes]
    made += [smooth(rng, dtype, (2100,)) for dtype in ("float32", "bfloat16", "float64")]
    return [*made, tensor(np.zeros(3000), "int16"), tensor(rng.integers(0, 2, 3000), "bool")]


def try_all(db: Connection, form: str, source: Iterator[bytes], cases: int) -> None:
    total: dict[str, int] = {}
    for batch in batches(source, cases):
        inputs: list[str] | list[bytes] = [case.decode() for case in batch] if form == "text" else batch
        array_type = "text[]" if form == "text" else "bytea[]"
        query = f"SELECT * FROM pg_temp.try_all(%s::{array_type}, '{form}')"
        for state, count in db.execute(query.encode(), (inputs,)):
            total[state] = total.get(state, 0) + count
    check(total, cases)


def check(total: dict[str, int], cases: int) -> None:
    assert sum(total.values()) == cases
    assert set(total) <= REFUSALS | {"valid"}
    assert total["valid"] > 0


def test_damaged_text(server: Connection, samples: list[Tensor]) -> None:
    texts = [value(server, "SELECT %s::text", sample).encode() for sample in samples]
    corpus = [text for text in texts if len(text) < 1000]
    corpus += [b"{{1,2},{3,4}}", b"[[1,2],[3,-0]]", b"float32{NaN(0x7fc00001),-Infinity}", b"float16[]{1e-7}"]
    alphabet = b"0123456789{}[],.-+eE NaInfbotx()=/\n" + bytes(range(97, 123))
    try_all(server, "text", mutations(1, corpus, alphabet), CASES * 3 // 10)


def test_damaged_stored_values(server: Connection, samples: list[Tensor]) -> None:
    corpus = [sample.stored() for sample in samples if sample.array.size < 300]
    for sample in samples:
        printed = value(server, "SELECT %s::text", sample)
        if "base64:" in printed:
            corpus.append(bytes(value(server, "SELECT decode(split_part(%s, ':', 2), 'base64')", printed)))
    try_all(server, "stored", mutations(2, corpus), CASES * 3 // 10)


def test_damaged_npy_files(server: Connection, samples: list[Tensor]) -> None:
    small = [sample for sample in samples if sample.array.size < 300]
    corpus = [bytes(value(server, "SELECT to_npy(%s)", sample)) for sample in small]
    try_all(server, "npy", mutations(3, corpus), CASES * 2 // 10)


def test_damaged_wire_messages(server: Connection, samples: list[Tensor]) -> None:
    corpus = [sample.wire() for sample in samples if sample.array.size < 300]
    cases = CASES * 2 // 10
    source = mutations(4, corpus)
    total: dict[str, int] = {}
    oid = value(server, "SELECT 'tensor'::regtype::oid")
    for start in range(0, cases, 25):
        batch = [next(source) for _ in range(min(25, cases - start))]
        for state in send_all(server.pgconn, oid, batch):
            total[state] = total.get(state, 0) + 1
    check(total, cases)


def send_all(connection: pq.abc.PGconn, oid: int, messages: list[bytes]) -> Iterator[str]:
    """The outcome of each message, sent as a binary parameter, through one pipeline.

    Few enough messages that neither side waits for the other to read.
    """
    connection.nonblocking = 0
    connection.enter_pipeline_mode()
    for message in messages:
        connection.send_query_params(b"SELECT tensor_send($1)", [message], [oid], [1], 1)
        connection.pipeline_sync()
    for message in messages:
        result = connection.get_result()
        assert result is not None
        if result.status == pq.ExecStatus.TUPLES_OK:
            yield "valid" if result.get_value(0, 0) == message else "lost"
        else:
            yield (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        assert connection.get_result() is None
        synced = connection.get_result()
        assert synced is not None
        assert synced.status == pq.ExecStatus.PIPELINE_SYNC
    connection.exit_pipeline_mode()
    connection.nonblocking = 1
