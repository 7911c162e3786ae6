"""The transport between processes, by default: each link is one bidirectional gRPC stream over our own HTTP/2.

On the wire it is what `grpc_transport.py` speaks: the two understand each other, and gRPC clients of any language
reach the services that are added. Measured against it: a sixth of the processor time, a quarter of the latency.
Links to members of this machine go through a `local_socket`, where it has them and `settings` allow; others take TCP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Callable, Mapping

from taskfan.node import local_socket
from taskfan.node.clock import Clock
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.frame_queue import queue_it
from taskfan.node.frames import Identity
from taskfan.node.grpc_status import Status, StatusError
from taskfan.node.http2_call import AT_ONCE_BYTES, WAITING_BYTES, Call
from taskfan.node.http2_socket import Http2Socket, Ticks
from taskfan.node.journal import NO_JOURNAL, Journal
from taskfan.node.lamport import LamportClock
from taskfan.node.link import LinkEnd
from taskfan.node.link_transport import FrameStream, LinkTransport, StreamBroken, ended
from taskfan.node.rpc import Method
from taskfan.node.transport import TransportSettings
from taskfan.v1 import transport_pb2 as pb

_log = logging.getLogger(__name__)

_SERVICE = pb.DESCRIPTOR.services_by_name["Transport"].full_name
_CONNECT = f"/{_SERVICE}/Connect"
# All others may connect at once, when a large cluster starts.
_BACKLOG = 4096
# By then the last words have been read, but by paused members.
_STOP_GRACE_S = 0.2


class Http2Transport(LinkTransport):
    """Between `bind` and `start` services may be added; calls of them share the port with the links."""

    def __init__(
        self,
        local_id: str,
        incarnation_id: str,
        cluster_name: str,
        clock: Clock,
        settings: TransportSettings | None = None,
        lamport: LamportClock | None = None,
        journal: Journal = NO_JOURNAL,
    ) -> None:
        identity = Identity(cluster_name, local_id, incarnation_id)
        super().__init__(identity, clock, settings or TransportSettings(), lamport, journal)
        self._ticks = Ticks()
        self._listening: socket.socket | None = None
        self._listening_locally: socket.socket | None = None
        self._servers: list[asyncio.Server] = []
        self._make_methods: Callable[[], Mapping[str, Method]] = dict
        self._methods: Mapping[str, Method] | None = None
        self._accepted: dict[Http2Socket, None] = {}
        self._serving: dict[asyncio.Task[object], None] = {}

    def bind(self, host: str, port: int) -> int:
        """Take the address. Port 0 lets the system choose. Links are accepted from `start` on.

        Returns:
            The port.

        Raises:
            OSError: the address is in use, or is none of this machine.
        """
        is_ipv6 = ":" in host
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        try:
            # It listens at once: who connects meanwhile waits, and nobody else gets the port.
            self._listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
            port = self._listening.getsockname()[1]
            if self.settings.local_sockets:
                address = f"[{host}]:{port}" if is_ipv6 else f"{host}:{port}"
                self._listening_locally = local_socket.listen(address, _BACKLOG)
        except OSError as error:
            if self._listening is not None:
                self._listening.close()
            reason = f"cannot listen on transport address [{host}:{port}]: {error.strerror}"
            raise OSError(error.errno, reason) from None
        return port

    def add_services(self, methods: Callable[[], Mapping[str, Method]]) -> None:
        """Serve these methods too, by path; asked for when the first call comes. Once, between `bind` and `start`."""
        assert self._receiver is None, "too late"
        self._make_methods = methods

    async def _listen(self) -> None:
        assert self._listening is not None, "bind first"
        loop, tcp, unix = asyncio.get_running_loop(), self._listening, self._listening_locally
        self._servers.append(await loop.create_server(self._accept_socket, sock=tcp, backlog=_BACKLOG))
        if unix is not None:
            self._servers.append(await loop.create_unix_server(self._accept_socket, sock=unix, backlog=_BACKLOG))

    async def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        if not self._servers:
            for sock in filter(None, (self._listening, self._listening_locally)):
                sock.close()
        for task in list(self._serving):
            task.cancel()
            await ended(task)
        accepted = list(self._accepted)
        for accepted_socket in accepted:
            accepted_socket.close()
        with contextlib.suppress(TimeoutError):
            async with self.clock.timeout(_STOP_GRACE_S):
                for accepted_socket in accepted:
                    await asyncio.shield(accepted_socket.lost)
        for accepted_socket in accepted:
            accepted_socket.abort()

    def _open_stream(self, to: DiscoveryNode) -> FrameStream:
        return _OpenedStream(to.transport_address, self.clock, self._ticks, self.settings.local_sockets)

    async def _carry(self, link: LinkEnd, stream: FrameStream) -> None:
        """Carry frames both ways until the link closes or the stream ends; without tasks that read and write."""
        call = stream.call if isinstance(stream, _OpenedStream) else stream
        assert isinstance(call, Call)
        pump = _Pump(call, link)
        link.watch()
        try:
            pump.start()
            await link.ended
        finally:
            link.close("its carrier was stopped")
            pump.stop()

    # ------------------------------------------------------------------ calls that come in

    def _accept_socket(self) -> Http2Socket:
        accepted = Http2Socket(self.clock, self._ticks, self._accept_call, self._accepted.pop)
        self._accepted[accepted] = None
        return accepted

    def _accept_call(self, call: Call) -> None:
        if call.path == _CONNECT:
            task = self.clock.spawn(self.serve(call), f"serve at {self.local}")
        elif (method := self._method(call.path)) is not None:
            task = self.clock.spawn(self._answer(call, method), f"answer {call.path}")
            call.on_end = lambda: None if task.done() else _cancel(task)
        else:
            call.finish(Status.UNIMPLEMENTED, f"unknown method {call.path}")
            return
        self._serving[task] = None
        task.add_done_callback(self._serving.pop)

    def _method(self, path: str) -> Method | None:
        if self._methods is None:
            self._methods = self._make_methods()
        return self._methods.get(path)

    async def _answer(self, call: Call, method: Method) -> None:
        """Run a method for who calls it. A caller that goes away cancels it."""
        requests = _messages(call)
        try:
            async with contextlib.aclosing(requests), contextlib.aclosing(method.answers(requests)) as answers:
                async for answer in answers:
                    await call.write(answer)
            call.finish()
        except StatusError as error:
            call.finish(error.status, error.details)
        except StreamBroken as error:
            _log.debug("%s: %s: %s", self.local, call.path, error)
        except asyncio.CancelledError:
            call.finish(Status.UNAVAILABLE, "the call was stopped")
            raise
        except Exception as bug:
            _log.exception("%s: %s failed", self.local, call.path)
            call.finish(Status.UNKNOWN, f"{type(bug).__name__}: {bug}")


def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()


async def _messages(call: Call) -> AsyncGenerator[bytes, None]:
    while (message := await call.read()) is not None:
        yield message


class _Pump:
    """Moves frames between a link and its call, without a task that would wait for either."""

    def __init__(self, call: Call, link: LinkEnd) -> None:
        self._call, self._link, self._queue = call, link, link.queue

    def start(self) -> None:
        """Move what is there already, and from now on what comes."""
        call, link = self._call, self._link
        call.on_last, call.on_end, call.on_room, link.frame_put = self._end, self._end, self._fill, self._put
        link.offer = call.offer
        call.attach(link.receive)
        if call.has_last or call.is_over:
            self._end()
        self._put()

    def stop(self) -> None:
        """Move nothing more: the two know each other no longer, and are freed at once."""
        self._call.attach(_drop)
        self._link.offer = queue_it
        self._call.on_last = self._call.on_end = self._call.on_room = self._link.frame_put = _nothing

    def _put(self) -> None:
        """The link has something to send."""
        self._call.flush_soon(at_once=self._queue.waiting_bytes < AT_ONCE_BYTES)

    def _fill(self) -> None:
        """Hand over the frames that go next: as many as are worth a write, for what waits may be overtaken."""
        call, queue = self._call, self._queue
        stream = call.stream
        while queue.waiting_bytes:
            if stream.waiting_bytes >= WAITING_BYTES:
                stream.wants_room = True
                return
            frame = queue.take()
            assert frame is not None
            call.send(frame)

    def _end(self) -> None:
        why = self._call.why
        self._link.close(f"broken: {why}" if why else "ended by the other side")


def _drop(_message: bytes) -> None:
    """Nobody wants to read it."""


def _nothing() -> None:
    """Nobody wants to know."""


class _OpenedStream:
    """The side that opened the stream. Its connection carries nothing else, and is opened when it is used."""

    def __init__(self, address: str, clock: Clock, ticks: Ticks, local_sockets: bool) -> None:
        self._address, self._clock, self._ticks, self._local_sockets = address, clock, ticks, local_sockets
        self._socket: Http2Socket | None = None
        self.call: Call | None = None

    async def read(self) -> bytes | None:
        """The next frame: see `FrameStream`."""
        return await (await self._opened()).read()

    async def write(self, frame: bytes) -> None:
        """Hand over a frame: see `FrameStream`."""
        await (await self._opened()).write(frame)

    async def close(self) -> None:
        """End it: see `FrameStream`."""
        if self._socket is not None:
            if self.call is not None:
                self.call.give_up()
            self._socket.close()

    async def _opened(self) -> Call:
        if self.call is None:
            try:
                self._socket = await self._connected()
            except OSError as error:
                raise StreamBroken(f"no connection to [{self._address}]: {error.strerror or error}") from None
            self.call = self._socket.call(_CONNECT, self._address)
        return self.call

    async def _connected(self) -> Http2Socket:
        loop = asyncio.get_running_loop()
        if self._local_sockets and (near := local_socket.connect(self._address)) is not None:
            _, connected = await loop.create_unix_connection(self._new_socket, sock=near)
        else:
            host, _, port = self._address.rpartition(":")
            _, connected = await loop.create_connection(self._new_socket, host.strip("[]"), int(port))
        return connected

    def _new_socket(self) -> Http2Socket:
        return Http2Socket(self._clock, self._ticks)
