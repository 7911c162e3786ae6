"""The bounds the project set itself, on two cores, and the table that says which are met: `scripts/bench --table`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.bench.cancel import cancel_name, reindexes
from tests.bench.churn import busy_ratio_name
from tests.bench.figures import Figure, keeps, number, with_signs
from tests.bench.lists import LIST, floor_ratio_name, growth_name, name_of, rate_name
from tests.bench.memory import live_name
from tests.bench.mesh import idle_cpu_name, mesh_memory_name, opened_name
from tests.bench.registry import register_name
from tests.bench.start import up_name


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: the part that measures it, what is said of it, and each figure's name with its bound."""

    part: str
    what: str
    unit: str
    bounds: tuple[tuple[str, str], ...]


def _p50(endpoint: str, tasks: int, nodes: int = 3) -> str:
    return f"{name_of(endpoint, nodes, tasks)}, p50"


ROWS = (
    Row("start", "3 / 5 nodes ready, cold, the interpreter's start included", "ms",
        ((up_name(3), "<= 250"), (up_name(5), "<= 300"))),
    Row("start", "100 / 200 / 500 nodes ready, cold", "ms",
        ((up_name(100), "<= 1000"), (up_name(200), "<= 2000"), (up_name(500), "<= 6000"))),
    Row("mesh", "the mesh of 50 / 100 nodes opened", "ms",
        ((opened_name(50), "<= 1000"), (opened_name(100), "<= 3000"))),
    Row("memory", "private memory a node: idle / with 10,000 live tasks", "MiB",
        (("private memory a node, idle", "<= 5"), (live_name(10_000), "<= 11"))),
    Row("mesh", "the same in a mesh of 100", "MiB", ((mesh_memory_name(100), "<= 8"),)),
    Row("mesh", "processor time of 100 idle nodes", "% of a core", ((idle_cpu_name(100), "<= 3"),)),
    Row("loads", "`GET /_tasks`, 3 nodes idle, p50 / p99", "ms",
        ((_p50(LIST, 0), "<= 0.25"), (f"{name_of(LIST, 3, 0)}, p99", "<= 1.5"))),
    Row("loads", "the same, p50, by that of the TCP floor", "times", ((floor_ratio_name(3, 0), "<= 1.5"),)),
    Row("loads", "the same, lists a second, 8 connections", "/s", ((rate_name(3, 0, 8), ">= 9000"),)),
    Row("loads", "1,000 / 5,000 tasks on 3 nodes listed", "ms",
        ((_p50(LIST, 1000), "<= 1.5"), (_p50(LIST, 5000), "<= 6"))),
    Row("loads", "5,000 tasks detailed / by parents / `_cat/tasks`", "ms",
        ((_p50("GET /_tasks?detailed", 5000), "<= 12"), (_p50("GET /_tasks?group_by=parents", 5000), "<= 8"),
         (_p50("GET /_cat/tasks", 5000), "<= 12"))),
    Row("loads", "`GET /_tasks/{id}` of its owner / of another node", "ms",
        ((_p50("GET /_tasks/{id} of its owner", 0), "<= 0.15"),
         (_p50("GET /_tasks/{id} of another node", 0), "<= 0.25"))),
    Row("loads", "`nodes=_local`, idle", "ms", ((_p50("GET /_tasks?nodes=_local", 0), "<= 0.2"),)),
    Row("spread", "list over 5 / 100 nodes", "ms", ((_p50(LIST, 0, 5), "<= 0.35"), (_p50(LIST, 0, 100), "<= 6"))),
    Row("spread", "its growth from 5 to 100 nodes, by that of the nodes", "times", ((growth_name(5, 100), "<= 1"),)),
    Row("cancel", "cancel of 1,000 throttled reindexes: answered / all gone", "ms",
        ((cancel_name(reindexes(1000), "answered"), "<= 60"), (cancel_name(reindexes(1000), "all gone"), "<= 300"))),
    Row("registry", "register and unregister with 100,000 live tasks", "µs", ((register_name(100_000), "<= 1.2"),)),
    Row("churn", "p99 of a list while 10,000 tasks start and end each second, by the idle p50", "times",
        ((busy_ratio_name(10_000), "<= 5"),)),
)  # fmt: skip
_BOUNDS = {name: bound for row in ROWS for name, bound in row.bounds}


def with_targets(figures: Sequence[Figure]) -> list[Figure]:
    """The figures, those that the table names with their bound."""
    return [replace(figure, target=_BOUNDS[figure.name]) if figure.name in _BOUNDS else figure for figure in figures]


def target_table(about: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """The rows in Markdown, with what was measured, and under them on what machine."""
    found = {figure.name: figure for figure in figures}
    lines = ["| what | target | measured | |", "| --- | --- | --- | --- |"]
    for row in ROWS:
        targets = " / ".join(_of_bound(bound) for _, bound in row.bounds)
        measured = " / ".join(_measured(found.get(name)) for name, _ in row.bounds)
        verdicts = [_verdict(found.get(name), bound) for name, bound in row.bounds]
        verdict = verdicts[0] if len(set(verdicts)) == 1 else " / ".join(verdicts)
        sign = with_signs(row.bounds[0][1]).split()[0]
        lines.append(f"| {row.what} | {sign} {targets} {row.unit} | {measured} {row.unit} | {verdict} |")
    load = about["load_average"]
    lines += [
        "",
        f"{about['machine']}; `scripts/bench` ({about['sizes']}), {about['when']}; medians; "
        f"load average {load['before']} before the run.",
    ]
    return "\n".join(lines)


def _of_bound(bound: str) -> str:
    return number(float(bound.split()[1]))


def _measured(figure: Figure | None) -> str:
    return "–" if figure is None else number(figure.median)


def _verdict(figure: Figure | None, bound: str) -> str:
    if figure is None:
        return "not measured"
    return "met" if keeps(figure.median, bound) else "**missed**"
