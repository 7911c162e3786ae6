"""indices:data/read/get[s] and mget[shard][s]: documents of one shard. Source: OpenSearch `TransportGetAction`."""

from __future__ import annotations

import msgspec

from taskfan.node.action import Action, ActionContext
from taskfan.node.actions.bulk_shard import take_time
from taskfan.node.index.documents import Document
from taskfan.node.shards import LocalShard, shard_from_wire
from taskfan.v1 import indices_pb2 as pb

GET_ACTION = "indices:data/read/get"
MULTI_GET_SHARD_ACTION = "indices:data/read/mget[shard]"
_encode = msgspec.msgpack.Encoder().encode


async def get_of_shard(context: ActionContext, request: pb.GetRequest) -> pb.GetResponse:
    """One document, as it is now; with `realtime` false as searches see it.

    Raises:
        ShardNotFound: there is no copy of the shard here.
    """
    local = await _ready(context, request.shard, 1, refresh=request.refresh)
    found = local.copy.get(request.id) if request.realtime else _visible(local, request.id)
    document = b"" if found is None else _encode(found)
    return pb.GetResponse(index=request.index, id=request.id, found=found is not None, document=document)


def _visible(local: LocalShard, document_id: str) -> Document | None:
    return next((document for document in local.copy.visible if document.id == document_id), None)


async def multi_get_of_shard(context: ActionContext, request: pb.MultiGetShardRequest) -> pb.MultiGetShardResponse:
    """Several documents of one shard, each as it is now. Raises ShardNotFound."""
    local = await _ready(context, request.shard, len(request.ids), refresh=request.refresh)
    return pb.MultiGetShardResponse(documents=_encode([local.copy.get(document_id) for document_id in request.ids]))


async def _ready(context: ActionContext, shard: pb.ShardRef, documents: int, *, refresh: bool) -> LocalShard:
    local = context.node.shards.find(shard_from_wire(shard))
    await take_time(context, local, documents)
    if refresh:
        context.node.shards.refresh(local)
    return local


GET_OF_SHARD = Action(f"{GET_ACTION}[s]", get_of_shard, pb.GetRequest, pb.GetResponse)
MULTI_GET_OF_SHARD = Action(
    f"{MULTI_GET_SHARD_ACTION}[s]", multi_get_of_shard, pb.MultiGetShardRequest, pb.MultiGetShardResponse
)
GET_ACTIONS = (GET_OF_SHARD, MULTI_GET_OF_SHARD)
