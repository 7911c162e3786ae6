"""What a request is about, read from its payload as the node that gets it will read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError, Message

from taskfan.node.faults.decide import Subject
from taskfan.node.ids import TaskId
from taskfan.v1 import task_pb2 as pb

if TYPE_CHECKING:
    from taskfan.node.action import Action
    from taskfan.node.transport import Request


def subject_of(request: Request, actions: Mapping[str, Action]) -> Subject:
    """The tasks that a request names, and the description of the task it starts; nothing for an unknown action."""
    action = actions.get(request.handler or request.action)
    if action is None:
        return Subject()
    try:
        message = action.request.FromString(request.payload)
    except DecodeError:
        return Subject()
    named = [str(TaskId.from_wire(task_id)) for task_id in _task_ids(message)]
    return Subject(tuple(dict.fromkeys(named)), action.traits(message).description)


def _task_ids(message: Message) -> list[pb.TaskId]:
    """The task ids that are fields of it, or of the filter in it."""
    found = []
    for field, value in message.ListFields():
        if isinstance(value, pb.TaskId):
            found.append(value)
        elif field.name == "filter":
            found += _task_ids(value)
    return found
