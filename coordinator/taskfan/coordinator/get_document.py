"""indices:data/read/get and mget: documents by their ids, each from a copy of its shard.

Source: OpenSearch `TransportSingleShardAction`, `TransportMultiGetAction`, `TransportShardMultiGetAction`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from google.protobuf.message import Message

from taskfan.node.actions.get_document import GET_ACTION, MULTI_GET_SHARD_ACTION
from taskfan.node.errors import IndexNotFound, TaskfanError
from taskfan.node.index.documents import Document
from taskfan.node.index.errors import NoShardAvailable, ShardId
from taskfan.node.index.index_names import SINGLE_INDEX_OPTIONS, resolve
from taskfan.node.index.metadata import ShardRouting
from taskfan.node.index.multi_get import GetItem
from taskfan.node.index.routing import shard_of
from taskfan.node.node import Action, ActionContext
from taskfan.node.shards import shard_from_wire, shard_to_wire
from taskfan.v1 import indices_pb2 as pb

MULTI_GET_ACTION = "indices:data/read/mget"
_decode_document = msgspec.msgpack.Decoder(Document).decode
_decode_documents = msgspec.msgpack.Decoder(list[Document | None]).decode


async def get(context: ActionContext, request: pb.GetRequest) -> pb.GetResponse:
    """One document.

    Raises:
        IndexNotFound: there is no such index.
        NoShardAvailable: no copy of the shard answers.
    """
    [index] = resolve(context.node.cluster_state.indices, [request.index], SINGLE_INDEX_OPTIONS)
    routing = request.routing if request.has_routing else request.id
    message = pb.GetRequest()
    message.CopyFrom(request)
    message.index = index.name
    shard = index.shard(shard_of(routing, index.number_of_shards))
    message.shard.CopyFrom(shard_to_wire(shard))
    answer: pb.GetResponse = await _ask_a_copy(context, shard, f"{GET_ACTION}[s]", message)
    return answer


def document_of(response: pb.GetResponse) -> Document | None:
    """The document of an answer, if it was found."""
    return _decode_document(response.document) if response.found else None


async def _ask_a_copy(context: ActionContext, shard: ShardId, action: str, message: Message) -> Any:
    """Ask the copies of a shard one after the other, until one answers; one of this node first."""
    state = context.node.cluster_state
    failure: TaskfanError = NoShardAvailable(shard, "No shard available for [" + action.removesuffix("[s]") + "]")
    for copy in _in_order(context, shard):
        node = state.get(copy.node_id or "")
        if node is None:
            continue
        try:
            return await context.send(node, action, message)
        except TaskfanError as error:
            failure = error
    raise failure


def _in_order(context: ActionContext, shard: ShardId) -> list[ShardRouting]:
    copies = context.node.cluster_state.indices.routing.active(shard.index, shard.number)
    return sorted(copies, key=lambda copy: copy.node_id != context.node.local.id)


# ------------------------------------------------------------------ several


class GotItem(msgspec.Struct, frozen=True):
    """What became of one get of several: the document or none, or the failure. `index` is the index itself."""

    item: GetItem
    index: str
    document: Document | None = None
    failure: TaskfanError | None = None


class MultiGetRequest(msgspec.Struct, frozen=True):
    """Several gets; with `refresh` searches see all writes of their shards afterwards."""

    items: Sequence[GetItem]
    refresh: bool = False


async def multi_get(context: ActionContext, request: MultiGetRequest) -> list[GotItem]:
    """Several documents, in the order in which they were asked for; a failure costs only its own item."""
    items = request.items
    got: dict[int, GotItem] = {}
    groups: dict[ShardId, list[int]] = {}
    for place, item in enumerate(items):
        index = context.node.cluster_state.indices.get(item.index)
        if index is None:
            failure = IndexNotFound(item.index, "index_expression")
            got[place] = GotItem(item, item.index, failure=failure)
            continue
        routing = item.routing if item.routing is not None else item.id
        groups.setdefault(index.shard(shard_of(routing, index.number_of_shards)), []).append(place)
    asked = [
        context.clock.spawn(_get_group(context, request, shard, items, places, got), MULTI_GET_SHARD_ACTION)
        for shard, places in groups.items()
    ]
    for task in asked:
        await task
    return [got[place] for place in range(len(items))]


async def _get_group(
    context: ActionContext,
    request: MultiGetRequest,
    shard: ShardId,
    items: Sequence[GetItem],
    places: Sequence[int],
    got: dict[int, GotItem],
) -> None:
    message = pb.MultiGetShardRequest(
        shard=shard_to_wire(shard), ids=[items[place].id for place in places], refresh=request.refresh
    )
    try:
        response = await context.execute(MULTI_GET_SHARD_ACTION, message)
    except TaskfanError as error:
        got.update({place: GotItem(items[place], shard.index, failure=error) for place in places})
        return
    for place, document in zip(places, _decode_documents(response.documents), strict=True):
        got[place] = GotItem(items[place], shard.index, document)


async def multi_get_shard(context: ActionContext, request: pb.MultiGetShardRequest) -> pb.MultiGetShardResponse:
    """The documents of one shard. Raises as `get`."""
    shard = shard_from_wire(request.shard)
    answer: pb.MultiGetShardResponse = await _ask_a_copy(context, shard, f"{MULTI_GET_SHARD_ACTION}[s]", request)
    return answer


GET = Action(GET_ACTION, get, pb.GetRequest, pb.GetResponse)
MULTI_GET = Action(MULTI_GET_ACTION, multi_get, MultiGetRequest)
MULTI_GET_SHARD = Action(MULTI_GET_SHARD_ACTION, multi_get_shard, pb.MultiGetShardRequest, pb.MultiGetShardResponse)
GET_ACTIONS = (GET, MULTI_GET, MULTI_GET_SHARD)
