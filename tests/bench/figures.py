"""Measured numbers, as people and programs read them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Fact = str | int | float
# What a figure is of, for plots: endpoint, nodes, tasks, server, statistic …
Facts = Mapping[str, Fact]


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
    facts: Facts = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the target; None without one."""
        return keeps(self.median, self.target) if self.target else None


def keeps(value: float, bound: str) -> bool:
    """Whether a value keeps a bound such as "<= 1.5"."""
    sign, limit = bound.split()
    return value <= float(limit) if sign == "<=" else value >= float(limit)


def of_samples(name: str, unit: str, samples: Sequence[float], target: str = "", facts: Facts | None = None) -> Figure:
    """Median, least and most of several measurements."""
    return Figure(name, unit, statistics.median(samples), min(samples), max(samples), len(samples), target, facts or {})


def at_share(samples: Iterable[float], share: float) -> float:
    """The sample below which this share of all lies."""
    ordered = sorted(samples)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def of_latencies(name: str, blocks: Sequence[Sequence[float]], facts: Facts | None = None) -> list[Figure]:
    """p50, p90, p99 and the largest of all samples (ms); the spread is the least and most of the same of one block."""
    samples = [sample for block in blocks for sample in block]
    figures = []
    for statistic, share in SHARES.items():
        each = [at_share(block, share) for block in blocks]
        figures.append(
            Figure(
                f"{name}, {statistic}",
                "ms",
                at_share(samples, share),
                min(each),
                max(each),
                len(samples),
                facts={**(facts or {}), "statistic": statistic},
            )
        )
    return figures


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    rows = ["| what | median | spread (samples) | target | |", "| --- | --- | --- | --- | --- |"]
    for figure in figures:
        spread = f"{number(figure.low)} – {number(figure.high)} ({figure.samples})"
        verdict = {True: "met", False: "**missed**", None: ""}[figure.met]
        target = with_signs(figure.target)
        rows.append(f"| {figure.name} | {number(figure.median)} {figure.unit} | {spread} | {target} | {verdict} |")
    return "\n".join(rows)


def with_signs(bound: str) -> str:
    """A bound as people write it."""
    return bound.replace("<=", "≤").replace(">=", "≥")


def number(value: float) -> str:
    """A number with as many digits as are of use."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_json(figures: Sequence[Figure], about: Mapping[str, Any], path: Path) -> None:
    """The same for programs, with what is to be known of the run."""
    document = {**about, "figures": [{**asdict(figure), "met": figure.met} for figure in figures]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> tuple[dict[str, Any], list[Figure]]:
    """What is to be known of a run, and its figures."""
    about = json.loads(path.read_text())
    figures = about.pop("figures")
    for figure in figures:
        del figure["met"]
    return about, [Figure(**figure) for figure in figures]
