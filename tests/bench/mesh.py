"""What many nodes cost that do nothing: as they start, and when every one holds a link to every other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from taskfan.cluster import Cluster
from tests.bench.bench import Bench
from tests.bench.client_process import ClientProcess
from tests.bench.figures import Figure, of_samples
from tests.bench.http_client import ask_all, http_ask
from tests.bench.processes import cpu_s, parent_of, private_kib, proportional_kib

# The first checks and elections are over by then.
SETTLE_S = 1.0


def opened_name(nodes: int) -> str:
    """The figure's name."""
    return f"mesh of {nodes} nodes opened"


def idle_cpu_name(nodes: int) -> str:
    """The figure's name."""
    return f"processor time of {nodes} idle nodes"


def mesh_memory_name(nodes: int) -> str:
    """The figure's name."""
    return f"private memory a node, mesh of {nodes}"


def mesh(bench: Bench) -> list[Figure]:
    """Memory and processor time of idle nodes, before and after each has opened a link to each."""
    figures = []
    for nodes in bench.sizes.meshes:
        bench.say(f"mesh, {nodes} nodes")
        with Cluster(nodes=nodes) as cluster:
            figures += _memory(cluster, f"{nodes} idle nodes")
            figures += _idle(cluster, f"{nodes} idle nodes", bench.sizes.idle_s)
            opened_ms = 1000 * open_mesh(bench.client, cluster.urls)
            figures.append(of_samples(opened_name(nodes), "ms", [opened_ms], facts={"what": "mesh", "nodes": nodes}))
            figures += _memory(cluster, f"mesh of {nodes}")
            figures += _idle(cluster, f"{nodes} idle nodes in a mesh", bench.sizes.idle_s)
    return figures


def open_mesh(client: ClientProcess, urls: Sequence[str]) -> float:
    """Have every node list all nodes at once, for which each opens its links. Returns seconds until all have answered.

    Raises:
        AssertionError: a node did not reach another.
    """
    took_s, answers = client.run(ask_all, [http_ask(url, "/_tasks?actions=none&timeout=60s") for url in urls])
    assert all(b"node_failures" not in answer for answer in answers)
    return took_s


def _memory(cluster: Cluster, what: str) -> list[Figure]:
    pids = [node.pid for node in cluster.nodes]
    return [
        of_samples(f"private memory a node, {what}", "MiB", [private_kib(pid) / 1024 for pid in pids]),
        of_samples(f"proportional memory a node, {what}", "MiB", [proportional_kib(pid) / 1024 for pid in pids]),
    ]


def _idle(cluster: Cluster, what: str, seconds: float) -> list[Figure]:
    """Processor time while nobody asks anything, in percent of one core."""
    time.sleep(min(SETTLE_S, seconds))
    members = [node.pid for node in cluster.nodes]
    around = sorted({cluster.supervisor_pid, parent_of(members[0])})
    before, begun = _used_s(members + around), time.perf_counter()
    time.sleep(seconds)
    took_s = time.perf_counter() - begun
    after = _used_s(members + around)
    shares = {pid: 100 * (after[pid] - before[pid]) / took_s for pid in after}
    return [
        of_samples(f"processor time of {what}", "% of a core", [sum(shares[pid] for pid in members)]),
        of_samples(f"processor time of one of {what}", "% of a core", [shares[pid] for pid in members]),
        of_samples(
            f"processor time of supervisor and fork server, {what}", "% of a core", [sum(shares[p] for p in around)]
        ),
    ]


def _used_s(pids: Sequence[int]) -> Mapping[int, float]:
    return {pid: cpu_s(pid) for pid in pids}
