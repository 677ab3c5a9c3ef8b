"""Select: attributes, layers, metrics, relatives, joins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.cluster import Connection

Ask = Callable[..., list[dict[str, Any]]]
Found = Callable[[str], list[str]]

ALL = ["alexnet -avgv1", "alexnet -origin1", "alexnet-origin1", "alexnet_1", "alexnet_2", "alexnet_3"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        # Relational conditions
        ('m.name = "alexnet_2"', ["alexnet_2"]),
        ('m.name like "alexnet\\_%"', ["alexnet_1", "alexnet_2", "alexnet_3"]),
        ('m.name not like "%\\_%"', ["alexnet -avgv1", "alexnet -origin1", "alexnet-origin1"]),
        ('m.name in ("alexnet_1", "alexnet_3", "other")', ["alexnet_1", "alexnet_3"]),
        ('m.title = "alexnet_1@1"', ["alexnet_1"]),
        ("m.version = 1 and m.latest = true", ALL),
        ("m.layers > 12", ["alexnet_2"]),
        ("1000 < m.parameters", ["alexnet_1", "alexnet_3"]),
        ('m.task <> "classification"', []),
        ("m.message is null", ALL),
        ('m.dataset = "digits" and m.dataset.version = 1 and m.dataset.rows = 120', ALL),
        ('m.creation_time > "2015-11-22" and m.created_at < "2100-01-01 00:00"', ALL),
        ('m.tag = "champion"', ["alexnet_3"]),
        ('m.tag is null', ["alexnet -avgv1", "alexnet -origin1", "alexnet-origin1", "alexnet_1", "alexnet_2"]),
        ('m.tag is not null', ["alexnet_3"]),
        ('m.parent is null and m.ancestor is null', ALL),
        ('m.parent is not null or m.parent.name is not null or m.ancestor.parent.name is not null', []),
        # Hyper-parameters and metrics
        ('m.batch_size = 64 and m.base_lr >= 0.001 and m.options.optimizer = "adam"', ALL),
        ("m.accuracy >= 0 and m.accuracy <= 1", ALL),
        ('m.metrics["loss"] > 100', []),
        # Layers
        ('m["conv3"] exists', ["alexnet -avgv1", "alexnet_1", "alexnet_2", "alexnet_3"]),
        ('not m["conv3"] exists', ["alexnet -origin1", "alexnet-origin1"]),
        ('m["conv*"].kernel_size = 3', ALL),
        ('m["conv*"].kernel_size > 3', []),
        ('m["conv1"].padding = 1 and m["fc?"].out_features in (12, 13)', ALL),
        ('m["pool*"].kind like "avg%"', ["alexnet -avgv1"]),
        ('m["conv1"].next has POOL', ["alexnet -avgv1", "alexnet_1"]),
        ('m["conv1"].next has POOL("max", "pool[1,2]", kernel_size >= 2)', ["alexnet_1"]),
        ('m["conv1"].next.next has conv2d("conv2")', ["alexnet -avgv1", "alexnet_1", "alexnet_3"]),
        ('m["pool3"].prev has CONV', ["alexnet -avgv1", "alexnet_3"]),
        ('m["lstm*"].hidden_size is not null or m["nosuch"].kind is not null', []),
        ('m["lstm*"].hidden_size is null and m["conv1"].kernel_size is not null', ALL),
        ('m["conv3"].kind is null', ["alexnet -origin1", "alexnet-origin1"]),
        ('m["fc8"].prev.prev has FC(out_features = 12)', ALL),
        ('m["flatten"].position = 7',
         ["alexnet -avgv1", "alexnet -origin1", "alexnet-origin1", "alexnet_1", "alexnet_3"]),
        ('m.input = "conv1" and m.output = "fc8"', ALL),
        ("m[\"*\"] has BATCH_NORM or m['relu2'].name = 'relu2' and not (m.layers > 12)",
         ["alexnet -avgv1", "alexnet -origin1", "alexnet-origin1", "alexnet_1", "alexnet_3"]),
        ('m["conv*"].padding in (0, 1) and m["fc6"].bias = true and not m["fc6"].bias = false', ALL),
        ('m["conv1"] has CONV(kernel_size = 3, padding = 1) and not m["*"] has POOL(kernel_size = [3, 3])', ALL),
        # Shapes and other lists
        ('m["conv1"].output_shape = [4, 8, 8]', ALL),
        ('[4, 8, 8] <> m["conv1"].output_shape', []),
        ('m["conv3"].output_shape in ([4, 2, 2], [4, 4, 4])', ["alexnet -avgv1", "alexnet_1", "alexnet_2"]),
        ('m["conv3"].output_shape[1] = 4 and m["conv3"].output_shape[-1] < 8',
         ["alexnet -avgv1", "alexnet_1", "alexnet_2"]),
        ('m["fc6"].input_shape = [64]', ["alexnet_1", "alexnet_3"]),
        ('m["conv1"].input_shape is null and m["conv2"].input_shape[2] = 8', ["alexnet_3"]),
        ('m["conv1"].kernel_size[2] = 3 and m["conv1"].kernel_size = 3', ALL),
        ('m["conv1"].output_shape[4] = 8', []),
        # Two attributes against each other
        ('m["fc6"].out_features = m["fc7"].out_features', ALL),
        ('m["conv1"].in_channels > m["conv2"].in_channels', []),
    ],
)  # fmt: skip
def test_conditions(found: Found, work: Connection, condition: str, expected: list[str]) -> None:
    work.execute("SELECT delc.set_alias('alexnet_3@1', 'champion')")
    assert found(f"select m where {condition}") == expected


def test_not_of_layers_means_that_there_is_none(found: Found) -> None:
    # In alexnet_1 conv1 goes into a pool, conv2 does not: "has" holds, so its negation does not.
    assert "alexnet_1" in found('select m where m["conv*"].next has POOL')
    assert "alexnet_1" not in found('select m where not m["conv*"].next has POOL')


def test_variables_are_joined(ask: Ask) -> None:
    rows = ask('select a, b where a.parameters = b.parameters and a.id < b.id and a.name like "alexnet%origin%"')
    assert [(row["number"], row["variable"], row["model"]) for row in rows] == [
        (1, "a", "alexnet -origin1@1"),
        (1, "b", "alexnet-origin1@1"),
    ]


def test_a_limit_takes_the_first_of_variables_that_nothing_joins(ask: Ask) -> None:
    rows = ask('select a, b, c where b.name like "alexnet\\_%" order by c.name desc limit 5')
    found = [tuple(row["model"].removesuffix("@1") for row in rows[place : place + 3]) for place in range(0, 15, 3)]
    assert found == [
        ("alexnet -avgv1", "alexnet_1", "alexnet_3"),
        ("alexnet -avgv1", "alexnet_2", "alexnet_3"),
        ("alexnet -avgv1", "alexnet_3", "alexnet_3"),
        ("alexnet -origin1", "alexnet_1", "alexnet_3"),
        ("alexnet -origin1", "alexnet_2", "alexnet_3"),
    ]


def test_all_rows_of_a_product_come_in_order(ask: Ask) -> None:
    rows = ask('select b, a from a, b where a.name like "alexnet\\_%" and b.name like "%origin%"')
    named = [(row["variable"], row["model"].removesuffix("@1")) for row in rows]
    firsts, seconds = ("alexnet -origin1", "alexnet-origin1"), ("alexnet_1", "alexnet_2", "alexnet_3")
    expected = [(b, a) for b in firsts for a in seconds]
    assert named == [pair for b, a in expected for pair in (("b", b), ("a", a))]


def test_products_and_joins_with_a_limit_end_early(work: Connection) -> None:
    work.execute("SELECT count(delc.copy_model('alexnet_1', 'copy_' || i)) FROM generate_series(1, 60) AS i")
    work.execute("SET LOCAL statement_timeout = '20s'")  # of 66 versions six variables make 82 billion rows
    for condition in ("", "where a.id <> b.id and b.id <> c.id and c.id <> d.id and d.id <> e.id and e.id <> f.id"):
        query = f"select a, b, c, d, e, f {condition} limit 10"
        assert len(work.execute("SELECT delc.dql(%s)", [query]).fetchall()) == 60
    assert work.execute("SELECT delc.dql('select a, b, c, d, e, f where a.layers > 99 limit 9')").fetchall() == []
    found = work.execute("SELECT delc.dql('select a from a, b, c, d, e, f where f.layers > b.layers limit 1')")
    assert len(found.fetchall()) == 1


def test_the_first_of_joined_variables_in_an_order(ask: Ask) -> None:
    rows = ask("select a, b where a.parameters < b.parameters order by a.parameters desc, b.name desc limit 2")
    models = [row["model"].removesuffix("@1") for row in rows]
    assert models == ["alexnet -avgv1", "alexnet_3", "alexnet_2", "alexnet_3"]


def test_a_query_is_planned_anew_whenever_it_is_asked(work: Connection) -> None:
    settings = "SELECT proconfig FROM pg_proc WHERE oid = 'delc.dql'::regproc"
    assert work.execute(settings).fetchall() == [(["jit=off", "plan_cache_mode=force_custom_plan"],)]


def test_variables_that_are_not_selected_only_have_to_exist(found: Found) -> None:
    assert found('select a from a, b where a.parameters = b.parameters and b.name = "alexnet_3"') == [
        "alexnet_1",
        "alexnet_3",
    ]


def test_relatives(found: Found, work: Connection) -> None:
    work.execute("SELECT delc.copy_model('alexnet_1', 'copy')")
    work.execute("SELECT delc.copy_model('copy', 'copy of it')")
    assert found('select m where m.parent.name = "alexnet_1"') == ["copy"]
    assert found('select m where m.parent = "copy@1"') == ["copy of it"]
    assert found('select m where m.ancestor.name = "alexnet_1"') == ["copy", "copy of it"]
    assert found('select m where m.descendant.name like "copy of%"') == ["alexnet_1", "copy"]
    assert found('select m where m.child.relation = "copied" and m.child.layers = 12') == ["alexnet_1", "copy"]


def test_order_and_limit(ask: Ask) -> None:
    rows = ask("select m order by m.parameters desc, m.name limit 3")
    assert [row["model"] for row in rows] == ["alexnet_1@1", "alexnet_3@1", "alexnet -avgv1@1"]
    by_loss = ask("select m order by m.loss")
    assert [row["metric"] for row in by_loss] == ["loss"] * len(ALL)
    assert [row["value"] for row in by_loss] == sorted(row["value"] for row in by_loss)
    assert ask("select m limit 0") == []


def test_queries_nest(found: Found, work: Connection) -> None:
    work.execute("SELECT delc.save_query(' pooled ', 'select x where x[\"conv1\"].next has POOL')")
    assert found('select m from "pooled" where m.name like "alexnet\\_%"') == ["alexnet_1"]
    assert found('select m from (select x from "pooled" limit 1)') == ["alexnet -avgv1"]
    rows = found('select a from a in "pooled", b in (select c where c.name = "alexnet_3") where a.layers = b.layers')
    assert rows == ["alexnet -avgv1", "alexnet_1"]


def test_comments_and_blanks_do_not_matter(found: Found) -> None:
    assert found("SELECT m -- all\nWHERE /* only */ m.name\n=\t' alexnet_2 ';") == ["alexnet_2"]


def test_the_result_composes_with_sql(work: Connection) -> None:
    curves = work.execute(
        "SELECT found.model, count(*) FROM delc.dql('select m where m.layers > 12') AS found"
        " JOIN delc.metrics AS metric USING (run_id) WHERE metric.metric = 'loss' GROUP BY found.model"
    ).fetchall()
    assert curves == [("alexnet_2@1", 2)]


def test_long_walks_are_followed_model_by_model(work: Connection) -> None:
    work.execute("SET LOCAL statement_timeout = '20s'")
    paths = 'm["conv*"].prev.prev.next.kind = m["conv[1-3]($1)"].prev.prev.{}.output_shape'
    condition = f"{paths.format('prev')} and {paths.format('next')}"
    assert work.execute("SELECT * FROM delc.dql(%s)", [f"select m where {condition}"]).fetchall() == []
