"""A task, and what it shows of itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from taskfan.node.ids import UNSET, TaskId
from taskfan.v1 import task_pb2 as pb

# How the request that began a task arrived. Source: OpenSearch `Task`, `TransportService`.
TaskType = Literal["transport", "direct", "persistent"]


class TaskTraits(msgspec.Struct, frozen=True):
    """What an action says of the task that a request will be.

    `cancels_children` tells whether a cancel descends to its children; search shard tasks stop alone.
    """

    description: str = ""
    cancellable: bool = False
    cancels_children: bool = True


PLAIN = TaskTraits()
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
# The stats of a task whose class is not tracked: zeros, but shown. Source: `TaskResourceStats`.
NO_RESOURCE_STATS = (
    b'{"average":{"cpu_time_in_nanos":0,"memory_in_bytes":0},"total":{"cpu_time_in_nanos":0,"memory_in_bytes":0},'
    b'"min":{"cpu_time_in_nanos":0,"memory_in_bytes":0},"max":{"cpu_time_in_nanos":0,"memory_in_bytes":0},'
    b'"thread_info":{"thread_executions":0,"active_threads":0}}'
)


class CancelledInfo(msgspec.Struct, frozen=True):
    """Why and when a task was cancelled: by the first cancel, later ones change nothing."""

    reason: str
    time_ms: int


class Task(msgspec.Struct, eq=False):
    """One running piece of work on one node. Source: OpenSearch `Task`, `CancellableTask`.

    `start_time_ms` is wall time, `start_ns` monotonic time of its node. `status` gives the action's own
    status object as JSON at the moment it is asked for; None when it has none. `context` is what its node runs it
    with, while it runs; `kind` is where `task_json` keeps what its JSON shares with that of other tasks.
    """

    id: TaskId
    type: TaskType
    action: str
    start_time_ms: int
    start_ns: int
    traits: TaskTraits = PLAIN
    parent: TaskId = UNSET
    headers: Mapping[str, str] = NO_HEADERS
    status: Callable[[], bytes] | None = None
    human_status: Callable[[], bytes] | None = None
    work: object = None
    context: object = None
    resource_stats: Callable[[], bytes] | None = None
    cancelled: CancelledInfo | None = None
    kind: tuple[bytes, bytes, bytes] | None = None

    @property
    def cancellable(self) -> bool:
        """Whether it may be asked to stop."""
        return self.traits.cancellable

    def cancel(self, reason: str, time_ms: int) -> None:
        """Note that it has been asked to stop."""
        self.cancelled = CancelledInfo(reason, time_ms)
        self.kind = None

    def to_wire(self, now_ns: int) -> pb.TaskInfo:
        """A snapshot of it."""
        info = pb.TaskInfo(
            task_id=self.id.to_wire(),
            type=self.type,
            action=self.action,
            description=self.traits.description,
            start_time_millis=self.start_time_ms,
            running_time_nanos=now_ns - self.start_ns,
            cancellable=self.cancellable,
            cancelled=self.cancelled is not None,
            headers=self.headers,
            status=self.status() if self.status is not None else b"",
        )
        if self.parent.is_set:
            info.parent_task_id.CopyFrom(self.parent.to_wire())
        if self.cancelled is not None:
            info.cancellation_time_millis = self.cancelled.time_ms
        return info


def id_of(parent: Task | None) -> TaskId:
    """The id of a parent, or of none."""
    return UNSET if parent is None else parent.id
