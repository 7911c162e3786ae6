"""Another server of the same API beside taskfan, in turn: lists and cancels, idle and with throttled reindexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskfan.cluster import Cluster
from tests.bench.bench import Bench, latency_figures, p50s, ratio
from tests.bench.cancel import cancel_of_reindexes
from tests.bench.figures import Facts, Figure, of_samples
from tests.bench.http_client import http_ask, until_gone
from tests.bench.lists import LIST, PATHS
from tests.bench.live_tasks import make_source, remove_source, start_reindexes
from tests.bench.rest import call

TASKFAN = "taskfan"
# One copy of an index holds no more scrolls than 500, by default, and there are three copies.
MOST_REINDEXES = 1000


def against(bench: Bench) -> list[Figure]:
    """As many nodes of taskfan beside it, with the same work. Leaves nothing there but what its own logs say."""
    theirs = [url.rstrip("/") for url in bench.against]
    with Cluster(nodes=len(theirs)) as cluster:
        sides = {TASKFAN: cluster.urls, "the other": theirs}
        about = call(theirs[0], "GET", "/")
        bench.say(f"the other: {about.get('version', {})} of {theirs[0]}")
        figures = []
        try:
            for urls in sides.values():
                make_source(urls[0], len(urls))
            for tasks in sorted({min(tasks, MOST_REINDEXES) for tasks in bench.sizes.loads}):
                figures += _loaded(bench, sides, tasks)
        finally:
            remove_source(theirs[0])
    return figures


def _loaded(bench: Bench, sides: Mapping[str, Sequence[str]], tasks: int) -> list[Figure]:
    bench.say(f"against: {tasks:,} reindexes on each")
    for urls in sides.values():
        if tasks:
            start_reindexes(bench.client, urls, tasks)
    figures = []
    for path in PATHS:
        asks = {side: http_ask(urls[0], path) for side, urls in sides.items()}
        blocks = bench.in_turn(asks)
        name = f"GET {path}, {len(sides[TASKFAN])} nodes, {tasks:,} reindexes"
        for side in sides:
            facts: Facts = {"what": "against", "endpoint": f"GET {path}", "tasks": tasks, "server": side}
            figures += latency_figures(f"{side}: {name}", blocks[side], facts)
        figures.append(_ratio(name, {side: p50s(found) for side, found in blocks.items()}))
    figures += _rates(bench, sides, tasks)
    if tasks:
        figures += _cancels(bench, sides, tasks)
    return figures


def _ratio(name: str, found: Mapping[str, Sequence[float]]) -> Figure:
    ours, theirs = found.values()
    return ratio(f"{name}: taskfan by the other", ours, theirs)


def _rates(bench: Bench, sides: Mapping[str, Sequence[str]], tasks: int) -> list[Figure]:
    figures = []
    for connections in bench.sizes.connections:
        rates = bench.rates_in_turn({side: http_ask(urls[0], "/_tasks") for side, urls in sides.items()}, connections)
        name = f"{LIST} a second, {tasks:,} reindexes, {connections} connections"
        figures += [of_samples(f"{side}: {name}", "/s", rates[side]) for side in sides]
        figures.append(_ratio(name, rates))
    return figures


def _cancels(bench: Bench, sides: Mapping[str, Sequence[str]], tasks: int) -> list[Figure]:
    """The reindexes that live already are the first round's."""
    answered: dict[str, list[float]] = {side: [] for side in sides}
    gone: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(bench.sizes.cancel_rounds):
        for side, urls in sides.items():
            if number:
                start_reindexes(bench.client, urls, tasks)
            answered_ms, gone_ms = bench.client.run(until_gone, *cancel_of_reindexes(urls[0]))
            answered[side].append(answered_ms)
            gone[side].append(gone_ms)
    figures = []
    for end, found in (("answered", answered), ("all gone", gone)):
        name = f"cancel of {tasks:,} reindexes, {end}"
        figures += [of_samples(f"{side}: {name}", "ms", found[side]) for side in sides]
        figures.append(_ratio(name, found))
    return figures
