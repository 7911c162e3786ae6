"""The REST front of one member: an ASGI application on uvicorn's HTTP, listening on a socket it is given."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from taskfan.coordinator.rest.dispatcher import Dispatcher
from taskfan.coordinator.rest.protocol import HttpProtocol, HttpSettings, client_of
from taskfan.node.node import Node, wake

Message = MutableMapping[str, Any]
# Parts of a big answer are joined to pieces of about this size, each written when the last one has gone.
_PIECE_BYTES = 256 << 10
_BACKLOG = 2048


class RestServer:
    """Serves the node over HTTP.

    It installs no signal handler, logs no access, and lets the requests that run end when it closes.
    """

    def __init__(self, node: Node, settings: HttpSettings | None = None) -> None:
        self._settings = settings or HttpSettings()
        self._clock = node.clock
        self._dispatcher = Dispatcher(node, self._settings.max_content_bytes)
        self._connections: dict[HttpProtocol, None] = {}
        self._server: asyncio.Server | None = None
        self._all_closed: asyncio.Future[None] | None = None
        self._state = ServerState()
        self._config = Config(
            self._application,
            lifespan="off",
            log_config=None,
            access_log=False,
            http="httptools",
            ws="none",
            interface="asgi3",
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )

    async def start(self, sock: socket.socket) -> None:
        """Begin to listen on a socket that is bound."""
        if not self._config.loaded:
            self._config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, sock=sock, backlog=_BACKLOG)

    def _connect(self) -> HttpProtocol:
        return HttpProtocol(
            self._config,
            self._state,
            self._settings,
            self._clock,
            on_open=lambda connection: self._connections.setdefault(connection),
            on_close=self._closed,
        )

    def _closed(self, connection: HttpProtocol) -> None:
        self._connections.pop(connection, None)
        if not self._connections and self._all_closed is not None:
            wake(self._all_closed, None)

    async def close(self) -> None:
        """Accept no more, let running requests end within `close_timeout_s`, then close what is left. Twice is fine."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if not self._connections:
            return
        self._all_closed = asyncio.get_running_loop().create_future()
        for connection in list(self._connections):
            connection.shutdown()
        try:
            async with self._clock.timeout(self._settings.close_timeout_s):
                await self._all_closed
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()

    async def _application(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """ASGI, of which only `http` ever comes here."""
        # When the clock closes there is nobody left to tell of what did not end.
        with contextlib.suppress(asyncio.CancelledError):
            await self._serve(scope, receive, send)

    async def _serve(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        ours = scope["extensions"]["taskfan"]
        body = await _whole_body(receive) if ours["has_body"] else b""
        if body is None:
            return
        response = await self._dispatcher.dispatch(
            scope["method"], ours["target"], scope["headers"], body, client_of(scope)
        )
        await send({"type": "http.response.start", "status": response.status, "headers": response.fields})
        pieces = list(_pieces(response.parts)) or [b""]
        for at, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": at < len(pieces)})


async def _whole_body(receive: Callable[[], Awaitable[Message]]) -> bytes | None:
    """All of a body, or None when the client goes away before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


def _pieces(parts: list[bytes]) -> Iterator[bytes]:
    """Parts joined to pieces: few writes, and never the whole of a big answer twice."""
    waiting: list[bytes] = []
    waiting_bytes = 0
    for part in parts:
        waiting.append(part)
        waiting_bytes += len(part)
        if waiting_bytes >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, waiting_bytes = [], 0
    if waiting:
        yield b"".join(waiting)
