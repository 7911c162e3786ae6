"""indices:admin/refresh[s] and flush[s], each with [p] and [r]; indices:admin/forcemerge[n].

Source: OpenSearch `TransportShardRefreshAction`, `TransportShardFlushAction`, `TransportForceMergeAction`.
"""

from __future__ import annotations

from taskfan.node.action import Action, ActionContext
from taskfan.node.actions.bulk_shard import take_time
from taskfan.node.replication import PrimaryOutcome, ReplicatedOperation
from taskfan.node.shards import LocalShard
from taskfan.v1 import indices_pb2 as pb

FORCE_MERGE_OF_NODE_ACTION = "indices:admin/forcemerge[n]"


async def _refresh_primary(context: ActionContext, local: LocalShard, request: pb.ReplicationRequest) -> PrimaryOutcome:
    await take_time(context, local, 0)
    context.node.shards.refresh(local)
    return PrimaryOutcome(b"", b"")


async def _refresh_replica(context: ActionContext, local: LocalShard, request: pb.ReplicaRequest) -> None:
    await take_time(context, local, 0)
    context.node.shards.refresh(local)


async def _flush_primary(context: ActionContext, local: LocalShard, request: pb.ReplicationRequest) -> PrimaryOutcome:
    # Nothing is on disk, so there is nothing to be brought there.
    await take_time(context, local, 0)
    return PrimaryOutcome(b"", b"")


async def _flush_replica(context: ActionContext, local: LocalShard, request: pb.ReplicaRequest) -> None:
    await take_time(context, local, 0)


async def force_merge(context: ActionContext, request: pb.BroadcastRequest) -> pb.BroadcastResponse:
    """Merge the copies of these indices here."""
    count = 0
    for local in list(context.node.shards):
        if local.id.index in request.indices and local.is_ready:
            await take_time(context, local, 0)
            local.copy.force_merge()
            count += 1
    return pb.BroadcastResponse(total=count, successful=count)


REFRESH = ReplicatedOperation("indices:admin/refresh", _refresh_primary, _refresh_replica, is_write=False)
FLUSH = ReplicatedOperation("indices:admin/flush", _flush_primary, _flush_replica, is_write=False)
FORCE_MERGE_OF_NODE = Action(FORCE_MERGE_OF_NODE_ACTION, force_merge, pb.BroadcastRequest, pb.BroadcastResponse)
REFRESH_ACTIONS = (*REFRESH.actions, *FLUSH.actions, FORCE_MERGE_OF_NODE)
