"""indices:monitor/stats: how many documents the copies of some indices have, and how large they are.

Source: OpenSearch `TransportIndicesStatsAction`, `TransportCatShardsAction`.
"""

from __future__ import annotations

from taskfan.coordinator.fan_out import fan_out
from taskfan.coordinator.index_options import options_from_wire
from taskfan.node.actions.index_stats import STATS_OF_NODE_ACTION, stats_from_wire
from taskfan.node.failures import NodeFailure
from taskfan.node.index.copy_stats import CopyStats
from taskfan.node.index.index_names import resolve
from taskfan.node.node import Action, ActionContext
from taskfan.v1 import indices_pb2 as pb

INDEX_STATS_ACTION = "indices:monitor/stats"


async def index_stats(context: ActionContext, request: pb.BroadcastRequest) -> list[CopyStats]:
    """Every copy that told of itself; the copies of a node that gave no answer are missing. Raises IndexNotFound."""
    state = context.node.cluster_state
    names = [index.name for index in resolve(state.indices, list(request.indices), options_from_wire(request))]
    holders = {copy.node_id for copy in state.indices.routing if copy.index in names and copy.active}
    nodes = [node for node in state if node.id in holders]
    answers = await fan_out(context, STATS_OF_NODE_ACTION, pb.BroadcastRequest(indices=names), nodes, timeout_s=None)
    return [copy for _, answer in answers if not isinstance(answer, NodeFailure) for copy in stats_from_wire(answer)]


INDEX_STATS = Action(INDEX_STATS_ACTION, index_stats, pb.BroadcastRequest)
