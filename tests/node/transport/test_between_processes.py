"""What only transports between processes can show: ports, other services, processes that are paused and killed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from taskfan.node.errors import NodeDisconnected, NodeNotConnected, ReceiveTimeout
from taskfan.node.transport import InboundLink, Request, TransportSettings
from tests.node.transport.world import (
    GrpcToHttp2World,
    GrpcWorld,
    Http2ToGrpcWorld,
    Http2World,
    Member,
    SocketTransport,
    SocketWorld,
    a_node,
    until,
)

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Silent for about 0.1 + 0.2 + 0.1 + 0.2 seconds, and it is closed.
SHORT = TransportSettings(check_interval_s=0.1, check_timeout_s=0.2, check_retry_count=2)


WORLDS = [GrpcWorld, Http2World, GrpcToHttp2World, Http2ToGrpcWorld]


@pytest.fixture(params=WORLDS, ids=lambda world: "-to-".join(world.kinds))
def world(request: pytest.FixtureRequest) -> SocketWorld:
    """Here there are always sockets."""
    made = request.param()
    assert isinstance(made, SocketWorld)
    return made


def socket_transport_of(member: Member) -> SocketTransport:
    assert isinstance(member.transport, SocketTransport)
    return member.transport


@contextlib.contextmanager
def peer(
    world: SocketWorld, port: int = 0, incarnation: str = "first"
) -> Iterator[tuple[subprocess.Popen[str], Member]]:
    """A member in a process of its own, and how it is known here."""
    command = [sys.executable, "-m", "tests.node.transport.peer", str(port), incarnation, world.kinds[-1]]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        node = a_node("peer", f"127.0.0.1:{int(process.stdout.readline())}", incarnation)
        # Its transport is elsewhere; nobody may send from it here.
        yield process, Member(node, None, None)  # type: ignore[arg-type]
    finally:
        process.kill()
        process.communicate(timeout=10)


def pause(process: subprocess.Popen[str]) -> None:
    """Stop it without ending it, and wait until it is."""
    process.send_signal(signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])


async def test_a_killed_process_fails_what_waits_and_its_successor_is_reached(world: SocketWorld) -> None:
    a = await world.member("a")
    with peer(world) as (process, b):
        assert await a.send(b, b"here") == b"here"
        waiting = a.send_soon(b, action="never")
        await a.send(b)
        process.kill()
        with pytest.raises(NodeDisconnected, match=r"\]\[never\] disconnected$"):
            await waiting
        with pytest.raises(NodeNotConnected, match=r"Node not connected$"):
            await a.send(b)
        port = int(b.node.transport_address.rpartition(":")[2])
    with peer(world, port, "second") as (_, again):
        assert await a.send(again, b"back") == b"back"


async def test_a_killed_process_closes_the_link_on_which_it_asked(world: SocketWorld) -> None:
    a = await world.member("a")
    with peer(world) as (process, b):
        asking, link = await ask_back(world, a, b)
        process.kill()
        await until(world.clock, lambda: link.is_closed, "the link stayed open")
        with pytest.raises(NodeDisconnected):
            await asking
    await world.clock.close()


async def test_a_paused_process_is_given_up_by_both_ends_of_its_links(world: SocketWorld) -> None:
    a = await world.member("a", settings=SHORT)
    with peer(world) as (process, b):
        asking, link = await ask_back(world, a, b)
        pause(process)
        with pytest.raises(NodeDisconnected):
            await asking
        await until(world.clock, lambda: link.is_closed, "the link stayed open")
        with pytest.raises(ReceiveTimeout):
            await a.send(b, timeout_s=0.1)
        process.send_signal(signal.SIGCONT)
        assert await a.send(b, b"awake") == b"awake"
    await world.clock.close()


async def test_a_member_closes_while_another_is_paused_in_the_middle_of_a_large_answer(world: SocketWorld) -> None:
    a = await world.member("a")
    with peer(world) as (process, b):
        asking, _ = await ask_back(world, a, b)
        pause(process)
        large = a.send_soon(b, bytes(20 << 20))
        await world.clock.sleep(0)
        async with asyncio.timeout(10):
            await a.transport.close()
        for waiting in (asking, large):
            with pytest.raises(NodeDisconnected):
                await waiting
    await world.clock.close()


async def never(_request: Request, _link: InboundLink) -> bytes:
    await asyncio.Event().wait()
    raise AssertionError


async def ask_back(world: SocketWorld, a: Member, b: Member) -> tuple[asyncio.Task[bytes], InboundLink]:
    """Let the process send a request to a, which a does not answer."""
    a.handlers.by_action["asked"] = never
    asking = a.send_soon(b, a.node.transport_address.encode(), "ask")
    await until(world.clock, lambda: a.handlers.links, "the process did not ask")
    return asking, a.handlers.links[0]


async def test_a_link_that_is_busy_with_one_request_outlives_its_checks(world: SocketWorld) -> None:
    a, b = await world.member("a", settings=SHORT), await world.member("b", settings=SHORT)
    b.handlers.by_action["never"] = never
    waiting = a.send_soon(b, action="never")
    seen = a.transport.lamport.time
    # Each check and its answer count, so several have gone by.
    await until(world.clock, lambda: a.transport.lamport.time > seen + 20, "no checks")
    assert await a.send(b, b"x") == b"x"
    assert not waiting.done()
    waiting.cancel()
    assert len(b.handlers.links) == 1
    await world.clock.close()


async def test_a_port_in_use_is_an_error_that_names_it(world: SocketWorld, capfd: pytest.CaptureFixture[str]) -> None:
    a = await world.member("a")
    port = int(a.node.transport_address.rpartition(":")[2])
    b = type(socket_transport_of(a))("b-id", "i", "c", world.clock)
    with pytest.raises(OSError, match=rf"cannot listen on transport address \[127.0.0.1:{port}\]: .*in use") as caught:
        b.bind("127.0.0.1", port)
    assert caught.value.errno is not None
    await b.close()


async def test_a_member_that_is_bound_and_not_started_answers_once_it_is(world: SocketWorld) -> None:
    a, b = await world.member("a"), await world.member("b", start=False)
    waiting = a.send_soon(b, b"x")
    with pytest.raises(ReceiveTimeout):
        await a.send(b, timeout_s=0.05)
    assert b.handlers.received == []
    await b.transport.start(b.handlers)
    assert await waiting == b"x"


async def test_a_message_above_the_limit_of_grpc_ends_only_its_own_stream(world: SocketWorld) -> None:
    a, b = await world.member("a"), await world.member("b")
    async with grpc.aio.insecure_channel(b.node.transport_address) as channel:
        call: Any = channel.stream_stream("/taskfan.v1.Transport/Connect")()
        await call.write(bytes(5 << 20))
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()
    assert await a.send(b, b"x") == b"x"


async def test_a_name_is_resolved_and_a_wrong_one_is_not_connected(world: SocketWorld) -> None:
    a, b = await world.member("a"), await world.member("b")
    port = b.node.transport_address.rpartition(":")[2]
    request = Request("echo", b"x")
    assert await a.transport.send(a_node("b", f"localhost:{port}", ""), request, timeout_s=30) == b"x"
    with pytest.raises(NodeNotConnected):
        await a.transport.send(a_node("b", "nowhere.invalid:1", ""), request, timeout_s=30)


@pytest.mark.parametrize("kind", WORLDS, ids=lambda kind: "-to-".join(kind.kinds))
def test_no_socket_is_left(kind: type[SocketWorld]) -> None:
    async def story(world: SocketWorld) -> None:
        a, b = await world.member("a"), await world.member("b")
        await asyncio.gather(a.send(b), b.send(a))
        await world.kill(b)
        await asyncio.gather(a.send(b), a.send(b), return_exceptions=True)
        with pytest.raises(NodeNotConnected):
            await a.send(b)

    def open_after_a_story() -> int:
        world = kind()
        world.run(story(world))
        gc.collect()
        return len(os.listdir("/dev/fd"))

    # gRPC makes some for the process when it is first used, and closes others a little later, on threads of its own.
    first = open_after_a_story()
    assert min(open_after_a_story() for _ in range(5)) <= first
