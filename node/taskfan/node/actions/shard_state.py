"""internal:cluster/shard/…, internal:index/shard/recovery/…: how copies of shards come to be and are given up."""

from __future__ import annotations

import contextlib

from taskfan.node.action import Action, ActionContext
from taskfan.node.cluster_state import ClusterState
from taskfan.node.index import state_changes
from taskfan.node.index.errors import NoLongerPrimary
from taskfan.node.shards import (
    SHARD_FAILED,
    SHARD_STARTED,
    START_RECOVERY,
    encode_documents,
    shard_from_wire,
)
from taskfan.v1 import indices_pb2 as pb

# How long the target of a recovery may be ahead of its source.
STATE_TIMEOUT_S = 5.0


async def shard_started(context: ActionContext, request: pb.ShardStateRequest) -> pb.ShardStateResponse:
    """A copy is ready. On the cluster manager.

    Raises:
        NotClusterManager, FailedToCommit: it is not, or not any more.

    Source: OpenSearch `ShardStateAction.ShardStartedClusterStateTaskExecutor`.
    """
    shard, now_ms = shard_from_wire(request.shard), context.clock.wall_time_ms()
    await context.node.state_updates.submit(
        f"shard-started {shard}",
        lambda state: state_changes.shard_started(state, shard, request.allocation_id, now_ms),
    )
    return pb.ShardStateResponse()


async def shard_failed(context: ActionContext, request: pb.ShardStateRequest) -> pb.ShardStateResponse:
    """A copy is lost, says its primary or the copy itself. On the cluster manager.

    Raises:
        NoLongerPrimary: who says so is not the primary any more.
        NotClusterManager, FailedToCommit: this is not the manager, or not any more.

    Source: OpenSearch `ShardStateAction.ShardFailedClusterStateTaskExecutor`.
    """
    shard, now_ms, term = shard_from_wire(request.shard), context.clock.wall_time_ms(), request.primary_term

    def fail(state: ClusterState) -> ClusterState:
        index = state.indices.metadata.get(shard.index)
        if index is not None and index.uuid == shard.index_uuid and term:
            current = index.primary_terms[shard.number]
            if term != current:
                raise NoLongerPrimary(shard, f"primary term [{term}] did not match current primary term [{current}]")
        return state_changes.shard_failed(state, shard, request.allocation_id, request.reason, now_ms)

    await context.node.state_updates.submit(f"shard-failed {shard}", fail)
    return pb.ShardStateResponse()


async def start_recovery(context: ActionContext, request: pb.StartRecoveryRequest) -> pb.StartRecoveryResponse:
    """All documents of the primary here, for a copy that is sent all writes from now on.

    Raises:
        ShardNotFound: the primary is not here.

    Source: OpenSearch `PeerRecoverySourceService`.
    """
    shard = shard_from_wire(request.shard)
    await _until_applied(context, request.state_version)
    local = context.node.shards.start_recovery(shard, request.allocation_id, request.target_node_id)
    return pb.StartRecoveryResponse(
        documents=encode_documents(local.copy.all_operations()), primary_term=local.copy.primary_term
    )


async def _until_applied(context: ActionContext, version: int) -> None:
    """Wait, but not long, for a cluster state that another node has already."""
    node = context.node
    with contextlib.suppress(TimeoutError):
        async with context.clock.timeout(STATE_TIMEOUT_S):
            while (state := node.cluster_state).version < version:
                await node.newer_cluster_state(state)


SHARD_STARTED_ACTION = Action(SHARD_STARTED, shard_started, pb.ShardStateRequest, pb.ShardStateResponse)
SHARD_FAILED_ACTION = Action(SHARD_FAILED, shard_failed, pb.ShardStateRequest, pb.ShardStateResponse)
START_RECOVERY_ACTION = Action(START_RECOVERY, start_recovery, pb.StartRecoveryRequest, pb.StartRecoveryResponse)
