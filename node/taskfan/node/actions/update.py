"""indices:data/write/update[s]: an update on the node of the primary, as a read and a bulk of one write.

Source: OpenSearch `TransportUpdateAction`, `UpdateHelper`.
"""

from __future__ import annotations

import msgspec

from taskfan.node.action import Action, ActionContext
from taskfan.node.errors import TaskfanError
from taskfan.node.index.bulk import BulkRequest, ItemDone, ItemFailure
from taskfan.node.index.documents import CopyCounts, Result, WriteRequest, WriteResult, write_answer
from taskfan.node.index.errors import IllegalState, ShardId, ShardNotFound, VersionConflict
from taskfan.node.index.primary_writes import check_expected, get_object
from taskfan.node.index.updates import UpdateBody, plan_update, read_update
from taskfan.node.index.wire import requests_from_wire
from taskfan.node.shards import shard_from_wire
from taskfan.v1 import indices_pb2 as pb

UPDATE_ACTION = "indices:data/write/update"
BULK_ACTION = "indices:data/write/bulk"


async def update_of_shard(context: ActionContext, request: pb.UpdateRequest) -> pb.UpdateResponse:
    """Read the document here, and have a bulk of its own write what comes of the update.

    Raises:
        ShardNotFound: the primary is not here.
        DocumentMissing, VersionConflict: the document is not there, or not in the state that is expected.
        TaskfanError: what the write raises.
    """
    shard = shard_from_wire(request.shard)
    [item] = requests_from_wire(request.item)
    body = read_update(item.source)
    retries = max(item.retry_on_conflict, 0)
    for attempt in range(retries + 1):
        try:
            return await _attempt(context, request, shard, item, body)
        except TaskfanError as error:
            if error.kind != VersionConflict.kind or attempt == retries:
                raise
    raise AssertionError("the last attempt returns or raises")


async def _attempt(
    context: ActionContext, request: pb.UpdateRequest, shard: ShardId, item: WriteRequest, body: UpdateBody
) -> pb.UpdateResponse:
    local = context.node.shards.find(shard)
    if not local.routing.primary:
        raise ShardNotFound(shard)
    current = local.copy.get(item.id or "")
    check_expected(local.copy, item, body, current)
    plan = plan_update(item, body, current, shard)
    shows = body.fetch_source if body.fetch_source is not None else item.fetch_source
    if plan.write is None:
        if current is None:
            raise IllegalState(f"[{item.id}] was not written, and is not there")
        # Nothing was written, so nothing went to any copy.
        noop = write_answer(
            shard.index,
            WriteResult(current, Result.NOOP),
            CopyCounts(0, 0),
            get=get_object(current, plan.new_source, shows),
        )
        return _response(noop, 200)
    bulk = BulkRequest([plan.write], request.refresh, request.wait_for_active_shards, request.timeout_millis)
    # As in OpenSearch it is nobody's child; only its headers tell where it comes from.
    result = await context.node.execute(BULK_ACTION, bulk, headers=context.task.headers)
    [(_, done)] = result.items
    if isinstance(done, ItemFailure):
        raise done.cause
    assert isinstance(done, ItemDone)
    written = local.copy.get(item.id or "")
    get = None if written is None else get_object(written, plan.new_source, shows)
    return _response(done.answer if get is None else {**done.answer, "get": get}, done.http_status)


def _response(answer: dict[str, object], status: int) -> pb.UpdateResponse:
    return pb.UpdateResponse(answer=msgspec.json.encode(answer), status=status)


UPDATE_OF_SHARD = Action(f"{UPDATE_ACTION}[s]", update_of_shard, pb.UpdateRequest, pb.UpdateResponse)
