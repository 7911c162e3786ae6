"""Asking the shards of a search: each once, by another copy when one fails, and so many at a time on each node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from taskfan.coordinator.search_request import MAX_CONCURRENT_SHARD_REQUESTS
from taskfan.node.action import ActionContext
from taskfan.node.cluster_state import ClusterState, DiscoveryNode
from taskfan.node.errors import NoSuchNode, TaskfanError
from taskfan.node.index.errors import NoShardAvailable, ShardId, ShardSearchFailure
from taskfan.node.index.metadata import IndexMetadata
from taskfan.node.index.routing import shard_of


class SearchedShard(msgspec.Struct, frozen=True):
    """One shard of a search, and the nodes that have an active copy, in the order in which they are asked."""

    id: ShardId
    node_ids: tuple[str, ...]


class ShardAnswer(msgspec.Struct, frozen=True):
    """What came of one shard: an answer of a node, or the failure of the last copy that was asked."""

    shard: ShardId | None
    node_id: str | None
    answer: Any = None
    failure: TaskfanError | None = None

    def as_failure(self) -> ShardSearchFailure:
        """This failure, as the answer to the search tells it."""
        assert self.failure is not None
        return ShardSearchFailure(self.shard, self.node_id, self.failure)


def searched_shards(
    state: ClusterState, indices: Sequence[IndexMetadata], *, routing: str | None, start: int, first: str | None
) -> list[SearchedShard]:
    """The shards of some indices, by name and number.

    Args:
        routing: comma list of values; only the shards they lead to.
        start: turns the order of copies, so that each gets its share of searches.
        first: a node that is asked before others if it has a copy.

    Source: OpenSearch `OperationRouting.searchShards`.
    """
    found = []
    for index in sorted(indices, key=lambda index: index.name):
        for number in _routed(index, routing):
            copies = [copy.node_id or "" for copy in state.indices.routing.active(index.name, number)]
            turn = start % len(copies) if copies else 0
            turned = [*copies[turn:], *copies[:turn]]
            turned.sort(key=lambda node_id: node_id != first)
            found.append(SearchedShard(index.shard(number), tuple(turned)))
    return found


def _routed(index: IndexMetadata, routing: str | None) -> list[int]:
    shards = index.number_of_shards
    if routing is None:
        return list(range(shards))
    return sorted({shard_of(value, shards) for value in routing.split(",")})


class ShardRequests:
    """Sends the requests of one search to shards, as children of its task.

    Source: OpenSearch `AbstractSearchAsyncAction`.
    """

    def __init__(self, context: ActionContext, most_per_node: int = MAX_CONCURRENT_SHARD_REQUESTS) -> None:
        self._context, self._most_per_node = context, most_per_node
        self._room: dict[str, asyncio.Semaphore] = {}

    async def ask_all(
        self, shards: Sequence[SearchedShard], ask: Callable[[DiscoveryNode, ShardId], Awaitable[Any]]
    ) -> list[ShardAnswer]:
        """Ask one copy of each shard after the other until one answers; all shards at once. In the order of `shards`.

        A search that was cancelled asks no further copy.
        """
        asked = [self._context.clock.spawn(self._ask_copies(shard, ask), "shard of a search") for shard in shards]
        return [await one for one in asked]  # type: ignore[misc]

    async def _ask_copies(
        self, shard: SearchedShard, ask: Callable[[DiscoveryNode, ShardId], Awaitable[Any]]
    ) -> ShardAnswer:
        last = ShardAnswer(shard.id, None, failure=NoShardAvailable(shard.id, "all shards failed"))
        for node_id in shard.node_ids:
            last = await self.ask(node_id, shard.id, lambda node: ask(node, shard.id))
            if last.failure is None or self._context.task.cancelled is not None:
                break
        return last

    async def ask(
        self, node_id: str, shard: ShardId | None, ask: Callable[[DiscoveryNode], Awaitable[Any]]
    ) -> ShardAnswer:
        """Ask one node, when it has room for one more request of this search."""
        room = self._room.get(node_id)
        if room is None:
            room = self._room[node_id] = asyncio.Semaphore(self._most_per_node)
        async with room:
            node = self._context.node.cluster_state.get(node_id)
            try:
                if node is None:
                    raise NoSuchNode(node_id)
                return ShardAnswer(shard, node_id, await ask(node))
            except TaskfanError as error:
                return ShardAnswer(shard, node_id, failure=error)
