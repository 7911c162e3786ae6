"""The contract of a transport: how a link is opened and refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from taskfan.node import frames
from taskfan.node.errors import NodeNotConnected, ReceiveTimeout, TransportError
from taskfan.node.frames import Identity
from taskfan.node.grpc_transport import GrpcTransport
from taskfan.node.link_transport import FrameStream, StreamBroken
from taskfan.node.transport import PROTOCOL_VERSION, Request, TransportSettings
from taskfan.v1 import transport_pb2 as pb
from tests.node.transport.world import CLUSTER, Member, World, a_node, identity_of, until


async def test_a_node_that_nobody_is_cannot_be_reached(world: World) -> None:
    a, gone = await world.member("a"), await world.member("gone")
    await world.kill(gone)
    with pytest.raises(NodeNotConnected) as caught:
        await a.send(gone)
    assert caught.value.reason == f"[gone][{gone.node.transport_address}] Node not connected"


async def test_every_request_that_waits_for_a_link_fails_with_it(world: World) -> None:
    a, gone = await world.member("a"), await world.member("gone")
    await world.kill(gone)
    outcomes = await asyncio.gather(*(a.send(gone) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [NodeNotConnected] * 3


async def test_a_link_can_be_opened_before_anything_is_sent_and_is_then_the_one_for_requests(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    told: list[str] = []
    a.transport.connect(b.node, told.append)
    a.transport.connect(b.node, told.append)
    await until(world.clock, lambda: len(told) == 2, "the link did not open")
    (link,) = a.transport.sending_links()
    a.transport.connect(b.node, told.append)
    assert told == ["", "", ""]
    await a.send(b)
    assert a.transport.sending_links() == [link]


async def test_whoever_has_a_link_opened_is_told_why_it_cannot_be(world: World) -> None:
    a, gone = await world.member("a"), await world.member("gone")
    await world.kill(gone)
    told: list[str] = []
    a.transport.connect(gone.node, told.append)
    await until(world.clock, lambda: told, "nothing was told")
    a.transport.connect(gone.node, told.append)
    a.transport.disconnect("gone-id")
    await until(world.clock, lambda: len(told) == 2, "nothing was told of a link that was closed")
    await a.transport.close()
    a.transport.connect(gone.node, told.append)
    address = gone.node.transport_address
    assert told == ["Node not connected", "disconnected from here", f"[gone][{address}] transport is closed"]


async def test_a_link_to_another_cluster_is_refused_and_both_are_named(world: World) -> None:
    a, b = await world.member("a", cluster="blue"), await world.member("b", cluster="green")
    with pytest.raises(NodeNotConnected) as caught:
        await a.send(b)
    assert caught.value.reason == (
        f"[b][{b.node.transport_address}] handshake failed:"
        " cluster name [blue] of node [a-id] does not match node [b-id] of cluster [green]"
    )
    assert b.handlers.received == []


async def test_a_link_to_another_node_at_that_address_is_refused(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    moved = a_node("c", b.node.transport_address, "")
    with pytest.raises(
        NodeNotConnected, match=r"node \[c-id\] was meant, this is node \[b-id\] of cluster \[contract\]"
    ):
        await a.transport.send(moved, Request("echo", b""), timeout_s=30)


async def test_two_processes_with_one_node_id_do_not_talk(world: World) -> None:
    b, twin = await world.member("b"), await world.member("b")
    with pytest.raises(NodeNotConnected, match=r"two processes have the node id \[b-id\]"):
        await b.send(twin)


async def test_another_version_of_the_protocol_is_refused(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    greeting = pb.Frame.FromString(frames.handshake_frame(1, identity_of(a), "b-id"))
    greeting.handshake.protocol_version = PROTOCOL_VERSION + 1
    stream = a.transport._open_stream(b.node)
    await stream.write(greeting.SerializeToString())
    answer = pb.Frame.FromString(await stream.read() or b"")
    assert answer.failure.error.reason == (
        "handshake failed: protocol version [2] of node [a-id] does not match version [1] of node [b-id] of cluster"
        " [contract]"
    )
    assert await stream.read() is None
    await stream.close()


def answering(*answers: bytes) -> Callable[[FrameStream], Awaitable[None]]:
    """The other side of a link that writes just this, and then waits to be left."""

    async def serve(stream: FrameStream) -> None:
        await stream.read()
        for answer in answers:
            await stream.write(answer)
        while await stream.read() is not None:
            pass

    return serve


OTHER_VERSION = pb.Frame(handshake=pb.Handshake(protocol_version=2, node_id="b-id", cluster_name=CLUSTER))


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (OTHER_VERSION.SerializeToString(), r"protocol version \[2\] of node \[b-id\] does not match version \[1\]"),
        (frames.handshake_frame(1, Identity("green", "b-id", "i")), r"cluster name \[green\] of node \[b-id\]"),
        (frames.handshake_frame(1, Identity(CLUSTER, "c-id", "i")), r"node \[b-id\] was meant, \[c-id\] answered"),
        (frames.failure_frame(1, 0, TransportError("not today")), "not today"),
        (frames.reply_frame(1, 1, b""), r"\[reply\] before the handshake"),
        (b"", "a frame without content"),
        (b"\xff\xff", "not a frame"),
    ],
)
async def test_an_answer_that_is_no_handshake_of_that_node_is_not_taken(
    world: World, answer: bytes, detail: str
) -> None:
    a, b = await world.member("a"), await world.member("b", serve=answering(answer))
    with pytest.raises(NodeNotConnected, match=detail):
        await a.send(b)


@pytest.mark.parametrize("greeting", [b"", b"\xff\xff", frames.check_frame(1, 1), frames.reply_frame(1, 1, b"")])
async def test_a_link_that_does_not_begin_with_a_handshake_is_ended(world: World, greeting: bytes) -> None:
    a, b = await world.member("a"), await world.member("b")
    stream = a.transport._open_stream(b.node)
    await stream.write(greeting)
    assert await stream.read() is None
    await stream.close()
    assert await a.send(b, b"others are served") == b"others are served"


SOON = TransportSettings(connect_timeout_s=0.2)


async def test_a_node_that_does_not_answer_the_handshake_is_given_up(world: World) -> None:
    a, b = await world.member("a", settings=SOON), await world.member("b", serve=answering())
    with pytest.raises(NodeNotConnected) as caught:
        await a.send(b)
    assert caught.value.reason == f"[b][{b.node.transport_address}] connect_timeout[0.2s]"


async def test_a_stranger_that_says_nothing_is_given_up(world: World) -> None:
    a, b = await world.member("a"), await world.member("b", settings=SOON)
    stream = a.transport._open_stream(b.node)
    if isinstance(a.transport, GrpcTransport):
        # gRPC sends nothing before the first message, so say half a word: wait until it is connected.
        await stream._call.wait_for_connection()  # type: ignore[attr-defined]
    assert await stream.read() is None
    await stream.close()


async def test_a_request_may_time_out_before_its_link_is_open(world: World) -> None:
    a, b = await world.member("a"), await world.member("b", serve=answering())
    with pytest.raises(ReceiveTimeout, match=r"request_id \[1\] timed out after \[50ms\]"):
        await a.send(b, timeout_s=0.05)


async def test_a_node_that_came_back_at_another_address_is_reached_there_and_its_former_link_is_closed(
    world: World,
) -> None:
    a, b = await world.member("a"), await world.member("b")
    await a.send(b)
    elsewhere = await world.member("b")
    assert await a.send(elsewhere, b"here") == b"here"
    assert len(elsewhere.handlers.received) == 1
    await until(world.clock, lambda: b.handlers.links[0].is_closed, "the old link stayed")


async def test_a_restarted_node_is_reached_at_once(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    for _ in range(3):
        await a.send(b)
        await world.kill(b)
        with pytest.raises(TransportError):
            await a.send(b)
        b = await restarted(world, b)
        assert await a.send(b, b"back") == b"back"


async def test_the_links_of_a_former_process_are_closed_when_the_new_one_comes(world: World) -> None:
    a, old = await world.member("a"), await world.member("b")
    await asyncio.gather(a.send(old), old.send(a))
    new = await world.member("b")
    await new.send(a)
    assert [link.is_closed for link in a.handlers.links] == [True, False]
    await until(world.clock, lambda: old.handlers.links[0].is_closed, "the link to the former process stayed")


async def opened(a: Member, b: Member, number: int) -> FrameStream:
    """A link from a to b, opened past the transport of a. The number says which is the newer one."""
    stream = a.transport._open_stream(b.node)
    await stream.write(frames.handshake_frame(number, identity_of(a), "b-id"))
    assert await stream.read() is not None
    return stream


async def is_served(stream: FrameStream, action: str) -> bool:
    """Whether a request on this link is answered, and the link not ended instead."""
    try:
        await stream.write(frames.request_frame(1, 1, Request(action, b"")))
        return await stream.read() is not None
    except StreamBroken:
        return False


async def test_a_process_that_opens_a_new_link_has_let_go_of_the_former_one(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    former = await opened(a, b, 1)
    assert await is_served(former, "before")
    new = await opened(a, b, 2)
    assert await is_served(new, "unban")
    assert [link.is_closed for link in b.handlers.links] == [True, False]
    # It was on its way when its sender let go of the link.
    assert not await is_served(former, "ban")
    assert [request.action for request in b.handlers.received] == ["before", "unban"]
    await asyncio.gather(former.close(), new.close())


async def test_a_link_that_was_let_go_of_while_it_opened_does_not_end_the_newer_one(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    new = await opened(a, b, 2)
    assert await is_served(new, "first")
    former = await opened(a, b, 1)
    assert not await is_served(former, "late")
    assert await is_served(new, "second")
    assert [request.action for request in b.handlers.received] == ["first", "second"]
    await asyncio.gather(former.close(), new.close())


async def restarted(world: World, member: Member) -> Member:
    """A member in the place of one that has ended."""
    return await world.member(member.node.name, at=member)
