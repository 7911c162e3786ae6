"""cluster:monitor/state and cluster:monitor/main: the cluster state of the manager, and of this node."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from taskfan.coordinator.manager_action import on_manager
from taskfan.node.cluster_state import ClusterState
from taskfan.node.node import Action, ActionContext, Node
from taskfan.v1 import actions_pb2 as pb

STATE_ACTION = "cluster:monitor/state"
MAIN_ACTION = "cluster:monitor/main"


async def cluster_state(context: ActionContext, request: pb.ClusterStateRequest) -> pb.ClusterStateResponse:
    """The cluster state, by default the manager's.

    Raises:
        ClusterManagerNotDiscovered: there is no manager to ask.

    Source: OpenSearch `TransportClusterStateAction`.
    """
    if request.local:
        return await _own_state(context, request)
    answer: pb.ClusterStateResponse = await on_manager(context, request, _own_state)
    return answer


async def _own_state(context: ActionContext, request: pb.ClusterStateRequest) -> pb.ClusterStateResponse:
    return pb.ClusterStateResponse(cluster_state=msgspec.json.encode(context.node.cluster_state))


async def read_cluster_state(
    node: Node, *, headers: Mapping[str, str], local: bool = False, manager_timeout_ms: int | None = None
) -> ClusterState:
    """Ask for the cluster state, as a task of `node`. Raises what the action raises.

    Args:
        manager_timeout_ms: how long a manager may be missing; None is the default.
    """
    message = pb.ClusterStateRequest(local=local, cluster_manager_timeout_millis=manager_timeout_ms)
    response = await node.execute(STATE_ACTION, message, headers=headers)
    return msgspec.json.decode(response.cluster_state, type=ClusterState)


async def main(context: ActionContext, request: pb.ClusterStateRequest) -> ClusterState:
    """This node's own view, for `GET /`. Source: OpenSearch `TransportMainAction`."""
    return context.node.cluster_state


CLUSTER_STATE = Action(STATE_ACTION, cluster_state, pb.ClusterStateRequest, pb.ClusterStateResponse)
MAIN = Action(MAIN_ACTION, main, pb.ClusterStateRequest)
