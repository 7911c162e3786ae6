"""cluster:admin/tasks/cancel: cancel tasks on many nodes."""

from __future__ import annotations

from collections.abc import Iterable

from taskfan.coordinator.fan_out import fan_out_tasks
from taskfan.coordinator.merge import TasksAnswer
from taskfan.node.actions.cancel_tasks import CANCEL_ACTION, CANCEL_OF_NODE
from taskfan.node.errors import ValidationFailed
from taskfan.node.ids import TaskId
from taskfan.node.node import Action, ActionContext
from taskfan.node.task import TaskTraits
from taskfan.v1 import actions_pb2 as pb


async def cancel_tasks(context: ActionContext, request: pb.CancelTasksRequest) -> TasksAnswer:
    """Ask each node that is meant to cancel. The tasks answered are those matched, not what descends from them.

    Raises:
        ValidationFailed: a task id together with nodes.
        IllegalArgument: the node filter cannot be read.

    Source: OpenSearch `TransportCancelTasksAction`, `CancelTasksRequest`.
    """
    if TaskId.from_wire(request.filter.task_id).is_set and request.filter.nodes:
        raise ValidationFailed("task id cannot be used together with node ids")
    return await fan_out_tasks(context, CANCEL_OF_NODE.name, request)


def _traits(request: pb.CancelTasksRequest) -> TaskTraits:
    filter = request.filter
    return TaskTraits(
        f"reason[{request.reason}], waitForCompletion[{str(request.wait_for_completion).lower()}], "
        f"taskId[{TaskId.from_wire(filter.task_id)}], parentTaskId[{TaskId.from_wire(filter.parent_task_id)}], "
        f"nodes{_java_list(filter.nodes)}, actions{_java_list(filter.actions)}"
    )


def _java_list(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


CANCEL_TASKS = Action(CANCEL_ACTION, cancel_tasks, pb.CancelTasksRequest, traits=_traits)
