"""cluster:monitor/tasks/lists: the tasks of many nodes."""

from __future__ import annotations

from taskfan.coordinator.fan_out import fan_out_tasks, timeout_s_of
from taskfan.coordinator.merge import TasksAnswer
from taskfan.node.actions.list_tasks import LIST_ACTION, LIST_OF_NODE
from taskfan.node.node import Action, ActionContext
from taskfan.v1 import actions_pb2 as pb


async def list_tasks(context: ActionContext, request: pb.ListTasksRequest) -> TasksAnswer:
    """Ask each node that is meant for its tasks. One that gives no answer is a node failure.

    Raises:
        IllegalArgument: the node filter cannot be read.

    Source: OpenSearch `TransportListTasksAction`.
    """
    timeout_s = timeout_s_of(request)
    return await fan_out_tasks(context, LIST_OF_NODE.name, request, timeout_s=timeout_s)


LIST_TASKS = Action(LIST_ACTION, list_tasks, pb.ListTasksRequest)
