"""Draws CPU per token as an SVG of bars on a logarithmic axis. Knows results only; needs no library."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import Final

from benchmarks.results import Results
from benchmarks.servers import SERVERS

SERIES: Final = (("burst", "#2f6fdb"), ("paced", "#e08a1e"))
METRIC: Final = "cpu_us_per_token"
LABEL_PX: Final = 270
PLOT_PX: Final = 480
BAR_PX: Final = 9
ROW_PX: Final = 26
TOP_PX: Final = 54
FIRST_DECADE: Final = 0
DECADES: Final = 3
TEXT: Final = 'font-family="sans-serif" font-size="12" fill="#333"'
SMALL_TEXT: Final = 'font-family="sans-serif" font-size="9" fill="#333"'


def draw_cpu(results: Results) -> str:
    """Return the picture: servers from the cheapest to the dearest."""
    rows = sorted(_rows(results), key=lambda row: min(row[1].values()))
    height = TOP_PX + ROW_PX * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL_PX + PLOT_PX + 80}" height="{height}" role="img">',
        "<title>Server CPU per delivered token</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="20" {TEXT} font-weight="bold">Server CPU per delivered token, µs (logarithmic)</text>',
        *_legend(),
        *_grid(height),
    ]
    for n, (title, values) in enumerate(rows):
        parts += _bars(title, values, TOP_PX + n * ROW_PX)
    return "\n".join([*parts, "</svg>", ""])


def _rows(results: Results) -> Iterator[tuple[str, dict[str, float]]]:
    for name, server in SERVERS.items():
        values = {regime: results.value(name, regime, METRIC) for regime, _ in SERIES}
        known = {regime: value for regime, value in values.items() if value}
        if known:
            yield server.title, known


def _x(value: float) -> float:
    share = (math.log10(value) - FIRST_DECADE) / DECADES
    return LABEL_PX + PLOT_PX * min(1.0, max(0.0, share))


def _legend() -> Iterator[str]:
    for n, (regime, colour) in enumerate(SERIES):
        x = LABEL_PX + n * 90
        yield f'<rect x="{x}" y="30" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{x + 16}" y="39" {TEXT}>{regime}</text>'


def _grid(height: int) -> Iterator[str]:
    for decade in range(DECADES + 1):
        value = 10 ** (FIRST_DECADE + decade)
        x = _x(value)
        yield f'<line x1="{x:.1f}" y1="{TOP_PX - 6}" x2="{x:.1f}" y2="{height - 24}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle" {TEXT}>{value}</text>'


def _bars(title: str, values: dict[str, float], y: int) -> Iterator[str]:
    yield f'<text x="{LABEL_PX - 10}" y="{y + 13}" text-anchor="end" {TEXT}>{escape(title)}</text>'
    for n, (regime, colour) in enumerate(SERIES):
        if regime in values:
            top, end = y + n * (BAR_PX + 1), _x(values[regime])
            yield f'<rect x="{LABEL_PX}" y="{top}" width="{end - LABEL_PX:.1f}" height="{BAR_PX}" fill="{colour}"/>'
            yield f'<text x="{end + 5:.1f}" y="{top + 8}" {SMALL_TEXT}>{values[regime]:.1f}</text>'
