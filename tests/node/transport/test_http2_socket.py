"""A connection of our own HTTP/2 over a real socket: peers that flood it, do not read, or speak something else."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from taskfan.node.clock import SystemClock
from taskfan.node.errors import NodeNotConnected
from taskfan.node.http2 import headers, wire
from taskfan.node.http2_call import AT_ONCE_BYTES, Call
from taskfan.node.http2_socket import Http2Socket, Ticks
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


class Written(asyncio.Transport):
    """A socket that keeps what is written to it, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """None."""

    def messages(self) -> list[list[bytes]]:
        """The messages of each write, which are forgotten."""
        writes, self.writes = self.writes, []
        return [[frame.payload[5:] for frame in frames_in(write) if frame.type == wire.DATA] for write in writes]


def test_the_first_message_of_a_turn_of_the_loop_goes_at_once_and_the_others_together_at_its_end() -> None:
    async def story() -> None:
        ticks, sockets = Ticks(), list[tuple[Call, Written]]()
        for _ in range(2):
            socket, written = Http2Socket(SystemClock(), ticks), Written()
            socket.connection_made(written)
            socket.data_received(wire.settings({}))
            sockets.append((socket.call(PATH, "here"), written))
        await asyncio.sleep(0)
        (call, written), (other, written_there) = sockets
        written.messages()
        written_there.messages()

        for turn in (b"1", b"2"):
            assert [call.offer(turn + number) for number in (b"a", b"b", b"c")] == [True] * 3
            assert other.offer(turn)
            assert written.messages() == [[turn + b"a"]]
            assert written_there.messages() == [[turn]]
            await asyncio.sleep(0)
            assert written.messages() == [[turn + b"b", turn + b"c"]]
            assert written_there.messages() == []

    asyncio.run(story())


def test_a_read_is_a_turn_of_its_own_for_what_it_has_others_write() -> None:
    async def story() -> None:
        ticks, written = Ticks(), Written()
        other = Http2Socket(SystemClock(), ticks)
        other.connection_made(written)
        other.data_received(wire.settings({}))
        call = other.call(PATH, "here")
        await asyncio.sleep(0)
        written.messages()

        def called(_call: Call) -> None:
            assert [call.offer(message) for message in (b"a", b"b", b"c")] == [True] * 3

        for _ in range(2):
            reader = Http2Socket(SystemClock(), ticks, called)
            reader.connection_made(Written())
            reader.data_received(wire.PREFACE + wire.settings({}) + wire.frame(wire.HEADERS, 4, 1, CONNECT))
            assert written.messages() == [[b"a"], [b"b", b"c"]]
        # After it, those of the loop go on as before.
        assert call.offer(b"d")
        assert call.offer(b"e")
        assert written.messages() == [[b"d"]]
        await asyncio.sleep(0)
        assert written.messages() == [[b"e"]]

    asyncio.run(story())


class Broken(Written):
    """A socket that takes so many writes, and then fails by a bug that no one knows of."""

    room = 1 << 30
    aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.room -= 1
        if self.room < 0:
            raise RuntimeError("a bug")
        super().write(data)

    def abort(self) -> None:
        self.aborted = True


def test_a_socket_that_fails_at_the_end_of_a_turn_takes_no_message_of_others_with_it() -> None:
    async def story() -> None:
        ticks, broken, written = Ticks(), Broken(), Written()
        calls = []
        for transport in (broken, written):
            socket = Http2Socket(SystemClock(), ticks)
            socket.connection_made(transport)
            socket.data_received(wire.settings({}))
            calls.append(socket.call(PATH, "here"))
        await asyncio.sleep(0)
        broken.room = 1
        written.messages()
        for call in calls:
            assert call.offer(b"first")
            assert call.offer(b"second")
        await asyncio.sleep(0)
        assert broken.aborted
        assert written.messages() == [[b"first"], [b"second"]]

    asyncio.run(story())


def test_a_message_is_not_taken_when_others_wait_before_it_when_it_is_large_or_the_call_is_over() -> None:
    async def story() -> None:
        socket, written = Http2Socket(SystemClock(), Ticks()), Written()
        socket.connection_made(written)
        socket.data_received(wire.settings({wire.INITIAL_WINDOW_SIZE: 100}))
        call = socket.call(PATH, "here")
        assert not call.offer(bytes(AT_ONCE_BYTES))
        assert call.offer(bytes(200))
        # It waits for credit, so that what is urgent can still go first.
        assert not call.offer(b"x")

        socket.pause_writing()
        assert not socket.call(PATH, "here").offer(b"x")
        call.give_up()
        assert not call.offer(b"x")

    asyncio.run(story())
