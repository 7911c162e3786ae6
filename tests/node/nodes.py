"""Real nodes in one process under virtual time, with an action whose tasks run until the test ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue
from msgspec.structs import replace

from taskfan.node.action import Action, ActionContext
from taskfan.node.actions import ACTIONS
from taskfan.node.clock import VirtualClock, VirtualTimeLoop
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.errors import TaskfanError
from taskfan.node.memory_transport import MemoryNetwork
from taskfan.node.node import Node
from taskfan.node.task import Task, TaskTraits

HOLD, HOLD_PLAIN, FAIL, BUG = "test:hold", "test:hold_plain", "test:fail", "test:bug"


def discovery_node(name: str, incarnation: int = 1) -> DiscoveryNode:
    return DiscoveryNode(name, f"name-of-{name}", f"{name}-{incarnation}", "127.0.0.1", f"{name}:9300", f"{name}:9200")


class Nodes:
    """Nodes a, b and c that all know one another; a frame takes 1 ms.

    A task of `HOLD` (cancellable) or `HOLD_PLAIN` is named by its request, and runs until `end` is called for it.
    """

    def __init__(self) -> None:
        self.bugs: list[tuple[str, BaseException]] = []
        self.clock = VirtualClock(on_error=lambda name, error: self.bugs.append((name, error)))
        self.network = MemoryNetwork(self.clock, latency_s=0.001)
        self.members = {name: discovery_node(name) for name in "abc"}
        self.state = ClusterState("taskfan", "uuid", 1, tuple(self.members.values()), "a")
        self.transports = {name: self.network.transport(member) for name, member in self.members.items()}
        self.nodes = {
            name: Node(member, self.state, self.clock, self.transports[name]) for name, member in self.members.items()
        }
        self.contexts: dict[str, ActionContext] = {}
        self._ends: dict[str, asyncio.Future[StringValue]] = {}

    async def start(self) -> None:
        cancellable = TaskTraits(cancellable=True)
        for name, node in self.nodes.items():
            own = [
                Action(HOLD, self._hold, StringValue, StringValue, traits=lambda request: cancellable),
                Action(HOLD_PLAIN, self._hold, StringValue, StringValue),
                Action(FAIL, _fail, StringValue, StringValue),
                Action(BUG, _bug, StringValue, StringValue),
            ]
            for action in (*ACTIONS, *own):
                node.add_action(action)
            await self.transports[name].start(node)

    async def _hold(self, context: ActionContext, request: StringValue) -> StringValue:
        end: asyncio.Future[StringValue] = asyncio.get_running_loop().create_future()
        self.contexts[request.value], self._ends[request.value] = context, end
        return await end

    # ------------------------------------------------------------------ what tests do and see

    async def root(self, name: str, on: str = "a", action: str = HOLD, headers: dict[str, str] | None = None) -> Task:
        """Start a task without a parent, and wait until it runs."""
        self.spawn(self.nodes[on].execute(action, StringValue(value=name), headers=headers or {}))
        return await self.started(name)

    async def child(self, name: str, of: str, to: str, action: str = HOLD) -> Task:
        """Start a child of a running task, and wait until it runs."""
        self.ask(name, of, to, action)
        return await self.started(name)

    def ask(
        self, name: str, of: str, to: str, action: str = HOLD, timeout_s: float | None = None
    ) -> asyncio.Future[Any]:
        """Send a child; the future is its answer."""
        context = self.contexts[of]
        return self.spawn(context.send(self.members[to], action, StringValue(value=name), timeout_s=timeout_s))

    def spawn(self, coroutine: Awaitable[Any]) -> asyncio.Future[Any]:
        """Let it run; the future has what it returns or raises."""
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                value = await coroutine
            except TaskfanError as error:
                told.set_exception(error)
                # Not every test asks; who does, sees it.
                told.exception()
            else:
                told.set_result(value)

        self.clock.spawn(run(), "test")
        return told

    async def started(self, name: str) -> Task:
        await self.until(lambda: name in self.contexts)
        return self.contexts[name].task

    def end(self, name: str, failure: TaskfanError | None = None) -> None:
        """Let a task end."""
        if failure is None:
            self._ends.pop(name).set_result(StringValue(value=f"{name} has ended"))
        else:
            self._ends.pop(name).set_exception(failure)

    async def until(self, condition: Callable[[], object], limit_s: float = 60.0) -> None:
        """Let virtual time pass until it holds."""
        deadline_ns = self.clock.monotonic_ns() + limit_s * 1e9
        while not condition():
            assert self.clock.monotonic_ns() < deadline_ns, f"did not happen in {limit_s} s"
            await self.clock.sleep(0.001)

    def bans(self, on: str) -> dict[str, str]:
        """Banned parents of a node, with the reason."""
        return {str(parent): reason for parent, reason in self.nodes[on].registry.bans.items()}

    def outstanding(self, name: str) -> dict[str, int]:
        """How many children of a task each node has not answered."""
        task = self.contexts[name].task
        holder = self.nodes[task.id.node_id].registry._holders.get(task.id.number)
        return {} if holder is None else holder.counts

    def without(self, name: str) -> ClusterState:
        """The next cluster state, in which that node is not."""
        nodes = tuple(node for node in self.state if node.id != name)
        self.state = replace(self.state, version=self.state.version + 1, nodes=nodes)
        return self.state

    async def end_all(self) -> None:
        for name in list(self._ends):
            self.end(name)
        await self.clock.sleep(1)

    def assert_nothing_left(self) -> None:
        for name, node in self.nodes.items():
            registry = node.registry
            assert [str(task.id) for task in registry] == [], name
            assert (registry._holders, registry._children, dict(registry.bans)) == ({}, {}, {}), name
            assert (node.runner._waiting_for_end, node._waiting_for_state) == ({}, []), name

    async def close(self) -> None:
        for transport in self.transports.values():
            await transport.close()
        for node in self.nodes.values():
            node.close()
        await self.clock.close()


async def _fail(context: ActionContext, request: StringValue) -> StringValue:
    raise TaskfanError(f"{request.value} fails")


async def _bug(context: ActionContext, request: StringValue) -> StringValue:
    raise ZeroDivisionError(request.value)


def play(story: Callable[[Nodes], Awaitable[None]]) -> None:
    """Run a story on new nodes; then every task ends, and nothing is left anywhere."""
    loop = VirtualTimeLoop()

    async def run() -> None:
        nodes = Nodes()
        await nodes.start()
        try:
            await story(nodes)
            await nodes.end_all()
            nodes.assert_nothing_left()
        finally:
            await nodes.close()
            assert nodes.bugs == []

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
