"""The shard copies of one node, as applied cluster states tell it: made, filled from their primary, removed.

Source: OpenSearch `IndicesClusterStateService`, `PeerRecoveryTargetService`, `ShardStateAction`.

Differs: a copy takes all documents in one answer of its primary, where OpenSearch sends files and operations.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from taskfan.node.clock import TimerHandle
from taskfan.node.errors import TaskfanError
from taskfan.node.index.documents import Document
from taskfan.node.index.errors import ShardId, ShardNotFound
from taskfan.node.index.metadata import IndexMetadata, ShardRouting
from taskfan.node.index.settings import DEFAULTS, REFRESH_INTERVAL
from taskfan.node.index.shard import ShardCopy, ShardLimits
from taskfan.node.task import NO_HEADERS
from taskfan.node.time_value import parse_time_ns
from taskfan.v1 import indices_pb2 as pb

if TYPE_CHECKING:
    from taskfan.node.cluster_state import ClusterState
    from taskfan.node.node import Node

log = logging.getLogger("taskfan.node.shards")

START_RECOVERY = "internal:index/shard/recovery/start_recovery"
SHARD_STARTED = "internal:cluster/shard/started"
SHARD_FAILED = "internal:cluster/shard/failure"
# After a recovery or a report failed, it is tried again when the cluster state changes, or after this time.
RETRY_S = 0.5
encode_documents = msgspec.msgpack.Encoder().encode
decode_documents = msgspec.msgpack.Decoder(list[Document]).decode


def shard_to_wire(shard: ShardId) -> pb.ShardRef:
    """The message that names a shard."""
    return pb.ShardRef(index=shard.index, index_uuid=shard.index_uuid, number=shard.number)


def shard_from_wire(message: pb.ShardRef) -> ShardId:
    """The shard that a message names."""
    return ShardId(message.index, message.index_uuid, message.number)


class LocalShard(msgspec.Struct, eq=False):
    """One copy of this node.

    `recovering` has the copies that take their documents from here, each with its node: they are sent all writes.
    `missed` are writes that came while documents were on their way here.
    """

    id: ShardId
    routing: ShardRouting
    copy: ShardCopy
    is_ready: bool = False
    recovering: dict[str, str] = {}
    missed: list[Document] | None = None
    refresh_timer: TimerHandle | None = None
    waiting_for_refresh: list[asyncio.Future[None]] = []

    @property
    def allocation_id(self) -> str:
        """The id of this copy, which no other has or had."""
        assert self.routing.allocation_id is not None
        return self.routing.allocation_id


class Shards:
    """All copies of one node, by shard. Limits hold for each copy that is made from then on."""

    def __init__(self, node: Node, limits: ShardLimits | None = None) -> None:
        self._node = node
        self.limits = limits or ShardLimits()
        self._shards: dict[ShardId, LocalShard] = {}

    def __iter__(self) -> Iterator[LocalShard]:
        return iter(self._shards.values())

    def get(self, shard: ShardId) -> LocalShard | None:
        """The copy of that shard here, ready or not."""
        return self._shards.get(shard)

    def find(self, shard: ShardId) -> LocalShard:
        """The ready copy of that shard here.

        Raises:
            ShardNotFound: there is none, or it is still being made.
        """
        found = self._shards.get(shard)
        if found is None or not found.is_ready:
            raise ShardNotFound(shard)
        return found

    def copy(self, shard: ShardId) -> ShardCopy:
        """The documents of the ready copy of that shard here. Raises as `find`."""
        return self.find(shard).copy

    # ------------------------------------------------------------------ following the cluster state

    def apply(self, state: ClusterState) -> None:
        """Make, promote and remove copies as a cluster state says. It is the node's state already."""
        wanted = {}
        for routing in state.indices.routing.on_node(self._node.local.id):
            index = state.indices.metadata[routing.index]
            wanted[index.shard(routing.shard)] = routing, index.primary_terms[routing.shard]
        for shard in [shard for shard, local in self._shards.items() if not _is_same(local, wanted.get(shard))]:
            self._remove(self._shards.pop(shard))
        for shard, (routing, term) in wanted.items():
            known = self._shards.get(shard)
            if known is None:
                self._make(shard, routing, term)
            else:
                self._update(known, routing, term)
        for local in self._shards.values():
            self._forget_recovered(local, state)

    def _make(self, shard: ShardId, routing: ShardRouting, term: int) -> None:
        local = self._shards[shard] = LocalShard(shard, routing, ShardCopy(shard, term, self.limits))
        if routing.primary:
            local.is_ready = True
            self._report_started(local)
        else:
            self._begin_recovery(local)

    def _update(self, local: LocalShard, routing: ShardRouting, term: int) -> None:
        was, local.routing = local.routing, routing
        if term > local.copy.primary_term:
            local.copy.primary_term = term
            if not routing.primary and was.active:
                # Another copy leads now: what only the former one had sent here, and no other copy has, must go.
                self._begin_recovery(local)
        if local.is_ready and not routing.active and was.active:
            self._report_started(local)

    def _remove(self, local: LocalShard) -> None:
        if local.refresh_timer is not None:
            local.refresh_timer.cancel()
        self._wake_waiting(local)

    def _forget_recovered(self, local: LocalShard, state: ClusterState) -> None:
        if local.recovering:
            table = state.indices.routing.shard(local.id.index, local.id.number)
            unfinished = {copy.allocation_id for copy in table if not copy.active}
            local.recovering = {key: node for key, node in local.recovering.items() if key in unfinished}

    def _is_current(self, local: LocalShard) -> bool:
        return self._shards.get(local.id) is local

    # ------------------------------------------------------------------ telling the manager

    def _report_started(self, local: LocalShard) -> None:
        self._node.clock.spawn(self._tell_started(local), SHARD_STARTED)

    async def _tell_started(self, local: LocalShard) -> None:
        request = pb.ShardStateRequest(shard=shard_to_wire(local.id), allocation_id=local.allocation_id)
        while self._is_current(local) and not local.routing.active:
            seen = self._node.cluster_state
            try:
                await self.tell_manager(SHARD_STARTED, request)
                return
            except TaskfanError as error:
                log.info("[%s] could not be reported as started: %s", local.id, error)
            await self.wait_for_change(seen)

    async def tell_manager(self, action: str, request: pb.ShardStateRequest) -> None:
        """Report a copy to the cluster manager; done when the manager has published it.

        Raises:
            TaskfanError: there is no manager, it is not reached, or it refuses.
        """
        manager = self._node.cluster_state.manager
        if manager is None:
            raise TaskfanError("no cluster manager is known")
        await self._node.send(manager, action, request, headers=NO_HEADERS)

    async def wait_for_change(self, seen: ClusterState) -> None:
        """Wait for another cluster state, but not long."""
        try:
            async with self._node.clock.timeout(RETRY_S):
                await self._node.newer_cluster_state(seen)
        except TimeoutError:
            pass

    # ------------------------------------------------------------------ recovery

    def start_recovery(self, shard: ShardId, allocation_id: str, node_id: str) -> LocalShard:
        """A copy elsewhere takes the documents from the primary here, and from now on is sent all writes.

        Raises:
            ShardNotFound: the primary is not here, or that copy is not to be, as far as this node knows.
        """
        local = self.find(shard)
        table = self._node.cluster_state.indices.routing.shard(shard.index, shard.number)
        known = next((copy for copy in table if copy.allocation_id == allocation_id), None)
        if not local.routing.primary or known is None:
            raise ShardNotFound(shard, f"[{allocation_id}] is not to be made from the copy of this node")
        if not known.active:
            local.recovering[allocation_id] = node_id
        return local

    def _begin_recovery(self, local: LocalShard) -> None:
        if local.missed is None:
            local.missed = []
            self._node.clock.spawn(self._recover(local), START_RECOVERY)

    async def _recover(self, local: LocalShard) -> None:
        while self._is_current(local) and not local.routing.primary:
            seen = self._node.cluster_state
            try:
                documents, term = await self._fetch(local)
            except TaskfanError as error:
                log.info("[%s] could not be recovered: %s", local.id, error)
                await self.wait_for_change(seen)
                continue
            if term >= local.copy.primary_term:
                self._fill(local, documents, term)
                return
        # It was promoted meanwhile: what it has is the truth now.
        local.missed = None

    async def _fetch(self, local: LocalShard) -> tuple[list[Document], int]:
        state = self._node.cluster_state
        primary = state.indices.routing.primary(local.id.index, local.id.number)
        source = None if primary.node_id is None else state.get(primary.node_id)
        if source is None or not primary.active:
            raise ShardNotFound(local.id, "primary shard is not active")
        request = pb.StartRecoveryRequest(
            shard=shard_to_wire(local.id),
            allocation_id=local.allocation_id,
            target_node_id=self._node.local.id,
            state_version=state.version,
        )
        response = await self._node.send(source, START_RECOVERY, request, headers=NO_HEADERS)
        return decode_documents(response.documents), response.primary_term

    def _fill(self, local: LocalShard, documents: Sequence[Document], term: int) -> None:
        if not self._is_current(local) or local.routing.primary:
            local.missed = None
            return
        missed, local.missed = local.missed or [], None
        copy = ShardCopy(local.id, max(term, local.copy.primary_term), self.limits)
        copy.apply_all(documents)
        copy.apply_all(missed)
        copy.refresh(self._node.clock.wall_time_ms())
        local.copy = copy
        self._wake_waiting(local)
        was_ready, local.is_ready = local.is_ready, True
        if not was_ready:
            self._report_started(local)

    # ------------------------------------------------------------------ writes and refreshes

    def replicated(self, local: LocalShard, documents: Sequence[Document]) -> None:
        """Take over writes of the primary."""
        if local.missed is not None:
            local.missed.extend(documents)
        local.copy.apply_all(documents)
        self.written(local)

    def written(self, local: LocalShard) -> None:
        """After writes: let searches see them when the index's `refresh_interval` has passed."""
        if local.refresh_timer is not None or not local.copy.needs_refresh:
            return
        interval_s = self._refresh_interval_s(local)
        if interval_s is not None:
            local.refresh_timer = self._node.clock.call_later(interval_s, lambda: self.refresh(local))

    def _refresh_interval_s(self, local: LocalShard) -> float | None:
        index = self._node.cluster_state.indices.metadata.get(local.id.index)
        text = DEFAULTS[REFRESH_INTERVAL] if index is None else refresh_interval(index)
        nanos = parse_time_ns(text, REFRESH_INTERVAL)
        return None if nanos < 0 else nanos / 1e9

    def refresh(self, local: LocalShard) -> None:
        """Let searches see all writes so far, now."""
        if local.refresh_timer is not None:
            local.refresh_timer.cancel()
            local.refresh_timer = None
        local.copy.refresh(self._node.clock.wall_time_ms())
        self._wake_waiting(local)

    async def until_refreshed(self, local: LocalShard) -> None:
        """Wait until searches see all writes so far; without refreshes by time, refresh at once."""
        if not local.copy.needs_refresh:
            return
        if self._refresh_interval_s(local) is None:
            self.refresh(local)
            return
        self.written(local)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        local.waiting_for_refresh.append(waiter)
        await waiter

    def _wake_waiting(self, local: LocalShard) -> None:
        waiting, local.waiting_for_refresh = local.waiting_for_refresh, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


def refresh_interval(index: IndexMetadata) -> str:
    """How often searches see what is new, as the index says it."""
    return index.settings.get(REFRESH_INTERVAL) or DEFAULTS[REFRESH_INTERVAL]


def _is_same(local: LocalShard, wanted: tuple[ShardRouting, int] | None) -> bool:
    return wanted is not None and wanted[0].allocation_id == local.routing.allocation_id
