"""Serves the control API on loopback, from the supervisor's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket

from taskfan.cluster.control_api import MAX_BODY_BYTES, READ_FIELDS, Guard, Refused, answer, check_content, read_fields
from taskfan.cluster.orders import Orders
from taskfan.cluster.state_directory import StateDirectory
from taskfan.coordinator.http.messages import Field, HttpRequest, HttpResponse, HttpSettings
from taskfan.coordinator.http.server import HttpServer
from taskfan.node.clock import SystemClock
from taskfan.node.errors import TaskfanError

log = logging.getLogger("taskfan.control")

LOOPBACK = "127.0.0.1"
_JSON = "application/json"
_FIELDS: tuple[Field, ...] = ((b"cache-control", b"no-store"),)
# What a body is refused for is told by the API itself; and whoever holds a token is of this user, but no number of
# clients is to be without a bound.
_SETTINGS = HttpSettings(
    max_content_bytes=2 * MAX_BODY_BYTES, body_timeout_s=30.0, keep_alive_s=60.0, max_connections=128
)


class ControlServer:
    """The HTTP face of one supervisor."""

    def __init__(self, orders: Orders, directory: StateDirectory) -> None:
        self._orders, self._directory = orders, directory
        self._server: HttpServer | None = None

    async def start(self, sock: socket.socket) -> None:
        """Write the token, and listen on a socket that is bound to loopback."""
        port = sock.getsockname()[1]
        token = secrets.token_urlsafe(32)
        self._write_token(token)
        session = _ControlSession(self._orders, Guard(port, token, str(self._directory.token_path)))
        self._server = HttpServer(
            lambda: session, _refused, SystemClock(), _SETTINGS, kept_fields=READ_FIELDS, fields=_FIELDS
        )
        await self._server.start(sock)

    def close(self) -> None:
        """Accept no more. What is being answered ends with the process."""
        if self._server is not None:
            self._server.stop_listening()

    def _write_token(self, token: str) -> None:
        path = self._directory.token_path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        with self._directory.writing():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(token)


class _ControlSession:
    """Answers every connection: it keeps nothing of one."""

    def __init__(self, orders: Orders, guard: Guard) -> None:
        self._orders, self._guard = orders, guard

    async def answer(self, request: HttpRequest) -> HttpResponse:
        # Orders wait by asyncio's own limits, which need a task; the first step of an answer is taken in none.
        await asyncio.sleep(0)
        try:
            status, body = await self._carried_out(request)
        except Refused as refused:
            return _told(refused)
        except Exception as error:
            path = request.target.decode("latin-1")
            log.exception("%s %s", request.method, path)
            return _told(Refused(500, "bug", f"A bug in the supervisor: {type(error).__name__}: {error}"))
        return HttpResponse(status, _JSON, [body])

    async def _carried_out(self, request: HttpRequest) -> tuple[int, bytes]:
        fields = read_fields(request.fields)
        self._guard.check(fields)
        if len(request.body) > MAX_BODY_BYTES:
            raise Refused(413, "too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
        check_content(fields, request.body)
        path = request.target.partition(b"?")[0].decode("latin-1")
        return await answer(self._orders, request.method, path, request.body)

    def gone(self) -> None:
        """An order that was given is carried out, whether somebody waits or not."""


def _refused(error: TaskfanError) -> HttpResponse:
    """The answer to what is no request."""
    return _told(Refused(int(error.http_status), error.kind, str(error.reason)))


def _told(refused: Refused) -> HttpResponse:
    own = [] if refused.header is None else [refused.header]
    return HttpResponse(refused.status, _JSON, [refused.body()], own)
