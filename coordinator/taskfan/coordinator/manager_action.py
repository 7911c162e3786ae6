"""Actions that the cluster manager answers: on another node they run as parent here and child there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

from google.protobuf.message import Message

from taskfan.node.coordination.messages import FailedToCommit, NotClusterManager
from taskfan.node.errors import NodeDisconnected, NodeNotConnected, TaskfanError
from taskfan.node.node import ActionContext
from taskfan.node.state_updates import UpdateLimits

Request = TypeVar("Request", bound=Message)
DEFAULT_MANAGER_TIMEOUT_S = 30.0
# Whoever it was has lost its place: who takes it is asked again.
_LOST_MANAGER = (NotClusterManager.kind, FailedToCommit.kind)


class ClusterManagerNotDiscovered(TaskfanError):
    """Nobody is the cluster manager, and nobody became it in time."""

    kind = "cluster_manager_not_discovered_exception"
    http_status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__(None)


async def on_manager(
    context: ActionContext,
    request: Request,
    run: Callable[[ActionContext, Request], Awaitable[Any]],
) -> Any:
    """Run it here when this node is the cluster manager, else send the task's own action there.

    A manager that is missing, or goes away with the request, is waited for.

    Raises:
        ClusterManagerNotDiscovered: there was none in time. The limit is for finding one, not for its answer.
        Whatever `run` raises, here or there.

    Source: OpenSearch `TransportClusterManagerNodeAction.AsyncSingleAction`.
    """
    node = context.node
    deadline_ns = context.clock.monotonic_ns() + round(_manager_timeout_s(request) * 1e9)
    while True:
        state = node.cluster_state
        manager = state.manager
        if manager is not None and manager.id == node.local.id:
            try:
                return await run(context, request)
            except TaskfanError as error:
                if error.kind not in _LOST_MANAGER:
                    raise
        elif manager is not None:
            try:
                return await context.send(manager, context.task.action, request)
            except (NodeNotConnected, NodeDisconnected):
                # Our link to it failed; one that failed over there comes as a plain TaskfanError.
                pass
            except TaskfanError as error:
                if error.kind not in _LOST_MANAGER:
                    raise
        try:
            async with context.clock.timeout(max((deadline_ns - context.clock.monotonic_ns()) / 1e9, 0)):
                await node.newer_cluster_state(state)
        except TimeoutError:
            raise ClusterManagerNotDiscovered from None


def update_limits(request: Any) -> UpdateLimits:
    """How long a change of the cluster state may take, as the message that asks for it says.

    Without `timeout_millis` all nodes are waited for.
    """
    ack_s = request.timeout_millis / 1000 if request.HasField("timeout_millis") else None
    return UpdateLimits(start_s=_manager_timeout_s(request), ack_s=ack_s)


def _manager_timeout_s(request: Any) -> float:
    """How long a manager may be missing: an optional field of every message that one answers."""
    given = request.HasField("cluster_manager_timeout_millis")
    return request.cluster_manager_timeout_millis / 1000 if given else DEFAULT_MANAGER_TIMEOUT_S
