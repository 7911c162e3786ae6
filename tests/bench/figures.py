"""Measured numbers, as people and programs read them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number with its spread, and what it was meant to be."""

    name: str
    unit: str
    median: float
    low: float
    high: float
    samples: int
    # A bound the project set itself, such as "<= 1.5"; empty when there is none.
    target: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the target; None without one."""
        if not self.target:
            return None
        sign, bound = self.target.split()
        return self.median <= float(bound) if sign == "<=" else self.median >= float(bound)


def of_samples(name: str, unit: str, samples: Sequence[float], target: str = "") -> Figure:
    """Median, least and most of several measurements."""
    return Figure(name, unit, statistics.median(samples), min(samples), max(samples), len(samples), target)


def of_latencies(name: str, samples_ms: Sequence[float], target: str = "") -> list[Figure]:
    """The p50 with the middle half as its spread, and the p99 with the largest."""
    ordered = sorted(samples_ms)
    count = len(ordered)

    def at(share: float) -> float:
        return ordered[min(int(count * share), count - 1)]

    return [
        Figure(f"{name}, p50", "ms", at(0.5), at(0.25), at(0.75), count, target),
        Figure(f"{name}, p99", "ms", at(0.99), at(0.9), ordered[-1], count),
    ]


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    rows = ["| what | median | spread | target | |", "| --- | --- | --- | --- | --- |"]
    for figure in figures:
        spread = f"{_number(figure.low)} – {_number(figure.high)} ({figure.samples})"
        verdict = {True: "met", False: "**missed**", None: ""}[figure.met]
        target = figure.target.replace("<=", "≤").replace(">=", "≥")
        rows.append(f"| {figure.name} | {_number(figure.median)} {figure.unit} | {spread} | {target} | {verdict} |")
    return "\n".join(rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write_json(figures: Sequence[Figure], machine: str, path: Path) -> None:
    """The same for programs."""
    document = {"machine": machine, "figures": [asdict(figure) | {"met": figure.met} for figure in figures]}
    path.write_text(json.dumps(document, indent=2) + "\n")
