"""Plots are whole SVG, with a line for each thing that was measured at two points or more."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.bench.figures import Facts, Figure
from tests.bench.lists import FLOOR, LIST
from tests.bench.plots import write_plots

SVG = "{http://www.w3.org/2000/svg}"


def latency(endpoint: str, nodes: int, tasks: int, median: float) -> Figure:
    facts: Facts = {"what": "latency", "endpoint": endpoint, "nodes": nodes, "tasks": tasks, "statistic": "p50"}
    return Figure(f"{endpoint} {nodes} {tasks}", "ms", median, median, median, 1, facts=facts)


def test_there_is_a_line_for_each_thing_and_a_mark_for_each_number(tmp_path: Path) -> None:
    figures = [
        *(latency(LIST, nodes, 0, nodes / 10) for nodes in (3, 5, 50)),
        *(latency(FLOOR, nodes, 0, nodes / 20) for nodes in (3, 5, 50)),
        *(latency(LIST, 3, tasks, 1 + tasks / 100) for tasks in (100, 5000)),
        latency("GET /", 3, 0, 0.1),
    ]

    by_nodes, by_tasks = (ElementTree.parse(path).getroot() for path in write_plots(figures, tmp_path))
    lines = by_nodes.findall(f"{SVG}polyline")
    assert len(lines) == 2
    xs = [float(point.split(",")[0]) for point in lines[0].attrib["points"].split()]
    ys = [float(point.split(",")[1]) for point in lines[0].attrib["points"].split()]
    # On logarithmic axes ten times more is as far, wherever it begins; up is less in SVG.
    assert xs == sorted(xs)
    assert ys == sorted(ys, reverse=True)
    assert abs((xs[2] - xs[1]) / (xs[1] - xs[0]) - 4.507) < 0.02
    (line,) = by_tasks.findall(f"{SVG}polyline")
    assert len(line.attrib["points"].split()) == 3
    texts = [text.text for text in by_tasks.findall(f"{SVG}text")]
    assert {"0", "100", "5,000", LIST} <= set(texts)


def test_what_was_measured_once_is_no_line(tmp_path: Path) -> None:
    assert write_plots([latency(LIST, 3, 0, 1.0)], tmp_path) == []
