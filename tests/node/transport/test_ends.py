"""The contract of a transport: how a link ends, and who is told."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from taskfan.node import frames
from taskfan.node.errors import NodeDisconnected, NodeNotConnected
from taskfan.node.link_transport import FrameStream, StreamBroken
from taskfan.node.transport import InboundLink, Request
from taskfan.v1 import task_pb2
from taskfan.v1 import transport_pb2 as pb
from tests.node.transport.world import Member, World, identity_of, left_tasks, until


async def never(_request: Request, _link: InboundLink) -> bytes:
    """A request without an answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def with_waiting(world: World, a: Member, b: Member, action: str = "never") -> asyncio.Task[bytes]:
    """A request that b runs without an end."""
    b.handlers.by_action[action] = never
    before = len(b.handlers.received)
    waiting = a.send_soon(b, action=action)
    await until(world.clock, lambda: len(b.handlers.received) > before, "the request did not arrive")
    return waiting


async def test_the_death_of_a_node_fails_what_waits_for_it(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    waiting = await with_waiting(world, a, b, "cluster:monitor/tasks/lists[n]")
    await world.kill(b)
    with pytest.raises(NodeDisconnected) as caught:
        await waiting
    address = b.node.transport_address
    assert caught.value.reason == f"[b][{address}][cluster:monitor/tasks/lists[n]] disconnected"
    await end_handlers(world)


async def test_the_death_of_a_node_tells_once_those_who_run_its_requests(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    waiting = await with_waiting(world, a, b)
    told: list[str] = []
    link = b.handlers.links[0]
    link.on_close(lambda: told.append("first"))
    take_back = link.on_close(lambda: told.append("taken back"))
    link.on_close(lambda: told.append("second"))
    take_back()
    assert not link.is_closed
    await world.kill(a)
    await until(world.clock, lambda: link.is_closed, "the link stayed open")
    link.on_close(lambda: told.append("at once"))
    take_back()
    await world.kill(b)
    assert told == ["first", "second", "at once"]
    with pytest.raises(NodeDisconnected):
        await waiting
    await end_handlers(world)


async def test_a_listener_that_fails_keeps_the_others_from_nothing(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    await a.send(b)
    told: list[str] = []
    b.handlers.links[0].on_close(lambda: 1 / 0)  # type: ignore[arg-type]
    b.handlers.links[0].on_close(lambda: told.append("second"))
    await world.kill(a)
    await until(world.clock, lambda: told == ["second"], "the second was not told")


async def test_a_request_runs_on_when_its_link_closes_and_its_answer_is_dropped(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    go_on, done = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request, _link: InboundLink) -> bytes:
        await go_on.wait()
        done.set()
        return b"for nobody"

    b.handlers.by_action["slow"] = slow
    waiting = a.send_soon(b, action="slow")
    await until(world.clock, lambda: b.handlers.received, "the request did not arrive")
    a.transport.disconnect("b-id")
    with pytest.raises(NodeDisconnected):
        await waiting
    await until(world.clock, lambda: b.handlers.links[0].is_closed, "the link stayed open")
    go_on.set()
    await done.wait()
    assert await a.send(b, b"anew") == b"anew"


async def test_disconnect_fails_what_waits_and_the_next_request_opens_a_new_link(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    waiting = await with_waiting(world, a, b)
    a.transport.disconnect("nobody")
    a.transport.disconnect("b-id")
    a.transport.disconnect("b-id")
    with pytest.raises(NodeDisconnected, match=r"\]\[never\] disconnected$"):
        await waiting
    assert await a.send(b, b"anew") == b"anew"
    assert len(b.handlers.links) == 2
    await end_handlers(world)


async def test_disconnect_ends_a_link_that_is_being_opened(world: World) -> None:
    streams: list[str] = []

    async def silent(stream: FrameStream) -> None:
        streams.append("opened")
        try:
            with contextlib.suppress(StreamBroken):
                while await stream.read() is not None:
                    pass
        finally:
            streams.append("ended")

    a, b = await world.member("a"), await world.member("b", serve=silent)
    waiting = a.send_soon(b)
    await until(world.clock, lambda: streams, "no link was opened")
    a.transport.disconnect("b-id")
    with pytest.raises(NodeDisconnected):
        await waiting
    # Long before the limit for opening a link.
    await until(world.clock, lambda: streams == ["opened", "ended"], "the link was still being opened", limit_s=10)


async def test_the_other_direction_stays_when_one_is_disconnected(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    await asyncio.gather(a.send(b), b.send(a))
    a.transport.disconnect("b-id")
    await until(world.clock, lambda: b.handlers.links[0].is_closed, "the link stayed open")
    await b.send(a)
    assert len(a.handlers.links) == 1


async def test_close_fails_what_waits_and_takes_nothing_more(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    waiting = await with_waiting(world, a, b)
    await a.transport.close()
    with pytest.raises(NodeDisconnected):
        await waiting
    with pytest.raises(NodeNotConnected, match="transport is closed"):
        await a.send(b)
    with pytest.raises(NodeNotConnected):
        await b.send(a)
    await a.transport.close()
    await end_handlers(world)


async def test_nothing_runs_on_after_close(world: World) -> None:
    a, b = await world.member("a"), await world.member("b")
    await asyncio.gather(a.send(b), b.send(a), a.send(a))
    await a.transport.close()
    await b.transport.close()
    await until(world.clock, lambda: not left_tasks(), "tasks were left")


async def test_a_member_that_never_started_can_be_closed(world: World) -> None:
    a = await world.member("a", start=False)
    await a.transport.close()


NO_ERROR = task_pb2.Error(type="x", status="OK", origin=99)  # type: ignore[arg-type]
BAD = {
    "nothing in it": b"",
    "no frame": b"\xff\xff\xff",
    "content of a later version": b"\xfa\x07\x00",
    "a second handshake": frames.handshake_frame(1, frames.Identity("c", "n", "i")),
    "an unknown kind of error": pb.Frame(failure=pb.Failure(request_id=1, error=NO_ERROR)).SerializeToString(),
    "an empty fragment of nothing": pb.Frame(fragment=pb.Fragment(message_id=1, last=True)).SerializeToString(),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_malformed_answer_closes_the_link_and_says_why(
    world: World, bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve(stream: FrameStream) -> None:
        await stream.read()
        await stream.write(frames.handshake_frame(1, identity_of(b)))
        await stream.read()
        await stream.write(bad)
        while await stream.read() is not None:
            pass

    a = await world.member("a")
    b = await world.member("b", serve=serve)
    with pytest.raises(NodeDisconnected):
        await a.send(b)
    assert "closed: malformed frame: " in caplog.text


@pytest.mark.parametrize("bad", [*BAD.values(), frames.reply_frame(1, 1, b"")], ids=[*BAD, "a reply to nobody"])
async def test_a_malformed_request_closes_the_link_and_says_why(
    world: World, bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = await world.member("a"), await world.member("b")
    stream = a.transport._open_stream(b.node)
    await stream.write(frames.handshake_frame(1, identity_of(a), "b-id"))
    assert await stream.read() is not None
    await stream.write(bad)
    assert await stream.read() is None
    await stream.close()
    assert "closed: malformed frame: " in caplog.text


async def end_handlers(world: World) -> None:
    """Stop what still runs for nobody."""
    await world.clock.close()
