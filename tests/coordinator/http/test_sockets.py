"""The same over real sockets, on both event loops: what only a kernel can do to a connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest
import uvloop

from taskfan.coordinator.http.messages import HttpSettings
from taskfan.coordinator.http.server import HttpServer
from taskfan.node.clock import SystemClock
from tests.coordinator.http.memory_connection import EchoSession, answers, get, post, refused

Result = TypeVar("Result")
DEADLINE_S = 20.0
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
NewLoop = Callable[[], asyncio.AbstractEventLoop]


@dataclass
class Served:
    """A server that listens, and the sessions of its connections in the order in which they came."""

    server: HttpServer
    sessions: list[EchoSession]
    port: int

    async def connect(self, *, receive_buffer_bytes: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = socket.socket()
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return await asyncio.open_connection(sock=sock, limit=1 << 16)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.002)


def with_server(new_loop: NewLoop, story: Callable[[Served], Awaitable[Result]], settings: HttpSettings) -> Result:
    """Play a story; no connection is left, and nothing was raised that only a log would know."""

    async def play() -> Result:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        clock = SystemClock(on_error=lambda name, error: told.append(error))
        sessions: list[EchoSession] = []

        def new_session() -> EchoSession:
            sessions.append(EchoSession())
            return sessions[-1]

        server = HttpServer(new_session, refused, clock, settings, kept_fields=frozenset([b"x-kept"]))
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        await server.start(sock)
        served = Served(server, sessions, port)
        async with asyncio.timeout(DEADLINE_S):
            result = await story(served)
        for session in sessions:
            session.may_end.set()
        await server.close()
        await served.until(lambda: server.connection_count == 0)
        await clock.close()
        assert told == []
        return result

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(play())


@LOOPS
def test_requests_and_answers_go_over_a_socket_byte_by_byte(new_loop: NewLoop) -> None:
    conversation = get("/a", "X-Kept: 1") + post("/b", b"body") + get("/c", "Connection: close")

    async def story(served: Served) -> bytes:
        reader, writer = await served.connect()
        for byte in conversation:
            writer.write(bytes([byte]))
            await writer.drain()
        told = await reader.read(-1)
        writer.close()
        return told

    assert [answer.body for answer in answers(with_server(new_loop, story, HttpSettings()))] == [
        b"('GET', '/a', [(b'x-kept', (b'1',))], b'')",
        b"('POST', '/b', [], b'body')",
        b"('GET', '/c', [], b'')",
    ]


@LOOPS
def test_a_client_with_small_buffers_that_reads_slowly_gets_big_answers_in_order(new_loop: NewLoop) -> None:
    async def story(served: Served) -> bytes:
        reader, writer = await served.connect(receive_buffer_bytes=4096)
        writer.write(get("/big/3000") + get("/small") + get("/big/2000", "Connection: close"))
        told = bytearray()
        while piece := await reader.read(10_000):
            told += piece
            await asyncio.sleep(0)
        writer.close()
        return bytes(told)

    big, small, last = answers(with_server(new_loop, story, HttpSettings()))
    assert (len(big.body), small.body, len(last.body)) == (3_000_000, b"('GET', '/small', [], b'')", 2_000_000)


@LOOPS
def test_a_client_that_stops_reading_is_cut_off_and_what_waits_behind_is_not_begun(new_loop: NewLoop) -> None:
    async def story(served: Served) -> list[str]:
        reader, writer = await served.connect(receive_buffer_bytes=4096)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get("/big/20000") + get("/behind"))
        await served.until(lambda: served.server.connection_count == 1)
        await served.until(lambda: served.server.connection_count == 0)
        writer.transport.abort()
        return served.sessions[0].began

    assert with_server(new_loop, story, HttpSettings(write_timeout_s=0.2)) == ["/big/20000"]


@LOOPS
@pytest.mark.parametrize("ends", ["close", "abort"])
def test_who_works_for_a_client_is_told_when_it_goes_also_behind_other_requests(new_loop: NewLoop, ends: str) -> None:
    async def story(served: Served) -> list[str]:
        _, writer = await served.connect()
        writer.write(get("/wait") + get("/2") * 5)
        await served.until(lambda: bool(served.sessions) and served.sessions[0].began == ["/wait"])
        getattr(writer.transport, ends)()
        await served.until(lambda: served.sessions[0].is_gone)
        return served.sessions[0].began

    assert with_server(new_loop, story, HttpSettings()) == ["/wait"]


@LOOPS
def test_a_client_may_say_that_it_sends_no_more_and_still_read_its_answer(new_loop: NewLoop) -> None:
    async def story(served: Served) -> bytes:
        reader, writer = await served.connect()
        writer.write(get("/a"))
        writer.write_eof()
        return await reader.read(-1)

    [answer] = answers(with_server(new_loop, story, HttpSettings()))
    assert answer.status == 200


@LOOPS
def test_a_refused_client_that_goes_on_sending_can_read_why(new_loop: NewLoop) -> None:
    async def story(served: Served) -> bytes:
        reader, writer = await served.connect()
        writer.write(get("/b", "Content-Length: 1000000000", method="POST"))
        for _ in range(100):
            writer.write(b"x" * 10_000)
            await asyncio.sleep(0)
        return await reader.read(-1)

    [answer] = answers(with_server(new_loop, story, HttpSettings(linger_s=5)))
    assert (answer.status, answer.fields["connection"]) == (413, "close")


@LOOPS
def test_connections_may_come_and_go_in_any_state(new_loop: NewLoop) -> None:
    states = [b"", b"G", get("/")[:-1], get("/"), get("/wait"), post("/", b"abc")[:-1], b"\0", get("/big/500")]

    async def story(served: Served) -> int:
        for round in range(5):
            opened = [await served.connect() for _ in states]
            for (_, writer), state in zip(opened, states, strict=True):
                writer.write(state)
            await asyncio.sleep(0)
            for number, (_, writer) in enumerate(opened):
                writer.transport.abort() if (number + round) % 2 else writer.close()
        await served.until(lambda: served.server.connection_count == 0)
        return len(served.sessions)

    assert with_server(new_loop, story, HttpSettings()) == 5 * len(states)
