"""reading => 'progressive', 'probable' and 'planes:k' from SQL: the same labels, what is said of them, what is read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Connection
from support.examples import PRICES, TOPICS, dataset, train
from support.python_function import run_inside
from support.workplace import failure, message, row, rows, value, workplace

PICTURES = """
    CREATE TABLE pictures AS
    SELECT i AS id, array_agg((CASE WHEN place % 4 = kind THEN 1 ELSE 0 END + 0.6 * sin(i * place * 1.7))::real
                              ORDER BY place) AS pixels, 'kind ' || kind AS kind
    FROM (SELECT i, i % 4 AS kind FROM generate_series(1, 400) AS i) AS numbered, generate_series(1, 16) AS place
    GROUP BY i, kind;
    ALTER TABLE pictures ADD PRIMARY KEY (id)
"""
"""400 arrays of 16 numbers of four kinds, with much noise."""

DEEP = """'{"architecture": "mlp", "hidden": [64, 64, 64]}'"""
BROAD = """'{"architecture": "mlp", "hidden": [128, 128]}'"""
WIDE = """'{"architecture": "mlp", "hidden": [1024, 512]}'"""
WITHOUT_RULE = """'[{"kind": "conv2d", "arguments": {"out_channels": 16, "kernel_size": 3, "padding": 1}},
                    {"kind": "normalize", "arguments": {"p": 3}}, {"kind": "relu"}, {"kind": "flatten"},
                    {"kind": "linear", "arguments": {"out_features": 32}}, {"kind": "linear"}]'"""
SHAPED = """'{"pixels": {"kind": "array", "shape": [1, 4, 4]}}'"""


def tensors(model: str) -> str:
    """SQL for the ids of the stored tensors of a model."""
    return (
        "SELECT p.tensor_id FROM delc.snapshot_parameters AS p JOIN delc.snapshots AS s ON s.id = p.snapshot_id"
        " JOIN delc.model_versions AS v ON v.id = s.version_id JOIN delc.models AS m ON m.id = v.model_id"
        f" WHERE m.name = '{model}' AND s.is_latest"
    )


CHAINED = f"""
    UPDATE delc.stored_tensors AS target
    SET value = delc.tensor_delta(base.value, target.value, 'planes'), base_id = base.id, hops = 1, encoding = 'planes'
    FROM delc.stored_tensors AS base, delc.snapshot_parameters AS a, delc.snapshot_parameters AS b
    WHERE a.tensor_id = base.id AND b.tensor_id = target.id AND a.name = b.name AND a.name LIKE '%weight'
        AND base.id IN ({tensors("pictures")}) AND target.id IN ({tensors("chained")})
"""
"""Stores the weights of one model as differences from those of another, plane by plane."""


@pytest.fixture(scope="module")
def place(cluster: Cluster, template: str) -> Iterator[Connection]:
    """The models pictures, odd (with a layer without a rule), halves (in half planes), broad (the same, with one matrix
    that is most of it), chained (as differences from pictures), archived (the last of its checkpoints, which are stored
    as differences from half planes), price and flags.
    """
    statements = [
        PICTURES,
        PRICES,
        TOPICS,
        dataset("pictures", "pictures", "kind", key="'id'"),
        dataset("price", "SELECT id, size, rooms, price FROM prices", "price", key="'id'"),
        dataset("flags", "SELECT id, x, y, sport, science FROM topics", "sport, science", key="'id'"),
        train("pictures", "pictures", network=DEEP, learning_rate="0.003"),
        train("odd", "pictures", network=WITHOUT_RULE, features=SHAPED, epochs="2"),
        train("price", "price", network=DEEP, epochs="20"),
        train("flags", "flags", network=DEEP),
        train("halves", "pictures", network=DEEP, learning_rate="0.003"),
        train("broad", "pictures", network=BROAD, learning_rate="0.003"),
        train("wide", "pictures", network=WIDE, epochs="1"),
        train("chained", "pictures", network=DEEP, learning_rate="0.003", epochs="14"),
        train("archived", "pictures", network=DEEP, learning_rate="0.003", checkpoint_every="2"),
        "SELECT delc.archive('halves', 'fastest', halves => true)",
        "SELECT delc.archive('broad', 'fastest', halves => true)",
        "SELECT delc.archive('archived', 'smallest', method => 'planes', halves => true)",
        CHAINED,
    ]
    with workplace(cluster, template, *statements) as connection:
        yield connection


@pytest.fixture
def session(cluster: Cluster, place: Connection) -> Iterator[Connection]:
    """A session of its own, which holds no model yet."""
    with cluster.connect(place.info.dbname, autocommit=False) as connection:
        yield connection


ALL = "SELECT id, pixels FROM pictures"
LABELS = "SELECT key, rank, label FROM {} ORDER BY key, rank"


@pytest.mark.parametrize("model", ["pictures", "halves", "broad", "chained", "archived", "odd"])
@pytest.mark.parametrize("top", ["NULL", "1", "3"])
def test_progressive_labels_are_those_of_full_precision(session: Connection, model: str, top: str) -> None:
    call = f"delc.predict_rows('{model}', '{ALL}', top => {top}, reading => '{{}}')"
    progressive = rows(session, LABELS.format(call.format("progressive")))
    assert progressive == rows(session, LABELS.format(call.format("full")))
    assert len(progressive) == 400 * (1 if top == "NULL" else int(top))


def test_progressive_sets_of_labels_are_those_of_full_precision(session: Connection) -> None:
    call = "delc.predict_rows('flags', 'SELECT * FROM topics', reading => '{}')"
    assert rows(session, LABELS.format(call.format("progressive"))) == rows(session, LABELS.format(call.format("full")))


def test_one_row_gets_the_label_of_full_precision(session: Connection) -> None:
    first = rows(session, "SELECT id, delc.predict('pictures', p, 'progressive') FROM pictures AS p ORDER BY id")
    assert first == rows(session, "SELECT id, delc.predict('pictures', p) FROM pictures AS p ORDER BY id")


def test_an_answer_says_how_it_was_come_by(session: Connection) -> None:
    found = rows(
        session,
        "SELECT planes, bits, certified, method, margin_low, margin_high, error_rate"
        f" FROM delc.predict_rows_progressive('pictures', '{ALL}')",
    )
    certified = [line for line in found if line[2]]
    assert len(certified) >= 350
    for planes, bits, _, method, low, high, error_rate in certified:
        assert planes == bits / 8
        assert bits in (16, 24)
        assert method in ("intervals", "traced", "refined")
        assert 0 < low <= high
        assert error_rate is None
    for _, bits, _, method, low, high, _ in (line for line in found if not line[2]):
        assert (bits, method) == (32, "in full")
        assert low == high


def test_the_margin_of_full_precision_lies_within_its_bounds(session: Connection) -> None:
    progressive = (
        "SELECT key, margin_low, margin_high FROM delc.predict_rows_progressive('pictures', '{}') WHERE certified"
    )
    bounds = {key: (low, high) for key, low, high in rows(session, progressive.format(ALL))}
    full = "SELECT key, margin_low FROM delc.predict_rows_progressive('pictures', '{}', reading => 'full')"
    exact = dict(rows(session, full.format(ALL)))
    assert len(bounds) > 300
    assert all(low <= exact[key] <= high for key, (low, high) in bounds.items())


def test_half_planes_are_read_one_by_one(session: Connection) -> None:
    session.execute(f"SELECT * FROM delc.predict_rows_progressive('halves', '{ALL}')")
    found = rows(session, "SELECT DISTINCT bits, planes FROM delc.progressive_reading()")
    assert (16, 2.0) in found
    assert {bits for bits, _ in found} <= {16, 20, 24, 28, 32}


def test_of_a_parameter_that_is_most_of_the_model_half_a_plane_less_is_read_first(session: Connection) -> None:
    session.execute(f"SELECT * FROM delc.predict_rows_progressive('broad', '{ALL}')")
    found = {bits: (planes, read) for bits, planes, read in rows(session, READ)}
    assert found[12][0] == 1.5
    assert found[12][1] < found[16][1]


READ = "SELECT bits, max(planes), min(bytes) FROM delc.progressive_reading() GROUP BY bits"


def test_a_layer_without_a_rule_is_read_in_full_and_named(session: Connection) -> None:
    found = rows(session, f"SELECT DISTINCT certified, method, bits FROM delc.predict_rows_progressive('odd', '{ALL}')")
    assert found == [(False, "in full", 32)]
    remark = value(session, "SELECT remark FROM delc.progressive_reading()")
    assert 'layer "normalize1" of kind normalize has no rule for bounds: only the norms' in remark


# ---- what is read ----


def test_what_is_read_is_what_the_planes_take(session: Connection) -> None:
    session.execute(
        "SELECT * FROM delc.predict_rows('pictures', 'SELECT id, pixels FROM pictures', reading => 'planes:2')"
    )
    read, stored = row(session, "SELECT bytes, stored_bytes FROM delc.progressive_reading()")
    sizes = rows(
        session,
        "SELECT t.id, d.stored, d.ends, d.bits"
        " FROM delc.stored_tensors AS t, LATERAL delc.plane_directory(t.value) AS d"
        f" WHERE t.id IN ({tensors('pictures')})",
    )
    assert stored == sum(size for _, size, _, _ in sizes)
    least = sum(ends[1] if size > 2000 else size for _, size, ends, _ in sizes)
    assert least <= read < 0.7 * stored


TOAST_BLOCKS = (
    "SELECT pg_stat_get_xact_blocks_fetched(reltoastrelid) FROM pg_class WHERE oid = 'delc.stored_tensors'::regclass"
)


def test_the_chunks_that_are_reported_are_those_that_the_server_fetches(session: Connection) -> None:
    before = value(session, TOAST_BLOCKS)
    session.execute(f"SELECT * FROM delc.predict_rows('pictures', '{ALL}', reading => 'planes:2')")
    fetched = value(session, TOAST_BLOCKS) - before
    chunks = value(session, "SELECT chunks FROM delc.progressive_reading()")
    # Four chunks share a page, which is fetched once for those that are read in a row.
    assert chunks / 4 <= fetched <= chunks


@pytest.mark.parametrize(("reading", "share"), [("planes:2", 0.6), ("planes:3", 0.85), ("progressive", 1.01)])
def test_hundreds_of_chunks_are_as_many_as_the_server_fetches(session: Connection, reading: str, share: float) -> None:
    before = value(session, TOAST_BLOCKS)
    session.execute(f"SELECT * FROM delc.predict_rows('wide', '{ALL}', reading => '{reading}')")
    fetched = value(session, TOAST_BLOCKS) - before
    read, chunks, shared, stored = row(
        session, "SELECT max(bytes), max(chunks), max(shared_bytes), max(stored_bytes) FROM delc.progressive_reading()"
    )
    assert chunks >= 300
    assert shared == 0
    assert read <= share * stored
    assert read / 1996 <= chunks <= read / 1996 + 40  # parts that begin and end within a chunk, and directories
    assert chunks / 4 <= fetched <= chunks / 4 + 60  # four to a page; where reading begins and ends anew


def test_what_comes_from_shared_memory_is_said_and_not_counted_as_read(
    session: Connection, cluster: Cluster, place: Connection
) -> None:
    with cluster.connect(place.info.dbname) as other:
        other.execute(f"SELECT * FROM delc.predict_rows('wide', '{ALL}')")  # makes the files
    before = value(session, TOAST_BLOCKS)
    session.execute(f"SELECT * FROM delc.predict_rows_progressive('wide', '{ALL}', reading => 'full')")
    fetched = value(session, TOAST_BLOCKS) - before
    read, chunks, shared, stored = row(
        session, "SELECT bytes, chunks, shared_bytes, stored_bytes FROM delc.progressive_reading()"
    )
    assert read + shared == stored
    assert shared > 0.9 * stored
    assert chunks / 4 <= fetched <= chunks + 1


def test_a_model_that_other_sessions_have_left_in_memory_is_used_in_full(
    session: Connection, cluster: Cluster, place: Connection
) -> None:
    with cluster.connect(place.info.dbname) as other:
        other.execute(f"SELECT * FROM delc.predict_rows('wide', '{ALL}')")
    session.execute(f"SELECT * FROM delc.predict_rows('wide', '{ALL}', reading => 'progressive')")
    method, shared, remark = row(session, "SELECT method, shared_bytes, remark FROM delc.progressive_reading()")
    assert method == "in full"
    assert shared > 0
    assert remark == "read in full at once: memory that sessions share has the model"


def test_planes_that_were_read_are_not_read_again(session: Connection) -> None:
    first = f"SELECT * FROM delc.predict_rows('pictures', '{ALL}', reading => 'planes:2')"
    session.execute(first)
    before = value(session, TOAST_BLOCKS)
    session.execute(first)
    assert value(session, TOAST_BLOCKS) == before
    assert row(session, "SELECT bytes, chunks FROM delc.progressive_reading()") == (0, 0)
    session.execute(first.replace("planes:2", "planes:3"))
    more = value(session, "SELECT bytes FROM delc.progressive_reading()")
    whole = value(session, "SELECT stored_bytes FROM delc.progressive_reading()")
    assert 0 < more < whole / 2


def test_answers_from_planes_leave_what_bounds_may_take(session: Connection) -> None:
    spent = """
        from delc.inference.progressive import stored
        return sum(model.budget.spent for model in stored._models.values())
    """
    session.execute(f"SELECT * FROM delc.predict_rows('pictures', '{ALL}', reading => 'planes:2')")
    opened = run_inside(session, spent)
    session.execute(f"SELECT * FROM delc.predict_rows('pictures', '{ALL}', reading => 'planes:2')")
    assert run_inside(session, spent) == opened
    session.execute(f"SELECT * FROM delc.predict_rows('pictures', '{ALL}', reading => 'progressive')")
    assert run_inside(session, spent) > opened


def test_parameters_that_are_stored_anew_are_read_anew(session: Connection) -> None:
    call = f"SELECT key, label FROM delc.predict_rows('pictures', '{ALL}', reading => '{{}}') ORDER BY key"
    two = rows(session, call.format("planes:2"))
    session.execute("SAVEPOINT before_change")
    session.execute(f"UPDATE delc.stored_tensors SET value = delc.compress(value) WHERE id IN ({tensors('pictures')})")
    assert rows(session, call.format("planes:3")) != []
    assert rows(session, call.format("planes:2")) == two
    session.rollback()
    assert rows(session, call.format("progressive")) == rows(session, call.format("full"))


def test_rows_that_are_settled_leave_and_the_others_go_on(session: Connection) -> None:
    session.execute(f"SELECT * FROM delc.predict_rows_progressive('halves', '{ALL}')")
    steps = rows(
        session, "SELECT bits, sum(rows), max(bytes) FROM delc.progressive_reading() GROUP BY bits ORDER BY bits"
    )
    assert sum(count for _, count, _ in steps) == 400
    read = [size for _, _, size in steps]
    assert read == sorted(read)


def test_of_differences_no_more_is_read_than_the_planes(session: Connection) -> None:
    call = "SELECT key, label FROM delc.predict_rows('{}', '{}', reading => '{}') ORDER BY key"
    two = rows(session, call.format("chained", ALL, "planes:2"))
    read, stored = row(session, "SELECT bytes, stored_bytes FROM delc.progressive_reading()")
    assert 0 < read < 0.75 * stored
    full = rows(session, call.format("chained", ALL, "full"))
    assert sum(one == other for one, other in zip(two, full, strict=True)) >= 398


def test_answers_of_rounded_parameters_say_so(session: Connection) -> None:
    session.execute("SELECT * FROM delc.round_snapshots('price@1', 'bfloat16', with_latest => true)")
    session.execute("SELECT * FROM delc.predict_rows_progressive('price', 'SELECT * FROM prices', tolerance => 20)")
    remark = value(session, "SELECT DISTINCT remark FROM delc.progressive_reading()")
    assert remark.startswith("certified relative to what is stored, which was rounded (bfloat16")


# ---- other readings ----


def test_probable_answers_say_their_error_rate_and_certify_nothing(session: Connection) -> None:
    found = rows(
        session,
        "SELECT key, label, certified, method, error_rate FROM"
        f" delc.predict_rows_progressive('pictures', '{ALL}', reading => 'probable')",
    )
    probable = [line for line in found if line[3] == "probable"]
    assert len(probable) >= 350
    assert all(not certified and 0 <= rate < 1e-8 for _, _, certified, _, rate in probable)
    full = dict(rows(session, f"SELECT key, label FROM delc.predict_rows('pictures', '{ALL}')"))
    assert all(full[key] == label for key, label, *_ in found)


def test_two_planes_say_almost_what_all_say(session: Connection) -> None:
    two = f"SELECT key, label FROM delc.predict_rows('pictures', '{ALL}', reading => 'planes:2')"
    full = f"SELECT key, label FROM delc.predict_rows('pictures', '{ALL}')"
    assert value(session, f"SELECT count(*) FROM ({two}) AS a JOIN ({full}) AS b USING (key, label)") >= 398


def test_all_planes_are_full_precision(session: Connection) -> None:
    four = (
        f"SELECT key, label, probability FROM delc.predict_rows('pictures', '{ALL}', reading => 'planes:4') ORDER BY 1"
    )
    assert rows(session, four) == rows(session, four.replace("planes:4", "full"))


def test_numbers_are_certified_to_within_a_tolerance(session: Connection) -> None:
    call = "delc.predict_rows_progressive('price', 'SELECT * FROM prices', tolerance => {})"
    wide = rows(session, f"SELECT key, value, certified, margin_low, margin_high FROM {call.format(20)}")
    assert sum(certified for _, _, certified, _, _ in wide) >= 150
    full = dict(rows(session, "SELECT key, value FROM delc.predict_rows('price', 'SELECT * FROM prices')"))
    for key, number, certified, low, high in wide:
        assert abs(number - full[key]) <= (20 if certified else 0)
        assert low <= full[key] <= high


def test_numbers_without_a_tolerance_are_read_in_full(session: Connection) -> None:
    call = "SELECT DISTINCT method FROM delc.predict_rows_progressive('price', 'SELECT * FROM prices')"
    assert rows(session, call) == [("in full",)]
    assert "tolerance" in value(session, "SELECT remark FROM delc.progressive_reading()")


def test_metrics_of_labels_are_those_of_full_precision(session: Connection) -> None:
    call = (
        "SELECT metric, class, value, low, high, predicted FROM delc.evaluate('pictures', 'pictures', split => NULL,"
        " store => false{}) WHERE metric <> 'latency_ms'"
    )
    progressive = rows(session, call.format(", reading => 'progressive'"))
    full = rows(session, call.format(""))
    assert {line[0] for line in progressive} >= {"rows", "accuracy", "f1", "confusion", "stored_bytes"}
    assert {line[0] for line in progressive}.isdisjoint({"log_loss", "auc", "calibration_error"})
    assert set(progressive) <= set(full)


def test_an_evaluation_from_planes_is_not_stored(session: Connection) -> None:
    before = value(session, "SELECT count(*) FROM delc.metrics")
    found = dict(
        rows(
            session,
            "SELECT metric, value FROM delc.evaluate('pictures', 'pictures', reading => 'planes:2')"
            " WHERE class IS NULL",
        )
    )
    assert found["accuracy"] > 0.8
    assert "log_loss" in found
    assert value(session, "SELECT count(*) FROM delc.metrics") == before


# ---- parameters ----


def test_statistics_of_parameters_come_with_bounds_that_hold(session: Connection) -> None:
    names = ("mean", "std", "min", "max", "norm", "zeros")
    columns = ", ".join(f"p.{name}_low, f.{name}, p.{name}_high" for name in names)
    for model in ("pictures", "halves", "chained"):
        found = rows(
            session,
            f"SELECT p.parameter, p.bits, {columns} FROM delc.describe_parameters_progressive('{model}') AS p"
            f" JOIN delc.describe_parameters('{model}') AS f USING (parameter)",
        )
        assert len(found) == 8
        assert {bits for _, bits, *_ in found} >= {16, 32}
        for _, _, *ends in found:
            for low, exact, high in zip(ends[::3], ends[1::3], ends[2::3], strict=True):
                assert low <= exact <= high


def test_comparisons_of_parameters_come_with_bounds_that_hold(session: Connection) -> None:
    names = ("norm_a", "norm_b", "distance", "cosine", "unchanged")
    columns = ", ".join(f"p.{name}_low, f.{name}, p.{name}_high" for name in names)
    for other in ("chained", "halves", "price"):
        found = rows(
            session,
            f"SELECT {columns} FROM delc.diff_parameters_progressive('pictures', '{other}') AS p"
            f" JOIN delc.diff_parameters('pictures', '{other}') AS f USING (parameter)",
        )
        assert len(found) == 8
        for ends in found:
            for low, exact, high in zip(ends[::3], ends[1::3], ends[2::3], strict=True):
                assert low is None or exact is None or low <= exact <= high


def test_parameters_that_are_stored_once_are_the_same_without_being_read(session: Connection) -> None:
    session.execute("SELECT delc.copy_model('pictures', 'its_copy')")
    found = rows(
        session,
        "SELECT DISTINCT unchanged_low, unchanged_high, distance_high"
        " FROM delc.diff_parameters_progressive('pictures', 'its_copy')",
    )
    assert found == [(1.0, 1.0, 0.0)]


@pytest.mark.parametrize("reading", ["progressive", "probable"])
def test_statistics_are_of_planes(session: Connection, reading: str) -> None:
    error = failure(session, "SELECT * FROM delc.describe_parameters_progressive('pictures', %s)", reading)
    assert error.sqlstate == "22023"
    assert "'planes:k'" in message(error)


# ---- what is refused ----


@pytest.mark.parametrize(
    "reading", ["fulll", "planes", "planes:0", "planes:9", "planes:-1", "planes:2.25", "planes:x", "planes:٢"]
)
def test_an_unknown_reading_is_refused_with_what_is_allowed(session: Connection, reading: str) -> None:
    for call in (
        "SELECT * FROM delc.predict_rows('pictures', 'SELECT id, pixels FROM pictures', reading => %s)",
        "SELECT * FROM delc.evaluate('pictures', 'pictures', reading => %s)",
        "SELECT delc.predict('pictures', p, %s) FROM pictures AS p",
    ):
        error = failure(session, call, reading)
        assert error.sqlstate == "22023"
        assert reading in message(error)
        assert "'planes:k'" in message(error)


def test_planes_that_are_not_stored_are_refused_with_those_that_are(session: Connection) -> None:
    error = failure(session, f"SELECT * FROM delc.predict_rows('pictures', '{ALL}', reading => 'planes:2.5')")
    assert error.sqlstate == "22023"
    for part in ("2.5 planes", "'planes:2', 'planes:3', 'planes:4'", "halves => true"):
        assert part in message(error)


@pytest.mark.parametrize("tolerance", ["0", "-1", "'NaN'", "'Infinity'"])
def test_a_tolerance_must_be_above_zero(session: Connection, tolerance: str) -> None:
    call = f"SELECT * FROM delc.predict_rows_progressive('price', 'SELECT * FROM prices', tolerance => {tolerance})"
    error = failure(session, call)
    assert error.sqlstate == "22023"
    assert "above 0" in message(error)


@pytest.mark.parametrize(("model", "query"), [("pictures", ALL), ("flags", "SELECT * FROM topics")])
def test_a_tolerance_for_labels_is_refused(session: Connection, model: str, query: str) -> None:
    error = failure(
        session, f"SELECT * FROM delc.predict_rows_progressive('{model}', '{query}', tolerance => 0.1)"
    )
    assert error.sqlstate == "22023"
    assert "predicts labels" in message(error)


def test_precision_is_a_word_that_postgresql_keeps_so_the_argument_is_called_reading(session: Connection) -> None:
    asked = "SELECT delc.predict('pictures', p, {} => 'progressive') FROM pictures AS p LIMIT 1"
    assert message(failure(session, asked.format("precision"))) == 'syntax error at or near "=>"'
    assert value(session, asked.format("reading")).startswith("kind ")


def test_null_as_reading_is_refused(session: Connection) -> None:
    assert (
        failure(session, f"SELECT * FROM delc.predict_rows('pictures', '{ALL}', reading => NULL)").sqlstate == "22023"
    )
    assert failure(session, "SELECT delc.predict('pictures', p, NULL) FROM pictures AS p").sqlstate == "22004"


def test_an_infinite_parameter_is_refused_by_name(session: Connection) -> None:
    session.execute(
        "UPDATE delc.stored_tensors SET value ="
        " (value::real[] || array_fill('Infinity'::real, ARRAY[1, 64]))[2:65]::delc.tensor"
        f" WHERE id IN ({tensors('pictures')} AND p.name = 'hidden2.weight')"
    )
    error = failure(session, f"SELECT * FROM delc.predict_rows('pictures', '{ALL}', reading => 'progressive')")
    assert error.sqlstate == "22000"
    assert 'parameter "hidden2.weight" has 64 numbers that are infinite or NaN' in message(error)


def test_what_is_no_prefix_is_refused(session: Connection) -> None:
    error = failure(
        session,
        "SELECT delc.tensor_of_prefix((delc.stored_part(value, 0, 5)).bytes, 3)"
        f" FROM delc.stored_tensors WHERE id IN ({tensors('pictures')}) LIMIT 1",
    )
    assert error.sqlstate == "22023"
    assert "not the beginning of a stored tensor of 3 bytes" in message(error)


def test_a_part_beyond_the_end_is_refused(session: Connection) -> None:
    for start, length in ((-1, 1), (0, 10**9), (10**9, 1), (0, -1)):
        error = failure(session, f"SELECT delc.stored_part(value, {start}, {length}) FROM delc.stored_tensors LIMIT 1")
        assert error.sqlstate == "22023"
