"""Networks as pictures (SVG): one network, or what is other in a second one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from delc.networks.arguments import shorten
from delc.networks.graph import Layer
from delc.networks.kinds import KINDS
from delc.networks.layout import Edge, lay_out
from delc.networks.resolution import ResolvedNetwork

LETTER = 6.6
"""Width of a letter, in pixels: fonts differ, so a little more than most take."""

HEIGHT, ROW, GAP, MARGIN = 46.0, 78.0, 34.0, 16.0
LEGEND = 26.0

SAME, ADDED, REMOVED, CHANGED = "same", "added", "removed", "changed"

_FILLS = {
    "Convolutions": "#dbe9fb",
    "Pools": "#e3f4e6",
    "Activations": "#fff3d6",
    "Normalisation and dropout": "#f1e6fb",
    "Linear layers and embeddings": "#fde3dd",
    "Recurrent layers": "#dff3f5",
    "Attention and transformers": "#dff3f5",
}
_OTHER_FILL = "#eef0f2"
_MARKS = {SAME: ("#5b6570", ""), ADDED: ("#1a7f37", ""), REMOVED: ("#cf222e", "5 3"), CHANGED: ("#bf6a02", "")}
_TINTS = {ADDED: "#e6f6ea", REMOVED: "#fdecec", CHANGED: "#fff2df"}
_SHOWN = ("out_channels", "out_features", "kernel_size", "stride", "p", "hidden_size", "output_size", "num_heads")


@dataclass(frozen=True)
class Box:
    """A node of the picture: its lines, colour, what has become of it, and what a pointer on it shows."""

    lines: tuple[str, ...]
    fill: str
    mark: str = SAME
    tip: str = ""
    is_input: bool = False

    @property
    def width(self) -> float:
        """In pixels."""
        return max(len(line) for line in self.lines) * LETTER + 24


def picture(network: ResolvedNetwork, title: str) -> str:
    """A network as SVG text."""
    boxes = _boxes(network)
    edges = dict.fromkeys(_edges(network), SAME)
    return _svg(boxes, edges, title, ())


def difference(a: ResolvedNetwork, b: ResolvedNetwork, title_a: str, title_b: str) -> str:
    """Two networks in one: what both have, what only the first has (removed), only the second (added), and layers of
    the same name that are not the same (changed). Colours say that alone, and nothing of the layers' kinds.
    """
    first, second = _boxes(a), _boxes(b)
    boxes: dict[str, Box] = {}
    for name in _merged(list(first), list(second)):
        if name not in second:
            boxes[name] = _marked(first[name], REMOVED)
        elif name not in first:
            boxes[name] = _marked(second[name], ADDED)
        elif first[name].tip != second[name].tip or first[name].lines != second[name].lines:
            boxes[name] = _changed(first[name], second[name])
        else:
            boxes[name] = replace(second[name], fill="#ffffff" if second[name].is_input else _OTHER_FILL)
    before, after = _edges(a), _edges(b)
    edges = {edge: SAME if edge in before else ADDED for edge in after}
    edges |= {edge: REMOVED for edge in before if edge not in edges}
    legend = ((SAME, "in both"), (REMOVED, f"only in {title_a}"), (ADDED, f"only in {title_b}"), (CHANGED, "changed"))
    return _svg(boxes, edges, f"{title_a} → {title_b}", legend)


def _boxes(network: ResolvedNetwork) -> dict[str, Box]:
    boxes = {
        name: Box((name, _shape(value.shape)), "#ffffff", tip=f"input {_shape(value.shape)}", is_input=True)
        for name, value in network.inputs.items()
    }
    for layer in network.network:
        shape = _shape(network.values[layer.name].shape)
        fill = _FILLS.get(KINDS[layer.kind].chapter, _OTHER_FILL)
        arguments = ", ".join(f"{name} = {shorten(value)}" for name, value in layer.arguments.items())
        tip = f"{layer.kind}({arguments}) → {shape}"
        boxes[layer.name] = Box((layer.name, _summary(layer), shape), fill, tip=tip)
    return boxes


def _summary(layer: Layer) -> str:
    parts = []
    for name in _SHOWN:
        value = layer.arguments.get(name)
        if value is None or (name == "stride" and value == 1):
            continue
        if name == "kernel_size":
            sizes = value if isinstance(value, list) else [value] * int(layer.kind[-2] if layer.kind[-1] == "d" else 1)
            parts.append("×".join(str(size) for size in sizes))
        elif name == "stride":
            parts.append(f"/{value}" if isinstance(value, int) else f"/{'×'.join(map(str, value))}")
        elif name == "p":
            parts.append(f"{value:g}")
        else:
            parts.append(shorten(value))
    return f"{layer.kind} {' '.join(parts)}".strip()


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "one number"


def _edges(network: ResolvedNetwork) -> dict[Edge, None]:
    return {(source, layer.name): None for layer in network.network for source in layer.inputs}


def _marked(box: Box, mark: str) -> Box:
    return Box(box.lines, _TINTS[mark], mark, box.tip, box.is_input)


def _changed(before: Box, after: Box) -> Box:
    """A box that says what it was, line by line."""
    pairs = zip(before.lines[1:], after.lines[1:], strict=False)
    lines = [new if new == old else f"{new} (was {old})" for old, new in pairs]
    if before.lines == after.lines:
        lines[-1] += ", other arguments"
    return Box((after.lines[0], *lines), _TINTS[CHANGED], CHANGED, f"{before.tip}\n→\n{after.tip}", after.is_input)


def _merged(first: list[str], second: list[str]) -> list[str]:
    """The names of both, each list in its order where the two agree."""
    result: list[str] = []
    rest = list(second)
    for name in first:
        if name in rest:
            at = rest.index(name)
            result += [each for each in rest[:at] if each not in result]
            rest = rest[at + 1 :]
        if name not in result:
            result.append(name)
    return result + [each for each in rest if each not in result]


def _svg(
    boxes: Mapping[str, Box], edges: Mapping[Edge, str], title: str, legend: Sequence[tuple[str, str]]
) -> str:
    laid = lay_out(list(boxes), list(edges), {name: box.width for name, box in boxes.items()}, GAP)
    top = MARGIN + 24 + (LEGEND if legend else 0)
    needed = max(len(title) * 7.6, sum(len(text) * LETTER + 40 for _, text in legend))
    shift = MARGIN + max(0.0, (needed - laid.width) / 2)
    width = max(laid.width, needed) + 2 * MARGIN
    height = top + laid.ranks * ROW - (ROW - HEIGHT) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="{width / 2:.1f}" y="{MARGIN + 8:.1f}" text-anchor="middle" font-size="14"'
        f' font-weight="bold" fill="#1f2328">{escape(title)}</text>',
        _arrowheads(),
    ]
    parts += _legend(legend, width)
    for edge, mark in edges.items():
        parts.append(_line([(x + shift, top + rank * ROW) for x, rank in laid.paths[edge]], mark))
    for name, box in boxes.items():
        parts.append(_drawn(box, laid.x[name] + shift, top + laid.rank[name] * ROW))
    return "\n".join([*parts, "</svg>"])


def _arrowheads() -> str:
    heads = "".join(
        f'<marker id="{mark}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
        f' markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
        for mark, (colour, _) in _MARKS.items()
    )
    return f"<defs>{heads}</defs>"


def _legend(legend: Sequence[tuple[str, str]], width: float) -> list[str]:
    parts = []
    at = (width - sum(len(text) * LETTER + 40 for _, text in legend)) / 2
    for mark, text in legend:
        colour, dashes = _MARKS[mark]
        y = MARGIN + 20
        fill = _TINTS.get(mark, _OTHER_FILL)
        parts.append(
            f'<rect x="{at + 6:.1f}" y="{y:.1f}" width="18" height="12" rx="3" fill="{fill}" stroke="{colour}"'
            f' stroke-dasharray="{dashes}"/>'
            f'<text x="{at + 30:.1f}" y="{y + 10:.1f}" fill="#1f2328">{escape(text)}</text>'
        )
        at += len(text) * LETTER + 40
    return parts


def _line(points: Sequence[tuple[float, float]], mark: str) -> str:
    """A curve from the lower side of the first box to the upper side of the last, through the points between."""
    colour, dashes = _MARKS[mark]
    down = points[-1][1] >= points[0][1]
    (x, y), *_ = points
    at = (x, y + (HEIGHT if down else 0))
    path = f"M{at[0]:.1f},{at[1]:.1f}"
    for number, (x, y) in enumerate(points[1:], start=1):
        is_last = number == len(points) - 1
        end = (x, (y if down else y + HEIGHT) if is_last else y + HEIGHT / 2)
        middle = (at[1] + end[1]) / 2
        path += f" C{at[0]:.1f},{middle:.1f} {end[0]:.1f},{middle:.1f} {end[0]:.1f},{end[1]:.1f}"
        at = end
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{1.2 if mark == SAME else 1.8}"'
        f' stroke-dasharray="{dashes}" marker-end="url(#{mark})"/>'
    )


def _drawn(box: Box, x: float, y: float) -> str:
    colour, dashes = _MARKS[box.mark]
    radius = 22 if box.is_input else 6
    thick = 1 if box.mark == SAME else 2
    parts = [
        f"<g><title>{escape(box.tip)}</title>"
        f'<rect x="{x - box.width / 2:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{HEIGHT:.0f}" rx="{radius}"'
        f' fill="{box.fill}" stroke="{colour}" stroke-width="{thick}" stroke-dasharray="{dashes}"/>'
    ]
    first = y + (HEIGHT - 13 * len(box.lines)) / 2 + 10
    for number, line in enumerate(box.lines):
        style = ' font-weight="bold" fill="#1f2328"' if number == 0 else ' fill="#4a535c"'
        place = f'x="{x:.1f}" y="{first + 13 * number:.1f}"'
        parts.append(f'<text {place} text-anchor="middle"{style}>{escape(line)}</text>')
    return "".join([*parts, "</g>"])
