"""Packing rows: how values of each type become numbers, in which order, and what is refused."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from support.cluster import Cluster, Connection
from support.python_function import run_inside

READ = """
    from delc.server import packing
    from delc.server.batches import PackColumn, PackLayout
    query, columns, dtypes, batch_size, options = args
    layout = PackLayout(tuple(PackColumn(group, kind) for group, kind in columns), tuple(dtypes))
    batches = []
    for batch in packing.read(query, layout, batch_size, **options):
        batches.append({
            "rows": batch.rows,
            "first_row": batch.first_row,
            "groups": [[[repr(value) if value - value != 0 else value for value in row] for row in group.tolist()]
                       for group in batch.groups],
            "shapes": [list(shape) for shape in batch.shapes],
            "dictionaries": {str(column): list(texts) for column, texts in batch.dictionaries.items()},
            "problems": [[p.column, p.nulls, p.first_null_row, p.nonfinite, p.first_nonfinite_row]
                         for p in batch.problems],
        })
    return batches
"""


def read(
    db: Connection, query: str, columns: list[tuple[int, str]], dtypes: list[str], batch_size: int = 100, **options: Any
) -> list[dict[str, Any]]:
    """The batches of a query."""
    return run_inside(db, READ, query, columns, dtypes, batch_size, options)


def numbers(db: Connection, expression: str, dtype: str = "float64") -> list[Any]:
    """One value of one column, packed."""
    return read(db, f"SELECT {expression} AS x", [(0, "number")], [dtype])[0]["groups"][0][0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("-7::smallint", [-7]),
        ("2147483647", [2147483647]),
        ("1.5::real", [1.5]),
        ("0.1::double precision", [0.1]),
        ("1e-3::numeric", [0.001]),
        ("true", [1]),
        ("date '1970-01-02'", [86400]),
        ("date '1969-12-31'", [-86400]),
        ("timestamp '2000-01-01 00:00:00.5'", [946684800.5]),
        ("timestamptz '1970-01-01 01:00:00+01'", [0]),
        ("time '01:00'", [3600]),
        ("interval '1 day 2 seconds'", [86402]),
    ],
)
def test_a_scalar_becomes_one_number(db: Connection, expression: str, expected: list[float]) -> None:
    assert numbers(db, expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ARRAY[1, 2]::smallint[]", [1, 2]),
        ("ARRAY[1.5, 2.5]::numeric[]", [1.5, 2.5]),
        ("ARRAY[true, false]", [1, 0]),
        ("'{{1,2},{3,4}}'::real[]", [1, 2, 3, 4]),
        ("'[1,2,3]'::vector", [1, 2, 3]),
        ("'{{1,2},{3,4}}'::delc.tensor", [1, 2, 3, 4]),
        ("'\\x00ff10'::bytea", [0, 255, 16]),
        ("ARRAY[date '1970-01-02']", [86400]),
    ],
)
def test_an_array_becomes_its_elements_side_by_side(db: Connection, expression: str, expected: list[float]) -> None:
    assert numbers(db, expression) == expected


def test_bytes_stay_bytes(db: Connection) -> None:
    assert numbers(db, "'\\x00ff10'::bytea", "uint8") == [0, 255, 16]


def test_large_integers_keep_every_digit(db: Connection) -> None:
    assert numbers(db, "9007199254740993", "int64") == [9007199254740993]


def test_a_lone_array_keeps_its_dimensions(db: Connection) -> None:
    batch = read(db, "SELECT '{{1,2,3},{4,5,6}}'::real[] AS x", [(0, "number")], ["float32"])[0]
    assert batch["shapes"] == [[2, 3]]


def test_columns_of_a_group_lie_side_by_side_in_query_order(db: Connection) -> None:
    batch = read(
        db,
        "SELECT 1 AS a, ARRAY[2, 3] AS b, 9 AS other, 4.5 AS c",
        [(0, "number"), (0, "number"), (1, "number"), (0, "number")],
        ["float64", "int32"],
    )[0]
    assert batch["groups"] == [[[1, 2, 3, 4.5]], [[9]]]


def test_batches_have_the_size_asked_for_and_the_rest(db: Connection) -> None:
    batches = read(db, "SELECT i FROM generate_series(1, 5) AS i", [(0, "number")], ["int64"], 2)
    assert [(batch["first_row"], batch["groups"][0]) for batch in batches] == [
        (0, [[1], [2]]),
        (2, [[3], [4]]),
        (4, [[5]]),
    ]


def test_categories_are_numbered_as_they_appear_and_the_dictionary_grows(db: Connection) -> None:
    query = "SELECT c FROM unnest(ARRAY['b', 'a', NULL, 'b', 'c']) WITH ORDINALITY AS t(c, n) ORDER BY n"
    batches = read(db, query, [(0, "category")], ["int32"], 3)
    assert [batch["groups"][0] for batch in batches] == [[[0], [1], [-1]], [[0], [2]]]
    assert batches[1]["dictionaries"]["0"] == ["b", "a", "c"]


def test_nulls_and_numbers_that_are_not_finite_are_counted_by_column(db: Connection) -> None:
    query = "SELECT a, b FROM (VALUES (1, 1.0), (NULL, 'NaN'), (NULL, 'Infinity')) AS t(a, b)"
    batch = read(db, query, [(0, "number"), (0, "number")], ["float64"])[0]
    assert batch["problems"] == [[0, 2, 1, 0, 0], [1, 0, 0, 2, 1]]
    assert batch["groups"][0] == [[1, 1], ["nan", "nan"], ["nan", "inf"]]


def test_null_elements_of_an_array_are_counted_with_their_row(db: Connection) -> None:
    batch = read(db, "SELECT ARRAY[1, NULL] AS x", [(0, "number")], ["float32"])[0]
    assert batch["groups"][0] == [[1, "nan"]]
    assert batch["problems"][0][1] == 1


def test_rows_of_different_length_name_the_row_the_column_and_both_lengths(db: Connection) -> None:
    query = "SELECT x FROM (VALUES (1, ARRAY[1, 2]), (2, ARRAY[1])) AS t(n, x) ORDER BY n"
    with pytest.raises(psycopg.errors.DataException, match='row 2: column "x" has 1 numbers, expected 2'):
        read(db, query, [(0, "number")], ["float32"])


def test_text_cannot_be_read_as_numbers(db: Connection) -> None:
    with pytest.raises(psycopg.errors.DatatypeMismatch, match='column "x" of type text cannot be read as numbers'):
        read(db, "SELECT 'a'::text AS x", [(0, "number")], ["float32"])


def test_a_number_that_does_not_fit_the_group_is_an_error(db: Connection) -> None:
    with pytest.raises(psycopg.errors.NumericValueOutOfRange, match='value 300 of column "x" does not fit uint8'):
        read(db, "SELECT 300 AS x", [(0, "number")], ["uint8"])


@pytest.mark.parametrize("query", ["DELETE FROM delc.runs", "SELECT 1; SELECT 2", "CREATE TABLE t ()"])
def test_only_a_query_that_returns_rows_can_be_packed(db: Connection, query: str) -> None:
    with pytest.raises(psycopg.Error):
        read(db, query, [(0, "number")], ["float32"])


def test_a_seed_shuffles_and_the_same_seed_gives_the_same_order(db: Connection) -> None:
    query = "SELECT i FROM generate_series(1, 1000) AS i"
    first, again, other = (
        [row[0] for row in read(db, query, [(0, "number")], ["int64"], 1000, seed=seed)[0]["groups"][0]]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert first != sorted(first) == sorted(other)


def test_a_batch_past_the_memory_limit_is_refused_before_it_is_allocated(db: Connection) -> None:
    db.execute("SET LOCAL delc.memory_limit = '16MB'")
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match=r"delc\.memory_limit"):
        read(db, "SELECT array_fill(1::real, ARRAY[10000]) AS x", [(0, "number")], ["float32"], 100_000)


def test_an_error_in_the_query_frees_the_packer_and_leaves_the_session_usable(db: Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), db.transaction():
        read(db, "SELECT 1 / (3 - i) AS x FROM generate_series(1, 5) AS i", [(0, "number")], ["int64"], 2)
    assert db.execute("SELECT count(*) FROM pg_cursors").fetchone() == (0,)
    assert numbers(db, "1") == [1]


def test_a_read_that_is_given_up_leaves_no_open_cursor(db: Connection) -> None:
    give_up = """
        from delc.server import packing
        from delc.server.batches import PackColumn, PackLayout
        layout = PackLayout((PackColumn(0, "number"),), ("int64",))
        for batch in packing.read(args[0], layout, 10):
            return batch.rows
    """
    assert run_inside(db, give_up, "SELECT i FROM generate_series(1, 50) AS i") == 10
    assert db.execute("SELECT count(*) FROM pg_cursors").fetchone() == (0,)


def test_what_was_packed_outlives_query_and_transaction(db: Connection) -> None:
    kept = """
        from delc.server import packing
        from delc.server.batches import PackColumn, PackLayout
        layout = PackLayout((PackColumn(0, "number"),), ("int64",))
        GD["kept"] = [batch.groups[0] for batch in packing.read(args[0], layout, 1000)]
        return None
    """
    run_inside(db, kept, "SELECT i FROM generate_series(1, 5000) AS i")
    db.rollback()
    assert run_inside(db, "return int(sum(group.sum() for group in GD['kept']))") == 5000 * 5001 // 2


def test_describe_query_names_columns_and_types_without_running(db: Connection) -> None:
    rows = db.execute(
        "SELECT name, type FROM delc.describe_query("
        "'SELECT 1 / 0 AS a, NULL::numeric(10, 2) AS b, ''{}''::real[] AS c')"
    ).fetchall()
    assert rows == [("a", "integer"), ("b", "numeric(10,2)"), ("c", "real[]")]


OUT_OF_LINE = """
    CREATE TEMP TABLE {name} (id integer PRIMARY KEY, x real[], v vector({width}), b bytea, n numeric[]);
    ALTER TABLE {name} ALTER x SET STORAGE {storage}, ALTER v SET STORAGE {storage}, ALTER b SET STORAGE {storage},
        ALTER n SET STORAGE {storage};
    INSERT INTO {name} SELECT i, numbers, numbers::vector, decode(repeat(lpad(to_hex(i), 2, '0'), {width}), 'hex'),
        numbers::numeric[]
    FROM generate_series(1, 20) AS i,
        LATERAL (SELECT array_agg(CASE WHEN j <= {width} / 2 THEN i ELSE i * 1000 + j END ORDER BY j)::real[] AS numbers
                 FROM generate_series(1, {width}) AS j) AS a
"""
"""The first half of an array can be compressed, the second cannot, so that 1500 numbers lie out of line in any case."""
ALL_KINDS = ([(0, "number"), (0, "number"), (1, "number"), (2, "number")], ["float32", "uint8", "float64"])


def make_out_of_line(db: Connection, name: str, storage: str = "external", width: int = 1500) -> None:
    """20 rows of arrays, vectors and bytes, stored as told."""
    db.execute(OUT_OF_LINE.format(name=name, storage=storage, width=width))


def expected_rows(width: int) -> list[list[list[float]]]:
    """The three groups of ALL_KINDS for the rows of make_out_of_line."""
    rows = [[i if j <= width // 2 else i * 1000 + j for j in range(1, width + 1)] for i in range(1, 21)]
    return [[row + row for row in rows], [[i] * width for i in range(1, 21)], rows]


def warnings(cluster: Cluster) -> list[str]:
    return [line for line in cluster.log.splitlines() if "WARNING:" in line]


@pytest.mark.parametrize(("storage", "width"), [("external", 1500), ("extended", 1500), ("main", 300), ("plain", 300)])
def test_values_are_the_same_however_they_are_stored(db: Connection, storage: str, width: int) -> None:
    make_out_of_line(db, "stored", storage, width)
    batches = read(db, "SELECT x, v, b, n FROM stored ORDER BY id", *ALL_KINDS, 20)
    assert batches[0]["groups"] == expected_rows(width)


def test_a_column_may_mix_ways_of_storage(db: Connection) -> None:
    make_out_of_line(db, "stored", "external")
    db.execute("ALTER TABLE stored ALTER x SET STORAGE extended")
    db.execute(
        "UPDATE stored SET x = (SELECT array_agg(e ORDER BY n) FROM unnest(x) WITH ORDINALITY AS u(e, n))"
        " WHERE id % 2 = 0"
    )
    sizes = db.execute("SELECT count(DISTINCT pg_column_size(x) < 5500) FROM stored").fetchone()
    assert sizes == (2,)
    batches = read(db, "SELECT x, v, b, n FROM stored ORDER BY id", *ALL_KINDS, 20)
    assert batches[0]["groups"] == expected_rows(1500)


def test_values_of_several_tables_are_read_in_one_query(db: Connection) -> None:
    make_out_of_line(db, "one")
    make_out_of_line(db, "other", width=1200)
    query = "SELECT one.x AS a, other.x AS b FROM one JOIN other USING (id) ORDER BY id"
    batches = read(db, query, [(0, "number"), (1, "number")], ["float32"] * 2, 7)
    assert [batch["rows"] for batch in batches] == [7, 7, 6]
    for group, width in enumerate((1500, 1200)):
        assert [row for batch in batches for row in batch["groups"][group]] == expected_rows(width)[2]


def test_a_function_of_the_query_may_drop_the_table_its_last_value_came_from(db: Connection) -> None:
    db.execute(
        "CREATE FUNCTION pg_temp.made(i integer) RETURNS real[] LANGUAGE plpgsql AS $$ DECLARE value real[]; BEGIN"
        " DROP TABLE IF EXISTS made; CREATE TEMP TABLE made (x real[]); ALTER TABLE made ALTER x SET STORAGE external;"
        " INSERT INTO made VALUES (array_fill(i::real, ARRAY[1500])); SELECT x INTO value FROM made; RETURN value;"
        " END $$"
    )
    batch = read(db, "SELECT pg_temp.made(i) FROM generate_series(1, 3) AS i", [(0, "number")], ["float32"])[0]
    assert batch["groups"][0] == [[i] * 1500 for i in (1, 2, 3)]


def test_a_packed_query_may_pack_another_query(db: Connection) -> None:
    make_out_of_line(db, "one")
    db.execute(
        "CREATE FUNCTION pg_temp.packed() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE name text; BEGIN"
        " name := delc.pack_open('SELECT x FROM one', '{number}', '{0}', '{-1}', '{float32}', 50);"
        " RETURN delc.pack_fetch(name); END $$"
    )
    query = "SELECT x, pg_temp.packed() AS inner_rows FROM one ORDER BY id"
    batch = read(db, query, [(0, "number"), (1, "number")], ["float32", "int64"])[0]
    assert batch["groups"] == [expected_rows(1500)[2], [[20]] * 20]


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ("1 / (15 - id)", psycopg.errors.DivisionByZero),
        ("CASE WHEN id = 15 THEN length(pg_sleep(20)::text) END", psycopg.errors.QueryCanceled),
    ],
)
def test_an_end_in_mid_fetch_leaves_nothing_open(
    db: Connection, cluster: Cluster, ending: str, error: type[psycopg.Error]
) -> None:
    make_out_of_line(db, "one")
    before = warnings(cluster)
    db.execute("SET LOCAL statement_timeout = '2s'")
    with pytest.raises(error), db.transaction():
        read(db, f"SELECT x, {ending} AS y FROM one ORDER BY id", [(0, "number"), (1, "number")], ["float32"] * 2)
    batches = read(db, "SELECT x, v, b, n FROM one ORDER BY id", *ALL_KINDS, 20)
    assert batches[0]["groups"] == expected_rows(1500)
    db.execute("DROP TABLE one")
    assert warnings(cluster) == before


def test_an_early_end_leaves_nothing_open(db: Connection, cluster: Cluster) -> None:
    make_out_of_line(db, "one")
    before = warnings(cluster)
    give_up = """
        from delc.server import packing
        from delc.server.batches import PackColumn, PackLayout
        for batch in packing.read(args[0], PackLayout((PackColumn(0, "number"),), ("float32",)), 3):
            return batch.rows
    """
    assert run_inside(db, give_up, "SELECT x FROM one") == 3
    assert run_inside(db, give_up, "SELECT x FROM one LIMIT 2") == 2
    db.execute("DROP TABLE one")
    assert warnings(cluster) == before


def test_a_missing_chunk_is_an_error(db: Connection) -> None:
    make_out_of_line(db, "one")
    found = db.execute("SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'one'::regclass").fetchone()
    assert found is not None
    db.execute("CREATE EXTENSION pg_surgery")
    second = f"ARRAY(SELECT ctid FROM {found[0]} WHERE chunk_seq = 1 ORDER BY ctid LIMIT 1)"
    db.execute(f"SELECT heap_force_kill('{found[0]}'::regclass, {second})")
    with pytest.raises(psycopg.errors.DataCorrupted, match=r"unexpected chunk number 2 \(expected 1\)"):
        read(db, "SELECT x, v, b, n FROM one", *ALL_KINDS)
