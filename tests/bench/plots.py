"""Lines on two logarithmic axes, as SVG: latency against nodes and against tasks.

Written by hand, for it is a page of code: a library of plots would be the largest thing that the tests install.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from tests.bench.figures import Figure, number
from tests.bench.lists import FLOOR, LIST

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 760, 440
LEFT, TOP, RIGHT, BOTTOM = 70, 40, 240, 50
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f", "#bcbd22", "#e377c2")


def write_plots(figures: Sequence[Figure], directory: Path) -> list[Path]:
    """Draw what there is; of what was not measured at two points at least there is no plot."""
    written = []
    for name, title, axis, lines in (
        ("latency-by-nodes", "GET /_tasks over idle nodes", "nodes", _by_nodes(figures)),
        ("latency-by-tasks", "3 nodes, p50 by live tasks", "live tasks", _by_tasks(figures)),
    ):
        lines = {label: points for label, points in lines.items() if len(points) > 1}
        if lines:
            path = directory / f"{name}.svg"
            path.write_text(plot(title, axis, "ms", lines))
            written.append(path)
    return written


def _by_nodes(figures: Sequence[Figure]) -> dict[str, Points]:
    lines: dict[str, Points] = {}
    for endpoint, statistic in ((LIST, "p50"), (LIST, "p99"), (FLOOR, "p50"), (FLOOR, "p99")):
        lines[f"{endpoint}, {statistic}"] = _points(figures, "nodes", endpoint=endpoint, statistic=statistic, tasks=0)
    return lines


def _by_tasks(figures: Sequence[Figure]) -> dict[str, Points]:
    endpoints = dict.fromkeys(str(figure.facts["endpoint"]) for figure in figures if _has(figure, nodes=3))
    return {endpoint: _points(figures, "tasks", endpoint=endpoint, statistic="p50", nodes=3) for endpoint in endpoints}


def _points(figures: Sequence[Figure], along: str, **facts: str | int) -> Points:
    return sorted({float(figure.facts[along]): figure.median for figure in figures if _has(figure, **facts)}.items())


def _has(figure: Figure, **facts: str | int) -> bool:
    return figure.facts.get("what") == "latency" and all(figure.facts.get(key) == of for key, of in facts.items())


def plot(title: str, x_axis: str, y_axis: str, lines: Mapping[str, Points]) -> str:
    """One plot, whole."""
    xs = sorted({x for points in lines.values() for x, _ in points})
    ys = [y for points in lines.values() for _, y in points]
    # Zero has no place on a logarithmic axis: it stands before the rest, and is labelled as what it is.
    zero = min(x for x in xs if x) / 10
    across = _Axis(xs[0] or zero, xs[-1], LEFT, WIDTH - RIGHT, zero)
    up = _Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_axis)}</text>',
        f'<text x="14" y="{TOP - 8}">{escape(y_axis)}</text>',
        *_grid(across, up, xs),
    ]
    for place, (label, points) in enumerate(lines.items()):
        parts += _line(across, up, label, points, place)
    return "\n".join([*parts, "</svg>\n"])


class _Axis:
    """Places values between two ends, by their logarithm."""

    def __init__(self, least: float, most: float, start: float, end: float, zero: float = 1.0) -> None:
        self._zero = zero
        # A little room beyond the ends, or around a single value.
        self._low, self._high = math.log(least / 1.15), math.log(most * 1.15)
        self._start, self._end = start, end
        self.least, self.most = least, most

    def at(self, value: float) -> float:
        share = (math.log(value or self._zero) - self._low) / (self._high - self._low)
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self) -> Iterator[float]:
        """1, 2 and 5 of each power of ten."""
        for power in range(math.floor(math.log10(self.least)), math.ceil(math.log10(self.most)) + 1):
            yield from (n * 10.0**power for n in (1, 2, 5) if self.least / 1.15 <= n * 10.0**power <= self.most * 1.15)


def _grid(across: _Axis, up: _Axis, xs: Sequence[float]) -> Iterator[str]:
    for value in xs:
        x = across.at(value)
        yield f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
        yield f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{number(value)}</text>'
    for value in up.ticks():
        y = up.at(value)
        yield f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{number(value)}</text>'


def _line(across: _Axis, up: _Axis, label: str, points: Points, place: int) -> Iterator[str]:
    colour, dashes = COLOURS[place % len(COLOURS)], ' stroke-dasharray="6 4"' if label.startswith(FLOOR) else ""
    placed = [(across.at(x), up.at(y)) for x, y in points]
    path = " ".join(f"{x},{y}" for x, y in placed)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
    yield from (f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in placed)
    x, y = WIDTH - RIGHT + 14, TOP + 8 + 18 * place
    yield f'<line x1="{x}" y1="{y}" x2="{x + 18}" y2="{y}" stroke="{colour}" stroke-width="2"{dashes}/>'
    yield f'<text x="{x + 24}" y="{y + 4}">{escape(label)}</text>'
