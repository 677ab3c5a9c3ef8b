"""Tensors in PL/Python: numpy arrays on the way in, numpy arrays, torch tensors and lists on the way out."""

from __future__ import annotations

import pytest

from support.cluster import Connection
from support.python_function import run_inside
from support.workplace import failure, row, value

DTYPES = {
    "float64": "1.5", "float32": "1.5", "float16": "1.5", "int64": "9007199254740993", "int32": "-7", "int16": "-7",
    "int8": "-7", "uint8": "200", "bool": "1",
}  # fmt: skip


def define(db: Connection, name: str, arguments: str, returns: str, body: str) -> None:
    """A PL/Python function that takes and gives tensors as Python values."""
    db.execute(
        f"CREATE FUNCTION pg_temp.{name}({arguments}) RETURNS {returns} LANGUAGE plpython3u"
        f" TRANSFORM FOR TYPE delc.tensor AS $function$\n{body}\n$function$"
    )


def same(db: Connection, tensor: str) -> bool:
    """Whether a tensor comes back from Python as it went in, bit for bit."""
    define(db, "echo", "t delc.tensor", "delc.tensor", "return t")
    return value(db, f"SELECT pg_temp.echo({tensor}) OPERATOR(delc.=) {tensor}")


@pytest.mark.parametrize(("dtype", "number"), DTYPES.items())
def test_a_tensor_is_a_numpy_array_of_its_type_and_shape(db: Connection, dtype: str, number: str) -> None:
    define(db, "look", "t delc.tensor", "text", "return f'{type(t).__module__} {t.dtype} {t.shape} {t.tolist()}'")
    shown = value(db, f"SELECT pg_temp.look('{dtype}{{{{{number}}},{{{number}}}}}'::delc.tensor)")
    assert shown.startswith(f"numpy {dtype} (2, 1) [[")


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_a_tensor_comes_back_as_it_went_in(db: Connection, dtype: str) -> None:
    assert same(db, f"'{dtype}{{0,1,1}}'::delc.tensor")


def test_bits_of_numbers_that_are_none_come_back(db: Connection) -> None:
    assert same(db, "'float32{NaN,Infinity,-Infinity,-0,1e-45}'::delc.tensor")


def test_bfloat16_is_a_torch_tensor(db: Connection) -> None:
    define(db, "look", "t delc.tensor", "text", "return f'{type(t).__module__} {t.dtype} {tuple(t.shape)}'")
    assert value(db, "SELECT pg_temp.look('bfloat16{1,2}'::delc.tensor)") == "torch torch.bfloat16 (2,)"


def test_a_scalar_and_an_empty_tensor_keep_their_shape(db: Connection) -> None:
    body = """
        import numpy as np
        plan = plpy.prepare("SELECT delc.shape($1) AS s", ["delc.tensor"])
        return [list(plpy.execute(plan, [np.zeros(shape, np.float32)])[0]["s"]) for shape in [(), (0,), (2, 0, 3)]]
    """
    assert run_inside(db, "import plpy\n" + body.replace("\n        ", "\n")) == [[], [0], [2, 0, 3]]


def test_writing_to_an_array_leaves_the_tensor_as_it_was(db: Connection) -> None:
    define(db, "write", "t delc.tensor", "float8", "t[0] = 9\nreturn float(t[0])")
    db.execute("CREATE TEMP TABLE kept AS SELECT '{1,2}'::real[]::delc.tensor AS t")
    assert row(db, "SELECT pg_temp.write(t), t::float8[] FROM kept") == (9, [1, 2])
    assert value(db, "SELECT t::float8[] FROM kept") == [1, 2]


def test_two_arguments_are_two_tensors(db: Connection) -> None:
    define(db, "both", "a delc.tensor, b delc.tensor", "float8[]", "return [float(a.sum()), float(b.sum())]")
    large = "array_fill({}::real, ARRAY[100000])::delc.tensor"
    assert value(db, f"SELECT pg_temp.both({large.format(1)}, {large.format(2)})") == [100000, 200000]


def test_an_array_lives_as_long_as_python_holds_it(db: Connection) -> None:
    define(db, "keep", "t delc.tensor", "void", "GD.setdefault('arrays held', []).append(t)")
    define(db, "total", "", "float8", "return float(sum(t.sum() for t in GD.pop('arrays held')))")
    db.execute("SELECT pg_temp.keep(array_fill(i::real, ARRAY[10000])::delc.tensor) FROM generate_series(1, 20) AS i")
    db.execute("SELECT count(*) FROM (SELECT md5(i::text) FROM generate_series(1, 10000) AS i) AS other_work")
    assert value(db, "SELECT pg_temp.total()") == 210 * 10000


def test_null_is_none_both_ways(db: Connection) -> None:
    define(db, "none", "t delc.tensor", "delc.tensor", "return None if t is None else t")
    assert value(db, "SELECT pg_temp.none(NULL) IS NULL") is True


@pytest.mark.parametrize(
    ("made", "text"),
    [
        ("np.array([[1, 2], [3, 4]], dtype=np.int32).T", "int32{{1,3},{2,4}}"),
        ("np.arange(6, dtype=np.float64)[::2]", "float64{0,2,4}"),
        ("np.array([1, 2], dtype='>i4')", "int32{1,2}"),
        ("np.float32(2.5)", "float32 2.5"),
        ("torch.tensor([1.5, 2])", "float32{1.5,2}"),
        ("torch.tensor([1.5, 2], requires_grad=True)", "float32{1.5,2}"),
        ("torch.arange(6).reshape(2, 3).t()", "int64{{0,3},{1,4},{2,5}}"),
        ("torch.tensor([1, 2], dtype=torch.bfloat16)", "bfloat16{1,2}"),
        ("[[1.0, 2.0], [3.0, 4.0]]", "float64{{1,2},{3,4}}"),
        ("[True, False]", "bool{1,0}"),
    ],
)
def test_arrays_tensors_and_lists_become_tensors(db: Connection, made: str, text: str) -> None:
    define(db, "make", "", "delc.tensor", f"import numpy as np, torch\nreturn {made}")
    dtype, _, numbers = text.partition("{") if "{" in text else text.partition(" ")
    shown = row(db, "SELECT delc.dtype(t), t::float8[]::text FROM pg_temp.make() AS t") if "{" in text else None
    if shown is None:
        assert value(db, "SELECT delc.dtype(pg_temp.make())") == dtype
    else:
        assert shown == (dtype, "{" + numbers)


@pytest.mark.parametrize(
    "made", ["np.array([1j])", "np.array(['a'])", "np.zeros((1,) * 9)", "'text'", "object()", "[[1, 2], [3]]"]
)
def test_what_is_no_tensor_is_refused(db: Connection, made: str) -> None:
    define(db, "make", "", "delc.tensor", f"import numpy as np\nreturn {made}")
    error = failure(db, "SELECT pg_temp.make()")
    assert error.sqlstate not in (None, "XX000")


def test_tensors_in_query_results_are_arrays_too(db: Connection) -> None:
    define(
        db, "query", "", "float8",
        "return float(plpy.execute(\"SELECT '{1,2,3}'::real[]::delc.tensor AS t\")[0]['t'].sum())",
    )  # fmt: skip
    assert value(db, "SELECT pg_temp.query()") == 6


def test_a_large_tensor_goes_through(db: Connection) -> None:
    define(db, "double", "t delc.tensor", "delc.tensor", "return t * 2")
    found = "SELECT delc.shape(d), (d::real[])[1000000]"
    found += " FROM pg_temp.double(array_fill(1.5::real, ARRAY[1000000])::delc.tensor) AS d"
    assert row(db, found) == ([1000000], 3)
