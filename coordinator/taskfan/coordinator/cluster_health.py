"""cluster:monitor/health: how many nodes there are, how its shards are, and waiting until that is enough."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import msgspec

from taskfan.coordinator.manager_action import on_manager
from taskfan.node.cluster_state import ClusterState
from taskfan.node.errors import IndexNotFound, NumberFormat
from taskfan.node.ids import parse_long
from taskfan.node.index.active_shards import ActiveShardCount
from taskfan.node.index.health import COLOURS, active_percent, cluster_colour, counts, index_object
from taskfan.node.index.index_names import IndicesOptions, resolve
from taskfan.node.index.metadata import IndexMetadata
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
    answer: pb.ClusterHealthResponse = await on_manager(context, request, _wait_for_health)
    return answer


async def _wait_for_health(context: ActionContext, request: pb.ClusterHealthRequest) -> pb.ClusterHealthResponse:
    node = context.node
    enough_nodes = nodes_condition(request.wait_for_nodes)
    try:
        async with context.clock.timeout(max(request.timeout_millis / 1000, 0)):
            while True:
                state = node.cluster_state
                health = _health(state, request)
                if enough_nodes(len(state.nodes)) and _is_reached(state, request, health):
                    return health
                await node.newer_cluster_state(state)
    except TimeoutError:
        health = _health(node.cluster_state, request)
        health.timed_out = True
        return health


def _is_reached(state: ClusterState, request: pb.ClusterHealthRequest, health: pb.ClusterHealthResponse) -> bool:
    """Whether all that is waited for is there, but for the nodes. Source: `TransportClusterHealthAction`."""
    if _indices_of(state, request) is None:
        return False
    if request.wait_for_status and COLOURS.index(health.status) > COLOURS.index(request.wait_for_status):
        return False
    if request.wait_for_no_initializing_shards and health.initializing_shards:
        return False
    wanted = ActiveShardCount.parse(request.wait_for_active_shards or "0")
    if wanted.count is None:
        return health.unassigned_shards == 0 and health.initializing_shards == 0
    return health.active_shards >= wanted.count


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


def _indices_of(state: ClusterState, request: pb.ClusterHealthRequest) -> list[IndexMetadata] | None:
    """The indices meant; None when one is named that does not exist. Patterns may match nothing."""
    options = IndicesOptions(expand_hidden=True)
    try:
        return resolve(state.indices, list(request.indices), options)
    except IndexNotFound:
        return None


def _health(state: ClusterState, request: pb.ClusterHealthRequest) -> pb.ClusterHealthResponse:
    found = _indices_of(state, request)
    indices = found or []
    names = [index.name for index in indices]
    counted = counts(state.indices, names)
    shown: dict[str, Any] = {}
    if request.level in ("indices", "shards"):
        with_shards = request.level == "shards"
        shown = {index.name: index_object(state.indices, index, with_shards=with_shards) for index in indices}
    return pb.ClusterHealthResponse(
        cluster_name=state.cluster_name,
        status="red" if found is None else cluster_colour(state.indices, names),
        number_of_nodes=len(state.nodes),
        number_of_data_nodes=sum(node.is_data for node in state),
        discovered_cluster_manager=state.manager is not None,
        active_primary_shards=counted.active_primary,
        active_shards=counted.active,
        unassigned_shards=counted.unassigned,
        initializing_shards=counted.initializing,
        active_shards_percent=active_percent(state.indices),
        indices=msgspec.json.encode(shown) if shown else b"",
    )


CLUSTER_HEALTH = Action(HEALTH_ACTION, cluster_health, pb.ClusterHealthRequest, pb.ClusterHealthResponse)
