"""indices:monitor/stats[n]: how many documents the copies of one node have, and how large they are.

Source: OpenSearch `TransportIndicesStatsAction`.
"""

from __future__ import annotations

import msgspec

from taskfan.node.action import Action, ActionContext
from taskfan.node.index.copy_stats import CopyStats
from taskfan.node.shards import LocalShard
from taskfan.v1 import indices_pb2 as pb

STATS_OF_NODE_ACTION = "indices:monitor/stats[n]"


_decode = msgspec.json.Decoder(list[CopyStats]).decode


async def stats_of_node(context: ActionContext, request: pb.BroadcastRequest) -> pb.IndexStatsResponse:
    """The copies of these indices here that are ready."""
    wanted = set(request.indices)
    found = [_stats(context, local) for local in context.node.shards if local.id.index in wanted and local.is_ready]
    return pb.IndexStatsResponse(copies=msgspec.json.encode(found))


def _stats(context: ActionContext, local: LocalShard) -> CopyStats:
    copy = local.copy
    return CopyStats(
        local.id.index,
        local.id.number,
        context.node.local.id,
        local.routing.primary,
        copy.document_count,
        copy.deleted_count,
        copy.size_in_bytes,
    )


def stats_from_wire(response: pb.IndexStatsResponse) -> list[CopyStats]:
    """The copies of an answer."""
    return _decode(response.copies)


STATS_OF_NODE = Action(STATS_OF_NODE_ACTION, stats_of_node, pb.BroadcastRequest, pb.IndexStatsResponse)
