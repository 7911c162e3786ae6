"""What a node weighs: idle, after work, and with live tasks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from taskfan.cluster import Cluster
from taskfan.cluster.cluster_node import ClusterNode
from tests.bench.bench import Bench
from tests.bench.figures import Figure, of_samples
from tests.bench.http_client import http_ask, latencies
from tests.bench.live_tasks import LIVE, start, wait_for
from tests.bench.processes import private_kib, proportional_kib

# Until a node has given back what the list that found all tasks left free in it.
SETTLE_S = 2.0


def live_name(tasks: int) -> str:
    """The figure's name."""
    return f"private memory a node, {tasks:,} live tasks"


def memory(bench: Bench) -> list[Figure]:
    """Of three nodes, two of which then run tasks for the first one, which waits for them."""
    tasks = bench.sizes.memory_tasks
    with Cluster(nodes=3) as cluster:
        bench.say("memory, idle")
        figures = _both(cluster.nodes, "idle")
        for path in ("/_tasks", "/_cat/tasks"):
            # No limit of time: what is asked for is the state after so many.
            bench.client.run(latencies, http_ask(cluster.url, path), requests=bench.sizes.memory_lists, seconds=60)
        figures += _both(cluster.nodes, f"after {bench.sizes.memory_lists:,} lists")
        waits, *runs = cluster.nodes
        before = [private_kib(node.pid) for node in cluster.nodes]
        bench.say(f"memory, {tasks:,} live tasks on each of 2 nodes")
        start(cluster.url, LIVE, tasks * len(runs), [node.name for node in runs])
        wait_for(cluster.url, f"{LIVE}*", tasks * len(runs) + 1)
        time.sleep(SETTLE_S)
        grown = [private_kib(node.pid) - kib for node, kib in zip(cluster.nodes, before, strict=True)]
        figures += _both(runs, f"{tasks:,} live tasks")
        figures += _both([waits], f"waiting for {tasks * len(runs):,} tasks of others")
    a_task = [1024 * kib / tasks for kib in grown[1:]]
    a_child = [1024 * grown[0] / (tasks * len(runs))]
    return [
        *figures,
        of_samples("private memory a live task, where it runs", "bytes", a_task),
        of_samples("private memory a live task, where its parent waits for it", "bytes", a_child),
    ]


def _both(nodes: Sequence[ClusterNode], what: str) -> list[Figure]:
    private = [private_kib(node.pid) / 1024 for node in nodes]
    proportional = [proportional_kib(node.pid) / 1024 for node in nodes]
    assert statistics.median(private) > 0
    return [
        of_samples(f"private memory a node, {what}", "MiB", private),
        of_samples(f"proportional memory a node, {what}", "MiB", proportional),
    ]
