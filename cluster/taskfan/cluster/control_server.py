"""Serves the control API on loopback, from the supervisor's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from taskfan.cluster.control_api import MAX_BODY_BYTES, Guard, Refused, answer, check_content, read_fields
from taskfan.cluster.orders import Orders
from taskfan.cluster.state_directory import StateDirectory
from taskfan.coordinator.rest.protocol import HttpProtocol, HttpSettings
from taskfan.node.clock import SystemClock

log = logging.getLogger("taskfan.control")

Message = MutableMapping[str, Any]
LOOPBACK = "127.0.0.1"
# Whoever holds a token is of this user; but no number of clients is to be without a bound.
MOST_CONNECTIONS = 128


class ControlServer:
    """The HTTP face of one supervisor."""

    def __init__(self, orders: Orders, directory: StateDirectory) -> None:
        self._orders, self._directory = orders, directory
        self._server: asyncio.Server | None = None
        self._guard: Guard | None = None

    async def start(self, sock: socket.socket) -> None:
        """Write the token, and listen on a socket that is bound to loopback."""
        port = sock.getsockname()[1]
        token = secrets.token_urlsafe(32)
        self._write_token(token)
        self._guard = Guard(port, token, str(self._directory.token_path))
        # Nothing of uvicorn's server itself: it would take the signals, and wake up ten times a second.
        config = Config(
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
            limit_concurrency=MOST_CONNECTIONS,
        )
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        # The protocol of the REST front, for its limits on what a client may send, and for how long.
        settings = HttpSettings(max_content_bytes=2 * MAX_BODY_BYTES, body_timeout_s=30.0, keep_alive_s=60.0)

        def connect() -> HttpProtocol:
            return HttpProtocol(config, state, settings, clock, on_open=_ignore, on_close=_ignore)

        clock = SystemClock()
        self._server = await loop.create_server(connect, sock=sock)

    def close(self) -> None:
        """Accept no more. What is being answered ends with the process."""
        if self._server is not None:
            self._server.close()

    def _write_token(self, token: str) -> None:
        path = self._directory.token_path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token)

    async def _application(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """ASGI, of which only `http` ever comes here."""
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        try:
            status, body = await self._answer(scope, receive)
        except Refused as refused:
            status, body = refused.status, refused.body()
            headers += [refused.header] if refused.header is not None else []
        except Exception as error:
            log.exception("%s %s", scope["method"], scope["path"])
            bug = Refused(500, "bug", f"A bug in the supervisor: {type(error).__name__}: {error}")
            status, body = bug.status, bug.body()
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Message]]
    ) -> tuple[int, bytes]:
        assert self._guard is not None
        fields = read_fields(scope["headers"])
        self._guard.check(fields)
        body = await _body(receive)
        check_content(fields, body)
        return await answer(self._orders, scope["method"], scope["path"], body)


def _ignore(connection: HttpProtocol) -> None:
    """Nobody follows the connections: they end with the process."""


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise Refused(413, "too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)
