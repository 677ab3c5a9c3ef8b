"""The four published queries, character for character, and what a person says who reads the networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from support.alexnets import DATASET, NETWORKS, QUERY_1, QUERY_2, QUERY_3, QUERY_4
from support.cluster import Connection
from support.workplace import rows, value

Ask = Callable[..., list[dict[str, Any]]]


def layers(connection: Connection, model: str) -> dict[str, list[str]]:
    """What each layer reads, in order."""
    found = rows(
        connection,
        "SELECT layer.name, array_agg(edge.from_layer ORDER BY edge.position) FROM delc.layers AS layer"
        " JOIN delc.layer_edges AS edge ON edge.version_id = layer.version_id AND edge.to_layer = layer.name"
        " JOIN delc.model_versions AS version ON version.id = layer.version_id"
        " JOIN delc.models AS model ON model.id = version.model_id"
        " WHERE model.name || '@' || version.number = %s GROUP BY layer.name, layer.position ORDER BY layer.position",
        model,
    )
    return dict(found)


def test_query_1_finds_the_networks_whose_convolution_1_3_or_5_goes_into_a_maximum(ask: Ask) -> None:
    # alexnet_1: conv1 → pool1; alexnet_3: conv3 → pool3; in alexnet_2 only conv2 does. "_" stands for any character,
    # so "alexnet -origin1" and "alexnet-origin1" match the name too; their convolutions go into ReLUs.
    assert [row["model"] for row in ask(QUERY_1)] == ["alexnet_1@1", "alexnet_3@1"]


def test_query_2_cuts_from_conv1_to_fc7(ask: Ask, work: Connection) -> None:
    (made,) = ask(QUERY_2)
    assert (made["model"], made["source"], made["state"]) == ("alexnet -origin1-m2@1", "alexnet -origin1@1", "sliced")
    expected = [layer["name"] for layer in NETWORKS["alexnet -origin1"] if layer["name"] not in ("relu7", "fc8")]
    assert list(layers(work, made["model"])) == expected
    assert made["detail"] == (
        "without relu7, fc8; its outputs are the 12 numbers of fc7; weights kept: conv1, conv2, fc6, fc7"
    )


def test_query_2_as_it_is_meant_takes_the_other_name(ask: Ask) -> None:
    (made,) = ask(QUERY_2.replace("alexnet -origin", "alexnet-origin"))
    assert made["source"] == "alexnet-origin1@1"


def test_the_slice_gives_what_the_whole_network_computes_on_the_way(ask: Ask, work: Connection) -> None:
    (made,) = ask(QUERY_2)
    whole = value(work, "SELECT delc.embed('alexnet -origin1', pixels, layer => 'fc7')::text FROM digits WHERE id = 7")
    part = value(work, "SELECT delc.embed(%s, pixels, layer => 'fc7')::text FROM digits WHERE id = 7", made["model"])
    assert whole == part


def test_query_3_puts_a_relu_after_the_convolutions_before_average_pools_alone(ask: Ask, work: Connection) -> None:
    (made,) = ask(QUERY_3)
    assert (made["model"], made["state"]) == ("alexnet -avgv1-m2@1", "constructed")
    reads = layers(work, made["model"])
    assert reads["relu1"] == ["conv1"]
    assert reads["pool1"] == ["relu1"]
    assert reads["relu3"] == ["conv3"]
    assert reads["pool3"] == ["relu3"]
    assert reads["relu2"] == ["conv2"]
    assert len(reads) == len(NETWORKS["alexnet -avgv1"]) + 2


def test_query_4_tries_all_and_keeps_the_best_five(ask: Ask, work: Connection) -> None:
    work.execute(DATASET.format(name="path1", seed=1))
    work.execute(DATASET.format(name="path2", seed=2))
    work.execute("SELECT delc.save_query('query3', %s)", [QUERY_3])
    config = {"optimizer": "sgd", "momentum": 0.9, "batch_size": 64}
    work.execute("SELECT delc.save_config('path to config', %s)", [json.dumps(config)])
    trials = ask(QUERY_4)
    assert len(trials) == 3 * 4 * 2
    kept = [trial for trial in trials if trial["state"] == "kept"]
    assert [trial["iterations"] for trial in kept] == [100] * 5
    assert [trial["value"] for trial in kept] == sorted(trial["value"] for trial in kept)
    assert sum(trial["iterations"] for trial in trials) < 0.4 * 100 * len(trials)
    best = kept[0]
    logged = value(
        work,
        "SELECT value FROM delc.metrics WHERE run_id = %s AND metric = 'loss' AND split = 'validation' AND epoch = 100",
        best["run_id"],
    )
    assert logged == best["value"]
    stopped = next(trial for trial in trials if trial["state"] == "stopped at iteration 11")
    curve = "SELECT count(*) FROM delc.metrics WHERE run_id = %s AND metric = 'loss' AND split = 'validation'"
    assert value(work, curve, stopped["run_id"]) == 11
    assert stopped["model"] is None
    parents = "SELECT relation, message FROM delc.model_version_parents WHERE derived = %s"
    assert rows(work, parents, best["version_id"]) == [("warm start", QUERY_4)]
