"""An HTTP connection over no socket: a client that reads when the test says, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from taskfan.coordinator.http.connection import HttpConnection
from taskfan.coordinator.http.messages import HttpRequest, HttpResponse, HttpSettings
from taskfan.coordinator.http.server import HttpServer
from taskfan.node.clock import VirtualClock, VirtualTimeLoop
from taskfan.node.errors import TaskfanError

Result = TypeVar("Result")
HIGH_WATER_BYTES = 64 << 10
LOW_WATER_BYTES = HIGH_WATER_BYTES // 4


class MemoryTransport(asyncio.Transport):
    """Keeps what is written until the client reads it, and tells the protocol of it as a socket would."""

    def __init__(self, connection: HttpConnection) -> None:
        super().__init__()
        self._connection = connection
        self._unread = bytearray()
        self._is_paused = False
        self.client_reads = True
        # The client has gone, which is noticed by whoever writes next.
        self.is_broken = False
        self.received = bytearray()
        self.has_eof = self.is_reading_paused = self.is_lost = self._is_closing = False

    def write(self, data: Any) -> None:
        assert not self.has_eof, "written behind the end"
        if self.is_broken:
            self.abort()
        if self._is_closing:
            return
        self._unread += data
        self._flush()

    def writelines(self, buffers: Any) -> None:
        self.write(b"".join(buffers))

    def _flush(self) -> None:
        if self.client_reads:
            self.read(len(self._unread))
        elif len(self._unread) > HIGH_WATER_BYTES and not self._is_paused:
            self._is_paused = True
            self._connection.pause_writing()

    def read(self, byte_count: int) -> None:
        """The client reads so many of the bytes that wait."""
        self.received += self._unread[:byte_count]
        del self._unread[:byte_count]
        if self._is_closing and not self._unread:
            self._lose()
        elif self._is_paused and len(self._unread) <= LOW_WATER_BYTES:
            self._is_paused = False
            asyncio.get_running_loop().call_soon(self._connection.resume_writing)

    @property
    def unread_bytes(self) -> int:
        return len(self._unread)

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True
        if not self._unread:
            self._lose()

    def abort(self) -> None:
        self._is_closing = True
        self._unread.clear()
        self._lose()

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_eof = True

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False


@dataclass
class EchoSession:
    """Answers with what was asked. `/wait` is answered when the test says, `/bug` never, `/big/N` with N parts."""

    began: list[str] = field(default_factory=list)
    is_gone: bool = False
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: HttpRequest) -> HttpResponse:
        target = request.target.decode("latin-1")
        self.began.append(target)
        if target == "/bug":
            raise KeyError("a bug")
        if target.startswith("/wait"):
            await self.may_end.wait()
        if target.startswith("/big/"):
            return HttpResponse(200, "text/plain", [b"x" * 1000] * int(target[5:]))
        fields = sorted((name, tuple(values)) for name, values in request.fields.items())
        return HttpResponse(200, "text/plain", [repr((request.method, target, fields, request.body)).encode()])

    def gone(self) -> None:
        self.is_gone = True


@dataclass
class Client:
    """One connection from the client's side."""

    server: HttpServer
    session: EchoSession
    connection: HttpConnection
    transport: MemoryTransport
    bugs: list[tuple[str, BaseException]]

    async def send(self, *pieces: bytes) -> None:
        """Send them one by one, as long as the server has not closed; what is ready to happen happens in between."""
        for piece in pieces:
            if self.transport.is_closing():
                return
            assert not self.transport.is_reading_paused, "the server does not read"
            self.connection.data_received(piece)
            await self.settle()

    async def settle(self) -> None:
        """Let everything happen that waits for no time to pass."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def hang_up(self) -> None:
        self.transport.abort()
        await self.settle()

    @property
    def told(self) -> bytes:
        return bytes(self.transport.received)


def refused(error: TaskfanError) -> HttpResponse:
    return HttpResponse(int(error.http_status), "text/plain", [str(error.reason).encode()])


def connect(server: HttpServer, session: EchoSession, bugs: list[tuple[str, BaseException]]) -> Client:
    connection = HttpConnection(server)
    transport = MemoryTransport(connection)
    connection.connection_made(transport)
    return Client(server, session, connection, transport, bugs)


def with_client(
    story: Callable[[Client], Awaitable[Result]], settings: HttpSettings | None = None, *, bugs: int = 0
) -> Result:
    """Play a story; afterwards there is no connection left, no timer, and so many bugs were told of."""

    async def play() -> Result:
        told: list[tuple[str, BaseException]] = []
        clock = VirtualClock(on_error=lambda name, error: told.append((name, error)))
        session = EchoSession()
        kept = frozenset([b"x-kept", b"content-type"])
        server = HttpServer(lambda: session, refused, clock, settings or HttpSettings(), kept_fields=kept)
        client = connect(server, session, told)
        result = await story(client)
        session.may_end.set()
        await client.settle()
        await client.hang_up()
        assert server.connection_count == 0
        await clock.close()
        assert len(told) == bugs
        return result

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(play())


@dataclass(frozen=True)
class Told:
    """One answer out of what a client received."""

    status: int
    fields: dict[str, str]
    body: bytes


def answers(data: bytes, methods: list[str] | None = None) -> list[Told]:
    """What was received as answers, nothing left over. Interim answers have no body; nor have those to HEAD."""
    told: list[Told] = []
    while data:
        head, blank, data = data.partition(b"\r\n\r\n")
        assert blank, f"an answer without an end: {head!r}"
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert len(fields) == len(lines)
        final = [answer for answer in told if answer.status != 100]
        is_head = methods is not None and len(final) < len(methods) and methods[len(final)] == "HEAD"
        length = 0 if status == "100" or is_head else int(fields["content-length"])
        assert len(data) >= length, "an answer is cut off"
        told.append(Told(int(status), fields, data[:length]))
        data = data[length:]
    return told


def get(target: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", *fields, "", ""]).encode()


def post(target: str, body: bytes, *fields: str) -> bytes:
    return get(target, f"Content-Length: {len(body)}", *fields, method="POST") + body
