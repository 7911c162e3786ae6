"""The services beside the transport on a member's gRPC port: this node's tasks, health, and reflection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc.aio
import msgspec
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from taskfan.coordinator.work import start_work
from taskfan.node.errors import IllegalArgument
from taskfan.node.node import Node
from taskfan.node.task import Task
from taskfan.node.task_registry_service import TaskRegistryService
from taskfan.v1 import task_registry_pb2, task_registry_pb2_grpc, transport_pb2

_TRANSPORT = transport_pb2.DESCRIPTOR.services_by_name["Transport"].full_name
_TASK_REGISTRY = task_registry_pb2.DESCRIPTOR.services_by_name["TaskRegistry"].full_name


async def services_of(node: Node) -> Callable[[grpc.aio.Server], None]:
    """What adds the services of this node to its server."""
    checks = health.aio.HealthServicer()
    for name in (_TRANSPORT, _TASK_REGISTRY):
        # The member is made as a whole: it serves all of this, or it is not there.
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    service = TaskRegistryService(node, _starter(node))
    names = (_TRANSPORT, _TASK_REGISTRY, health.SERVICE_NAME, reflection.SERVICE_NAME)

    def add(server: grpc.aio.Server) -> None:
        task_registry_pb2_grpc.add_TaskRegistryServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        reflection.enable_server_reflection(names, server)

    return add


def _starter(node: Node) -> Callable[[str], Awaitable[Task]]:
    async def start(plan_json: str) -> Task:
        try:
            plan = msgspec.json.decode(plan_json)
        except msgspec.DecodeError as error:
            raise IllegalArgument(f"the plan is no JSON: {error}") from None
        return (await start_work(node, plan, headers={})).task

    return start
