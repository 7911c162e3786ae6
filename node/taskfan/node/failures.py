"""What went wrong for one node or one task of a request that was answered all the same. Pure."""

from __future__ import annotations

from typing import Self

import msgspec

from taskfan.node.errors import TaskfanError
from taskfan.node.ids import TaskId
from taskfan.v1 import task_pb2 as pb


class NodeFailure(msgspec.Struct, frozen=True):
    """This node gave no answer; the others' still count. Source: `FailedNodeException`."""

    node_id: str
    cause: TaskfanError


class TaskFailure(msgspec.Struct, frozen=True):
    """This node answered, but this one task could not be done. Source: `TaskOperationFailure`."""

    task_id: TaskId
    reason: TaskfanError

    def to_wire(self) -> pb.TaskFailure:
        """The message that carries this failure."""
        return pb.TaskFailure(task_id=self.task_id.to_wire(), reason=self.reason.to_wire())

    @classmethod
    def from_wire(cls, message: pb.TaskFailure) -> Self:
        """The failure a message carries."""
        return cls(TaskId.from_wire(message.task_id), TaskfanError.from_wire(message.reason))
