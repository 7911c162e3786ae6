"""Cancels: how long until they are answered, and until nothing of what was cancelled is left."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from taskfan.cluster import Cluster
from tests.bench.bench import Bench
from tests.bench.figures import Figure, of_samples
from tests.bench.http_client import Ask, http_ask, until_gone
from tests.bench.live_tasks import REINDEX, make_source, shares, start, start_reindexes, wait_for

CHILDREN, ALONE = "bench:family", "bench:alone"


def cancel_name(what: str, end: str) -> str:
    """The figure's name; `end` is `answered` or `all gone`."""
    return f"cancel of {what}, 3 nodes, {end}"


def reindexes(count: int) -> str:
    """How that many are called in names."""
    return f"{count:,} throttled reindexes"


def cancels(bench: Bench) -> list[Figure]:
    """Of a task with children on all nodes, of tasks that stand alone, and of reindexes that are throttled."""
    figures = []
    with Cluster(nodes=3) as cluster:
        make_source(cluster.url, 3)
        for count in bench.sizes.cancels:
            bench.say(f"cancel, {count:,} tasks")
            figures += _measured(bench, f"a task with {count:,} children", partial(_family, cluster, count))
            figures += _measured(bench, f"{count:,} tasks", partial(_alone, cluster, count))
            figures += _measured(bench, reindexes(count), partial(_reindexes, bench, cluster, count))
    return figures


def _measured(bench: Bench, what: str, begin: Callable[[], tuple[Ask, Ask]]) -> list[Figure]:
    ends = [bench.client.run(until_gone, *begin()) for _ in range(bench.sizes.cancel_rounds)]
    return [
        of_samples(cancel_name(what, "answered"), "ms", [answered_ms for answered_ms, _ in ends]),
        of_samples(cancel_name(what, "all gone"), "ms", [gone_ms for _, gone_ms in ends]),
    ]


def _family(cluster: Cluster, count: int) -> tuple[Ask, Ask]:
    task = start(cluster.url, CHILDREN, count, ["_all"])
    wait_for(cluster.url, f"{CHILDREN}*", count + 1)
    return http_ask(cluster.url, f"/_tasks/{task}/_cancel", "POST"), _look(cluster.url, f"{CHILDREN}*")


def _alone(cluster: Cluster, count: int) -> tuple[Ask, Ask]:
    # All of them match by their names, so each is cancelled by itself.
    for url, here in zip(cluster.urls, shares(count, len(cluster.urls)), strict=True):
        if here:
            start(url, ALONE, here - 1)
    wait_for(cluster.url, f"{ALONE}*", count)
    return http_ask(cluster.url, f"/_tasks/_cancel?actions={ALONE}*", "POST"), _look(cluster.url, f"{ALONE}*")


def _reindexes(bench: Bench, cluster: Cluster, count: int) -> tuple[Ask, Ask]:
    start_reindexes(bench.client, cluster.urls, count)
    return cancel_of_reindexes(cluster.url)


def cancel_of_reindexes(url: str) -> tuple[Ask, Ask]:
    """What cancels all of them, and what tells whether any is left."""
    return http_ask(url, f"/_tasks/_cancel?actions={REINDEX}", "POST"), _look(url, REINDEX)


def _look(url: str, actions: str) -> Ask:
    return http_ask(url, f"/_tasks?actions={actions}&group_by=none")
