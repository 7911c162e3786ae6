"""What the fault layer costs a list: with it, without, and with rules that strike nothing, alternately in one run."""

from __future__ import annotations

import asyncio
import statistics
import time

from taskfan.coordinator import ACTIONS as COORDINATING_ACTIONS
from taskfan.coordinator.rest.client import Client
from taskfan.coordinator.rest.dispatcher import Dispatcher
from taskfan.node.actions import ACTIONS as NODE_ACTIONS
from taskfan.node.clock import SystemClock
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.faults.decide import NumberedRule
from taskfan.node.faults.faulty_transport import FaultyTransport
from taskfan.node.faults.rule import FaultRule
from taskfan.node.memory_transport import MemoryNetwork
from taskfan.node.node import Node
from tests.bench.figures import Figure, of_samples

NODES = 5
ACTIONS = (*NODE_ACTIONS, *COORDINATING_ACTIONS)
# Of each kind in turn; short, so that what else the machine does meets all alike.
BLOCK = 50


class _Nodes:
    """Five nodes in one process. Frames cost little there, so the layer's share is larger than between processes."""

    def __init__(self, *, layer: bool) -> None:
        self.clock = SystemClock()
        network = MemoryNetwork(self.clock)
        self.members = tuple(
            DiscoveryNode(f"id-{n}", f"node{n}", f"now-{n}", "127.0.0.1", f"127.0.0.1:{n}", "") for n in range(NODES)
        )
        state = ClusterState("bench", "uuid", 1, self.members, "id-0")
        self.bare = [network.transport(member, "bench") for member in self.members]
        self.faulty = [FaultyTransport(transport) for transport in self.bare]
        self.nodes = [
            Node(member, state, self.clock, faulty if layer else bare)
            for member, bare, faulty in zip(self.members, self.bare, self.faulty, strict=True)
        ]
        self._dispatcher = Dispatcher(self.nodes[0], 1 << 20)

    async def start(self) -> None:
        for node, bare, faulty in zip(self.nodes, self.bare, self.faulty, strict=True):
            for action in ACTIONS:
                node.add_action(action)
            faulty.introduce(node.local)
            await bare.start(node)

    async def lists_ms(self, count: int) -> list[float]:
        samples = []
        for _ in range(count):
            begun_ns = time.perf_counter_ns()
            response = await self._dispatcher.dispatch("GET", b"/_tasks", [], b"", Client())
            samples.append((time.perf_counter_ns() - begun_ns) / 1e6)
            assert response.status == 200
        return samples

    async def close(self) -> None:
        for transport in self.bare:
            await transport.close()
        await self.clock.close()


def fault_layer(quick: bool) -> list[Figure]:
    """The p50 of a list with the layer, as a share of that without it."""
    return asyncio.run(_measure(20 if quick else 100))


async def _measure(rounds: int) -> list[Figure]:
    kinds = {"without the layer": _Nodes(layer=False), "no rule": _Nodes(layer=True), "idle rule": _Nodes(layer=True)}
    for nodes in kinds.values():
        await nodes.start()
        await nodes.lists_ms(BLOCK)
    for transport in kinds["idle rule"].faulty:
        transport.set_rules([NumberedRule("idle", 0, FaultRule(kind="drop", action="no:such"))])
    medians: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        # In another order each time: none is always the one after the others.
        order = list(kinds)[number % len(kinds) :] + list(kinds)[: number % len(kinds)]
        for kind in order:
            medians[kind].append(statistics.median(await kinds[kind].lists_ms(BLOCK)))
    for nodes in kinds.values():
        await nodes.close()
    base = medians["without the layer"]
    figures = [of_samples(f"list of {NODES} nodes in memory, {kind}", "ms", medians[kind]) for kind in kinds]
    for kind, target in (("no rule", "<= 1.05"), ("idle rule", "")):
        shares = [one / other for one, other in zip(medians[kind], base, strict=True)]
        figures.append(of_samples(f"the same, {kind}, by that without the layer", "times", shares, target))
    return figures
