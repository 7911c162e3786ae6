"""From a primary to its replicas: every copy is sent what the primary did, and one that lacks it is given up.

Source: OpenSearch `ReplicationOperation`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from taskfan.node.action import ActionContext
from taskfan.node.errors import NodeDisconnected, NodeNotConnected, TaskfanError
from taskfan.node.failures import NodeFailure
from taskfan.node.index.errors import NoLongerPrimary
from taskfan.node.index.metadata import ShardRouting
from taskfan.node.shards import RETRY_S, SHARD_FAILED, LocalShard, shard_to_wire
from taskfan.v1 import indices_pb2 as pb

log = logging.getLogger("taskfan.node.replicas")

# How long a replica whose node cannot be reached is tried again. Source: `indices.replication.retry_timeout`.
RETRIED_FOR_S = 60.0
FIRST_DELAY_S = 0.05
_GONE_KINDS = ("shard_not_found_exception",)


class Reached(msgspec.Struct):
    """How many copies there are, how many did it, and which failed."""

    total: int
    successful: int = 1
    failures: list[NodeFailure] = []


async def replicate(
    context: ActionContext,
    local: LocalShard,
    name: str,
    request: pb.ReplicationRequest,
    operation: bytes,
    *,
    is_write: bool,
    meanwhile: Callable[[], Awaitable[None]] | None,
) -> Reached:
    """Send it to every other copy that is active or takes its documents from here, at the same time.

    Args:
        meanwhile: is waited for too, here, while the replicas work.

    Raises:
        NoLongerPrimary: another copy has replaced this primary, so that nothing of this counts.
    """
    table = context.node.cluster_state.indices.routing.indices.get(local.id.index, ())
    copies: Sequence[ShardRouting] = table[local.id.number] if table else ()
    targets = [
        copy for copy in copies if not copy.primary and (copy.active or (copy.allocation_id or "") in local.recovering)
    ]
    reached = Reached(total=max(len(copies), 1))
    replica = pb.ReplicaRequest(
        shard=request.shard,
        description=request.description,
        primary_term=local.copy.primary_term,
        refresh=request.refresh,
        operation=operation,
    )
    sendings = [_Sending(context, local, f"{name}[s][r]", replica, copy, is_write) for copy in targets]
    running = [context.clock.spawn(sending.run(), sending.action) for sending in sendings]
    if meanwhile is not None:
        await meanwhile()
    for task in running:
        await task
    for sending in sendings:
        if sending.lost_primary is not None:
            raise sending.lost_primary
        reached.successful += sending.done
        if sending.failure is not None:
            reached.failures.append(sending.failure)
    return reached


class _Sending(msgspec.Struct):
    """One replica's part."""

    context: ActionContext
    local: LocalShard
    action: str
    request: pb.ReplicaRequest
    copy: ShardRouting
    is_write: bool
    done: bool = False
    failure: NodeFailure | None = None
    lost_primary: TaskfanError | None = None

    async def run(self) -> None:
        """Send, again for a while if the node is not reached; a copy that failed a write is given up."""
        assert self.copy.node_id is not None
        assert self.copy.allocation_id is not None
        try:
            await self._send_until_reached()
            self.done = True
        except TaskfanError as error:
            if self._is_gone():
                # The cluster has given it up already.
                return
            if not (error.kind in _GONE_KINDS and not self.is_write):
                self.failure = NodeFailure(self.copy.node_id, error)
            if self.is_write:
                await self._give_up(error)

    async def _send_until_reached(self) -> None:
        node, clock = self.context.node, self.context.clock
        request = pb.ReplicaRequest()
        request.CopyFrom(self.request)
        request.allocation_id = self.copy.allocation_id or ""
        # The task that asked for it on this node is the parent, beside that of the primary.
        parent = node.registry.get(self.context.task.parent.number)
        give_up_ns, delay_s = clock.monotonic_ns() + RETRIED_FOR_S * 1e9, FIRST_DELAY_S
        while True:
            target = node.cluster_state.get(self.copy.node_id or "")
            try:
                if target is None:
                    raise NodeNotConnected(self.copy.node_id or "", "", "left the cluster")
                await node.send(target, self.action, request, headers=self.context.task.headers, parent=parent)
                return
            except (NodeNotConnected, NodeDisconnected):
                if self._is_gone() or clock.monotonic_ns() >= give_up_ns:
                    raise
            await clock.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_S)

    def _is_gone(self) -> bool:
        """Whether the cluster state has no such copy any more."""
        routing = self.context.node.cluster_state.indices.routing
        return all(copy.allocation_id != self.copy.allocation_id for copy in routing.on_node(self.copy.node_id or ""))

    async def _give_up(self, error: TaskfanError) -> None:
        """Have the manager take the copy out, before the write counts as done."""
        node = self.context.node
        log.info("%s on [%s] failed: %s", self.local.id, self.copy.node_id, error)
        report = pb.ShardStateRequest(
            shard=shard_to_wire(self.local.id),
            allocation_id=self.copy.allocation_id or "",
            primary_term=self.request.primary_term,
            reason="ALLOCATION_FAILED",
        )
        while not self._is_gone():
            seen = node.cluster_state
            try:
                await node.shards.tell_manager(SHARD_FAILED, report)
                return
            except TaskfanError as refused:
                if refused.kind == NoLongerPrimary.kind:
                    self.lost_primary = refused
                    return
            if node.shards.get(self.local.id) is not self.local:
                self.lost_primary = NoLongerPrimary(self.local.id, "the primary is not here any more")
                return
            await node.shards.wait_for_change(seen)
