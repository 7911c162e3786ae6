"""indices:data/write/bulk[s], [s][p] and [s][r]: the part of a bulk that is for one shard.

Source: OpenSearch `TransportShardBulkAction`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec

from taskfan.node.action import ActionContext
from taskfan.node.errors import TaskfanError
from taskfan.node.index.documents import Document, WriteRequest
from taskfan.node.index.errors import ShardNotFound
from taskfan.node.index.primary_writes import NeedsMapping, write
from taskfan.node.index.settings import COST_PER_CALL_MS, COST_PER_DOCUMENT_MS, integer
from taskfan.node.index.wire import (
    ItemResult,
    documents_from_wire,
    documents_to_wire,
    done_result,
    failed_result,
    requests_from_wire,
    results_to_wire,
)
from taskfan.node.replication import PrimaryOutcome, ReplicatedOperation
from taskfan.node.shards import LocalShard
from taskfan.v1 import indices_pb2 as pb

AUTO_PUT_MAPPING_ACTION = "indices:admin/mapping/auto_put"
# How long a new field may take to be in the mapping of every node. Source: `indices.mapping.dynamic_timeout`.
MAPPING_TIMEOUT_S = 30.0


class MappingUpdateTimeout(TaskfanError):
    """A document with a new field that did not get into the mapping. Source: OpenSearch `TransportShardBulkAction`."""

    kind = "mapper_exception"
    http_status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self) -> None:
        super().__init__("timed out while waiting for a dynamic mapping update")


async def _on_primary(context: ActionContext, local: LocalShard, request: pb.ReplicationRequest) -> PrimaryOutcome:
    """Do every item in order; an item that cannot be done costs no other one."""
    items = requests_from_wire(request.operation)
    await take_time(context, local, len(items))
    results: list[ItemResult] = []
    replicated: list[Document] = []
    for item in items:
        try:
            result, document = await _write(context, local, item)
        except ShardNotFound:
            raise
        except TaskfanError as error:
            result, document = failed_result(item.id, error), None
        results.append(result)
        if document is not None:
            replicated.append(document)
    context.node.shards.written(local)
    after = _refreshing(context, local, request.refresh)
    return PrimaryOutcome(documents_to_wire(replicated), results_to_wire(results), after)


async def _write(context: ActionContext, local: LocalShard, item: WriteRequest) -> tuple[ItemResult, Document | None]:
    while True:
        if context.node.shards.get(local.id) is not local or not local.routing.primary:
            raise ShardNotFound(local.id)
        index = context.node.cluster_state.indices.metadata[local.id.index]
        written = write(local.copy, index.mapping, item, context.clock.wall_time_ms())
        if not isinstance(written, NeedsMapping):
            return done_result(written.done, written.get), written.replicate
        await _put_mapping(context, local, written)


async def _put_mapping(context: ActionContext, local: LocalShard, needed: NeedsMapping) -> None:
    """Have the manager add fields to the mapping; they are in that of this node when it returns."""
    seen = context.node.cluster_state
    request = pb.PutMappingRequest(indices=[local.id.index], mapping=msgspec.json.encode(needed.addition))
    # As in OpenSearch it is nobody's child.
    await context.node.execute(AUTO_PUT_MAPPING_ACTION, request, headers=context.task.headers)
    before = seen.indices.metadata[local.id.index].mapping
    try:
        async with context.clock.timeout(MAPPING_TIMEOUT_S):
            while (state := context.node.cluster_state).indices.metadata.get(local.id.index) is not None:
                if state.indices.metadata[local.id.index].mapping != before:
                    return
                await context.node.newer_cluster_state(state)
    except TimeoutError:
        raise MappingUpdateTimeout from None


async def _on_replica(context: ActionContext, local: LocalShard, request: pb.ReplicaRequest) -> None:
    documents = documents_from_wire(request.operation)
    await take_time(context, local, len(documents))
    context.node.shards.replicated(local, documents)
    after = _refreshing(context, local, request.refresh)
    if after is not None:
        await after()


def _refreshing(context: ActionContext, local: LocalShard, refresh: str) -> Callable[[], Awaitable[None]] | None:
    """What `refresh` of a write asks for: to refresh now, or to wait until that has happened."""
    if refresh == "true":
        context.node.shards.refresh(local)
    if refresh == "wait_for":
        return lambda: context.node.shards.until_refreshed(local)
    return None


async def take_time(context: ActionContext, local: LocalShard, documents: int) -> None:
    """Let pass what an operation on this shard costs, by the settings of its index."""
    index = context.node.cluster_state.indices.metadata.get(local.id.index)
    if index is None:
        return
    cost_ms = integer(index.settings, COST_PER_CALL_MS) + documents * integer(index.settings, COST_PER_DOCUMENT_MS)
    if cost_ms:
        await context.clock.sleep(cost_ms / 1000)


BULK = ReplicatedOperation("indices:data/write/bulk", _on_primary, _on_replica)
BULK_SHARD_ACTIONS = BULK.actions
