"""The requests of one connection out of its bytes, within their limits. Pure but for the state of its parser.

What two readers might take for different requests is refused, here or by the parser: a length that comes twice or
beside chunks, folded fields, line feeds alone, codings of a body other than chunks.
"""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Literal

import httptools

from taskfan.coordinator.http.errors import TooLarge, TooLongHeader, TooLongLine, UnexpectedMethod, broken
from taskfan.coordinator.http.messages import HttpRequest, HttpSettings
from taskfan.node.errors import TaskfanError

# So many requests, or so many bytes of their bodies, are received before earlier ones are answered.
MANY_WAITING = 32
MANY_WAITING_BYTES = 1 << 20
_FRAMING = frozenset([b"content-length", b"transfer-encoding", b"expect"])


class _Ended(Exception):
    """No more requests are wanted: the parser shall stop."""


class RequestReader:
    """Reads the requests of one connection. The methods `on_*` are called by its parser only.

    Attributes:
        part: what of a request is being received: nothing, its head or its body.
        begun: number of requests whose first byte came.
        is_ended: nothing that comes is read any more: the last request was refused, or asked to close.
        wants_continue: the client sends the body of its request when it is told to.
        waiting: requests that came whole, in order; behind the last one the refusal of what is none.
    """

    def __init__(self, settings: HttpSettings, kept_fields: frozenset[bytes]) -> None:
        self.part: Literal["", "head", "body"] = ""
        self.begun = 0
        self.is_ended = False
        self.wants_continue = False
        self.waiting: deque[HttpRequest | TaskfanError] = deque()
        self._settings = settings
        self._kept_fields = kept_fields
        self._waiting_bytes = 0
        self._refusal: TaskfanError | None = None
        self._silent_bytes = 0
        self._body: bytes | bytearray = b""
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Read what came. What is whole by it waits to be taken."""
        if self.is_ended:
            return
        assert self._parser is not None
        before = (self.begun, self.part, len(self._body)) if self.part else None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self.is_ended:
                self.refuse(self._refusal or _told(error))
        if before is not None and self.part:
            self._bound_silence(len(data), before == (self.begun, self.part, len(self._body)))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Not offered here: the request is answered as it is, and is the last one.

        A body the parser leaves to the other protocol, so another parser reads it.
        """
        if self.part != "body":
            self.end()
            return
        self._leaves_body = False
        told = SimpleNamespace(on_body=self.on_body, on_message_complete=self.on_message_complete)
        self._parser = httptools.HttpRequestParser(told)
        framing = b"Transfer-Encoding: chunked" if self._is_chunked else b"Content-Length: %d" % self._content_length
        self._parser.feed_data(b"POST / HTTP/1.1\r\nConnection: close\r\n%b\r\n\r\n" % framing)
        self.feed(rest)

    def _bound_silence(self, byte_count: int, is_silent: bool) -> None:
        """One field that does not end, or one behind the last chunk, is not told by the parser before its end."""
        self._silent_bytes = self._silent_bytes + byte_count if is_silent else 0
        if self._silent_bytes > self._settings.max_header_bytes + self._settings.max_line_bytes:
            self.refuse(TooLongHeader(self._settings.max_header_bytes))

    def take(self) -> HttpRequest | TaskfanError:
        """The first of those that wait."""
        request = self.waiting.popleft()
        if isinstance(request, HttpRequest):
            self._waiting_bytes -= len(request.body)
        return request

    @property
    def has_many_waiting(self) -> bool:
        """Whether no more should be fed before some are taken."""
        return len(self.waiting) >= MANY_WAITING or self._waiting_bytes >= MANY_WAITING_BYTES

    def refuse(self, error: TaskfanError) -> None:
        """Read no more; the refusal takes its turn behind the requests that came whole."""
        self.waiting.append(error)
        self.end()

    def end(self) -> None:
        """Read no more. What is whole can still be taken."""
        self.is_ended = True
        self.part = ""
        self.wants_continue = False

    def drop(self) -> None:
        """Forget what waits too: nobody is to be answered any more. Twice is fine."""
        self.end()
        self.waiting.clear()
        # It holds this reader by its methods: both would wait for the garbage collector.
        self._parser = None

    # ------------------------------------------------------------------ told by the parser

    def on_message_begin(self) -> None:
        if self.is_ended:
            raise _Ended
        self.begun += 1
        self.part = "head"
        self._url = b""
        self._fields: dict[bytes, list[bytes]] = {}
        self._body = b""
        self._head_bytes = self._head_fields = self._content_length = self._silent_bytes = 0
        self._is_chunked = self._expects_continue = False
        self._coding = b""

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url
        if len(self._url) > self._settings.max_line_bytes:
            self._refuse_in_parser(TooLongLine(self._settings.max_line_bytes))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_fields += 1
        self._head_bytes += len(name) + len(value) + 3
        settings = self._settings
        if self._head_bytes > settings.max_header_bytes or self._head_fields > settings.max_header_fields:
            self._refuse_in_parser(self._too_long_header())
        name = name.lower()
        if self.part == "body":
            # What comes behind the last chunk is counted, and means nothing.
            return
        if name in self._kept_fields:
            self._fields.setdefault(name, []).append(value.strip())
        elif name in _FRAMING:
            self._on_framing(name, value.strip().lower())

    def _too_long_header(self) -> TaskfanError:
        if self._head_bytes > self._settings.max_header_bytes:
            return TooLongHeader(self._settings.max_header_bytes)
        return broken(f"more than [{self._settings.max_header_fields}] header fields")

    def _on_framing(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            # That it is one number, and the only one, the parser has seen to.
            self._content_length = int(value)
        elif name == b"expect":
            self._expects_continue = value == b"100-continue"
        else:
            # Said twice it is a list, of which we know no other than chunks alone.
            self._coding = self._coding + b", " + value if self._is_chunked else value
            self._is_chunked = True

    def on_headers_complete(self) -> None:
        parser, settings = self._parser, self._settings
        assert parser is not None
        self._method: str = parser.get_method().decode()
        version: str = parser.get_http_version()
        if len(self._method) + len(self._url) + len("  HTTP/1.1") > settings.max_line_bytes:
            self._refuse_in_parser(TooLongLine(settings.max_line_bytes))
        if version != "1.1" and (version != "1.0" or self._is_chunked):
            self._refuse_in_parser(broken(f"HTTP/{version}" + " in chunks" * self._is_chunked))
        if self._is_chunked and self._coding != b"chunked":
            self._refuse_in_parser(broken(f"Transfer-Encoding [{self._coding.decode('latin-1')}] is not known"))
        if self._content_length > settings.max_content_bytes:
            self._refuse_in_parser(TooLarge(settings.max_content_bytes))
        has_body = self._is_chunked or self._content_length > 0
        self._leaves_body = has_body and parser.should_upgrade()
        self._keep_alive = version != "1.0" and parser.should_keep_alive() and not parser.should_upgrade()
        self.wants_continue = self._expects_continue and has_body and version != "1.0"
        self.part = "body"

    def on_body(self, body: bytes) -> None:
        self.wants_continue = False
        self._waiting_bytes += len(body)
        if not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        if len(self._body) > self._settings.max_content_bytes:
            self._refuse_in_parser(TooLarge(self._settings.max_content_bytes))

    def on_message_complete(self) -> None:
        if self._leaves_body:
            return
        if len(self.waiting) >= self._settings.max_pipelined:
            self._refuse_in_parser(broken(f"more than [{self._settings.max_pipelined}] requests at once"))
        self.part = ""
        self.wants_continue = False
        self.waiting.append(
            HttpRequest(self._method, self._url, self._fields, bytes(self._body), keep_alive=self._keep_alive)
        )
        if not self._keep_alive:
            self.end()

    def _refuse_in_parser(self, error: TaskfanError) -> None:
        """Stop the parser; `feed` then refuses."""
        self._refusal = error
        raise error


def _told(error: httptools.HttpParserError) -> TaskfanError:
    """What the parser could not read."""
    return UnexpectedMethod() if isinstance(error, httptools.HttpParserInvalidMethodError) else broken(error)
