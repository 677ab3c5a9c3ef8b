"""Text form: readable and exact for small tensors, compact and exact for large ones."""

from __future__ import annotations

import base64

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cluster import Connection
from support.tensors import Tensor, random_bits, tensor, tensors, text, value


@pytest.mark.parametrize(
    ("given_text", "printed"),
    [
        ("float32[2,3]{{1,2.5,NaN},{-0,Infinity,1e-45}}", "float32[2,3]{{1,2.5,NaN},{-0,Infinity,1e-45}}"),
        ("int64[]{7}", "int64[]{7}"),
        ("float32[4,0]{}", "float32[4,0]{}"),
        ("float32[2,0]{{},{}}", "float32[2,0]{}"),
        ("float64{0.1,1e300,-1.7976931348623157e308}", "float64[3]{0.1,1e+300,-1.7976931348623157e+308}"),
        ("float16{0.1,65504,6e-8}", "float16[3]{0.1,6.55e+04,6e-08}"),
        ("bfloat16{0.1,3.39e38}", "bfloat16[2]{0.1,3.39e+38}"),
        ("float32{nan,-inf,NaN(0x7f800001),NaN(0xffc00000)}",
         "float32[4]{NaN,-Infinity,NaN(0x7f800001),NaN(0xffc00000)}"),
        ("int8{-128,127}", "int8[2]{-128,127}"),
        ("uint8{0,255}", "uint8[2]{0,255}"),
        ("int64{-9223372036854775808}", "int64[1]{-9223372036854775808}"),
        ("bool{t,f,true,FALSE,1,0}", "bool[6]{t,f,t,f,t,f}"),
        ("{{1,2},{3,4}}", "float32[2,2]{{1,2},{3,4}}"),
        ("[[1, 2], [3, 4]]", "float32[2,2]{{1,2},{3,4}}"),
        ("  float32 [ 1 , 2 ] { { 1 , 2 } }  ", "float32[1,2]{{1,2}}"),
        ("{}", "float32[0]{}"),
        ("{{},{}}", "float32[2,0]{}"),
        ("float32[1000000000000,0]{}", "float32[1000000000000,0]{}"),
    ],
)  # fmt: skip
def test_text_is_read_and_printed(tdb: Connection, given_text: str, printed: str) -> None:
    assert text(tdb, "SELECT %s::tensor", given_text) == printed


@settings(max_examples=300)
@given(original=tensors())
def test_any_tensor_survives_text(tdb: Connection, original: Tensor) -> None:
    printed = text(tdb, "SELECT %s", original)
    assert value(tdb, "SELECT %s::tensor", printed) == original


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_pattern_of_the_16_bit_floats_survives_readable_text(tdb: Connection, dtype: str) -> None:
    bits = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    rows = [Tensor(dtype, row.view(np.float16) if dtype == "float16" else row) for row in bits]
    tdb.execute("CREATE TEMP TABLE pattern (t tensor) ON COMMIT DROP")
    with tdb.cursor() as cursor:
        cursor.executemany("INSERT INTO pattern VALUES (%s)", [(row,) for row in rows])
    assert value(tdb, "SELECT count(*) FROM pattern WHERE t::text LIKE '%%base64%%' OR t::text::tensor <> t") == 0


def test_256_elements_are_readable_and_more_are_compact(tdb: Connection) -> None:
    assert "{" in text(tdb, "SELECT %s", tensor(np.ones(256)))
    compact = text(tdb, "SELECT %s", tensor(np.ones(257)))
    assert compact.startswith("float32[257]base64:")
    assert "{" not in compact


@pytest.mark.parametrize("shape", [(), (3,), (2, 0)])
def test_compact_text_is_read_for_any_size_with_or_without_dtype_and_shape(
    tdb: Connection, shape: tuple[int, ...]
) -> None:
    original = random_bits(np.random.default_rng(1), "int32", shape)
    stored = base64.b64encode(original.stored()).decode()
    dims = ",".join(map(str, shape))
    for prefix in ("", "int32", f"int32[{dims}]"):
        assert value(tdb, "SELECT %s::tensor", f"{prefix} base64:{stored}") == original


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_float32_text_is_rounded_like_real(tdb: Connection, numbers: list[float]) -> None:
    literal = "{" + ",".join(repr(number) for number in numbers) + "}"
    expected = text(tdb, "SELECT %s::real[]::tensor", literal)
    assert text(tdb, "SELECT %s::tensor", literal) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("", "There should be a dtype, { or [ at character 1"),
        ("7", 'unknown dtype "7"'),
        ("float31{1}", "Known dtypes: float64, float32"),
        ("float32[2]{1}", "axis 1 has 1 entries instead of 2"),
        ("float32[2]{{1,2}}", "nested 2 deep, the tensor has rank 1"),
        ("float32[2,1]{1,2}", "nested 1 deep, the tensor has rank 2"),
        ("float32[]{1,2}", "rank 0 has one number"),
        ("float32[-1]{}", "dimension 1 of a tensor cannot be -1"),
        ("float32[1,1,1,1,1,1,1,1,1]{}", "The rank of a tensor is 0 to 8"),
        ("float32[99999999999999999999]{}", "Dimension 1 of the shape is out of range"),
        ("float32[1 2]{}", "comma or ]"),
        ("float32[9999999999,9999999999,0]{}", "too large"),
        ("float32[33554433]{1}", "at most 134217728 bytes"),
        ("{{1,2},{3}}", "axis 2 has 1 entries instead of 2"),
        ("{{1,2},3}", "nested 1 deep"),
        ("{1,2", "There should be , or }"),
        ("{1,2]", "There should be , or }"),
        ("{1,2}x", "There is more after the tensor"),
        ("{1,,2}", "There is no number"),
        ("{1,NULL}", "cannot contain NULL"),
        ("{1,0x10}", 'invalid float32 number in tensor: "0x10"'),
        ("{1e39}", "1e39 is out of range for dtype float32"),
        ("float16{65520}", "65520 is out of range for dtype float16"),
        ("int8{128}", "128 is out of range for dtype int8"),
        ("int64{9223372036854775808}", "out of range for dtype int64"),
        ("int32{1.5}", 'invalid int32 number in tensor: "1.5"'),
        ("bool{2}", 'invalid bool number in tensor: "2"'),
        ("{NaN(0x7f800000)}", "must hold the bits of a NaN"),
        ("float16{NaN(0x7fc00001)}", "must hold the bits of a NaN"),
        ("{NaN(0x7fc00001}", "must hold the bits of a NaN"),
        ("{" * 9 + "1" + "}" * 9, "nested 9 deep"),
        ("{" + "1" * 1001 + "}", "more than 1000 characters"),
        ("base64:AAA", "no multiple of 4"),
        ("base64:A*AA", "base64 text is wrong at character 8"),
        ("base64:AAAA", "It has 3 bytes, a header has at least 12"),
        ("float32[3]base64:3hwCAgEEAgAAAAAAAQAAAAAAAAAACAEAAAAAAAAAAAgBAAAAAAAAAAAIAQAAAAAAAAAACAEAAAAAAAAAP4AAAA==",
         "The text holds a tensor float32[1]"),
    ],
)  # fmt: skip
def test_malformed_text_is_refused_with_what_is_wrong(tdb: Connection, wrong: str, message: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        tdb.execute("SELECT %s::tensor", (wrong,))
    diagnostics = caught.value.diag
    said = " ".join(filter(None, [diagnostics.message_primary, diagnostics.message_detail, diagnostics.message_hint]))
    assert message in said
    assert diagnostics.sqlstate in {"22P02", "22003", "22004", "22P03", "54000"}
