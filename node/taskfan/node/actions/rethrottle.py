"""cluster:admin/reindex/rethrottle[n]: another rate for a reindex, update by query or delete by query of this node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from taskfan.node.action import Action, ActionContext
from taskfan.node.action_filter import passes, select
from taskfan.node.errors import Origin, ResourceNotFound, TaskfanError
from taskfan.node.failures import TaskFailure
from taskfan.node.ids import TaskId
from taskfan.node.index.by_scroll_leader import ByScrollTask
from taskfan.node.java_objects import BY_SCROLL_TASK, java_class
from taskfan.node.task import Task
from taskfan.node.task_json import join, render, render_without_stats
from taskfan.v1 import actions_pb2
from taskfan.v1 import search_pb2 as pb

RETHROTTLE_ACTION = "cluster:admin/reindex/rethrottle"


class RunningByScroll(msgspec.Struct, frozen=True):
    """The `work` of a task of the reindex family: how far it is, and a call that wakes it after a change."""

    state: ByScrollTask
    changed: Callable[[], None]


class ClassCast(TaskfanError):
    """A task of another class than an operation is for. Source: Java `ClassCastException`."""

    kind = "class_cast_exception"
    origin = Origin.FOREIGN

    def __init__(self, task: Task) -> None:
        found, wanted = java_class(task), BY_SCROLL_TASK
        where = f"{found} and {wanted} are in unnamed module of loader 'app'"
        super().__init__(f"class {found} cannot be cast to class {wanted} ({where})")


async def rethrottle_of_node(context: ActionContext, request: pb.RethrottleRequest) -> actions_pb2.NodeTasksResponse:
    """Give the tasks that are meant another rate; a leader shares it among its slices.

    Raises:
        ResourceNotFound: the one task asked for does not run here, or does not pass the other filters.

    Source: OpenSearch `TransportRethrottleAction`, `TransportTasksAction.nodeOperation`.
    """
    answered, bodies, failures = [], [], []
    for task in _tasks_meant(context, request.filter):
        try:
            bodies.append(await _rethrottle(context, task, request))
        except TaskfanError as error:
            failures.append(TaskFailure(task.id, error).to_wire())
            continue
        answered.append(task)
    rendered = join(answered, bodies, request.rendering)
    return actions_pb2.NodeTasksResponse(tasks=rendered, task_failures=failures)


def _tasks_meant(context: ActionContext, filter: actions_pb2.TaskFilter) -> list[Task]:
    wanted, registry = TaskId.from_wire(filter.task_id), context.node.registry
    if not wanted.is_set:
        return select(registry, filter)
    task = registry.get(wanted.number)
    if task is None:
        raise ResourceNotFound(f"task [{wanted}] is missing")
    if not passes(task, filter):
        raise ResourceNotFound(f"task [{wanted}] doesn't support this operation")
    return [task]


async def _rethrottle(context: ActionContext, task: Task, request: pb.RethrottleRequest) -> bytes:
    if not isinstance(task.work, RunningByScroll):
        raise ClassCast(task)
    state, rate = task.work.state, request.requests_per_second
    state.check_rethrottle()
    if state.worker is not None:
        state.worker.rethrottle(rate, context.clock.monotonic_ns())
        task.work.changed()
        return render(task, context.clock.monotonic_ns(), request.rendering)
    assert state.leader is not None
    answered: list[int] = []
    if state.leader.running:
        answered = await _rethrottle_slices(context, task, state.leader.rate_for_each(rate))
    return _leader_body(context, task, state, answered, human=request.rendering.human)


async def _rethrottle_slices(context: ActionContext, task: Task, rate: float) -> list[int]:
    """Pass the rate on to the slices; the numbers of those that took it.

    Raises:
        TaskfanError: one could not.
    """
    nested = pb.RethrottleRequest(
        filter=actions_pb2.TaskFilter(parent_task_id=task.id.to_wire()),
        rendering=actions_pb2.TaskRendering(detailed=True),
        requests_per_second=rate,
    )
    # It stands alone, as in OpenSearch, though it waits for it.
    answer: Any = await context.node.execute(RETHROTTLE_ACTION, nested, headers=context.task.headers)
    for failure in answer.node_failures:
        raise TaskfanError(f"Failed node [{failure.node_id}]", cause=failure.cause)
    for failure in answer.task_failures:
        raise TaskfanError(f"Rethrottle of [{failure.task_id}] failed", cause=failure.reason)
    return [number for node_id, tasks in answer.nodes if node_id == task.id.node_id for number in tasks.numbers]


def _leader_body(context: ActionContext, task: Task, state: ByScrollTask, answered: list[int], *, human: bool) -> bytes:
    """A leader with what its slices are at, and without resource stats."""
    now_ns, live = context.clock.monotonic_ns(), []
    for number in answered:
        child = context.node.registry.get(number)
        if child is not None and isinstance(child.work, RunningByScroll):
            live.append(child.work.state.status(now_ns))
    assert state.leader is not None
    status = msgspec.json.encode(state.leader.status(live).to_object(human=human))
    rendering = actions_pb2.TaskRendering(detailed=True, human=human)
    return render_without_stats(task, now_ns, rendering, status)


RETHROTTLE_OF_NODE = Action(
    f"{RETHROTTLE_ACTION}[n]", rethrottle_of_node, pb.RethrottleRequest, actions_pb2.NodeTasksResponse
)
