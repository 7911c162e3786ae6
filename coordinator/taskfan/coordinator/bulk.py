"""indices:data/write/bulk, /index and /delete: writes to many shards, each shard's part a child.

A single write is a bulk of one that goes by another name. Source: OpenSearch `TransportBulkAction`,
`TransportSingleItemBulkWriteAction`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from taskfan.coordinator.index_admin import AUTO_CREATE_ACTION, auto_create_request
from taskfan.node.actions.bulk_shard import BULK
from taskfan.node.cluster_state import ClusterState
from taskfan.node.errors import IllegalArgument, IndexNotFound, TaskfanError
from taskfan.node.index.active_shards import ActiveShardCount
from taskfan.node.index.bulk import (
    BulkRequest,
    BulkResult,
    Item,
    ItemFailure,
    ShardItems,
    group_by_shard,
    item_fault,
    write_description,
)
from taskfan.node.index.documents import CopyCounts, OpType, VersionType, WriteRequest
from taskfan.node.index.errors import IndexAlreadyExists, NotAnAlias
from taskfan.node.index.index_names import to_auto_create
from taskfan.node.index.wire import ItemResult, item_of, requests_to_wire, results_from_wire
from taskfan.node.node import Action, ActionContext
from taskfan.node.phase import Phase
from taskfan.node.shards import shard_to_wire
from taskfan.node.task import TaskTraits
from taskfan.v1 import indices_pb2 as pb

BULK_ACTION = "indices:data/write/bulk"
INDEX_ACTION = "indices:data/write/index"
DELETE_ACTION = "indices:data/write/delete"


async def bulk(context: ActionContext, request: BulkRequest) -> BulkResult:
    """Write everything that can be written; what cannot is a failure of its item.

    Raises:
        IllegalArgument: `wait_for_active_shards` is no number of copies.
    """
    began_ns = context.clock.monotonic_ns()
    ActiveShardCount.parse(request.wait_for_active_shards or None)
    items = request.items
    outcome: dict[int, Item] = {}
    await _create_missing(context, request, outcome)
    routed = _routed(context, items, outcome)
    groups = group_by_shard(routed, _shard_counts(context.node.cluster_state, routed))
    if len(groups) == 1:
        await _ask_shard(context, request, groups[0], outcome)
    else:
        asked = [context.clock.spawn(_ask_shard(context, request, group, outcome), "bulk[s]") for group in groups]
        for task in asked:
            await task
    took_ms = (context.clock.monotonic_ns() - began_ns) // 1_000_000
    return BulkResult(took_ms, [(item.op_type, outcome[place]) for place, item in enumerate(items)])


async def single_write(context: ActionContext, request: BulkRequest) -> BulkResult:
    """A bulk of one item. Raises what became of it, if it could not be done."""
    Phase(context.task)
    result = await bulk(context, request)
    [(_, item)] = result.items
    if isinstance(item, ItemFailure):
        raise item.cause
    return result


async def _create_missing(context: ActionContext, request: BulkRequest, outcome: dict[int, Item]) -> None:
    """Make the indices that are written to and do not exist; where that fails, so do the items."""
    indices, items = context.node.cluster_state.indices, request.items
    # As in OpenSearch a deletion makes no index, unless its version comes from outside.
    writers = [
        item for item in items if item.op_type is not OpType.DELETE or item.version_type is not VersionType.INTERNAL
    ]
    for name in sorted({item.index for item in writers}):
        try:
            if any(item.require_alias and item.index == name for item in items) or not to_auto_create(indices, name):
                continue
            await context.execute(AUTO_CREATE_ACTION, auto_create_request(name, request.timeout_ms))
        except TaskfanError as error:
            if error.kind == IndexAlreadyExists.kind:
                continue
            for place, item in enumerate(items):
                if item.index == name:
                    outcome[place] = ItemFailure(name, item.id, error)


def _routed(
    context: ActionContext, items: Sequence[WriteRequest], outcome: dict[int, Item]
) -> list[tuple[int, WriteRequest]]:
    """The items that can be routed, with an id, and with the index itself where an alias was named."""
    indices, routed = context.node.cluster_state.indices, []
    for place, item in enumerate(items):
        if place in outcome:
            continue
        index = indices.get(item.index)
        fault: TaskfanError | None
        if item.require_alias and (index is None or index.name == item.index):
            fault = NotAnAlias(item.index)
        elif index is None:
            fault = IndexNotFound(item.index, "index_expression")
        elif item.pipeline not in (None, "_none"):
            fault = IllegalArgument(f"pipeline with id [{item.pipeline}] does not exist")
        else:
            fault = item_fault(item)
        if fault is not None or index is None:
            assert fault is not None
            outcome[place] = ItemFailure(item.index, item.id, fault)
            continue
        if item.id is None:
            item = replace(item, id=context.node.document_ids.next(context.clock.wall_time_ms()))
        routed.append((place, item if index.name == item.index else replace(item, index=index.name)))
    return routed


def _shard_counts(state: ClusterState, items: Sequence[tuple[int, WriteRequest]]) -> dict[str, int]:
    return {name: state.indices.metadata[name].number_of_shards for name in {item.index for _, item in items}}


async def _ask_shard(context: ActionContext, request: BulkRequest, group: ShardItems, outcome: dict[int, Item]) -> None:
    state = context.node.cluster_state
    writes = [item for _, item in group.items]
    message = pb.ReplicationRequest(
        shard=shard_to_wire(state.indices.metadata[group.index].shard(group.shard)),
        description=group.description(request.refresh),
        wait_for_active_shards=request.wait_for_active_shards,
        timeout_millis=request.timeout_ms,
        refresh=request.refresh,
        operation=requests_to_wire(writes),
        routed_by_version=state.version,
    )
    try:
        response: pb.ReplicationResponse = await context.execute(BULK.shard_action, message)
    except TaskfanError as error:
        outcome.update({place: ItemFailure(group.index, item.id, error) for place, item in group.items})
        return
    copies = CopyCounts(response.total, response.successful, response.failed)
    forced = request.refresh == "true"
    results: list[ItemResult] = results_from_wire(response.result)
    is_far = state.indices.routing.primary(group.index, group.shard).node_id != context.node.local.id
    for (place, item), result in zip(group.items, results, strict=True):
        told = item_of(item, result, copies, forced_refresh=forced)
        if is_far and isinstance(told, ItemFailure):
            # It has crossed the wire.
            told = replace(told, cause=told.cause.crossed())
        outcome[place] = told


def _described(request: BulkRequest) -> TaskTraits:
    return TaskTraits(request.description)


def _described_single(request: BulkRequest) -> TaskTraits:
    return TaskTraits(write_description(request.items[0]))


BULK_WRITE = Action(BULK_ACTION, bulk, BulkRequest, traits=_described)
INDEX_WRITE, DELETE_WRITE = (
    Action(name, single_write, BulkRequest, traits=_described_single) for name in (INDEX_ACTION, DELETE_ACTION)
)
BULK_ACTIONS = (BULK_WRITE, INDEX_WRITE, DELETE_WRITE)
