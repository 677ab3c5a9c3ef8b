"""Pictures of networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from support.cluster import Connection
from support.workplace import failure, message, value

Ask = Callable[..., list[dict[str, Any]]]
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [str(element.text) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_a_network_shows_every_layer_with_its_kind_and_shape(work: Connection) -> None:
    svg = value(work, "SELECT delc.network_svg('alexnet_2')")
    shown = texts(svg)
    assert shown[:4] == ["alexnet_2@1", "input", "1×8×8", "conv1"]
    for line in ("conv2d 4 3×3", "4×8×8", "pool2", "max_pool2d 2×2 /2", "fc8", "linear 4"):
        assert line in shown
    assert len(list(ElementTree.fromstring(svg).iter(f"{SVG}g"))) == 14


def test_a_difference_shows_what_was_added_removed_and_changed(ask: Ask, work: Connection) -> None:
    ask('construct n from m where m.name = "alexnet_2" mutate m["relu1"].replace = GELU("gelu1") and m["pool2"].delete')
    svg = value(work, "SELECT delc.diff_svg('alexnet_2', 'alexnet_2-n')")
    shown = texts(svg)
    assert shown[:5] == [
        "alexnet_2@1 → alexnet_2-n@1",
        "in both",
        "only in alexnet_2@1",
        "only in alexnet_2-n@1",
        "changed",
    ]
    assert "4×4×4 (was 4×2×2)" in shown  # conv3 reads more
    assert "12, other arguments" in shown  # and fc6
    colours = [element.get("stroke") for element in ElementTree.fromstring(svg).iter(f"{SVG}rect")]
    assert colours.count("#cf222e") == 3  # relu1, pool2, and the legend
    assert colours.count("#1a7f37") == 2  # gelu1, and the legend
    fills = [element.get("fill") for element in ElementTree.fromstring(svg).iter(f"{SVG}rect")]
    assert set(fills) == {"#ffffff", "#eef0f2", "#fdecec", "#e6f6ea", "#fff2df"}  # those of the legend


def test_a_model_that_is_not_there_is_named(work: Connection) -> None:
    assert 'Did you mean "alexnet_1"?' in message(failure(work, "SELECT delc.network_svg('alexnet1')"))
