"""Each part of the bench runs with tiny counts, and what it writes is whole; no figure is judged by its size."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from taskfan.cluster import Cluster
from tests.bench.__main__ import FIGURES, PARTS, run
from tests.bench.against import against
from tests.bench.bench import Bench
from tests.bench.figures import SHARES, Figure, read_json
from tests.bench.processes import QUIET_LOAD
from tests.bench.profile import profile, profile_table
from tests.bench.sizes import TINY, WHOLE
from tests.bench.stages import FUNCTIONS, Function, holder_of
from tests.bench.targets import ROWS, target_table


def written(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a run wrote for programs, read as JSON and nothing more."""
    about = json.loads((out / FIGURES).read_text())
    return about, about.pop("figures")


def demand_whole(about: dict[str, Any], figures: list[dict[str, Any]], part: str) -> None:
    """Every figure is one, by its form; those of one thing are in their order."""
    assert set(about) == {"machine", "sizes", "when", "load_average", "parts", "failed"}
    assert about["failed"] == {}
    assert about["load_average"]["quiet"] is (about["load_average"]["before"] <= QUIET_LOAD)
    assert list(about["parts"]) == [part]
    assert figures
    for figure in figures:
        assert set(figure) == {"name", "unit", "median", "low", "high", "samples", "target", "facts", "met"}
        assert figure["samples"] > 0, figure
        assert all(math.isfinite(figure[value]) for value in ("median", "low", "high")), figure
        assert figure["low"] <= figure["median"] <= figure["high"], figure
        assert figure["met"] is None or figure["target"], figure
    medians = {figure["name"]: figure["median"] for figure in figures}
    assert len(medians) == len(figures)
    for name in medians:
        thing, _, statistic = name.rpartition(", ")
        if statistic == "p50":
            ordered = [medians[f"{thing}, {each}"] for each in SHARES]
            assert ordered == sorted(ordered), thing
            assert ordered[0] > 0, thing


def masked(name: str) -> str:
    """The name without its numbers, which tiny counts change."""
    return re.sub(r"\d[\d,]*", "#", name)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_runs_and_measures_what_the_targets_are_about(part: str, tmp_path: Path) -> None:
    run({part: PARTS[part]}, TINY, tmp_path)

    about, figures = written(tmp_path)
    demand_whole(about, figures, part)
    measured = {masked(figure["name"]) for figure in figures}
    assert {masked(name) for row in ROWS if row.part == part for name, _ in row.bounds} <= measured


def test_every_row_of_the_targets_has_a_part_that_measures_it() -> None:
    assert {row.part for row in ROWS} <= set(PARTS)


def test_another_server_is_measured_in_turn_and_left_as_it_was(tmp_path: Path) -> None:
    with Cluster(nodes=2) as other:
        run({"against": against}, TINY, tmp_path, tuple(other.urls))
        assert other.list_tasks(actions="*reindex", group_by="none") == {"tasks": []}

    about, figures = written(tmp_path)
    demand_whole(about, figures, "against")
    names = [figure["name"] for figure in figures]
    assert "taskfan: GET /_tasks, 2 nodes, 5 reindexes, p99" in names
    assert "the other: GET /_tasks, 2 nodes, 5 reindexes, p99" in names
    assert "GET /_tasks, 2 nodes, 5 reindexes: taskfan by the other" in names
    assert "cancel of 5 reindexes, all gone: taskfan by the other" in names


def test_a_profile_follows_lists_through_all_processes(tmp_path: Path) -> None:
    figures, _ = run({"profile": profile}, TINY, tmp_path)

    about, found = written(tmp_path)
    demand_whole(about, found, "profile")
    table = profile_table(figures)
    assert (tmp_path / "profile.md").read_text() == table + "\n"
    rows = [row for row in table.splitlines() if "µs" in row]
    # Both loads, with each stage once, and the whole list with and without the noting.
    assert len(rows) == 2 * 21
    assert len({row.split("|")[1] for row in rows}) == 21


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_a_function_that_a_profile_follows_is_there(function: Function) -> None:
    holder, name = holder_of(function)
    assert callable(getattr(holder, name))


def test_the_table_says_of_each_target_whether_it_was_met() -> None:
    about = {"machine": "2 cores", "sizes": "whole", "when": "today", "load_average": {"before": 0.1}}
    (cold,) = [row for row in ROWS if row.what.startswith("3 / 5 nodes")]
    three, five = (
        Figure(name, "ms", median, median, median, 1)
        for (name, _), median in zip(cold.bounds, (249.0, 301.0), strict=True)
    )

    lines = target_table(about, [three, five]).splitlines()
    assert f"| {cold.what} | ≤ 250 / 300 ms | 249 / 301 ms | met / **missed** |" in lines
    assert len([line for line in lines if line.endswith("| not measured |")]) == len(ROWS) - 1
    assert lines[-1] == "2 cores; `scripts/bench` (whole), today; medians; load average 0.1 before the run."


def test_figures_are_the_same_after_they_were_written(tmp_path: Path) -> None:
    figures, _ = run({"registry": PARTS["registry"]}, TINY, tmp_path)
    about, read = read_json(tmp_path / FIGURES)
    assert read == figures
    assert about["sizes"] == "tiny"


def test_a_part_that_fails_costs_no_other_part_its_figures(tmp_path: Path) -> None:
    def breaks(_: Bench) -> list[Figure]:
        raise RuntimeError("no such thing")

    run({"breaks": breaks, "registry": PARTS["registry"]}, TINY, tmp_path)

    about, figures = written(tmp_path)
    assert about["failed"] == {"breaks": "RuntimeError: no such thing"}
    assert [figure["unit"] for figure in figures] == ["µs"]


def test_the_whole_form_measures_the_sizes_of_the_targets() -> None:
    wanted = {int(number) for row in ROWS if row.part == "start" for name, _ in row.bounds for number in _numbers(name)}
    assert wanted <= set(WHOLE.cold)
    assert {50, 100} <= set(WHOLE.meshes)
    assert {0, 1000, 5000} <= set(WHOLE.loads)
    assert {5, 100} <= set(WHOLE.spread)
    assert 1000 in WHOLE.cancels
    assert (WHOLE.memory_tasks, WHOLE.registry_tasks, WHOLE.churn_tasks_per_s) == (10_000, 100_000, 10_000)


def _numbers(name: str) -> list[str]:
    return re.findall(r"\d+", name)
