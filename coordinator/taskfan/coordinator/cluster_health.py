"""cluster:monitor/health: how many nodes there are, and waiting until there are enough."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from taskfan.coordinator.manager_action import DEFAULT_MANAGER_TIMEOUT_S, on_manager
from taskfan.node.cluster_state import ClusterState
from taskfan.node.errors import NumberFormat
from taskfan.node.ids import parse_long
from taskfan.node.node import Action, ActionContext
from taskfan.v1 import actions_pb2 as pb

HEALTH_ACTION = "cluster:monitor/health"
_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "ge": operator.ge,
    "<=": operator.le,
    "le": operator.le,
    ">": operator.gt,
    "gt": operator.gt,
    "<": operator.lt,
    "lt": operator.lt,
    "": operator.eq,
}


async def cluster_health(context: ActionContext, request: pb.ClusterHealthRequest) -> pb.ClusterHealthResponse:
    """The health as the cluster manager sees it, when the conditions hold or the timeout is over.

    Raises:
        NumberFormat: `wait_for_nodes` is no number.
        ClusterManagerNotDiscovered: there is no manager to ask.

    Source: OpenSearch `TransportClusterHealthAction`.
    """
    if request.local:
        return await _wait_for_health(context, request)
    given = request.HasField("cluster_manager_timeout_millis")
    timeout_s = request.cluster_manager_timeout_millis / 1000 if given else DEFAULT_MANAGER_TIMEOUT_S
    answer: pb.ClusterHealthResponse = await on_manager(context, request, _wait_for_health, timeout_s=timeout_s)
    return answer


async def _wait_for_health(context: ActionContext, request: pb.ClusterHealthRequest) -> pb.ClusterHealthResponse:
    node = context.node
    enough_nodes = nodes_condition(request.wait_for_nodes)
    try:
        async with context.clock.timeout(max(request.timeout_millis / 1000, 0)):
            while True:
                state = node.cluster_state
                if enough_nodes(len(state.nodes)) and not _missing_indices(request):
                    return _health(state, request, timed_out=False)
                await node.newer_cluster_state(state)
    except TimeoutError:
        return _health(node.cluster_state, request, timed_out=True)


def nodes_condition(text: str) -> Callable[[int], bool]:
    """A test of a number of nodes: `3`, `>=3`, `ge(3)` and the like; empty passes any. Raises NumberFormat."""
    if not text:
        return lambda count: True
    match = re.fullmatch(r"(>=|<=|>|<)(.*)|(ge|le|gt|lt)\((.*)\)|(.*)", text, re.DOTALL)
    assert match is not None
    sign, digits = match[1] or match[3] or "", match[2] or match[4] or match[5] or ""
    wanted = parse_long(digits)
    if wanted is None:
        raise NumberFormat.of(digits)
    compare = _COMPARISONS[sign]
    return lambda count: compare(count, wanted)


def _missing_indices(request: pb.ClusterHealthRequest) -> bool:
    """Whether an index is named that does not exist: none does. Patterns may match nothing."""
    return any("*" not in index and index != "_all" for index in request.indices)


def _health(state: ClusterState, request: pb.ClusterHealthRequest, *, timed_out: bool) -> pb.ClusterHealthResponse:
    return pb.ClusterHealthResponse(
        cluster_name=state.cluster_name,
        status="red" if _missing_indices(request) else "green",
        timed_out=timed_out,
        number_of_nodes=len(state.nodes),
        number_of_data_nodes=sum(node.is_data for node in state),
        discovered_cluster_manager=state.manager is not None,
    )


CLUSTER_HEALTH = Action(HEALTH_ACTION, cluster_health, pb.ClusterHealthRequest, pb.ClusterHealthResponse)
