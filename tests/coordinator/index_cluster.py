"""Whole nodes with indices in one process, under virtual time; the cluster state is given to all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec.structs import replace

from taskfan.coordinator import ACTIONS as COORDINATING_ACTIONS
from taskfan.coordinator.bulk import BULK_ACTION
from taskfan.coordinator.index_admin import CREATE_INDEX_ACTION, create_index_request
from taskfan.node.actions import ACTIONS
from taskfan.node.clock import VirtualClock, VirtualTimeLoop
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.errors import TaskfanError
from taskfan.node.index import state_changes
from taskfan.node.index.bulk import BulkRequest, BulkResult
from taskfan.node.index.documents import OpType, WriteRequest
from taskfan.node.index.index_requests import CreateIndexBody
from taskfan.node.index.settings import flatten
from taskfan.node.memory_transport import MemoryNetwork
from taskfan.node.node import Node
from taskfan.node.state_updates import SharedStateUpdates
from taskfan.node.task import Task


class IndexCluster:
    """Nodes a, b and c; a is the manager. A frame takes 1 ms."""

    def __init__(self) -> None:
        self.bugs: list[tuple[str, BaseException]] = []
        self.clock = VirtualClock(on_error=lambda name, error: self.bugs.append((name, error)))
        self.network = MemoryNetwork(self.clock, latency_s=0.001)
        members = [
            DiscoveryNode(name, f"node-{name}", f"{name}-1", "127.0.0.1", f"{name}:9300", f"{name}:9200")
            for name in "abc"
        ]
        self.transports = {member.id: self.network.transport(member) for member in members}
        state = ClusterState("taskfan", "uuid", 1, tuple(members), "a")
        self.nodes = {member.id: Node(member, state, self.clock, self.transports[member.id]) for member in members}
        self.dead: list[str] = []

    async def start(self) -> None:
        for name, node in self.nodes.items():
            for action in (*ACTIONS, *COORDINATING_ACTIONS):
                node.add_action(action)
            node.state_updates = SharedStateUpdates(list(self.nodes.values()))
            await self.transports[name].start(node)

    # ------------------------------------------------------------------ what tests do

    async def create(self, name: str, *, on: str = "a", **settings: Any) -> None:
        """Make an index, and wait until all its copies are there."""
        body = CreateIndexBody(flatten(settings))
        await self.nodes[on].execute(CREATE_INDEX_ACTION, create_index_request(name, body), headers={})
        await self.until(lambda: all(copy.active for copy in self.state.indices.routing if copy.index == name))

    async def bulk(self, *items: WriteRequest, on: str = "a", **more: Any) -> BulkResult:
        """Write."""
        result = await self.nodes[on].execute(BULK_ACTION, BulkRequest(items, **more), headers={})
        assert isinstance(result, BulkResult)
        return result

    def spawn(self, coroutine: Awaitable[Any]) -> asyncio.Future[Any]:
        """Let it run; the future has what it returns or raises."""
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                value = await coroutine
            except TaskfanError as error:
                told.set_exception(error)
                told.exception()
            else:
                told.set_result(value)

        self.clock.spawn(run(), "test")
        return told

    async def until(self, condition: Callable[[], object], limit_s: float = 100.0) -> None:
        """Let virtual time pass until it holds."""
        deadline_ns = self.clock.monotonic_ns() + limit_s * 1e9
        while not condition():
            assert self.clock.monotonic_ns() < deadline_ns, f"did not happen in {limit_s} s"
            await self.clock.sleep(0.001)

    async def lose(self, name: str) -> None:
        """End a node; the cluster state is without it at once."""
        self.network.kill(name)
        node = self.nodes.pop(name)
        self.dead.append(name)
        for other in self.nodes.values():
            other.state_updates = SharedStateUpdates(list(self.nodes.values()))
        await self.transports.pop(name).close()
        before = node.cluster_state.nodes
        state = self.state
        nodes = tuple(node for node in state.nodes if node.id != name)
        left = replace(state, version=state.version + 1, nodes=nodes, manager_id=nodes[0].id)
        left = state_changes.reallocated(before, left, self.clock.wall_time_ms())
        for other in self.nodes.values():
            other.apply_cluster_state(left)

    # ------------------------------------------------------------------ what tests see

    @property
    def state(self) -> ClusterState:
        return next(iter(self.nodes.values())).cluster_state

    def holder(self, index: str, copy: int = 0, shard: int = 0) -> str:
        """The node of a copy of a shard; 0 is the primary."""
        found = self.state.indices.routing.shard(index, shard)[copy].node_id
        assert found is not None
        return found

    def tasks(self) -> list[Task]:
        return [task for node in self.nodes.values() for task in node.registry]

    def tree(self, *, ignoring: Sequence[str] = ()) -> list[str]:
        """The running tasks, children indented below their parents: node, type, action, phase, description."""
        tasks = [task for task in self.tasks() if task.action not in ignoring]
        ids = {task.id for task in tasks}
        lines: list[str] = []

        def show(task: Task, depth: int) -> None:
            status = "" if task.status is None else " " + task.status().decode().split('"')[3]
            described = f" {task.traits.description}" if task.traits.description else ""
            lines.append(f"{'  ' * depth}{task.id.node_id} {task.type} {task.action}{status}{described}")
            for child in tasks:
                if child.parent == task.id:
                    show(child, depth + 1)

        for task in tasks:
            if task.parent not in ids:
                show(task, 0)
        return lines

    def documents(self, index: str) -> dict[str, bytes]:
        """What all primaries of an index hold, by id."""
        metadata = self.state.indices.metadata[index]
        found: dict[str, bytes] = {}
        for shard in range(metadata.number_of_shards):
            copy = self.nodes[self.holder(index, 0, shard)].shards.copy(metadata.shard(shard))
            for document in copy.all_operations():
                if document.source is not None:
                    assert document.id not in found
                    found[document.id] = document.source
        return found

    async def close(self) -> None:
        for transport in self.transports.values():
            await transport.close()
        await self.clock.close()


def indexing(index: str, document_id: str | None, source: bytes = b"{}", **more: Any) -> WriteRequest:
    return WriteRequest(OpType.INDEX, index, document_id, source, **more)


def deleting(index: str, document_id: str) -> WriteRequest:
    return WriteRequest(OpType.DELETE, index, document_id)


def play(story: Callable[[IndexCluster], Awaitable[None]]) -> None:
    """Run a story on new nodes; in the end no task is left."""
    loop = VirtualTimeLoop()

    async def run() -> None:
        cluster = IndexCluster()
        await cluster.start()
        try:
            await story(cluster)
            await cluster.clock.sleep(100)
            assert [str(task.action) for task in cluster.tasks()] == []
        finally:
            await cluster.close()
            assert cluster.bugs == []

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
