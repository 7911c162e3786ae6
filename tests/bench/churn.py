"""Lists while many tasks start and end: how slow the slowest are, in terms of an idle list."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from taskfan.cluster import Cluster
from tests.bench.bench import Bench, latency_figures
from tests.bench.figures import Facts, Figure, at_share, of_samples
from tests.bench.http_client import WARM_UP, Block, http_ask, latencies
from tests.bench.live_tasks import CHURN, start_churn, wait_for
from tests.bench.rest import text

# Until the plan is laid out and its first tasks have ended.
SETTLE_S = 0.5
# Two on the node that is asked, and one on each other; two on each of three nodes.
TASKS_OF_A_LIST, TASKS_OF_A_LOOK = 4, 6


def churn(bench: Bench) -> list[Figure]:
    """Idle and busy blocks of three nodes in turn; how many tasks really began is counted by their numbers."""
    sizes = bench.sizes
    watched_s = sizes.churn_s - 2 * SETTLE_S if sizes.churn_s > 2 * SETTLE_S else sizes.churn_s / 4
    idle: list[Block] = []
    busy: list[Block] = []
    begun_per_s: list[float] = []
    with Cluster(nodes=3) as cluster:
        ask = http_ask(cluster.url, "/_tasks")
        for number in range(sizes.churn_rounds):
            bench.say(f"lists among {sizes.churn_tasks_per_s:,} tasks a second, round {number + 1}")
            idle.append(bench.client.run(latencies, ask, requests=100_000, seconds=min(watched_s, 1)))
            for url in cluster.urls:
                start_churn(url, sizes.churn_tasks_per_s / 3, sizes.churn_s)
            time.sleep(min(SETTLE_S, sizes.churn_s / 4))
            numbers, begun_s = _task_numbers(cluster.urls), time.perf_counter()
            busy.append(bench.client.run(latencies, ask, requests=100_000, seconds=watched_s))
            took_s, lists = time.perf_counter() - begun_s, len(busy[-1].latencies_ms)
            begun = _task_numbers(cluster.urls) - numbers
            begun_per_s.append((begun - TASKS_OF_A_LIST * (lists + WARM_UP) - TASKS_OF_A_LOOK) / took_s)
            wait_for(cluster.url, f"{CHURN}*", 0)
    return _figures(sizes.churn_tasks_per_s, idle, busy, begun_per_s)


def busy_ratio_name(tasks_per_s: int) -> str:
    """The figure's name."""
    return f"p99 of a list while {tasks_per_s:,} tasks start and end a second, by the p50 of an idle one"


def _figures(wanted: int, idle: list[Block], busy: list[Block], begun_per_s: list[float]) -> list[Figure]:
    what = f"GET /_tasks while {wanted:,} tasks start and end a second"
    facts: Facts = {"what": "churn", "tasks_per_s": wanted}
    shares = [
        at_share(one.latencies_ms, 0.99) / at_share(other.latencies_ms, 0.5)
        for one, other in zip(busy, idle, strict=True)
    ]
    return [
        of_samples(f"tasks that began a second, of {wanted:,} wanted", "/s", begun_per_s),
        *latency_figures("GET /_tasks before that, 3 nodes", idle, {**facts, "tasks_per_s": 0}),
        *latency_figures(f"{what}, 3 nodes", busy, facts),
        of_samples(busy_ratio_name(wanted), "times", shares),
    ]


def _task_numbers(urls: Sequence[str]) -> int:
    """The sum of the newest task numbers of all nodes: they are counted up by one."""
    found = 0
    for url in urls:
        answer = text(url, "GET", "/_tasks?nodes=_local&actions=*lists*&group_by=none").decode()
        found += max(int(number) for number in re.findall(r'"id":(\d+)', answer))
    return found
