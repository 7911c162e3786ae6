"""cluster:monitor/tasks/lists[n]: the tasks of one node."""

from __future__ import annotations

from taskfan.node.action_filter import select
from taskfan.node.errors import Timeout
from taskfan.node.java_objects import java_object
from taskfan.node.node import Action, ActionContext
from taskfan.node.task import Task
from taskfan.node.task_json import render_tasks
from taskfan.v1 import actions_pb2 as pb

LIST_ACTION = "cluster:monitor/tasks/lists"
DEFAULT_WAIT_S = 30.0


async def list_tasks_of_node(context: ActionContext, request: pb.ListTasksRequest) -> pb.NodeTasksResponse:
    """Render the tasks that pass the filter, after waiting for their end if that was asked for.

    The tasks shown are those of the first look, even when they ended meanwhile.

    Raises:
        Timeout: a task did not end in time; all others of this node are lost from the answer too.

    Source: OpenSearch `TransportListTasksAction`.
    """
    tasks = select(context.node.registry, request.filter)
    if request.wait_for_completion:
        wait_s = request.timeout_millis / 1000 if request.HasField("timeout_millis") else DEFAULT_WAIT_S
        # Lists do not wait for lists: two of them would wait for each other.
        await wait_for_all(context, [task for task in tasks if not task.action.startswith(LIST_ACTION)], wait_s)
    response = pb.NodeTasksResponse()
    render_tasks(tasks, context.clock.monotonic_ns(), request.rendering, into=response.tasks)
    return response


async def wait_for_all(context: ActionContext, tasks: list[Task], limit_s: float) -> None:
    """Wait until all of the tasks have ended, in turn and with one limit. Raises Timeout."""
    waited_for = None
    try:
        async with context.clock.timeout(max(limit_s, 0)):
            for waited_for in tasks:
                await context.node.end_of(waited_for)
    except TimeoutError:
        assert waited_for is not None
        raise Timeout(f"Timed out waiting for completion of [{java_object(waited_for)}]") from None


LIST_OF_NODE = Action(f"{LIST_ACTION}[n]", list_tasks_of_node, pb.ListTasksRequest, pb.NodeTasksResponse)
