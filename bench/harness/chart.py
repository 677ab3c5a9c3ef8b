"""A line chart as SVG, for both light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 860, 430, 60, 20, 480, 340
COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999933", "#cc6633", "#44aa99", "#882255",
    "#6699cc", "#997700", "#555555",
)  # fmt: skip


def lines(series: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> str:
    """Shares (0 to 1) against shares, one line for each series."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        "<style>text{fill:#444}line{stroke:#8886}@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>",
    ]
    for step in range(6):
        share = step / 5
        parts.append(f'<line x1="{_x(0)}" x2="{_x(1)}" y1="{_y(share)}" y2="{_y(share)}"/>')
        parts.append(f'<text x="{_x(0) - 8}" y="{_y(share) + 4}" text-anchor="end">{share:.0%}</text>')
        parts.append(f'<text x="{_x(share)}" y="{_y(0) + 18}" text-anchor="middle">{share:.0%}</text>')
    for (name, points), colour, place in zip(series.items(), COLOURS, range(len(series)), strict=False):
        path = " ".join(f"{_x(share):.1f},{_y(settled):.1f}" for share, settled in sorted(points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for share, settled in points:
            parts.append(f'<circle cx="{_x(share):.1f}" cy="{_y(settled):.1f}" r="3" fill="{colour}"/>')
        height = TOP + 14 + 20 * place
        parts.append(f'<rect x="{LEFT + PLOT_WIDTH + 24}" y="{height - 9}" width="14" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + PLOT_WIDTH + 46}" y="{height - 2}">{escape(name)}</text>')
    parts.append(f'<text x="{_x(0.5)}" y="{HEIGHT - 22}" text-anchor="middle">{escape(across)}</text>')
    parts.append(
        f'<text transform="translate(14 {_y(0.5)}) rotate(-90)" text-anchor="middle">{escape(up)}</text></svg>'
    )
    return "\n".join(parts) + "\n"


def _x(share: float) -> float:
    return LEFT + share * PLOT_WIDTH


def _y(share: float) -> float:
    return TOP + (1 - share) * PLOT_HEIGHT
