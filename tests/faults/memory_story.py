"""A story of `outcomes` on three nodes in one process, under virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from taskfan.coordinator import ACTIONS as COORDINATING_ACTIONS
from taskfan.coordinator.http.messages import HttpRequest
from taskfan.coordinator.rest.client import Client
from taskfan.coordinator.rest.dispatcher import Dispatcher
from taskfan.node.actions import ACTIONS as NODE_ACTIONS
from taskfan.node.clock import VirtualClock, VirtualTimeLoop
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.faults.decide import NumberedRule
from taskfan.node.faults.faulty_transport import FaultyTransport
from taskfan.node.memory_transport import MemoryNetwork
from taskfan.node.node import Node
from taskfan.node.task import Task
from tests.faults.outcomes import ASKED, ASKING

ACTIONS = (*NODE_ACTIONS, *COORDINATING_ACTIONS)


def discovery_node(number: int) -> DiscoveryNode:
    name = f"opensearch-node{number}"
    return DiscoveryNode(f"id-{number}", name, f"{name}-1", "127.0.0.1", f"{name}:9300", f"{name}:9200")


class MemoryStory:
    """Frames take 1 ms."""

    patience_s = 5.0

    def __init__(self, nodes: int = 3) -> None:
        self.bugs: list[object] = []
        self.clock = VirtualClock(on_error=lambda name, error: self.bugs.append((name, error)))
        self.network = MemoryNetwork(self.clock, latency_s=0.001)
        members = tuple(discovery_node(number) for number in range(1, nodes + 1))
        self.state = ClusterState("taskfan", "uuid", 1, members, members[0].id)
        known = {action.name: action for action in ACTIONS}
        self.transports = [FaultyTransport(self.network.transport(member), known) for member in members]
        self.nodes = [
            Node(member, self.state, self.clock, transport)
            for member, transport in zip(members, self.transports, strict=True)
        ]
        self._dispatcher = Dispatcher(self._node(ASKING), 1 << 20)
        self._ran: list[str] = []

    async def start(self) -> None:
        for node, transport in zip(self.nodes, self.transports, strict=True):
            for action in ACTIONS:
                node.add_action(action)
            transport.introduce(node.local)
            await transport.start(node)
        self._node(ASKED).add_listener(self._note)

    def _node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.local.name == name)

    def _note(self, event: str, task: Task) -> None:
        if event == "registered":
            self._ran.append(task.action)

    def now_s(self) -> float:
        return self.clock.monotonic_ns() / 1e9

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Awaitable[dict[str, Any]]:
        async def send() -> dict[str, Any]:
            fields = {b"content-type": [b"application/json"]} if body is not None else {}
            content = b"" if body is None else json.dumps(body).encode()
            request = HttpRequest(method, path.encode(), fields, content, keep_alive=True)
            response = await self._dispatcher.dispatch(request, Client())
            answer: dict[str, Any] = json.loads(b"".join(response.parts))
            return answer

        return asyncio.ensure_future(send())

    async def set_rules(self, rules: list[NumberedRule]) -> None:
        self._ran.clear()
        for transport in self.transports:
            transport.set_rules(rules)

    async def hits(self) -> int:
        return sum(state.hit_count for transport in self.transports for state in transport.states())

    async def ran(self, action: str) -> bool:
        return action in self._ran

    def node_id(self, name: str) -> str:
        return next(node.id for node in self.state if node.name == name)

    async def close(self) -> None:
        for transport in self.transports:
            await transport.close()
        await self.clock.close()


def play(story: Callable[[MemoryStory], Awaitable[None]], nodes: int = 3) -> None:
    """Run a story on new nodes, in no more than an hour of theirs."""
    loop = VirtualTimeLoop()

    async def run() -> None:
        made = MemoryStory(nodes)
        await made.start()
        try:
            async with made.clock.timeout(3600):
                await story(made)
        finally:
            await made.close()
            assert made.bugs == []

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
