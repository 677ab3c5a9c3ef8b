"""Binary form, for drivers."""

from __future__ import annotations

import struct

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings

from support.cluster import Connection
from support.tensors import DTYPES, Tensor, TensorDumper, header, random_bits, smooth, tensor, tensors, text, value


class Raw(bytes):
    """Bytes sent as they are as a binary tensor."""


@pytest.fixture
def raw(tdb: Connection) -> Connection:
    class RawDumper(TensorDumper):
        def dump(self, obj: Raw) -> bytes:
            return bytes(obj)

    RawDumper.oid = TensorDumper.oid
    tdb.adapters.register_dumper(Raw, RawDumper)
    return tdb


def test_wire_format_is_as_documented(tdb: Connection) -> None:
    sent = value(tdb, "SELECT tensor_send('int16[2,1]{{1},{-2}}')")
    assert bytes(sent) == bytes.fromhex("de1c0107020000000200000000000000010000000000000001 00fe ff".replace(" ", ""))


@settings(max_examples=300)
@given(original=tensors())
def test_any_tensor_survives_the_wire(tdb: Connection, original: Tensor) -> None:
    assert value(tdb, "SELECT %s", original) == original


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [random_bits, smooth])
def test_large_tensors_survive_storage(tdb: Connection, dtype: str, make: object) -> None:
    original = (random_bits if make is random_bits else smooth)(np.random.default_rng(3), dtype, (37, 4001))
    tdb.execute("CREATE TEMP TABLE stored (t tensor) ON COMMIT DROP")
    tdb.execute("INSERT INTO stored VALUES (%s)", (original,))
    assert value(tdb, "SELECT t FROM stored") == original


def test_nan_payloads_and_signed_zeros_keep_their_bits(tdb: Connection) -> None:
    bits = np.array([0x7F800001, 0xFFFFFFFF, 0x80000000, 1, 0x7FC00000, 0xFF800000], dtype=np.uint32)
    original = Tensor("float32", bits.view(np.float32))
    assert value(tdb, "SELECT %s", original).wire() == original.wire()


def test_copy_binary_round_trip(tdb: Connection) -> None:
    original = tensor([[1, 2], [3, 4]], "uint8")
    tdb.execute("CREATE TEMP TABLE copied (t tensor) ON COMMIT DROP")
    with tdb.cursor() as cursor:
        with cursor.copy("COPY copied FROM STDIN (FORMAT binary)") as copy:
            copy.write_row((original,))
        assert text(tdb, "SELECT t FROM copied") == "uint8[2,2]{{1,2},{3,4}}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "It has 0 bytes"),
        (b"\xde\x1c\x01\x02\x00", "It has 5 bytes"),
        (b"\xde\x1d" + header("float32", 0)[2:] + bytes(4), "starts with DE1D"),
        (b"\xde\x1c\x02" + header("float32", 0)[3:] + bytes(4), "wire version 2"),
        (b"\xde\x1c\x01\x00" + header("float32", 0)[4:], "unknown dtype code 0"),
        (b"\xde\x1c\x01\x0b" + header("float32", 0)[4:], "unknown dtype code 11"),
        (header("float32", 9) + bytes(72), "rank 9"),
        (header("float32", 2) + bytes(8), "ends within its dimensions"),
        (header("float32", 1) + struct.pack("<q", -1), "dimension 1 of a tensor cannot be -1"),
        (header("float32", 1) + struct.pack("<q", 2) + bytes(7), "has 8 bytes of numbers, not 7"),
        (header("float32", 1) + struct.pack("<q", 2) + bytes(9), "has 8 bytes of numbers, not 9"),
        (header("float32", 2) + struct.pack("<qq", 2**40, 2**40), "too large"),
        (header("float32", 1) + struct.pack("<q", 2**25 + 1), "too large"),
        (header("float32", 0)[:7] + b"\x01" + bytes(4), "Bytes 5 to 7"),
        (header("bool", 0) + b"\x02", "Element 0 of a bool tensor is 2"),
    ],
)
def test_malformed_binary_is_refused_with_what_is_wrong(raw: Connection, data: bytes, message: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        raw.execute("SELECT %s", (Raw(data),))
    diagnostics = caught.value.diag
    assert message in f"{diagnostics.message_primary} {diagnostics.message_detail}"
    assert diagnostics.sqlstate in {"22P03", "54000"}
