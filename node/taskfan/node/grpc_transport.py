"""The transport between processes by the library grpcio: each link is one bidirectional gRPC stream."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from taskfan.node.clock import Clock
from taskfan.node.cluster_state import DiscoveryNode
from taskfan.node.frames import Identity
from taskfan.node.grpc_status import StatusError
from taskfan.node.journal import NO_JOURNAL, Journal
from taskfan.node.lamport import LamportClock
from taskfan.node.link_transport import FrameStream, LinkTransport, StreamBroken
from taskfan.node.rpc import Method
from taskfan.node.transport import TransportSettings
from taskfan.v1 import transport_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name["Transport"].full_name
_METHOD = "Connect"
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_NEVER_MS = 2**31 - 1
# By then the streams of closed links have ended, but those to paused members; without any, gRPC complains of each.
_STOP_GRACE_S = 0.2
_BOTH_SIDES = [
    # Silence is noticed by the checks of a link, whose settings are OpenSearch's.
    ("grpc.keepalive_time_ms", _NEVER_MS),
    # Probing for the bandwidth costs pings, and loopback needs none: this window holds two whole frames.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 2 << 20),
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 4 << 20),
]
# With SO_REUSEPORT, which is the default, two members would share a port without a word.
_SERVER_OPTIONS = [*_BOTH_SIDES, ("grpc.so_reuseport", 0)]
_CHANNEL_OPTIONS = [
    *_BOTH_SIDES,
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    # Each link has a connection of its own, so no back-off of a former one hides a restarted node.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class GrpcTransport(LinkTransport):
    """Between `bind` and `start` other services may be added to the same server.

    To be made inside the running loop of the member's process: a gRPC object does not survive a fork.
    """

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
        self._server: grpc.aio.Server | None = None

    def bind(self, host: str, port: int) -> int:
        """Take the address. Port 0 lets the system choose. Links are accepted from `start` on.

        Returns:
            The port.

        Raises:
            OSError: the address is in use, or is none of this machine.
        """
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        connect: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._serve_call)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: connect}),))
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound_port = server.add_insecure_port(address)
        except RuntimeError:
            raise _why_not(host, port) from None
        self._server = server
        return bound_port

    def add_services(self, methods: Callable[[], Mapping[str, Method]]) -> None:
        """Serve these methods too, by path. Between `bind` and `start`."""
        assert self._server is not None, "bind first"
        assert self._receiver is None, "too late"
        self._server.add_generic_rpc_handlers((_Services(methods()),))

    async def _listen(self) -> None:
        assert self._server is not None, "bind first"
        await self._server.start()

    async def _stop_listening(self) -> None:
        if self._server is not None:
            await self._server.stop(_STOP_GRACE_S)

    def _open_stream(self, to: DiscoveryNode) -> FrameStream:
        # The time a connection may take is limited where the link is opened.
        connect_ms = round(self.settings.connect_timeout_s * 1000)
        options = [*_CHANNEL_OPTIONS, ("grpc.min_reconnect_backoff_ms", connect_ms)]
        return _OpenedStream(grpc.aio.insecure_channel(_target(to.transport_address), options))

    async def _serve_call(self, _requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        await self.serve(_AcceptedStream(context))


class _Services(grpc.GenericRpcHandler):
    """Methods as grpcio wants them: it is told that all are of streams, of which some hold one message."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._handlers = {path: _handler(method) for path, method in methods.items()}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The handler of a call, if there is one."""
        return self._handlers.get(details.method)


def _handler(method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def answer(
        messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        try:
            async for answer in method.answers(messages):
                yield answer
        except StatusError as error:
            await context.abort(_CODES[error.status], error.details)

    return grpc.stream_stream_rpc_method_handler(answer)


def _why_not(host: str, port: int) -> OSError:
    """Why this address cannot be taken, which gRPC does not tell."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return OSError(error.errno, f"cannot listen on transport address [{host}:{port}]: {error.strerror}")
    return OSError(errno.EADDRINUSE, f"cannot listen on transport address [{host}:{port}], which is free again")


def _target(address: str) -> str:
    """What gRPC calls an address; a literal one is not given to its DNS resolver."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return f"ipv{ipaddress.ip_address(host).version}:{address}"
    except ValueError:
        return f"dns:{address}"


class _GrpcStream:
    """Reads and writes of a call; gRPC's own classes for the two sides have both."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def read(self) -> bytes | None:
        """The next frame: see `FrameStream`."""
        try:
            frame: bytes | object = await self._call.read()
        except Exception as error:
            raise StreamBroken(_text(error)) from None
        return frame if isinstance(frame, bytes) else None

    async def write(self, frame: bytes) -> None:
        """Hand over a frame: see `FrameStream`."""
        try:
            await self._call.write(frame)
        except Exception as error:
            # After the end of a call this is an InvalidStateError, a UsageError or an internal one.
            raise StreamBroken(_text(error)) from None


class _OpenedStream(_GrpcStream):
    """The side that opened the stream. Its channel carries nothing else."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        super().__init__(channel.stream_stream(f"/{_SERVICE}/{_METHOD}")())

    async def close(self) -> None:
        """End it: see `FrameStream`."""
        self._call.cancel()
        await self._channel.close()


class _AcceptedStream(_GrpcStream):
    """The side that the stream came to. gRPC ends it when its handler returns."""

    async def close(self) -> None:
        """The handler returns next."""


def _text(error: Exception) -> str:
    details = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
    return details or type(error).__name__
