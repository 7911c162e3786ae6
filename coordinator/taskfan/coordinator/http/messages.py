"""What comes in and goes out over HTTP, and the limits of both. Pure."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

import msgspec

Field = tuple[bytes, bytes]
# Values by the name of their field in lower case, in the order in which they came.
Fields = Mapping[bytes, Sequence[bytes]]


class HttpSettings(msgspec.Struct, frozen=True):
    """Names and defaults are OpenSearch's where it has them; the waits have a limit here."""

    # http.max_content_length, of a body as sent and as decompressed.
    max_content_bytes: int = 100 << 20
    # http.max_header_size, http.max_initial_line_length
    max_header_bytes: int = 16 << 10
    max_line_bytes: int = 4 << 10
    max_header_fields: int = 1000
    # http.pipelining.max_events: requests of one connection that are whole and wait for their turn.
    max_pipelined: int = 10_000
    max_connections: int = 10_000
    # From the first byte of a request to the end of its head, and from there to its end.
    head_timeout_s: float = 30.0
    body_timeout_s: float = 300.0
    # A client that does not read its answer.
    write_timeout_s: float = 300.0
    # An open connection without a request. Long, for a client should not find its pooled connections closed.
    keep_alive_s: float = 3600.0
    # How long a refused client may take to read why.
    linger_s: float = 1.0
    # How long running requests may take to end when the server closes.
    close_timeout_s: float = 5.0


class HttpRequest(msgspec.Struct, frozen=True):
    """One whole request. A struct, for each request makes one.

    Args:
        target: the middle of the request line, as it came.
        fields: of the header, and only those that the server was told to keep.
        keep_alive: whether the client may send another one after it.
    """

    method: str
    target: bytes
    fields: Fields
    body: bytes
    keep_alive: bool


class HttpResponse(msgspec.Struct, frozen=True):
    """What goes out.

    Args:
        parts: of the body; nobody has to join them.
        fields: of the header, without those that every answer of this server has, and those of the body.
    """

    status: int
    content_type: str
    parts: Sequence[bytes]
    fields: Sequence[Field] = ()


class Session(Protocol):
    """Who answers the requests of one connection, one after the other."""

    def answer(self, request: HttpRequest) -> Coroutine[Any, Any, HttpResponse]:
        """The answer to a request. What it raises is a bug, and costs the connection."""

    def gone(self) -> None:
        """The connection has ended while an answer was awaited."""
