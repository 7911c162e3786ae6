"""indices:admin/refresh, flush and forcemerge: something for every shard of some indices.

Source: OpenSearch `TransportBroadcastReplicationAction`, `TransportBroadcastByNodeAction`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from taskfan.coordinator.fan_out import fan_out
from taskfan.coordinator.index_options import options_from_wire
from taskfan.node.actions.refresh import FLUSH, FORCE_MERGE_OF_NODE_ACTION, REFRESH
from taskfan.node.errors import TaskfanError
from taskfan.node.failures import NodeFailure
from taskfan.node.index.errors import ShardId
from taskfan.node.index.index_names import resolve
from taskfan.node.index.metadata import IndexMetadata
from taskfan.node.node import Action, ActionContext
from taskfan.node.replication import ReplicatedOperation
from taskfan.node.shards import shard_to_wire
from taskfan.node.task import TaskTraits
from taskfan.v1 import indices_pb2 as pb
from taskfan.v1 import task_pb2

FORCE_MERGE_ACTION = "indices:admin/forcemerge"
DEFAULT_TIMEOUT_MS = 60_000


def _indices_of(context: ActionContext, request: pb.BroadcastRequest) -> list[IndexMetadata]:
    """The indices meant. Raises IndexNotFound."""
    return resolve(context.node.cluster_state.indices, list(request.indices), options_from_wire(request))


def _of_every_shard(
    operation: ReplicatedOperation, description: Callable[[ShardId], str]
) -> Callable[[ActionContext, pb.BroadcastRequest], Awaitable[pb.BroadcastResponse]]:
    async def run(context: ActionContext, request: pb.BroadcastRequest) -> pb.BroadcastResponse:
        """Have every shard of these indices do it, all at the same time. Raises IndexNotFound."""
        shards = [
            index.shard(number) for index in _indices_of(context, request) for number in range(index.number_of_shards)
        ]
        asked = [
            context.clock.spawn(_ask_shard(context, operation, shard, description(shard)), operation.shard_action)
            for shard in shards
        ]
        answers: list[Any] = [await task for task in asked]
        return pb.BroadcastResponse(
            total=sum(answer.total for answer in answers),
            successful=sum(answer.successful for answer in answers),
            failed=sum(answer.failed for answer in answers),
            failures=[failure for answer in answers for failure in answer.failures],
        )

    return run


async def _ask_shard(
    context: ActionContext, operation: ReplicatedOperation, shard: ShardId, description: str
) -> pb.BroadcastResponse:
    state = context.node.cluster_state
    message = pb.ReplicationRequest(
        shard=shard_to_wire(shard),
        description=description,
        wait_for_active_shards="0",
        timeout_millis=DEFAULT_TIMEOUT_MS,
        routed_by_version=state.version,
    )
    table = state.indices.routing.indices.get(shard.index, ())
    copies = len(table[shard.number]) if table else 1
    if table and not table[shard.number][0].active:
        # As in OpenSearch, a shard that nobody has is no failure; its copies are just not among the successful.
        return pb.BroadcastResponse(total=copies)
    try:
        done: pb.ReplicationResponse = await context.execute(operation.shard_action, message)
    except TaskfanError as error:
        if error.kind in ("unavailable_shards_exception", "shard_not_found_exception"):
            return pb.BroadcastResponse(total=copies)
        failure = _failure(shard, None, error)
        return pb.BroadcastResponse(total=copies, failed=copies, failures=[failure] * copies)
    failures = [
        _failure(shard, failed.node_id, TaskfanError.from_wire(task_pb2.Error.FromString(failed.error)))
        for failed in done.failures
    ]
    return pb.BroadcastResponse(total=done.total, successful=done.successful, failed=len(failures), failures=failures)


def _failure(shard: ShardId, node_id: str | None, error: TaskfanError) -> bytes:
    """One entry of `failures`. Source: OpenSearch `DefaultShardOperationFailedException`."""
    shown = {
        "shard": shard.number,
        "index": shard.index,
        **({"node": node_id} if node_id is not None else {}),
        "status": error.status_name,
        "reason": error.to_object(),
    }
    return msgspec.json.encode(shown)


async def force_merge(context: ActionContext, request: pb.BroadcastRequest) -> pb.BroadcastResponse:
    """Have every node merge the copies of these indices that it has. Raises IndexNotFound."""
    state, indices = context.node.cluster_state, _indices_of(context, request)
    names = [index.name for index in indices]
    all_copies = [copy for copy in state.indices.routing if copy.index in names]
    copies = [copy for copy in all_copies if copy.active]
    holders = {copy.node_id for copy in copies}
    nodes = [node for node in state if node.id in holders]
    message = pb.BroadcastRequest(indices=names)
    answers = await fan_out(context, FORCE_MERGE_OF_NODE_ACTION, message, nodes, timeout_s=None)
    failures = [
        _failure(index.shard(copy.shard), node_id, answer.cause)
        for node_id, answer in answers
        if isinstance(answer, NodeFailure)
        for index in indices
        for copy in copies
        if copy.index == index.name and copy.node_id == node_id
    ]
    successful = sum(answer.successful for _, answer in answers if not isinstance(answer, NodeFailure))
    return pb.BroadcastResponse(total=len(all_copies), successful=successful, failed=len(failures), failures=failures)


def _described(request: pb.BroadcastRequest) -> TaskTraits:
    return TaskTraits(request.description)


REFRESH_INDICES = Action(
    REFRESH.name,
    _of_every_shard(REFRESH, lambda shard: f"BasicReplicationRequest{{{shard}}}"),
    pb.BroadcastRequest,
    pb.BroadcastResponse,
    traits=_described,
)
FLUSH_INDICES = Action(
    FLUSH.name,
    _of_every_shard(FLUSH, lambda shard: f"flush {{{shard}}}"),
    pb.BroadcastRequest,
    pb.BroadcastResponse,
    traits=_described,
)
FORCE_MERGE = Action(FORCE_MERGE_ACTION, force_merge, pb.BroadcastRequest, pb.BroadcastResponse, traits=_described)
BROADCAST_ACTIONS = (REFRESH_INDICES, FLUSH_INDICES, FORCE_MERGE)
