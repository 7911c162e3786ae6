"""A connection of our own HTTP/2 over a real socket: peers that flood it, do not read, or speak something else."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from taskfan.node.errors import NodeNotConnected
from taskfan.node.http2 import headers, wire
from taskfan.node.transport import Request
from tests.node.http2.peers import PATH, frames_in, message
from tests.node.transport.world import Http2World, Member, a_node, until

CONNECT = headers.request("/taskfan.v1.Transport/Connect", "here")
PING = wire.frame(wire.PING, 0, 0, bytes(8))


@pytest.fixture
def world() -> Http2World:
    """Here it is always our own."""
    return Http2World()


async def connected(member: Member) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A plain connection to a member, on which the first words were said."""
    host, _, port = member.node.transport_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
    writer.write(wire.PREFACE + wire.settings({}))
    return reader, writer


async def goaway_code(reader: asyncio.StreamReader) -> int:
    """The code with which a member ended the connection."""
    async with asyncio.timeout(10):
        last = [frame for frame in frames_in(await reader.read()) if frame.type == wire.GOAWAY]
    assert len(last) == 1
    return wire.number_in(last[0].payload, 4)


async def test_a_flood_of_pings_is_cut_off_and_others_are_served(world: Http2World) -> None:
    a, b = await world.member("a"), await world.member("b")
    reader, writer = await connected(b)
    # Three times what may come in a second; they all come at once. What is on its way then turns the end into a reset.
    writer.write(PING * 60_000)
    with contextlib.suppress(ConnectionError):
        assert await goaway_code(reader) == wire.ENHANCE_YOUR_CALM
    writer.close()
    assert await a.send(b, b"x") == b"x"


async def test_a_flood_of_window_updates_is_none(world: Http2World) -> None:
    b = await world.member("b")
    reader, writer = await connected(b)
    writer.write(wire.window_update(0, 1) * 100_000 + PING)
    async with asyncio.timeout(10):
        await reader.readuntil(wire.frame(wire.PING, wire.ACK, 0, bytes(8)))
    writer.close()


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(200)])
async def test_who_speaks_something_else_is_told_so_and_left(world: Http2World, words: bytes) -> None:
    b = await world.member("b")
    host, _, port = b.node.transport_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(words)
    assert await goaway_code(reader) == wire.PROTOCOL_ERROR
    writer.close()


async def test_a_member_that_answers_something_else_is_not_connected(world: Http2World) -> None:
    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP ready, and some more words\r\n")

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    a = await world.member("a")
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NodeNotConnected, match="Node not connected"):
        await a.transport.send(a_node("b", f"127.0.0.1:{port}", ""), Request("echo", b""), timeout_s=30)
    server.close()


async def test_an_unknown_method_is_answered_and_the_connection_lives(world: Http2World) -> None:
    b = await world.member("b")
    reader, writer = await connected(b)
    for number in (1, 3):
        writer.write(wire.frame(wire.HEADERS, 4, number, headers.request(PATH, "here")))
        async with asyncio.timeout(10):
            await reader.readuntil(b"unknown method " + PATH.encode())
    writer.close()


async def test_who_asks_for_much_and_reads_nothing_keeps_no_socket_open_when_the_member_closes(
    world: Http2World,
) -> None:
    a, b = await world.member("a"), await world.member("b")
    host, _, port = b.node.transport_address.rpartition(":")
    deaf = socket.create_connection((host, int(port)))
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(deaf, wire.PREFACE + wire.settings({wire.INITIAL_WINDOW_SIZE: 1 << 30}))
    await loop.sock_sendall(deaf, wire.window_update(0, 1 << 30))
    await loop.sock_sendall(deaf, wire.frame(wire.HEADERS, 4, 1, CONNECT))
    greeting = message(bytes(10))
    await loop.sock_sendall(deaf, wire.frame(wire.DATA, 0, 1, greeting))
    assert await a.send(b, b"x") == b"x"
    async with asyncio.timeout(10):
        await b.transport.close()
    await until(world.clock, lambda: not b.transport._accepted, "a socket is left")  # type: ignore[attr-defined]
    deaf.close()
