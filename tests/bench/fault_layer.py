"""What the fault layer and the journal cost a list: real processes with and without them, in turn in one run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from taskfan.cluster import Cluster
from tests.bench import bare_supervisor
from tests.bench.bench import Bench, latency_figures, p50s
from tests.bench.figures import Figure, at_share
from tests.bench.http_client import WARM_UP, Ask, Block, Connection, http_ask
from tests.bench.processes import cpu_s
from tests.bench.stand_in import started_by

NODES = 3
BARE, IDLE, AGAIN = "without layer and journal", "no rule, journal off", "without them, another such cluster"
RULE, JOURNAL = "a rule that strikes nothing", "journal on"
# Short rounds, so that what else the machine does meets all of a round alike.
ROUNDS, BLOCKS_PER_ROUND = 6, 4


def fault_layer(bench: Bench) -> list[Figure]:
    """The p50 of a list as a share of that without any of it, round by round; and the same of processor time."""
    blocks: dict[str, list[Block]] = {kind: [] for kind in (BARE, IDLE, AGAIN, RULE, JOURNAL)}
    cpu_ms: dict[str, list[float]] = {kind: [] for kind in blocks}
    # Each time with new processes: where their memory happens to lie makes some quicker than others.
    times = (bench.sizes.blocks + 1) // 2
    for number in range(times):
        bench.say(f"clusters {number + 1} of {times}")
        _measure(bench, blocks, cpu_ms)
    figures = []
    for kind, measured in blocks.items():
        figures += latency_figures(f"list of {NODES} nodes, {kind}", measured, {})
    latencies = {kind: p50s(measured) for kind, measured in blocks.items()}
    for kind in (IDLE, AGAIN, RULE, JOURNAL):
        figures.append(_share(f"p50 of a list, {kind}, by that {BARE}", latencies[kind], latencies[BARE], kind))
        figures.append(_share(f"processor time of a list, {kind}, by that {BARE}", cpu_ms[kind], cpu_ms[BARE], kind))
    return figures


def _share(name: str, of: Sequence[float], by: Sequence[float], kind: str) -> Figure:
    """Pair by pair; the spread is the middle half."""
    shares = [one / other for one, other in zip(of, by, strict=True)]
    low, median, high = (at_share(shares, share) for share in (0.25, 0.5, 0.75))
    return Figure(name, "times", median, low, high, len(shares), "<= 1.05" if kind == IDLE else "")


def _measure(bench: Bench, blocks: dict[str, list[Block]], cpu_ms: dict[str, list[float]]) -> None:
    with contextlib.ExitStack() as stack:
        clusters = {
            kind: stack.enter_context(_bare() if kind in (BARE, AGAIN) else Cluster(nodes=NODES)) for kind in blocks
        }
        clusters[JOURNAL].switch_journal(True)
        stack.enter_context(clusters[RULE].faults.drop(action="no:such", may_not_fire=True))
        asks = [http_ask(clusters[kind].url, "/_tasks") for kind in blocks]
        began_s = {kind: _cpu_s(cluster) for kind, cluster in clusters.items()}
        before = len(blocks[BARE])
        for _ in range(ROUNDS):
            measured = bench.client.run(turns, asks, BLOCKS_PER_ROUND * bench.sizes.block_s)
            for kind, block in zip(blocks, measured, strict=True):
                blocks[kind].append(block)
        for kind, cluster in clusters.items():
            lists = sum(len(block.latencies_ms) + WARM_UP for block in blocks[kind][before:])
            cpu_ms[kind].append(1000 * (_cpu_s(cluster) - began_s[kind]) / lists)


def _cpu_s(cluster: Cluster) -> float:
    return sum(cpu_s(node.pid) for node in cluster.nodes)


def turns(asks: Sequence[Ask], seconds: float) -> list[Block]:
    """A request of each in turn, in another order each time, for so long."""
    times: list[list[float]] = [[] for _ in asks]
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(ask)) for ask in asks]
        end_s, number = time.perf_counter() + seconds, 0
        while number <= WARM_UP or time.perf_counter() < end_s:
            for kind in [*range(number % len(asks), len(asks)), *range(number % len(asks))]:
                began_ns = time.perf_counter_ns()
                connections[kind].exchange()
                times[kind].append((time.perf_counter_ns() - began_ns) / 1e6)
            number += 1
    return [Block(each[WARM_UP:], 0.0) for each in times]


@contextmanager
def _bare() -> Iterator[Cluster]:
    """A cluster whose members have neither. Fails when they have."""
    with started_by(bare_supervisor, NODES) as cluster:
        with cluster.faults.fail(action="*", may_not_fire=True):
            assert "node_failures" not in cluster.list_tasks(), "it obeys rules"
        cluster.switch_journal(True)
        cluster.list_tasks()
        kinds = [entry.kind for entry in cluster.journal()]
        assert "request_sent" not in kinds, "it notes messages"
        cluster.switch_journal(False)
        yield cluster
