"""cluster:admin/tasks/cancel[n]: cancel tasks of one node."""

from __future__ import annotations

import logging

from taskfan.node.action_filter import passes, select
from taskfan.node.errors import IllegalArgument, TaskfanError, TaskNotFound
from taskfan.node.failures import TaskFailure
from taskfan.node.ids import TaskId
from taskfan.node.node import Action, ActionContext
from taskfan.node.task import Task
from taskfan.node.task_json import render_tasks
from taskfan.v1 import actions_pb2 as pb

CANCEL_ACTION = "cluster:admin/tasks/cancel"
MOST_LOGGED = 10
log = logging.getLogger(__name__)


async def cancel_tasks_of_node(context: ActionContext, request: pb.CancelTasksRequest) -> pb.NodeTasksResponse:
    """Cancel the tasks that are meant; answers when all are done, in the sense of `Node.cancel`.

    A task whose bans could not be placed is a task failure instead of a task, though it is cancelled.

    Raises:
        TaskNotFound: the one task asked for does not run here.
        IllegalArgument: it cannot be cancelled, or does not pass the other filters.

    Source: OpenSearch `TransportCancelTasksAction`, `TransportTasksAction.nodeOperation`.
    """
    node = context.node
    tasks = _tasks_meant(context, request.filter)
    if tasks:
        shown = ", ".join(str(task.id) for task in tasks[:MOST_LOGGED])
        log.info("cancelling %d tasks: %s%s", len(tasks), shown, " …" if len(tasks) > MOST_LOGGED else "")
    headers = context.task.headers
    cancels = [node.cancel(task, request.reason, wait=request.wait_for_completion, headers=headers) for task in tasks]
    cancelled, failures = [], []
    for task, cancel in zip(tasks, cancels, strict=True):
        try:
            await cancel
            cancelled.append(task)
        except TaskfanError as failure:
            failures.append(TaskFailure(task.id, failure).to_wire())
    response = pb.NodeTasksResponse(task_failures=failures)
    render_tasks(cancelled, node.clock.monotonic_ns(), request.rendering, into=response.tasks)
    return response


def _tasks_meant(context: ActionContext, filter: pb.TaskFilter) -> list[Task]:
    wanted = TaskId.from_wire(filter.task_id)
    registry = context.node.registry
    if not wanted.is_set:
        return [task for task in select(registry, filter) if task.cancellable]
    task = registry.get(wanted.number)
    if task is None:
        raise TaskNotFound(str(wanted))
    if not task.cancellable:
        raise IllegalArgument(f"task [{wanted}] doesn't support cancellation")
    if not passes(task, filter):
        raise IllegalArgument(f"task [{wanted}] doesn't support this operation")
    return [task]


CANCEL_OF_NODE = Action(f"{CANCEL_ACTION}[n]", cancel_tasks_of_node, pb.CancelTasksRequest, pb.NodeTasksResponse)
