"""Whole nodes with their membership on a memory network, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from taskfan.node.actions import ACTIONS
from taskfan.node.clock import VirtualClock, VirtualTimeLoop
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.coordination.coordinator import Coordinator
from taskfan.node.coordination.settings import CoordinationSettings
from taskfan.node.coordination.store import MemoryStore
from taskfan.node.faults.decide import NumberedRule
from taskfan.node.faults.faulty_transport import FaultyTransport
from taskfan.node.membership import Membership
from taskfan.node.memory_transport import MemoryNetwork
from taskfan.node.node import Node
from taskfan.node.transport import TransportSettings
from tests.node.coordination.simulation import node_of

# A link that is silent is left to fault detection, whose times the stories tell.
LINKS = TransportSettings(check_retry_count=10)


@dataclass(slots=True)
class Member:
    """One process of a node."""

    node: Node
    membership: Membership
    transport: FaultyTransport
    clock: VirtualClock


class MembershipCluster:
    """Starts, kills and cuts off nodes; `errors` is what went wrong in tasks that nobody waits for."""

    def __init__(self, eligible: int = 3, others: int = 0, settings: CoordinationSettings | None = None) -> None:
        self.clock = self._clock()
        self.network = MemoryNetwork(self.clock, latency_s=0.001)
        self.settings = settings or CoordinationSettings()
        self.errors: list[str] = []
        names = [f"n{number:02}" for number in range(1, eligible + others + 1)]
        self.nodes = {name: node_of(name) if name in names[:eligible] else node_of(name, ()) for name in names}
        self.initial = names[:eligible]
        self.stores = {name: MemoryStore() for name in names}
        self.members: dict[str, Member] = {}
        self._processes = 0
        self._rules: list[NumberedRule] = []
        # In the place of the class, for who looks on.
        self.make_membership: Callable[..., Membership] = Membership

    async def start(self, *names: str) -> None:
        """Start these, or all, at the same time."""
        started = [await self.listen(name) for name in names or self.nodes]
        for member in started:
            member.membership.start(self.nodes.values(), self.initial, "uuid")

    async def listen(self, name: str) -> Member:
        """A new process of a node, which answers others and looks for nobody yet."""
        self._processes += 1
        local = self.nodes[name] = replace(self.nodes[name], ephemeral_id=f"{name}-{self._processes}")
        clock = self._clock()
        transport = FaultyTransport(self.network.transport(local, settings=LINKS, clock=clock))
        transport.introduce(local)
        transport.set_rules(self._rules)
        store = self.stores[name]
        coordinator = Coordinator(local, "taskfan", self.settings, store.load())
        node = Node(local, coordinator.applied, clock, transport)
        for action in ACTIONS:
            node.add_action(action)
        membership = self.make_membership(node, coordinator, transport, random.Random(name), store)
        await transport.start(node)
        self.members[name] = member = Member(node, membership, transport, clock)
        return member

    async def kill(self, name: str) -> None:
        """End the process; its store stays."""
        member = self.members.pop(name)
        self.network.kill(name)
        await self._end(member)

    def silence(self, a: list[str], b: list[str]) -> None:
        """Let nothing through between these, without a sign."""
        for x, y in [(x, y) for x in a for y in b]:
            self.network.hold(x, y)
            self.network.hold(y, x)

    def release(self) -> None:
        """Let everything through again, what was held as well."""
        for x, y in [(x, y) for x in self.nodes for y in self.nodes]:
            self.network.release(x, y)

    def set_rules(self, rules: list[NumberedRule]) -> None:
        """Have all nodes obey these, those that start later as well."""
        self._rules = rules
        for member in self.members.values():
            member.transport.set_rules(rules)

    async def until(self, condition: Callable[[], bool], limit_s: float) -> float:
        """Wait for it. Gives how many seconds it took; fails after `limit_s`."""
        begin_ns = self.clock.monotonic_ns()
        while not condition():
            passed_s = (self.clock.monotonic_ns() - begin_ns) / 1e9
            assert passed_s < limit_s, self.describe()
            await self.clock.sleep(0.001)
        return (self.clock.monotonic_ns() - begin_ns) / 1e9

    async def until_whole(self, *names: str, limit_s: float = 5.0) -> float:
        """Wait until these, or all, know exactly one another, and one manager."""
        return await self.until(lambda: self.is_whole(*names), limit_s)

    def is_whole(self, *names: str) -> bool:
        """Whether these, or all, have one cluster state with all of them and a manager."""
        wanted = list(names) or list(self.nodes)
        states = [self.state(name) for name in wanted if name in self.members]
        known = sorted(node.ephemeral_id for node in states[0]) if states else []
        return (
            len(states) == len(wanted)
            and all(state == states[0] for state in states)
            and states[0].manager is not None
            and known == sorted(self.nodes[name].ephemeral_id for name in wanted)
        )

    def state(self, name: str) -> ClusterState:
        """What one node believes."""
        return self.members[name].node.cluster_state

    def manager(self, name: str) -> DiscoveryNode:
        """The manager, as this node sees it."""
        manager = self.state(name).manager
        assert manager is not None
        return manager

    def describe(self) -> str:
        """Each member in a line."""
        return "\n".join(
            f"{name} {member.membership.mode.name}: manager {member.node.cluster_state.manager_id}"
            f" of {[node.ephemeral_id for node in member.node.cluster_state]}"
            for name, member in self.members.items()
        )

    async def close(self) -> None:
        """End all; nothing may be left, and nothing may have failed unseen."""
        for member in list(self.members.values()):
            await self._end(member)
        await self.clock.close()
        assert self.errors == []

    async def _end(self, member: Member) -> None:
        member.membership.close()
        await member.transport.close()
        await member.clock.close()

    def _clock(self) -> VirtualClock:
        return VirtualClock(on_error=lambda what, error: self.errors.append(f"{what}: {error!r}"))


def play(story: Callable[[MembershipCluster], Coroutine[Any, Any, None]], cluster: MembershipCluster) -> None:
    """Run a story on a cluster, and close it."""

    async def played() -> None:
        try:
            await story(cluster)
        finally:
            await cluster.close()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(played())
