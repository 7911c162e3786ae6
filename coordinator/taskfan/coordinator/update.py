"""indices:data/write/update: an update, done on the node that has the primary of the document's shard.

Source: OpenSearch `TransportUpdateAction`, `TransportInstanceSingleOperationAction`.
"""

from __future__ import annotations

from taskfan.coordinator.index_admin import AUTO_CREATE_ACTION, auto_create_request
from taskfan.node.actions.update import UPDATE_ACTION
from taskfan.node.cluster_state import ClusterState
from taskfan.node.errors import IndexNotFound, NodeDisconnected, NodeNotConnected, TaskfanError
from taskfan.node.index.active_shards import primary_not_active
from taskfan.node.index.documents import WriteRequest
from taskfan.node.index.errors import IndexAlreadyExists
from taskfan.node.index.index_names import to_auto_create
from taskfan.node.index.routing import shard_of
from taskfan.node.index.wire import requests_from_wire
from taskfan.node.node import Action, ActionContext
from taskfan.node.shards import shard_to_wire
from taskfan.node.state_observer import StateObserver
from taskfan.node.task_json import human_duration
from taskfan.v1 import indices_pb2 as pb

_RETRIED_KINDS = (
    *("shard_not_found_exception", "unavailable_shards_exception", "no_shard_available_action_exception"),
    *("no_longer_primary_shard_exception", "index_shard_closed_exception"),
)
# As measured: an update that waits for copies gives up after four attempts, each as long as its timeout.
_ATTEMPTS = 4


async def update(context: ActionContext, request: pb.UpdateRequest) -> pb.UpdateResponse:
    """Update one document; its index is made if it does not exist.

    Raises:
        TaskfanError: the document is missing, was changed meanwhile, or cannot be written.

    The work on the other node is nobody's child, as in OpenSearch: only its headers tell where it comes from.
    """
    [item] = requests_from_wire(request.item)
    await _create_missing(context, item.index, request.timeout_millis)
    observer, attempts = StateObserver(context.node, request.timeout_millis), 0
    while True:
        try:
            return await _attempt(context, request, observer.observe(), item)
        except TaskfanError as error:
            attempts += 1
            is_lost = isinstance(error, NodeNotConnected | NodeDisconnected)
            if not (is_lost or error.kind in _RETRIED_KINDS) or (attempts >= _ATTEMPTS and observer.timed_out):
                raise
        await observer.wait_for_change()


async def _create_missing(context: ActionContext, name: str, timeout_ms: int) -> None:
    if to_auto_create(context.node.cluster_state.indices, name):
        try:
            await context.execute(AUTO_CREATE_ACTION, auto_create_request(name, timeout_ms))
        except TaskfanError as error:
            if error.kind != IndexAlreadyExists.kind:
                raise


async def _attempt(
    context: ActionContext, request: pb.UpdateRequest, state: ClusterState, item: WriteRequest
) -> pb.UpdateResponse:
    index = state.indices.get(item.index)
    if index is None:
        raise IndexNotFound(item.index, "index_expression")
    routing = item.routing if item.routing is not None else item.id or ""
    shard = index.shard(shard_of(routing, index.number_of_shards))
    primary = state.indices.routing.primary(index.name, shard.number)
    node = None if primary.node_id is None else state.get(primary.node_id)
    if not primary.active or node is None:
        raise primary_not_active(shard, human_duration(request.timeout_millis * 1_000_000))
    message = pb.UpdateRequest()
    message.CopyFrom(request)
    message.shard.CopyFrom(shard_to_wire(shard))
    answer: pb.UpdateResponse = await context.node.send(
        node, f"{UPDATE_ACTION}[s]", message, headers=context.task.headers
    )
    return answer


UPDATE = Action(UPDATE_ACTION, update, pb.UpdateRequest, pb.UpdateResponse)
