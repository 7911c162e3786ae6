"""An HTTP server on a socket it is given: its connections, how many there may be, and how they end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from taskfan.coordinator.http.connection import HttpConnection
from taskfan.coordinator.http.errors import TooManyConnections
from taskfan.coordinator.http.messages import Field, HttpResponse, HttpSettings, Session
from taskfan.coordinator.http.response_writer import ResponseWriter
from taskfan.node.clock import Clock
from taskfan.node.errors import TaskfanError
from taskfan.node.node import wake

_BACKLOG = 2048
# So many connections beyond the limit are told why they are refused; more are closed without a word.
_MOST_TOLD = 64


class HttpServer:
    """Serves sessions over HTTP. It installs no signal handler and logs no access.

    Args:
        new_session: makes who answers the requests of a new connection.
        refused: words what is wrong with what is no request.
        kept_fields: of a request's header, in lower case.
        fields: stand in the header of every answer.
    """

    def __init__(
        self,
        new_session: Callable[[], Session],
        refused: Callable[[TaskfanError], HttpResponse],
        clock: Clock,
        settings: HttpSettings,
        *,
        kept_fields: frozenset[bytes],
        fields: Sequence[Field] = (),
    ) -> None:
        self.new_session, self.refused = new_session, refused
        self.clock, self.settings, self.kept_fields = clock, settings, kept_fields
        self.writer = ResponseWriter(fields)
        # A dict, not a set: connections are closed in the order in which they were opened.
        self._connections: dict[HttpConnection, None] = {}
        self._server: asyncio.Server | None = None
        self._all_closed: asyncio.Future[None] | None = None

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    async def start(self, sock: socket.socket) -> None:
        """Begin to listen on a socket that is bound."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: HttpConnection(self), sock=sock, backlog=_BACKLOG)

    def stop_listening(self) -> None:
        """Accept no more. What is open goes on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """Accept no more, let running requests end within `close_timeout_s`, then close what is left. Twice is fine."""
        self.stop_listening()
        if not self._connections:
            return
        self._all_closed = asyncio.get_running_loop().create_future()
        for connection in list(self._connections):
            connection.shutdown()
        try:
            async with self.clock.timeout(self.settings.close_timeout_s):
                await self._all_closed
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()

    # ------------------------------------------------------------------ told by connections

    def opened(self, connection: HttpConnection) -> TaskfanError | None:
        """There is a new one. Gives why it is refused, or None."""
        self._connections[connection] = None
        limit = self.settings.max_connections
        if len(self._connections) <= limit:
            return None
        if len(self._connections) > limit + _MOST_TOLD:
            connection.abort()
        return TooManyConnections(limit)

    def closed(self, connection: HttpConnection) -> None:
        """It has ended."""
        self._connections.pop(connection, None)
        if not self._connections and self._all_closed is not None:
            wake(self._all_closed, None)
