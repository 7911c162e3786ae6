"""The gRPC service `TaskRegistry`: one node's tasks for scripts and grpcurl, without a fan-out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from taskfan.node.action_filter import action_pattern, select
from taskfan.node.errors import TaskfanError
from taskfan.node.grpc_status import Status, StatusError
from taskfan.node.ids import TaskId
from taskfan.node.node import Node
from taskfan.node.task import Task
from taskfan.v1 import actions_pb2
from taskfan.v1 import task_pb2 as task_pb
from taskfan.v1 import task_registry_pb2 as pb

MAX_WAITING_EVENTS = 10_000
BY_USER_REQUEST = "by user request"

_KINDS = {
    "registered": pb.TaskEvent.KIND_REGISTERED,
    "cancelled": pb.TaskEvent.KIND_CANCELLED,
    "unregistered": pb.TaskEvent.KIND_UNREGISTERED,
}


class TaskRegistryService:
    """Answers about one node's own registry. A method that cannot raises StatusError.

    Args:
        start_work: starts a plan given as JSON text and returns its root task; raises TaskfanError.
    """

    def __init__(self, node: Node, start_work: Callable[[str], Awaitable[Task]]) -> None:
        self._node = node
        self._start_work = start_work

    async def ListTasks(self, request: pb.ListTasksOfNodeRequest) -> pb.ListTasksOfNodeResponse:  # noqa: N802
        """The tasks that pass the filter, by number."""
        filter = actions_pb2.TaskFilter(actions=request.actions)
        if request.HasField("parent_task_id"):
            filter.parent_task_id.CopyFrom(request.parent_task_id)
        tasks = [self._info(task) for task in select(self._node.registry, filter)]
        return pb.ListTasksOfNodeResponse(node_id=self._node.local.id, tasks=tasks)

    async def GetTask(self, request: pb.GetTaskOfNodeRequest) -> task_pb.TaskInfo:  # noqa: N802
        """A running task; NOT_FOUND when there is none of that number."""
        return self._info(self._find(request.number))

    async def CancelTask(self, request: pb.CancelTaskOfNodeRequest) -> task_pb.TaskInfo:  # noqa: N802
        """Cancel a task and what descends from it on all nodes."""
        task = self._find(request.number)
        if not task.cancellable:
            raise StatusError(Status.FAILED_PRECONDITION, f"task [{task.id}] doesn't support cancellation")
        try:
            await self._node.cancel(task, request.reason or BY_USER_REQUEST, wait=request.wait_for_completion)
        except TaskfanError as error:
            raise StatusError(Status.UNAVAILABLE, f"cancelled, but not everywhere: {error.reason}") from None
        return self._info(task)

    async def StartWork(self, request: pb.StartWorkRequest) -> task_pb.TaskInfo:  # noqa: N802
        """Start simulated work; INVALID_ARGUMENT names the field of the plan that is wrong."""
        try:
            return self._info(await self._start_work(request.plan_json))
        except TaskfanError as error:
            raise StatusError(Status.INVALID_ARGUMENT, error.reason or error.kind) from None

    async def WatchTasks(self, request: pb.WatchTasksRequest) -> AsyncGenerator[pb.TaskEvent, None]:  # noqa: N802
        """What runs now, then every change, until the caller ends the call or is too slow."""
        matches = action_pattern(tuple(request.actions) or ("*",))
        events: asyncio.Queue[pb.TaskEvent] = asyncio.Queue(MAX_WAITING_EVENTS)
        overflowed = False

        def on_event(event: str, task: Task) -> None:
            nonlocal overflowed
            if not matches(task.action):
                return
            if events.full():
                overflowed = True
            else:
                events.put_nowait(pb.TaskEvent(kind=_KINDS[event], task=self._info(task)))

        # No await between the snapshot and the listener: nothing is missed and nothing told twice.
        running = [self._info(task) for task in self._node.registry if matches(task.action)]
        remove_listener = self._node.add_listener(on_event)
        try:
            for info in running:
                yield pb.TaskEvent(kind=pb.TaskEvent.KIND_RUNNING, task=info)
            while not (overflowed and events.empty()):
                yield await events.get()
        finally:
            remove_listener()
        raise StatusError(Status.RESOURCE_EXHAUSTED, f"more than {MAX_WAITING_EVENTS} events waited to be read")

    def _find(self, number: int) -> Task:
        task = self._node.registry.get(number)
        if task is None:
            task_id = TaskId(self._node.local.id, number)
            raise StatusError(Status.NOT_FOUND, f"task [{task_id}] is not found")
        return task

    def _info(self, task: Task) -> task_pb.TaskInfo:
        return task.to_wire(self._node.clock.monotonic_ns())
