"""cluster:admin/reindex/rethrottle: another rate for work of the reindex family, wherever it runs."""

from __future__ import annotations

from taskfan.coordinator.fan_out import fan_out_tasks
from taskfan.coordinator.merge import TasksAnswer
from taskfan.node.actions.rethrottle import RETHROTTLE_ACTION, RETHROTTLE_OF_NODE
from taskfan.node.node import Action, ActionContext
from taskfan.v1.search_pb2 import RethrottleRequest


async def rethrottle(context: ActionContext, request: RethrottleRequest) -> TasksAnswer:
    """Ask each node that is meant: for a task its node, for a parent all. Source: `TransportRethrottleAction`."""
    return await fan_out_tasks(context, RETHROTTLE_OF_NODE.name, request)


RETHROTTLE = Action(RETHROTTLE_ACTION, rethrottle, RethrottleRequest)
