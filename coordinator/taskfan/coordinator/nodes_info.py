"""cluster:monitor/nodes/info and …/stats: what each node says of itself and its process."""

from __future__ import annotations

from typing import Any

import msgspec

from taskfan.coordinator.fan_out import fan_out, timeout_s_of
from taskfan.coordinator.node_filter import resolve
from taskfan.node.actions.node_info import INFO_OF_NODE, STATS_OF_NODE
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.failures import NodeFailure
from taskfan.node.node import Action, ActionContext
from taskfan.v1 import actions_pb2 as pb

INFO_ACTION = "cluster:monitor/nodes/info"
STATS_ACTION = "cluster:monitor/nodes/stats"


class NodesInfoAnswer(msgspec.Struct, frozen=True):
    """The nodes that answered, each with its object, and those that did not."""

    nodes: list[tuple[DiscoveryNode, dict[str, Any]]]
    failures: list[NodeFailure]


async def nodes_info(context: ActionContext, request: pb.NodesInfoRequest) -> NodesInfoAnswer:
    """Ask each node that is meant about itself. Raises IllegalArgument for a bad node filter.

    Source: OpenSearch `TransportNodesAction`.
    """
    return await _ask(context, request, INFO_OF_NODE.name)


async def nodes_stats(context: ActionContext, request: pb.NodesInfoRequest) -> NodesInfoAnswer:
    """Ask each node that is meant how its process does. Raises IllegalArgument for a bad node filter."""
    return await _ask(context, request, STATS_OF_NODE.name)


async def _ask(context: ActionContext, request: pb.NodesInfoRequest, action: str) -> NodesInfoAnswer:
    nodes = resolve(request.nodes, context.node.cluster_state, context.node.local.id)
    answers = await fan_out(context, action, request, nodes, timeout_s=timeout_s_of(request))
    answered, failures = [], []
    for node, (_, answer) in zip(nodes, answers, strict=True):
        if isinstance(answer, NodeFailure):
            failures.append(answer)
        else:
            answered.append((node, msgspec.json.decode(answer.body, type=dict[str, Any])))
    return NodesInfoAnswer(answered, failures)


NODES_INFO = Action(INFO_ACTION, nodes_info, pb.NodesInfoRequest)
NODES_STATS = Action(STATS_ACTION, nodes_stats, pb.NodesInfoRequest)
