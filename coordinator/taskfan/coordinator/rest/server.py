"""The REST front of one member: what comes over HTTP goes to its dispatcher."""

from __future__ import annotations

import socket
from collections.abc import Coroutine
from typing import Any

from taskfan.coordinator.http.messages import HttpRequest, HttpResponse, HttpSettings
from taskfan.coordinator.http.server import HttpServer
from taskfan.coordinator.rest.client import Client
from taskfan.coordinator.rest.dispatcher import READ_FIELDS, VERSION_FIELD, Dispatcher, broken_response
from taskfan.node.node import Node


class RestServer:
    """Serves the node over HTTP."""

    def __init__(self, node: Node, settings: HttpSettings | None = None) -> None:
        settings = settings or HttpSettings()
        self.dispatcher = Dispatcher(node, settings.max_content_bytes)
        self._http = HttpServer(
            lambda: _RestSession(self),
            broken_response,
            node.clock,
            settings,
            kept_fields=READ_FIELDS,
            fields=[VERSION_FIELD],
        )

    @property
    def connection_count(self) -> int:
        return self._http.connection_count

    async def start(self, sock: socket.socket) -> None:
        """Begin to listen on a socket that is bound."""
        await self._http.start(sock)

    async def close(self) -> None:
        """Accept no more, and let running requests end, for some time. Twice is fine."""
        await self._http.close()


class _RestSession:
    """One connection: who waits is the same for all of its requests, for they are answered one after the other."""

    def __init__(self, server: RestServer) -> None:
        self._server = server
        self._client = Client()

    def answer(self, request: HttpRequest) -> Coroutine[Any, Any, HttpResponse]:
        return self._server.dispatcher.dispatch(request, self._client)

    def gone(self) -> None:
        self._client.gone()
