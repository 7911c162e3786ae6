"""Handlers of `/_tasks`: parameters to a request, its answer to a body."""

from __future__ import annotations

from typing import Any

from taskfan.coordinator.cancel_tasks import CANCEL_TASKS
from taskfan.coordinator.get_task import GET_TASK
from taskfan.coordinator.grouping import FORMS, render
from taskfan.coordinator.list_tasks import LIST_TASKS
from taskfan.coordinator.rest.messages import Answer, RestRequest
from taskfan.coordinator.rest.parameters import GROUP_BY, Parameter, boolean, comma_list, task_id, time_ms
from taskfan.node.node import Node
from taskfan.v1 import actions_pb2 as pb

# In the order in which OpenSearch reads them, for the first wrong one is the one it tells.
LIST_PARAMETERS: tuple[Parameter, ...] = (
    boolean("detailed"),
    comma_list("nodes"),
    comma_list("actions"),
    task_id("parent_task_id"),
    boolean("wait_for_completion"),
    time_ms("timeout"),
)
LIST_TASKS_PARAMETERS = (*LIST_PARAMETERS, GROUP_BY)
GET_TASK_PARAMETERS: tuple[Parameter, ...] = (task_id("task_id"), boolean("wait_for_completion"), time_ms("timeout"))
CANCEL_TASKS_PARAMETERS: tuple[Parameter, ...] = (
    comma_list("nodes"),
    task_id("task_id"),
    comma_list("actions"),
    task_id("parent_task_id"),
    boolean("wait_for_completion"),
    GROUP_BY,
)
# Source: OpenSearch `CancelTasksRequest`.
CANCEL_REASON = "by user request"


def list_request(request: RestRequest, form: pb.TaskRendering.Form.ValueType) -> pb.ListTasksRequest:
    """What a list or a `_cat/tasks` asks, with the form in which it needs the tasks."""
    given = request.parameters
    return pb.ListTasksRequest(
        filter=_filter(given),
        rendering=pb.TaskRendering(detailed=given["detailed"], human=request.human, form=form),
        wait_for_completion=given["wait_for_completion"],
        timeout_millis=given["timeout"],
    )


def _filter(given: Any) -> pb.TaskFilter:
    message = pb.TaskFilter(actions=given["actions"], nodes=given["nodes"])
    if given["parent_task_id"].is_set:
        message.parent_task_id.CopyFrom(given["parent_task_id"].to_wire())
    return message


async def list_tasks(node: Node, request: RestRequest) -> Answer:
    """`GET /_tasks`. Source: OpenSearch `RestListTasksAction`."""
    group_by = request.parameters["group_by"]
    answer = await node.execute(LIST_TASKS.name, list_request(request, FORMS[group_by]), headers=request.headers)
    return Answer(render(answer, group_by, node.cluster_state))


async def get_task(node: Node, request: RestRequest) -> Answer:
    """`GET /_tasks/{task_id}`. Source: OpenSearch `RestGetTaskAction`, `TaskResult`."""
    given = request.parameters
    message = pb.GetTaskRequest(
        task_id=given["task_id"].to_wire(),
        wait_for_completion=given["wait_for_completion"],
        timeout_millis=given["timeout"],
        human=request.human,
    )
    found: pb.GetTaskResponse = await node.execute(GET_TASK.name, message, headers=request.headers)
    parts = [b'{"completed":true,"task":' if found.completed else b'{"completed":false,"task":', found.task]
    if found.error:
        parts += [b',"error":', found.error]
    if found.response:
        parts += [b',"response":', found.response]
    return Answer([*parts, b"}"])


async def cancel_tasks(node: Node, request: RestRequest) -> Answer:
    """`POST /_tasks/_cancel`, with a task id in its path or not. Source: OpenSearch `RestCancelTasksAction`."""
    given = request.parameters
    message = pb.CancelTasksRequest(
        filter=_filter(given),
        rendering=pb.TaskRendering(human=request.human, form=FORMS[given["group_by"]]),
        reason=CANCEL_REASON,
        wait_for_completion=given["wait_for_completion"],
    )
    if given["task_id"].is_set:
        message.filter.task_id.CopyFrom(given["task_id"].to_wire())
    answer = await node.execute(CANCEL_TASKS.name, message, headers=request.headers)
    return Answer(render(answer, given["group_by"], node.cluster_state))
