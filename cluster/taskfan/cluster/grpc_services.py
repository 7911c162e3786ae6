"""The services beside the links on a member's transport port: this node's tasks, health, and reflection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from taskfan.coordinator.work import start_work
from taskfan.node.errors import IllegalArgument
from taskfan.node.node import Node
from taskfan.node.rpc import Method, methods_of
from taskfan.node.standard_services import standard_methods
from taskfan.node.task import Task
from taskfan.node.task_registry_service import TaskRegistryService
from taskfan.v1 import task_registry_pb2, transport_pb2

_TRANSPORT = transport_pb2.DESCRIPTOR.services_by_name["Transport"]
_TASK_REGISTRY = task_registry_pb2.DESCRIPTOR.services_by_name["TaskRegistry"]


def methods_of_node(node: Node) -> dict[str, Method]:
    """All methods that a member serves besides those of its links, by path."""
    tasks = TaskRegistryService(node, _starter(node))
    return methods_of(_TASK_REGISTRY, tasks) | standard_methods([_TRANSPORT.full_name, _TASK_REGISTRY.full_name])


def _starter(node: Node) -> Callable[[str], Awaitable[Task]]:
    async def start(plan_json: str) -> Task:
        try:
            plan = msgspec.json.decode(plan_json)
        except msgspec.DecodeError as error:
            raise IllegalArgument(f"the plan is no JSON: {error}") from None
        return (await start_work(node, plan, headers={})).task

    return start
