"""cluster:monitor/task/get: one task, wherever it runs."""

from __future__ import annotations

from taskfan.coordinator.fan_out import timeout_s_of
from taskfan.coordinator.stored_results import stored_result
from taskfan.node.actions.list_tasks import DEFAULT_WAIT_S, wait_for_all
from taskfan.node.errors import ResourceNotFound, TaskfanError, ValidationFailed
from taskfan.node.ids import TaskId
from taskfan.node.node import Action, ActionContext
from taskfan.node.task import Task
from taskfan.node.task_json import render
from taskfan.v1 import actions_pb2 as pb

GET_ACTION = "cluster:monitor/task/get"
# How often OpenSearch looks whether a task that is waited for has ended.
POLL_S = 0.1


async def get_task(context: ActionContext, request: pb.GetTaskRequest) -> pb.GetTaskResponse:
    """Look a task up where it runs: here, or by the same action on its node.

    Raises:
        ValidationFailed: no task id.
        ResourceNotFound: it neither runs nor has a stored result.
        Timeout: it was waited for, and did not end in time.
        TransportError: its node gave no answer.

    Source: OpenSearch `TransportGetTaskAction`.
    """
    wanted = TaskId.from_wire(request.task_id)
    if not wanted.is_set:
        raise ValidationFailed("task id is required")
    node = context.node
    if wanted.node_id == node.local.id:
        return await _get_here(context, wanted, request)
    owner = node.cluster_state.get(wanted.node_id)
    if owner is None:
        return await _get_of_missing_node(context, wanted, request)
    answer: pb.GetTaskResponse = await context.send(owner, GET_ACTION, request, timeout_s=timeout_s_of(request))
    return answer


async def _get_here(context: ActionContext, wanted: TaskId, request: pb.GetTaskRequest) -> pb.GetTaskResponse:
    task = context.node.registry.get(wanted.number)
    if task is None:
        return await stored_result(context, wanted, human=request.human)
    if not request.wait_for_completion:
        return _snapshot(context, task, request, completed=False)
    limit_s = timeout_s_of(request)
    if limit_s is not None and context.task.parent.is_set:
        # Another node waits for this one with the same limit, and gives up first: here tasks are looked at in turns.
        limit_s += POLL_S
    await wait_for_all(context, [task], DEFAULT_WAIT_S if limit_s is None else limit_s)
    try:
        return await stored_result(context, wanted, human=request.human)
    except TaskfanError as error:
        if error.kind != ResourceNotFound.kind:
            raise
        # Most tasks store nothing: the last that is known of it has to do.
        return _snapshot(context, task, request, completed=True)


def _snapshot(context: ActionContext, task: Task, request: pb.GetTaskRequest, *, completed: bool) -> pb.GetTaskResponse:
    rendering = pb.TaskRendering(detailed=True, human=request.human)
    body = render(task, context.clock.monotonic_ns(), rendering)
    return pb.GetTaskResponse(completed=completed, task=body)


async def _get_of_missing_node(
    context: ActionContext, wanted: TaskId, request: pb.GetTaskRequest
) -> pb.GetTaskResponse:
    """The result that is kept of a task whose node left, or never was."""
    try:
        return await stored_result(context, wanted, human=request.human)
    except TaskfanError as error:
        if error.kind != ResourceNotFound.kind:
            raise
        raise ResourceNotFound(
            f"task [{wanted}] belongs to the node [{wanted.node_id}] which isn't part of the cluster "
            "and there is no record of the task",
            cause=error,
        ) from None


GET_TASK = Action(GET_ACTION, get_task, pb.GetTaskRequest, pb.GetTaskResponse)
