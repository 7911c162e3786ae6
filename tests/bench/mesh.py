"""What many nodes cost that do nothing: as they start, and when every one holds a link to every other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from taskfan.cluster import Cluster
from taskfan.cluster.messages import Progress
from tests.bench.bench import Bench
from tests.bench.figures import Facts, Figure, of_samples
from tests.bench.processes import cpu_s, parent_of, private_kib, proportional_kib

# The first checks and elections are over by then.
SETTLE_S = 1.0


def opened_name(nodes: int) -> str:
    """The name of the figure: what a start takes longer by, in turn with one that opens no links."""
    return f"mesh of {nodes} nodes opened"


def idle_cpu_name(nodes: int) -> str:
    """The figure's name."""
    return f"processor time of {nodes} idle nodes"


def mesh_memory_name(nodes: int) -> str:
    """The figure's name."""
    return f"private memory a node, mesh of {nodes}"


def mesh(bench: Bench) -> list[Figure]:
    """Memory and processor time of idle nodes, without links and with all of them, and what it takes to open these."""
    figures = []
    for nodes in bench.sizes.meshes:
        idle, linked, opened = list[float](), list[float](), list[float]()
        for round_number in range(bench.sizes.mesh_rounds):
            bench.say(f"mesh, {nodes} nodes")
            for is_mesh, ready in ((False, idle), (True, linked)):
                what = f"mesh of {nodes}" if is_mesh else f"{nodes} idle nodes"
                cluster, took_ms = _started(nodes, is_mesh=is_mesh)
                with cluster:
                    ready.append(took_ms)
                    if round_number == 0:
                        figures += _memory(cluster, what)
                        figures += _idle(cluster, f"{nodes} idle nodes{' in a mesh' * is_mesh}", bench.sizes.idle_s)
            opened.append(linked[-1] - idle[-1])
        facts: Facts = {"what": "mesh", "nodes": nodes}
        figures.append(of_samples(opened_name(nodes), "ms", opened, facts=facts))
        figures.append(of_samples(f"mesh of {nodes} nodes ready, from a warm supervisor", "ms", linked))
    return figures


def _started(nodes: int, *, is_mesh: bool) -> tuple[Cluster, float]:
    """A cluster, and the milliseconds from its loaded supervisor until it was ready."""
    loaded_s = list[float]()

    def note(progress: Progress) -> None:
        if progress.step == "loaded":
            loaded_s.append(time.perf_counter())

    cluster = Cluster(nodes=nodes, mesh=is_mesh).start(note)
    return cluster, 1000 * (time.perf_counter() - loaded_s[0])


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
