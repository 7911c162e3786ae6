"""A small cluster in one process under virtual time, for stories about simulated work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from taskfan.node.actions import ACTIONS
from taskfan.node.actions.work import request_of
from taskfan.node.clock import VirtualClock, VirtualTimeLoop
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.errors import TaskfanError
from taskfan.node.memory_transport import MemoryNetwork, MemoryTransport
from taskfan.node.node import Node
from taskfan.node.task import Task
from taskfan.node.work_check import plan_work
from taskfan.node.work_plan import WORK_ACTION
from taskfan.v1 import actions_pb2 as pb

Told = TypeVar("Told")


def discovery_node(name: str) -> DiscoveryNode:
    return DiscoveryNode(name, name, f"{name}-now", "127.0.0.1", f"{name}:9300", f"{name}:9200")


class Running:
    """Work that was started; `outcome` is None until it has ended."""

    task: Task

    def __init__(self) -> None:
        self.outcome: pb.WorkResponse | TaskfanError | None = None
        self.ended = asyncio.Event()

    def end(self, outcome: pb.WorkResponse | TaskfanError) -> None:
        """It has ended."""
        self.outcome = outcome
        self.ended.set()

    @property
    def response(self) -> pb.WorkResponse:
        assert isinstance(self.outcome, pb.WorkResponse), self.outcome
        return self.outcome

    @property
    def error(self) -> TaskfanError:
        assert isinstance(self.outcome, TaskfanError), self.outcome
        return self.outcome


class WorkCluster:
    """Nodes n0, n1 …, all linked by memory; frames take 1 ms."""

    def __init__(self, nodes: int) -> None:
        self.bugs: list[tuple[str, BaseException]] = []
        self.clock = VirtualClock(on_error=lambda name, error: self.bugs.append((name, error)))
        self.network = MemoryNetwork(self.clock, latency_s=0.001)
        members = tuple(discovery_node(f"n{number}") for number in range(nodes))
        self.state = ClusterState("taskfan", "uuid", 1, members, members[0].id)
        self.transports: list[MemoryTransport] = [self.network.transport(member) for member in members]
        self.nodes = [
            Node(member, self.state, self.clock, transport)
            for member, transport in zip(members, self.transports, strict=True)
        ]
        self.events: list[tuple[str, str, str]] = []

    async def start(self) -> None:
        for node, transport in zip(self.nodes, self.transports, strict=True):
            for action in ACTIONS:
                node.add_action(action)
            node.add_listener(self._note)
            await transport.start(node)

    def _note(self, event: str, task: Task) -> None:
        if not task.action.startswith("internal:"):
            self.events.append((event, task.id.node_id, task.traits.description or task.action))

    @property
    def now_s(self) -> float:
        """Virtual time since the start, in milliseconds' resolution."""
        return round(self.clock.monotonic_ns() / 1e9, 3)

    def shown(self) -> list[str]:
        """What runs where, as `node description`, in the order of nodes and numbers."""
        return [f"{node.local.name} {task.traits.description}" for node in self.nodes for task in node.registry]

    def tasks(self, description: str) -> list[Task]:
        """The running tasks of that description."""
        return [task for node in self.nodes for task in node.registry if task.traits.description == description]

    def node_of(self, task: Task) -> Node:
        return next(node for node in self.nodes if node.local.id == task.id.node_id)

    async def work(self, plan: dict[str, Any], seed: int = 7) -> Running:
        """Start a plan on n0, with node ids as its node filters."""
        known = [node.local.id for node in self.nodes]
        first, _ = plan_work(plan, lambda items: [node for node in known if node in items or items == ["_all"]])
        running = Running()
        running.task = self.nodes[0].begin(
            first.action, request_of(first, seed), running.end, headers={}, handler=WORK_ACTION
        )
        return running

    async def until(self, condition: Callable[[], object], limit_s: float = 1000.0) -> None:
        """Let virtual time pass until it holds."""
        deadline_s = self.now_s + limit_s
        while not condition():
            assert self.now_s < deadline_s, f"did not happen in {limit_s} s"
            await self.clock.sleep(0.001)

    async def to_the_end(self, running: Running, limit_s: float = 1000.0) -> Running:
        """Wait until it has ended. Link checks keep virtual time moving, so a hang needs a limit too."""
        async with self.clock.timeout(limit_s):
            await running.ended.wait()
        return running

    async def cancel(self, task: Task, *, wait: bool = False, reason: str = "by user request") -> None:
        await self.node_of(task).cancel(task, reason, wait=wait)

    async def left_over(self) -> list[str]:
        """Tasks, bans and calls to come that are still there, once what is on its way has arrived."""
        await self.clock.sleep(1)
        bans = [f"{node.local.name} ban of {parent}" for node in self.nodes for parent in node.registry.bans]
        calls = [
            f"{node.local.name} calls {len(node.timers._heap)} at a time to come"
            for node in self.nodes
            if node.timers._heap
        ]
        return self.shown() + bans + calls

    async def close(self) -> None:
        for transport in self.transports:
            await transport.close()
        for node in self.nodes:
            node.close()
        await self.clock.close()


def play(story: Callable[[WorkCluster], Awaitable[Told]], nodes: int = 3) -> Told:
    """Run a story in a new cluster; afterwards nothing is left and no bug has shown."""
    loop = VirtualTimeLoop()

    async def run() -> Told:
        cluster = WorkCluster(nodes)
        await cluster.start()
        try:
            told = await story(cluster)
            assert await cluster.left_over() == []
            return told
        finally:
            await cluster.close()
            assert cluster.bugs == []

    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()
