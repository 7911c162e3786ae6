"""How quickly clusters come and go: cold, from a supervisor that has loaded, node by node, and with all links open."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskfan.cluster import Cluster
from tests.bench.bench import Bench
from tests.bench.figures import Facts, Figure, of_samples

TASKFAN = str(Path(sys.executable).with_name("taskfan"))
# Of this run: another one may be under way.
NAME = f"taskfan-bench-{os.getpid()}"
LIMIT_S = 180


def up_name(nodes: int) -> str:
    """The figure's name; targets and plots look for it."""
    return f"taskfan up, {nodes} nodes, cold"


def start(bench: Bench) -> list[Figure]:
    """`taskfan up` and `down` from nothing, a loaded supervisor until its nodes are ready, and one node more."""
    return [*_cold(bench), *_warm(bench), *_added(bench)]


def _cold(bench: Bench) -> list[Figure]:
    sizes = bench.sizes.cold
    bare: list[float] = []
    up: dict[int, list[float]] = {nodes: [] for nodes in sizes}
    down: dict[int, list[float]] = {nodes: [] for nodes in sizes}
    try:
        for nodes in _smallest_first(sizes):
            bench.say(f"up and down, {nodes} nodes")
            bare.append(_took_ms(sys.executable, "-c", ""))
            up[nodes].append(_took_ms(TASKFAN, "up", "-n", str(nodes), "--any-port", "--name", NAME))
            down[nodes].append(_took_ms(TASKFAN, "down", "--name", NAME))
    finally:
        # It outlives whoever started it, so it has to be ended even by a run that fails.
        _took_ms(TASKFAN, "down", "--forget", "--name", NAME)
    figures = [of_samples("an interpreter that does nothing, start and end", "ms", bare)]
    for nodes in sizes:
        facts: Facts = {"what": "start", "nodes": nodes, "from": "cold"}
        figures.append(of_samples(up_name(nodes), "ms", up[nodes], facts=facts))
        figures.append(of_samples(f"taskfan down, {nodes} nodes", "ms", down[nodes]))
    return figures


def _smallest_first(rounds: Mapping[int, int]) -> list[int]:
    """Each number of nodes as often as it says. After 500 nodes, 3 would wait for what those leave the kernel."""
    return [nodes for nodes in sorted(rounds) for _ in range(rounds[nodes])]


def _took_ms(*command: str) -> float:
    begun = time.perf_counter()
    # Its end is seen by that of its output: with a limit alone, `subprocess` looks for it every 50 ms.
    subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=LIMIT_S)
    return 1000 * (time.perf_counter() - begun)


def _warm(bench: Bench) -> list[Figure]:
    ready: dict[int, list[float]] = {nodes: [] for nodes in bench.sizes.warm}
    stopped: dict[int, list[float]] = {nodes: [] for nodes in bench.sizes.warm}
    whole: dict[int, list[float]] = {nodes: [] for nodes in bench.sizes.warm}
    for nodes in _smallest_first(bench.sizes.warm):
        bench.say(f"into a warm supervisor, {nodes} nodes")
        times_s: dict[str, float] = {}

        def note(progress: Any, times_s: dict[str, float] = times_s) -> None:
            times_s.setdefault(progress.step, time.perf_counter())

        asked_s = time.perf_counter()
        cluster = Cluster(nodes=nodes).start(note)
        is_ready_s = time.perf_counter()
        whole[nodes].append(1000 * (is_ready_s - asked_s))
        ready[nodes].append(1000 * (is_ready_s - times_s["loaded"]))
        begun = time.perf_counter()
        cluster.stop()
        stopped[nodes].append(1000 * (time.perf_counter() - begun))
    figures = []
    for nodes in bench.sizes.warm:
        facts: Facts = {"what": "start", "nodes": nodes, "from": "warm"}
        figures.append(of_samples(f"{nodes} nodes ready, from a warm supervisor", "ms", ready[nodes], facts=facts))
        figures.append(of_samples(f"Cluster.start, {nodes} nodes, in a process that starts many", "ms", whole[nodes]))
        figures.append(of_samples(f"Cluster.stop, {nodes} nodes", "ms", stopped[nodes]))
    return figures


def _added(bench: Bench) -> list[Figure]:
    with Cluster(nodes=3) as cluster:
        took_ms = []
        for _ in range(bench.sizes.added):
            begun = time.perf_counter()
            cluster.add()
            took_ms.append(1000 * (time.perf_counter() - begun))
    return [of_samples("one node more in a running cluster of 3, until all know it", "ms", took_ms)]
