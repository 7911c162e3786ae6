"""Ask many nodes at once, each as a child task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from taskfan.coordinator.merge import TasksAnswer, merge
from taskfan.coordinator.node_filter import resolve
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.errors import NoSuchNode, TaskfanError
from taskfan.node.failures import NodeFailure
from taskfan.node.ids import TaskId
from taskfan.node.node import ActionContext, wake
from taskfan.v1 import actions_pb2 as pb
from taskfan.v1.search_pb2 import RethrottleRequest

TasksRequest = TypeVar("TasksRequest", pb.ListTasksRequest, pb.CancelTasksRequest, RethrottleRequest)


async def fan_out(
    context: ActionContext,
    action: str,
    request: Message,
    nodes: Sequence[DiscoveryNode],
    *,
    timeout_s: float | None,
    elsewhere: Message | None = None,
) -> list[tuple[str, Any | NodeFailure]]:
    """Ask every node at once, each as a child of this task.

    Args:
        nodes: each is asked once.
        timeout_s: limit for each node; None waits until the node answers or leaves. A slow node costs
            no other node's answer.
        elsewhere: what the other nodes are sent, when that is not the same.

    Returns:
        In the order of `nodes`, the id of each with its answer or the failure that stands for it.

    Source: OpenSearch `TransportTasksAction.AsyncAction`.
    """
    local, answers = context.node.local, GroupedAnswers(len(nodes))
    others = [node for node in nodes if node.id != local.id]
    # The others first, so that they work while this node does its own part.
    if others:
        sent = context.request(action, elsewhere or request)
        for node in others:
            context.ask(node, sent, partial(answers.take, node.id), timeout_s=timeout_s)
    if len(others) < len(nodes):
        try:
            answers.take(local.id, await context.send(local, action, request, timeout_s=timeout_s))
        except TaskfanError as error:
            answers.take(local.id, error)
    await answers.complete
    return [(node.id, answers.by_node[node.id]) for node in nodes]


class GroupedAnswers:
    """Collects what many nodes answer. Source: OpenSearch `GroupedActionListener`."""

    def __init__(self, missing: int) -> None:
        self.by_node: dict[str, Any | NodeFailure] = {}
        self._missing = missing
        # Done when all have been taken.
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not missing:
            self.complete.set_result(None)

    def take(self, node_id: str, answer: Any | TaskfanError) -> None:
        """What came from a node, or why nothing did. Once for each."""
        self.by_node[node_id] = NodeFailure(node_id, answer) if isinstance(answer, TaskfanError) else answer
        self._missing -= 1
        if not self._missing:
            wake(self.complete, None)


async def fan_out_tasks(
    context: ActionContext,
    action: str,
    request: TasksRequest,
    *,
    timeout_s: float | None = None,
) -> TasksAnswer:
    """Ask the nodes that a task filter means: the node of its one task, or those of its node filter.

    Raises:
        IllegalArgument: the node filter cannot be read.
    """
    node, state, filter = context.node, context.node.cluster_state, request.filter
    if filter.HasField("task_id") and (task_id := TaskId.from_wire(filter.task_id)).is_set:
        owner = state.get(task_id.node_id)
        if owner is None:
            failure = NodeFailure(task_id.node_id, NoSuchNode(task_id.node_id))
            return merge([(task_id.node_id, failure)], node.local.id)
        nodes = [owner]
    else:
        nodes = resolve(filter.nodes, state, node.local.id)
    elsewhere = _as_others_read(request)
    answers = await fan_out(context, action, request, nodes, timeout_s=timeout_s, elsewhere=elsewhere)
    return merge(answers, node.local.id)


def _as_others_read(request: TasksRequest) -> TasksRequest:
    """The request as it is after OpenSearch's wire, where a task id without a node id is none at all.

    So `parent_task_id=:5` chooses on the asking node, and nothing on the others. Source: `TaskId.writeTo`.
    """
    if not request.filter.HasField("parent_task_id") or request.filter.parent_task_id.node_id:
        return request
    other = type(request)()
    other.CopyFrom(request)
    other.filter.ClearField("parent_task_id")
    return other


def timeout_s_of(request: pb.ListTasksRequest | pb.GetTaskRequest | pb.NodesInfoRequest) -> float | None:
    """The request's own limit in seconds, or None."""
    return request.timeout_millis / 1000 if request.HasField("timeout_millis") else None
