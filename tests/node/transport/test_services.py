"""The services on a member's transport port, by a client of grpcio: the same whichever transport serves them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.wrappers_pb2 import BytesValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from taskfan.node.actions import ACTIONS
from taskfan.node.cluster_state import ClusterState
from taskfan.node.errors import IllegalArgument
from taskfan.node.grpc_status import Status, StatusError
from taskfan.node.node import Node
from taskfan.node.rpc import Method, methods_of
from taskfan.node.standard_services import standard_methods
from taskfan.node.task import Task, TaskTraits
from taskfan.node.task_registry_service import TaskRegistryService
from taskfan.v1 import task_registry_pb2 as pb
from taskfan.v1 import task_registry_pb2_grpc
from tests.node.transport.world import GrpcWorld, Http2World, Member, SocketTransport, SocketWorld, until

TASK_REGISTRY = pb.DESCRIPTOR.services_by_name["TaskRegistry"]
NAME = TASK_REGISTRY.full_name


@pytest.fixture(params=[GrpcWorld, Http2World], ids=["grpcio", "http2"])
def world(request: pytest.FixtureRequest) -> SocketWorld:
    """The server; the client is always grpcio."""
    made = request.param()
    assert isinstance(made, SocketWorld)
    return made


class Probe:
    """A service whose methods are used by paths alone: each of another shape."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.running = asyncio.Event()

    async def echo(self, request: BytesValue) -> BytesValue:
        return request

    async def fail(self, request: BytesValue) -> BytesValue:
        if request.value == b"bug":
            raise ZeroDivisionError("by zero")
        raise StatusError(Status.FAILED_PRECONDITION, "näh % " + request.value.decode())

    async def count(self, request: BytesValue) -> AsyncIterator[BytesValue]:
        for number in range(int(request.value)):
            yield BytesValue(value=bytes(number))

    async def for_ever(self, request: BytesValue) -> AsyncIterator[BytesValue]:
        try:
            while True:
                yield request
                self.running.set()
                await asyncio.sleep(0.01)
        finally:
            self.cancelled += 1

    async def sums(self, requests: AsyncIterator[BytesValue]) -> AsyncIterator[BytesValue]:
        total = 0
        async for request in requests:
            total += len(request.value)
            yield BytesValue(value=b"%d" % total)

    def methods(self) -> dict[str, Method]:
        return {
            f"/probe/{handler.__name__}": Method(f"/probe/{handler.__name__}", BytesValue, handler, many_in, many_out)
            for handler, many_in, many_out in (
                (self.echo, False, False),
                (self.fail, False, False),
                (self.count, False, True),
                (self.for_ever, False, True),
                (self.sums, True, True),
            )
        }


async def serving(world: SocketWorld, methods: dict[str, Method]) -> Member:
    """A member that serves these."""
    member = await world.member("b", start=False)
    assert isinstance(member.transport, SocketTransport)
    member.transport.add_services(lambda: methods)
    await member.transport.start(member.handlers)
    return member


def channel_to(member: Member) -> Any:
    return grpc.aio.insecure_channel(member.node.transport_address, [("grpc.max_receive_message_length", 8 << 20)])


async def read_on(call: Any) -> None:
    """Read a call until it ends."""
    while await call.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize("size", [0, 1, 16_379, 65_536, (1 << 20) + 7, 4_000_000])
async def test_a_unary_call_of_any_size_is_answered(world: SocketWorld, size: int) -> None:
    member = await serving(world, Probe().methods())
    payload = BytesValue(value=bytes(range(256)) * (size // 256) + bytes(size % 256)).SerializeToString()
    async with channel_to(member) as channel:
        assert await channel.unary_unary("/probe/echo")(payload) == payload


async def test_a_call_may_fail_with_a_status_and_by_a_bug(world: SocketWorld) -> None:
    member = await serving(world, Probe().methods())
    async with channel_to(member) as channel:
        for value, code, details in (
            (b"x", grpc.StatusCode.FAILED_PRECONDITION, "näh % x"),
            (b"bug", grpc.StatusCode.UNKNOWN, "by zero"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/probe/fail")(BytesValue(value=value).SerializeToString())
            assert caught.value.code() is code
            assert details in (caught.value.details() or "")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/probe/nothing")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/probe/echo")(b"\xff\xff")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_many_calls_share_one_connection(world: SocketWorld) -> None:
    member = await serving(world, Probe().methods())
    async with channel_to(member) as channel:
        calls = [
            channel.unary_unary("/probe/echo")(BytesValue(value=bytes(100 * n)).SerializeToString()) for n in range(200)
        ]
        answers = await asyncio.gather(*calls)
        assert [len(BytesValue.FromString(answer).value) for answer in answers] == [100 * n for n in range(200)]


async def test_answers_stream_and_wait_for_a_slow_reader(world: SocketWorld) -> None:
    member = await serving(world, Probe().methods())
    async with channel_to(member) as channel:
        call: Any = channel.unary_stream("/probe/count")(BytesValue(value=b"3000").SerializeToString())
        # Others are answered while this one is not read.
        for _ in range(10):
            await channel.unary_unary("/probe/echo")(b"")
        sizes = [len(BytesValue.FromString(answer).value) async for answer in call]
        assert sizes == list(range(3000))
        assert await call.code() is grpc.StatusCode.OK


async def test_a_caller_that_cancels_ends_the_work(world: SocketWorld) -> None:
    probe = Probe()
    member = await serving(world, probe.methods())
    async with channel_to(member) as channel:
        for count, end in enumerate((lambda call: call.cancel(), None), 1):
            call: Any = channel.unary_stream("/probe/for_ever")(b"", timeout=None if end else 0.2)
            assert await call.read() == b""
            if end:
                end(call)
            else:
                with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE"):
                    await read_on(call)
            await until(world.clock, lambda count=count: probe.cancelled == count, "the work went on")  # type: ignore[misc]


async def test_a_server_that_stops_ends_its_calls(world: SocketWorld) -> None:
    probe = Probe()
    member = await serving(world, probe.methods())
    async with channel_to(member) as channel:
        call: Any = channel.unary_stream("/probe/for_ever")(b"")
        await call.read()
        await member.transport.close()
        with pytest.raises(grpc.aio.AioRpcError):
            await read_on(call)
    await until(world.clock, lambda: probe.cancelled == 1, "the work went on")


async def test_both_sides_stream(world: SocketWorld) -> None:
    member = await serving(world, Probe().methods())
    async with channel_to(member) as channel:
        call: Any = channel.stream_stream("/probe/sums")()
        for total in (5, 10, 15):
            await call.write(BytesValue(value=bytes(5)).SerializeToString())
            assert BytesValue.FromString(await call.read()).value == b"%d" % total
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_health_is_told(world: SocketWorld) -> None:
    member = await serving(world, standard_methods([NAME]))
    async with channel_to(member) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", NAME):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
            await health.Check(health_pb2.HealthCheckRequest(service="none"))
        for name, status in (("", "SERVING"), ("none", "SERVICE_UNKNOWN")):
            watch = health.Watch(health_pb2.HealthCheckRequest(service=name))
            assert health_pb2.HealthCheckResponse.ServingStatus.Name((await watch.read()).status) == status
            watch.cancel()


def test_what_a_younger_description_has_and_the_servicer_lacks_is_not_served() -> None:
    class Older:
        async def Check(self, request: object) -> None: ...  # noqa: N802

    service = health_pb2.DESCRIPTOR.services_by_name["Health"]
    assert list(methods_of(service, Older())) == ["/grpc.health.v1.Health/Check"]


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
async def test_a_tool_finds_the_services_and_their_descriptions(world: SocketWorld, version: str) -> None:
    member = await serving(world, standard_methods([NAME]))
    request, response = reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
    async with channel_to(member) as channel:
        call: Any = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")()

        async def ask(**what: Any) -> reflection_pb2.ServerReflectionResponse:
            await call.write(request(**what).SerializeToString())
            return response.FromString(await call.read())

        listed = await ask(list_services="")
        names = [service.name for service in listed.list_services_response.service]
        assert names == sorted(names)
        assert {NAME, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} < set(names)
        for what in ({"file_containing_symbol": NAME}, {"file_by_filename": TASK_REGISTRY.file.name}):
            described = await ask(**what)
            files = [
                descriptor_pb2.FileDescriptorProto.FromString(file).name
                for file in described.file_descriptor_response.file_descriptor_proto
            ]
            assert files[0] == TASK_REGISTRY.file.name
            assert len(files) == len(set(files)) > 1
        for what in ({"file_containing_symbol": "no.Such"}, {"file_by_filename": "no.proto"}, {}):
            assert (await ask(**what)).error_response.error_code == Status.NOT_FOUND
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_reflection_describes_itself(world: SocketWorld) -> None:
    member = await serving(world, standard_methods([]))
    async with channel_to(member) as channel:
        call: Any = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        for version in ("v1alpha", "v1"):
            name = f"grpc.reflection.{version}.ServerReflection"
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
            assert (await call.read()).file_descriptor_response.file_descriptor_proto
        call.cancel()


async def with_tasks(world: SocketWorld) -> tuple[Node, Any, Callable[[], Any]]:
    """A node that serves its tasks, a stub, and what closes the stub's channel."""
    member = await world.member("b", start=False)
    assert isinstance(member.transport, SocketTransport)
    state = ClusterState("c", "uuid", 1, (member.node,), member.node.id)
    node = Node(member.node, state, world.clock, member.transport)
    for action in ACTIONS:
        node.add_action(action)

    async def start_work(plan_json: str) -> Task:
        if plan_json == "bad":
            raise IllegalArgument("[plan] is bad")
        traits = TaskTraits(cancellable=True)
        return node.registry.register(plan_json, type="transport", now_ms=0, now_ns=0, traits=traits)

    member.transport.add_services(lambda: methods_of(TASK_REGISTRY, TaskRegistryService(node, start_work)))
    await member.transport.start(node)
    channel = channel_to(member)
    return node, task_registry_pb2_grpc.TaskRegistryStub(channel), channel.close  # type: ignore[no-untyped-call]


async def test_tasks_are_started_listed_and_cancelled(world: SocketWorld) -> None:
    node, stub, close = await with_tasks(world)
    started = await stub.StartWork(pb.StartWorkRequest(plan_json="test:one"))
    plain = node.registry.register("test:plain", type="transport", now_ms=0, now_ns=0)
    listed = await stub.ListTasks(pb.ListTasksOfNodeRequest(actions=["test:*"]))
    assert [task.action for task in listed.tasks] == ["test:one", "test:plain"]
    assert (await stub.GetTask(pb.GetTaskOfNodeRequest(number=started.task_id.number))).action == "test:one"
    assert (await stub.CancelTask(pb.CancelTaskOfNodeRequest(number=started.task_id.number))).cancelled
    for call, code in (
        (stub.GetTask(pb.GetTaskOfNodeRequest(number=99)), grpc.StatusCode.NOT_FOUND),
        (stub.CancelTask(pb.CancelTaskOfNodeRequest(number=99)), grpc.StatusCode.NOT_FOUND),
        (stub.CancelTask(pb.CancelTaskOfNodeRequest(number=plain.id.number)), grpc.StatusCode.FAILED_PRECONDITION),
        (stub.StartWork(pb.StartWorkRequest(plan_json="bad")), grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is code
    await close()


async def test_a_watcher_sees_what_runs_and_what_changes(world: SocketWorld) -> None:
    node, stub, close = await with_tasks(world)
    first = await stub.StartWork(pb.StartWorkRequest(plan_json="test:one"))
    watch = stub.WatchTasks(pb.WatchTasksRequest(actions=["test:*"]))
    seen = [await watch.read()]
    await stub.CancelTask(pb.CancelTaskOfNodeRequest(number=first.task_id.number))
    seen.append(await watch.read())
    assert [(pb.TaskEvent.Kind.Name(event.kind), event.task.action) for event in seen] == [
        ("KIND_RUNNING", "test:one"),
        ("KIND_CANCELLED", "test:one"),
    ]
    assert len(node.runner._listeners) == 1
    watch.cancel()
    await until(world.clock, lambda: not node.runner._listeners, "the watcher is still told")
    await close()
