"""internal:admin/tasks/ban: refuse and cancel children of a parent, or allow them again."""

from __future__ import annotations

from taskfan.node.ids import TaskId
from taskfan.node.node import BAN_ACTION, Action, ActionContext
from taskfan.v1 import actions_pb2 as pb


async def ban(context: ActionContext, request: pb.BanRequest) -> pb.BanResponse:
    """Set or remove a ban; a set one answers when every child here has been told.

    Source: OpenSearch `TaskCancellationService.BanParentRequestHandler`.
    """
    parent = TaskId.from_wire(request.parent_task_id)
    if request.ban:
        headers = context.task.headers
        await context.node.ban(parent, request.reason, wait=request.wait_for_completion, headers=headers)
    else:
        context.node.unban(parent)
    return pb.BanResponse()


BAN = Action(BAN_ACTION, ban, pb.BanRequest, pb.BanResponse)
