"""Lists, and what else is asked of tasks: on three nodes with more and more live tasks, and over more nodes."""

from __future__ import annotations

from collections.abc import Mapping

from taskfan.cluster import Cluster
from tests.bench.bench import Bench, client_cost, latency_figures, p50s, ratio
from tests.bench.figures import Facts, Figure, of_samples
from tests.bench.floor import Echo, Floor
from tests.bench.http_client import Ask, ask_all, http_ask
from tests.bench.live_tasks import Load

LIST = "GET /_tasks"
# What is asked with every load; the rest only of an idle cluster, whose tasks do not change it.
PATHS = (
    "/_tasks",
    "/_tasks?detailed",
    "/_tasks?group_by=parents",
    "/_tasks?group_by=none",
    "/_tasks?nodes=_local",
    "/_cat/tasks",
)
OTHER_PATHS = ("/", "/_nodes", "/_cat/nodes", "/_cluster/health")
# With more bytes in flight it is the memory of this machine that is measured.
MOST_BYTES_IN_FLIGHT = 256 << 20
FLOOR, ECHO = "TCP floor", "echo in C"


def name_of(endpoint: str, nodes: int, tasks: int) -> str:
    """What figures of an endpoint begin with; targets and plots look for it."""
    return f"{endpoint}, {nodes} nodes, {tasks:,} tasks"


def rate_name(nodes: int, tasks: int, connections: int) -> str:
    """The figure's name."""
    return f"{LIST} a second, {nodes} nodes, {tasks:,} tasks, {connections} connections"


def floor_ratio_name(nodes: int, tasks: int) -> str:
    """The figure's name."""
    return f"{name_of(LIST, nodes, tasks)}, by the {FLOOR}"


def loads(bench: Bench) -> list[Figure]:
    """Each endpoint, and answers a second, on three nodes with so many live tasks."""
    figures = []
    with Cluster(nodes=3) as cluster, Floor(3) as floor, Echo() as echo:
        load = Load(cluster)
        for tasks in bench.sizes.loads:
            bench.say(f"3 nodes, {tasks:,} live tasks")
            load.top_up(tasks)
            figures += _endpoints(bench, cluster, floor, echo, tasks)
            figures += _rates(bench, cluster, floor, tasks)
            # One that lives is needed to be asked for; an idle list was to see none.
            load.top_up(max(tasks, 1))
            figures += _by_id(bench, cluster, load.first, tasks)
    return figures


def _endpoints(bench: Bench, cluster: Cluster, floor: Floor, echo: Echo, tasks: int) -> list[Figure]:
    asks = {f"GET {path}": http_ask(cluster.url, path) for path in PATHS}
    asks["POST /_tasks/_cancel of none"] = http_ask(cluster.url, "/_tasks/_cancel?actions=none", "POST")
    if not tasks:
        asks |= {f"GET {path}": http_ask(cluster.url, path) for path in OTHER_PATHS}
        asks[ECHO] = echo.ask(answer_bytes(asks[LIST]))
    asks[FLOOR] = floor.ask(asks[LIST], answer_bytes(asks[LIST]))
    return _compared(bench, asks, 3, tasks)


def answer_bytes(ask: Ask) -> int:
    """How large the answer is, head included."""
    _, answers = ask_all([ask])
    return len(answers[0])


def _compared(bench: Bench, asks: Mapping[str, Ask], nodes: int, tasks: int) -> list[Figure]:
    blocks = bench.in_turn(asks)
    figures = []
    for endpoint in asks:
        facts: Facts = {"what": "latency", "endpoint": endpoint, "nodes": nodes, "tasks": tasks}
        figures += latency_figures(name_of(endpoint, nodes, tasks), blocks[endpoint], facts)
    figures.append(ratio(floor_ratio_name(nodes, tasks), p50s(blocks[LIST]), p50s(blocks[FLOOR])))
    if tasks:
        each = [1000 * tasks / p50 for p50 in p50s(blocks[LIST])]
        figures.append(of_samples(f"tasks listed a second, {nodes} nodes, {tasks:,} tasks", "/s", each))
    if ECHO in asks:
        name = f"{name_of(LIST, nodes, tasks)}, by the {ECHO}"
        figures.append(ratio(name, p50s(blocks[LIST]), p50s(blocks[ECHO])))
        figures.append(client_cost("processor time of the client itself for a list", blocks[LIST]))
        figures.append(client_cost(f"processor time of the client itself, {ECHO}", blocks[ECHO]))
    return figures


def _by_id(bench: Bench, cluster: Cluster, task: str, tasks: int) -> list[Figure]:
    owner, other = cluster.nodes[0].url, cluster.nodes[1].url
    asks = {
        "GET /_tasks/{id} of its owner": http_ask(owner, f"/_tasks/{task}"),
        "GET /_tasks/{id} of another node": http_ask(other, f"/_tasks/{task}"),
    }
    figures = []
    for endpoint, blocks in bench.in_turn(asks).items():
        facts: Facts = {"what": "latency", "endpoint": endpoint, "nodes": 3, "tasks": tasks}
        figures += latency_figures(name_of(endpoint, 3, tasks), blocks, facts)
    return figures


def _rates(bench: Bench, cluster: Cluster, floor: Floor, tasks: int) -> list[Figure]:
    ask = http_ask(cluster.url, "/_tasks")
    size = answer_bytes(ask)
    asks = {LIST: ask, FLOOR: floor.ask(ask, size)}
    figures = []
    for connections in bench.sizes.connections:
        if connections * size > MOST_BYTES_IN_FLIGHT:
            bench.say(f"left out: {connections} connections with answers of {size >> 20} MiB")
            continue
        rates = bench.rates_in_turn(asks, connections)
        name = rate_name(3, tasks, connections)
        facts: Facts = {"what": "rate", "nodes": 3, "tasks": tasks, "connections": connections}
        figures.append(of_samples(name, "/s", rates[LIST], facts={**facts, "endpoint": LIST}))
        figures.append(of_samples(f"{FLOOR}: {name}", "/s", rates[FLOOR], facts={**facts, "endpoint": FLOOR}))
        figures.append(ratio(f"{name}, by the {FLOOR}", rates[LIST], rates[FLOOR]))
    return figures


def growth_name(least: int, most: int) -> str:
    """The figure's name."""
    return f"growth of a list's p50 from {least} to {most} nodes, by that of the nodes"


def spread(bench: Bench) -> list[Figure]:
    """An idle list over more and more nodes."""
    figures = []
    for nodes in bench.sizes.spread:
        bench.say(f"list over {nodes} nodes")
        with Cluster(nodes=nodes) as cluster, Floor(nodes) as floor:
            ask = http_ask(cluster.url, "/_tasks")
            asks = {LIST: ask, FLOOR: floor.ask(ask, answer_bytes(ask))}
            figures += _compared(bench, asks, nodes, 0)
    found = {figure.name: figure.median for figure in figures}
    found_ms = {nodes: found[f"{name_of(LIST, nodes, 0)}, p50"] for nodes in bench.sizes.spread}
    least, *others = sorted(found_ms)
    for most in others:
        grown = found_ms[most] / found_ms[least] / (most / least)
        figures.append(of_samples(growth_name(least, most), "times", [grown]))
    return figures
